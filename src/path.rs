//! Request targets: one parse, two readings.
//!
//! A [`RequestPath`] is canonical or refused. What servers read differently stays as it came, and the *lenient reading*
//! says how the most permissive server would take it: only a request for which both readings find the same route and
//! match the same rules passes.

use std::fmt;

/// The path of a request, canonical: what is matched is what is authorized is what is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestPath {
    canonical: Box<str>,
    lenient: Option<Box<str>>,
}

/// A request target in origin form (RFC 9112 section 3.2.1): a path and, where given, a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    path: RequestPath,
    query: Option<Box<str>>,
}

/// A path that a route or rule speaks of. `Ord` is precedence: longer first, exact before prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PathMatch {
    /// Byte for byte.
    Exact(Box<str>),
    /// Element-wise by `/`; held without a trailing slash, `/` is the empty text.
    Prefix(Box<str>),
}

/// Why a target is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/`.
    #[error("the target does not begin with a slash")]
    NotAbsolute,
    /// A `.` or `..` segment, in any reading.
    #[error("the target has a dot segment")]
    DotSegment,
    /// A raw backslash, control, fragment or octet outside ASCII, or an encoded NUL.
    #[error("the target has a forbidden character")]
    Forbidden,
    /// A `%` that two hex digits do not follow.
    #[error("the target has a broken percent encoding")]
    BrokenEncoding,
    /// Longer than the limit of 8 KiB.
    #[error("the target is too long")]
    TooLong,
}

impl Target {
    /// Parses a raw origin-form target; see decisions in `docs/design/one-parse.md`.
    pub fn parse(raw: &str) -> Result<Self, BadPath> {
        let _ = raw;
        todo!()
    }

    /// The path.
    pub fn path(&self) -> &RequestPath {
        &self.path
    }

    /// The query, without `?`, as it came.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

impl RequestPath {
    /// The canonical path.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// The lenient reading, where it differs from the canonical one.
    pub fn lenient(&self) -> Option<&str> {
        self.lenient.as_deref()
    }
}

impl PathMatch {
    /// Whether a path (of either reading) is meant.
    pub fn matches(&self, path: &str) -> bool {
        let _ = path;
        todo!()
    }
}

/// The origin form, ready to be sent.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.canonical)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}
