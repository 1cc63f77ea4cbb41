//! Request targets: one parse, two readings.
//!
//! A [`RequestPath`] is canonical or refused. What servers read differently stays as it came, and the *lenient reading*
//! says how the most permissive server would take it: only a request for which both readings find the same route and
//! match the same rules passes. `docs/design/one-parse.md` shows why two readings are enough.

mod reading;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::fmt;

/// The longest target, in octets, as it comes and as it is sent.
pub const TARGET_LIMIT: usize = 8 * 1024;

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

/// A path that every server reads alike: canonical, and its own lenient reading.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlainPath(Box<str>);

/// A path that a route or rule speaks of. `Ord` is precedence: longer first, exact before prefix.
///
/// The slash at the end of a prefix does not count: `/foo/` is `/foo`. So an exact path goes before every prefix that
/// matches with it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PathMatch {
    /// Byte for byte.
    Exact(PlainPath),
    /// Element-wise by `/`; held without a trailing slash, `/` is the empty text.
    Prefix(PlainPath),
}

/// What makes a path of a route or rule a pattern.
const PATTERN: [char; 10] = ['*', '(', ')', '$', '|', '^', '[', ']', '{', '}'];

/// Why a path is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A `.` or `..` segment, in any reading.
    #[error("the path has a dot segment")]
    DotSegment,
    /// A raw backslash, control, space, fragment or octet outside ASCII, or in any reading an encoded NUL.
    #[error("the path has a forbidden character")]
    Forbidden,
    /// A `%` that two hex digits do not follow.
    #[error("the path has a broken percent encoding")]
    BrokenEncoding,
    /// An encoded slash or backslash after a `;` of the same segment: where the parameter ends depends on the server.
    #[error("the path has an encoded separator in a parameter")]
    SplitParameter,
    /// The path of a route or rule that servers read differently.
    #[error("the path is not plain: it has an empty segment, a query, a `;` or an encoded delimiter")]
    NotPlain,
    /// The path of a route or rule that reads like a glob or a regular expression: as the literal that it is, it would
    /// match nothing, and a rule that denies would deny nothing.
    #[error("the path is a pattern, and paths here are literal: none of `* ( ) $ | ^ [ ] {{ }}`")]
    Pattern,
    /// Longer than [`TARGET_LIMIT`].
    #[error("the path is too long")]
    TooLong,
}

impl Target {
    /// Parses a raw origin-form target: refused, or canonical with the query as it came.
    pub fn parse(raw: &str) -> Result<Self, BadPath> {
        if raw.len() > TARGET_LIMIT {
            return Err(BadPath::TooLong);
        }
        let (path, query) = raw.split_once('?').map_or((raw, None), |(path, query)| (path, Some(query)));
        if query.is_some_and(|query| query.bytes().any(|octet| !octet.is_ascii_graphic() || octet == b'#')) {
            return Err(BadPath::Forbidden);
        }
        let path = RequestPath::parse(path)?;
        match path.canonical.len() + query.map_or(0, |query| query.len() + 1) {
            ..=TARGET_LIMIT => Ok(Self { path, query: query.map(Box::from) }),
            _ => Err(BadPath::TooLong),
        }
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
    fn parse(raw: &str) -> Result<Self, BadPath> {
        if !raw.starts_with('/') {
            return Err(BadPath::NotAbsolute);
        }
        if reading::is_plain(raw) {
            return Ok(Self { canonical: raw.into(), lenient: None });
        }
        let canonical = reading::canonical(raw)?;
        let lenient = reading::lenient(&canonical)?;
        let lenient = (lenient != canonical).then(|| lenient.into());
        Ok(Self { canonical: canonical.into(), lenient })
    }

    /// The canonical path.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// The lenient reading, where it differs from the canonical one.
    pub fn lenient(&self) -> Option<&str> {
        self.lenient.as_deref()
    }
}

impl PlainPath {
    fn parse(text: &str) -> Result<Self, BadPath> {
        if text.contains(PATTERN) {
            return Err(BadPath::Pattern);
        }
        match Target::parse(text)? {
            Target { path: RequestPath { canonical, lenient: None }, query: None } => Ok(Self(canonical)),
            _ => Err(BadPath::NotPlain),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PathMatch {
    /// Exactly this path, which must be plain.
    pub fn exact(path: &str) -> Result<Self, BadPath> {
        PlainPath::parse(path).map(Self::Exact)
    }

    /// This path, which must be plain, and all below it.
    pub fn prefix(path: &str) -> Result<Self, BadPath> {
        let PlainPath(path) = PlainPath::parse(path)?;
        Ok(Self::Prefix(PlainPath(path.strip_suffix('/').unwrap_or(&path).into())))
    }

    /// The prefix by which a path that cannot be served is closed: its longest leading part that is plain. A pattern within a
    /// segment could mean any segment there, so it is left out; one that begins with `(/` goes on below its segment.
    pub fn plain_part(text: &str) -> Self {
        let literal = text.find(PATTERN).map_or(text, |sign| match text.split_at(sign) {
            (literal, rest) if rest.starts_with("(/") => literal,
            (literal, _) => literal.rfind('/').map_or("", |slash| &literal[..slash]),
        });
        let end = literal.find(|c: char| !c.is_ascii_alphanumeric() && !"/-._~!&'+,=:@".contains(c));
        let mut part = &literal[..end.unwrap_or(literal.len())];
        part = &part[..part.find("//").unwrap_or(part.len())];
        loop {
            if let Ok(prefix) = Self::prefix(part) {
                return prefix;
            }
            match part.rfind('/') {
                Some(at) => part = &part[..at],
                None => return Self::Prefix(PlainPath("".into())),
            }
        }
    }

    /// As a Policy writes it: `exact:/x` for one path, else a prefix.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        text.strip_prefix("exact:").map_or_else(|| Self::prefix(text), Self::exact)
    }

    /// Whether a path (of either reading) is meant.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(PlainPath(exact)) => path == &**exact,
            Self::Prefix(PlainPath(prefix)) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// Whether a path is meant, or is one that a server may take for it: many drop or add the slash at the end.
    pub fn matches_loosely(&self, path: &str) -> bool {
        match self {
            Self::Exact(PlainPath(exact)) => {
                path.strip_suffix('/').unwrap_or(path) == exact.strip_suffix('/').unwrap_or(exact)
            }
            Self::Prefix(_) => self.matches(path),
        }
    }

    fn precedence(&self) -> (Reverse<usize>, bool, &str) {
        let (is_prefix, PlainPath(text)) = match self {
            Self::Exact(path) => (false, path),
            Self::Prefix(path) => (true, path),
        };
        (Reverse(text.len()), is_prefix, text)
    }
}

impl Ord for PathMatch {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.precedence().cmp(&other.precedence())
    }
}

impl PartialOrd for PathMatch {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A hash map by path can be asked with a text.
impl Borrow<str> for PlainPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// As a Policy writes it.
impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(PlainPath(path)) => write!(f, "exact:{path}"),
            Self::Prefix(PlainPath(path)) if path.is_empty() => f.write_str("/"),
            Self::Prefix(PlainPath(path)) => f.write_str(path),
        }
    }
}

/// The origin form, ready to be sent.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.canonical)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}
