//! Where a person lands after signing in: a path and query of the same host, never a URL.

use crate::path::Target;

/// The longest return target that a login cookie carries, in bytes.
const LONGEST: usize = 1024;

/// A target of the same host at which a sign-in may end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnPath(String);

impl ReturnPath {
    /// The front page.
    pub fn front_page() -> Self {
        Self("/".to_owned())
    }

    /// Takes a target that begins with exactly one slash; anything else, and our own endpoints but the one that says who
    /// is signed in, becomes the front page. A target that is too long becomes its path, else the front page.
    pub fn parse(raw: &str) -> Self {
        if !raw.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Self::front_page();
        }
        Target::parse(raw).map_or_else(|_| Self::front_page(), |target| Self::of(&target))
    }

    /// The return path of a target that was admitted.
    pub fn of(target: &Target) -> Self {
        let path = target.path().as_str();
        let own = [Some(path), target.path().lenient()]
            .into_iter()
            .flatten()
            .any(|path| path.starts_with("/.portcullis/") && path != "/.portcullis/");
        // A browser reads two slashes as the beginning of a host.
        if path.starts_with("//") || own || path.len() > LONGEST {
            return Self::front_page();
        }
        let whole = target.to_string();
        Self(if whole.len() > LONGEST { path.to_owned() } else { whole })
    }

    /// The path and query.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the value of a query parameter.
    pub fn encoded(&self) -> String {
        url::form_urlencoded::byte_serialize(self.0.as_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(raw: &str) -> String {
        ReturnPath::parse(raw).0
    }

    #[test]
    fn deep_links_with_a_query_are_kept() {
        for raw in [
            "/",
            "/reports",
            "/reports?month=5&q=a%20b",
            "/a/b;c?x=//y",
            "/.portcullis/",
            "/a%2Fb",
            "/a//b",
            "/?u=https://e.test/",
        ] {
            assert_eq!(parsed(raw), raw);
        }
    }

    #[test]
    fn long_targets_lose_their_query_then_their_path() {
        let query = format!("/reports?{}", "x".repeat(1024));
        assert_eq!(parsed(&query), "/reports");
        let path = format!("/{}", "x".repeat(1024));
        assert_eq!(parsed(&path), "/");
        let fits = format!("/{}", "x".repeat(1023));
        assert_eq!(parsed(&fits), fits);
    }

    #[test]
    fn own_endpoints_are_no_place_to_return_to() {
        for raw in [
            "/.portcullis/login",
            "/.portcullis/login?return=/",
            "/.portcullis/logout",
            "/.portcullis/callback/corp?code=x",
            "/%2Eportcullis/logout",
            "/.portcullis%2Flogout",
            "/.portcullis;x/logout",
        ] {
            assert_eq!(parsed(raw), "/");
        }
    }

    /// Every spelling by which sign-in pages elsewhere were made to send people to another site.
    #[test]
    fn nothing_leads_to_another_site() {
        let hosts = [
            "evil.test",
            "evil.test/",
            "evil.test/%2e%2e",
            "evil.test:443/x",
            "user@evil.test",
            "[::1]/",
            "evil.test?x#y",
        ];
        let prefixes = [
            "//",
            "///",
            "////",
            "http://",
            "https://",
            "HTTPS://",
            "https:",
            "https:/",
            "https:///",
            "http:\\\\",
            "\\",
            "\\\\",
            "\\/",
            "/\\",
            "/\\/",
            "/\\\\",
            "//\\",
            "\t//",
            "/\t/",
            "/\t",
            " //",
            "/ /",
            "\n//",
            "/\n/",
            "/\r/",
            "/\0/",
            "\u{a0}//",
            "/\u{3000}/",
            "\u{2028}//",
            "/\u{2044}",
            "javascript:",
            "javascript://",
            "data:text/html,",
            "vbscript:",
            "//%09/",
            "@",
            ".",
            "..",
            "/..//",
            "/.//",
            "/./",
            "/%2e%2e//",
            "/%2e//",
            "",
            "?",
            "#",
            "/%00/",
            "//;@",
            "//portcullis.test@",
            "//portcullis.test.",
            "ftp://",
            "blob:",
            "file:///",
        ];
        let mut count = 0;
        for prefix in prefixes {
            for host in hosts {
                let raw = format!("{prefix}{host}");
                assert_eq!(parsed(&raw), "/", "{raw:?}");
                count += 1;
            }
        }
        assert!(count >= 200);
    }

    proptest::proptest! {
        /// As a browser reads the redirect that [`ReturnPath`] ends in, whatever was asked for.
        #[test]
        fn every_target_leads_to_the_same_host(raw in r"[/\\%0-9a-fA-F.:;@?#&= \t\n\r\PC]{0,24}|\PC*") {
            let target = parsed(&raw);
            for base in ["https://app.test", "https://app.test:8443"] {
                let landed = url::Url::parse(&format!("{base}{target}")).unwrap();
                proptest::prop_assert_eq!((landed.scheme(), landed.host_str()), ("https", Some("app.test")));
                let relative = url::Url::parse(base).unwrap().join(&target).unwrap();
                proptest::prop_assert_eq!(relative.host_str(), Some("app.test"));
            }
        }
    }
}
