//! The identity headers of a session, rendered once when it is opened, so that a request only clones them.

use std::borrow::Cow;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::identity::Principal;

/// `X-Auth-Request-*` values. Controls, everything outside ASCII and `%` itself are percent-encoded as UTF-8, so that no
/// value breaks a line and no two identities look alike; what the principal lacks is `None`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityHeaders {
    /// The subject.
    pub user: Option<HeaderValue>,
    /// The verified e-mail address.
    pub email: Option<HeaderValue>,
    /// The groups, comma-separated; a comma within a name is percent-encoded too.
    pub groups: Option<HeaderValue>,
    /// The short name.
    pub preferred_username: Option<HeaderValue>,
}

const TEXT: &AsciiSet = &CONTROLS.add(b'%');
const GROUP: &AsciiSet = &TEXT.add(b',');
/// For a value with blanks at an end, which a parser would cut off.
const BLANKS: &AsciiSet = &GROUP.add(b' ');

impl IdentityHeaders {
    /// Renders them.
    pub fn of(principal: &Principal) -> Self {
        let groups: Vec<_> = principal.groups.names().iter().map(|name| encoded(name, GROUP)).collect();
        Self {
            user: header(&encoded(&principal.identity.subject.0, TEXT)),
            email: principal.email.as_ref().and_then(|email| header(&encoded(email.as_str(), TEXT))),
            groups: header(&groups.join(",")),
            preferred_username: principal.preferred_username.as_ref().and_then(|name| header(&encoded(name, TEXT))),
        }
    }
}

fn encoded<'a>(text: &'a str, set: &'static AsciiSet) -> Cow<'a, str> {
    let at_end = text.starts_with(' ') || text.ends_with(' ');
    utf8_percent_encode(text, if at_end { BLANKS } else { set }).into()
}

/// `None` for an empty value, which some upstreams take for a name.
fn header(text: &str) -> Option<HeaderValue> {
    if text.is_empty() { None } else { HeaderValue::from_str(text).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::identity::Groups;
    use crate::session::tests::principal;

    fn value(text: &'static str) -> Option<HeaderValue> {
        Some(HeaderValue::from_static(text))
    }

    #[test]
    fn a_principal_is_rendered_whole() {
        assert_eq!(
            IdentityHeaders::of(&principal()),
            IdentityHeaders {
                user: value("24400320"),
                email: value("jane@example.com"),
                groups: value("staff,Domain Users"),
                preferred_username: value("jane"),
            }
        );
    }

    #[test]
    fn what_a_principal_lacks_is_no_header() {
        let bare = Principal { email: None, preferred_username: None, groups: Groups::default(), ..principal() };
        let nothing =
            IdentityHeaders { email: None, groups: None, preferred_username: None, ..IdentityHeaders::of(&bare) };
        assert_eq!(IdentityHeaders::of(&bare), nothing);
        let empty = Principal { preferred_username: Some("".into()), ..bare };
        assert_eq!(IdentityHeaders::of(&empty), nothing);
    }

    #[test]
    fn no_value_breaks_a_line_or_makes_two_groups_of_one() {
        let odd = Principal {
            preferred_username: Some("a\r\nX-Auth-Request-Groups: admin\0".into()),
            groups: Groups::new(["a,admin", "50%", "Zoë", " padded ", "tab\there"]),
            ..principal()
        };
        let headers = IdentityHeaders::of(&odd);
        assert_eq!(headers.preferred_username, value("a%0D%0AX-Auth-Request-Groups: admin%00"));
        assert_eq!(headers.groups, value("a%2Cadmin,50%25,Zo%C3%AB,%20padded%20,tab%09here"));
    }

    proptest! {
        #[test]
        fn the_text_is_in_the_header_and_no_other_text_gives_it(name in "\\PC{1,20}|[\\x00-\\x7f]{1,20}") {
            let named = Principal { preferred_username: Some(name.as_str().into()), ..principal() };
            let header = IdentityHeaders::of(&named).preferred_username.unwrap();
            let header = header.to_str().unwrap();
            prop_assert_eq!(header.trim(), header);
            prop_assert_eq!(percent_encoding::percent_decode_str(header).decode_utf8().unwrap(), name);
        }
    }
}
