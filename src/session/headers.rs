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
