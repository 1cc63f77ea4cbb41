//! Rules in the words of people who ask who may pass.

use std::fmt;

use super::{Description, Effect, PrincipalMatch, RequestMatch, Rule};

/// `group staff, for GET or HEAD on /reports`; what a Deny says begins with `not`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.effect == Effect::Deny { "not " } else { "" };
        write!(f, "{not}{}", self.principal)?;
        if self.request == RequestMatch::default() { Ok(()) } else { write!(f, ", {}", self.request) }
    }
}

impl fmt::Display for PrincipalMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Authenticated => f.write_str("anyone signed in"),
            Self::Described(description) => description.fmt(f),
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { groups, emails, email_domains, subjects, claims } = self;
        let mut parts = vec![
            either("group ", groups.names()),
            either("", emails.iter().map(|email| email.as_str())),
            either("@", email_domains).replace(" or ", " or @"),
            either("subject ", subjects.iter().map(|it| format!("{} of {}", it.subject, it.issuer))),
        ];
        parts.extend(claims.iter().map(|(path, values)| either(&format!("{path} "), values)));
        parts.retain(|part| !part.is_empty());
        f.write_str(&parts.join(" and "))
    }
}

impl fmt::Display for RequestMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { methods, paths, hosts, source_ranges } = self;
        let mut parts =
            vec![either("for ", methods), either("on ", paths), either("at ", hosts), either("from ", source_ranges)];
        parts.retain(|part| !part.is_empty());
        f.write_str(&parts.join(" "))
    }
}

/// `before a or b`; nothing where there are none.
fn either<T: ToString>(before: &str, all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<_> = all.into_iter().map(|one| one.to_string()).collect();
    if all.is_empty() { String::new() } else { format!("{before}{}", all.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use crate::identity::{Groups, Identity, Issuer, Subject};
    use crate::path::PathMatch;

    use super::*;

    #[test]
    fn a_rule_says_who_and_for_what() {
        let whole = Description {
            groups: Groups::new(["staff", "finance"]),
            emails: Box::new([crate::identity::Email::parse("a@example.com").unwrap()]),
            email_domains: Box::new(["example.com".into(), "example.org".into()]),
            subjects: Box::new([Identity { issuer: Issuer("https://id.test".into()), subject: Subject("7".into()) }]),
            claims: [("tier".to_owned(), Box::from([serde_json::json!("gold")]))].into(),
        };
        let mut rule = Rule {
            name: "shop/web:all".into(),
            effect: Effect::Allow,
            request: RequestMatch::default(),
            principal: PrincipalMatch::Described(Box::new(whole)),
        };
        assert_eq!(
            rule.to_string(),
            "group staff or finance and a@example.com and @example.com or @example.org and subject 7 of https://id.test \
             and tier \"gold\""
        );
        rule.principal = PrincipalMatch::Anyone;
        rule.effect = Effect::Deny;
        rule.request = RequestMatch {
            methods: Box::new(["GET".into(), "HEAD".into()]),
            paths: Box::new([PathMatch::parse("/reports").unwrap()]),
            source_ranges: Box::new(["10.9.0.0/16".parse().unwrap()]),
            ..RequestMatch::default()
        };
        assert_eq!(rule.to_string(), "not anyone, for GET or HEAD on /reports from 10.9.0.0/16");
    }
}
