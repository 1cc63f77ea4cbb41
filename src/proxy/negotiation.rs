//! In which form an answer of ours is given, and whether a person waits for it in a browser's address bar.

use http::header::{ACCEPT, HeaderName};

use super::admit::CanonicalRequest;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The forms of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A page.
    Html,
    /// An object.
    Json,
    /// Lines for a terminal.
    Text,
}

/// What a request says of how it came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hints<'a> {
    /// `Accept` (RFC 9110 section 12.5.1).
    pub accept: Option<&'a str>,
    /// `Sec-Fetch-Mode` (Fetch Metadata section 2.2).
    pub mode: Option<&'a str>,
    /// `Sec-Fetch-Dest` (Fetch Metadata section 2.1).
    pub destination: Option<&'a str>,
    /// Whether a script library says that it called.
    pub scripted: bool,
}

impl Form {
    /// The form that `Accept` likes best; who has no wish gets text.
    pub fn of(accept: Option<&str>) -> Self {
        let Some(accept) = accept else { return Self::Text };
        // Later candidates win only where they are liked better, or as much and more exactly.
        let mut best = (0, 0);
        let mut form = Self::Text;
        for (candidate, kind) in
            [(Self::Html, "text/html"), (Self::Json, "application/json"), (Self::Text, "text/plain")]
        {
            let liking = liking(accept, kind);
            let tie_of_wildcards = candidate == Self::Text && liking == best && liking.1 == 0;
            if liking.0 > 0 && (liking > best || tie_of_wildcards) {
                (best, form) = (liking, candidate);
            }
        }
        form
    }
}

impl<'a> Hints<'a> {
    /// The hints of a request.
    pub fn of(request: &'a CanonicalRequest) -> Self {
        Self {
            accept: request.header(&ACCEPT),
            mode: request.header(&SEC_FETCH_MODE),
            destination: request.header(&SEC_FETCH_DEST),
            scripted: request.header(&X_REQUESTED_WITH).is_some(),
        }
    }

    /// Whether a browser is about to show the answer as a document; methods are the caller's to check.
    ///
    /// Browsers without Fetch Metadata are known by asking for HTML by name.
    pub fn navigation(&self) -> bool {
        let document = matches!(self.destination, None | Some("document"));
        match self.mode {
            _ if self.scripted => false,
            Some(mode) => mode == "navigate" && document,
            None => self.destination.is_none() && self.accept.is_some_and(|accept| liking(accept, "text/html").1 == 2),
        }
    }

    /// Whether a script of a page asks.
    pub fn script(&self) -> bool {
        self.scripted || self.mode.is_some_and(|mode| mode != "navigate")
    }
}

/// How much `Accept` likes a media type, in thousandths, and how exactly it says so: 2 by name, 1 by `type/*`, 0 by `*/*`.
fn liking(accept: &str, kind: &str) -> (u16, u8) {
    let family = kind.split_once('/').map_or(kind, |(family, _)| family);
    let mut found = (0, 0);
    let mut exactness = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let exact = match name.split_once('/') {
            _ if name.eq_ignore_ascii_case(kind) => 2,
            Some((left, "*")) if left.eq_ignore_ascii_case(family) => 1,
            Some(("*", "*")) => 0,
            _ => continue,
        };
        if exactness.is_none_or(|known| exact > known) {
            exactness = Some(exact);
            found = (parts.find_map(quality).unwrap_or(1000), exact);
        }
    }
    if found.0 == 0 { (0, 0) } else { found }
}

/// `q=0.8` gives 800 (RFC 9110 section 12.4.2); what is no quality counts as absent.
fn quality(parameter: &str) -> Option<u16> {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" => Some(1000),
        "0" if digits => format!("{fraction:0<3}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

    #[test]
    fn accept_names_the_form() {
        let table = [
            (None, Form::Text),
            (Some(""), Form::Text),
            (Some("*/*"), Form::Text),
            (Some(CHROMIUM), Form::Html),
            (Some("text/html"), Form::Html),
            (Some("TEXT/HTML"), Form::Html),
            (Some("text/*"), Form::Html),
            (Some("application/json"), Form::Json),
            (Some("application/json, text/plain, */*"), Form::Json),
            (Some("application/*"), Form::Json),
            (Some("text/plain"), Form::Text),
            (Some("text/html;q=0.5, application/json"), Form::Json),
            (Some("text/html; charset=utf-8; q=0.9, application/json;q=0.90"), Form::Html),
            (Some("text/html;q=0, */*"), Form::Text),
            (Some("text/html;q=0, application/json;q=0.001"), Form::Json),
            (Some("*/*;q=0.1, application/json;q=0.2"), Form::Json),
            (Some("image/png"), Form::Text),
            (Some(";;;,,,/"), Form::Text),
        ];
        for (accept, form) in table {
            assert_eq!(Form::of(accept), form, "{accept:?}");
        }
    }

    #[test]
    fn quality_reads_what_the_standard_writes() {
        let table = [
            ("q=1", Some(1000)),
            ("q=0", Some(0)),
            ("q=0.8", Some(800)),
            ("Q=0.123", Some(123)),
            ("q=1.000", Some(1000)),
        ];
        for (text, quality_of) in table {
            assert_eq!(quality(text), quality_of, "{text}");
        }
        for text in ["q=2", "q=0.1234", "q=0.x", "q=", "q=-1", "level=1", "q=.5"] {
            assert_eq!(quality(text), None, "{text}");
        }
    }

    #[test]
    fn navigations_are_told_from_scripts() {
        let navigate =
            Hints { mode: Some("navigate"), destination: Some("document"), accept: Some(CHROMIUM), scripted: false };
        let old = Hints { accept: Some(CHROMIUM), ..Hints::default() };
        for yes in [navigate, old, Hints { accept: None, ..navigate }, Hints { destination: None, ..navigate }] {
            assert!(yes.navigation(), "{yes:?}");
        }
        let no = [
            Hints::default(),
            Hints { accept: Some("*/*"), ..Hints::default() },
            Hints { accept: Some("text/*"), ..Hints::default() },
            Hints { accept: Some("application/json"), ..Hints::default() },
            Hints { scripted: true, ..navigate },
            Hints { scripted: true, ..old },
            Hints { mode: Some("cors"), destination: Some("empty"), ..navigate },
            Hints { mode: Some("no-cors"), destination: Some("image"), ..navigate },
            Hints { mode: Some("websocket"), ..navigate },
            Hints { destination: Some("iframe"), ..navigate },
            Hints { destination: Some("empty"), ..old },
        ];
        for hints in no {
            assert!(!hints.navigation(), "{hints:?}");
        }
    }
}
