//! Wire fields on their way to our types: every defect is noted with its JSON pointer, and remembered.

use std::fmt;
use std::time::Duration;

use crate::api::{Unknown, parse_duration};
use crate::controller::report::Notes;

/// A JSON pointer (RFC 6901).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pointer(String);

/// Reads the fields of one object. Any defect makes it broken: then nothing that was read may be used to let someone in.
pub(super) struct Fields<'n> {
    notes: &'n mut Notes,
    reason: &'static str,
    broken: bool,
}

impl Pointer {
    /// `/spec`.
    pub fn spec() -> Self {
        Self("/spec".to_owned())
    }

    /// An annotation.
    pub fn annotation(name: &str) -> Self {
        Self("/metadata/annotations".to_owned()).to(name)
    }

    /// A field, or an entry of a list, below.
    pub fn to(&self, name: impl fmt::Display) -> Self {
        Self(format!("{}/{}", self.0, name.to_string().replace('~', "~0").replace('/', "~1")))
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.0
    }
}

impl<'n> Fields<'n> {
    /// A reader that notes defects under `reason`.
    pub fn new(notes: &'n mut Notes, reason: &'static str) -> Self {
        Self { notes, reason, broken: false }
    }

    /// Whether any defect was found.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Notes a defect.
    pub fn wrong(&mut self, at: Pointer, message: impl Into<String>, remedy: impl Into<String>) {
        self.broken = true;
        self.notes.error(at, self.reason, message, remedy);
    }

    /// Notes every field that this version does not know.
    pub fn unknown(&mut self, at: &Pointer, unknown: &Unknown) {
        for name in unknown.keys() {
            let message = format!("the field `{}` is not known to this version", name.escape_debug());
            self.wrong(at.to(name), message, "correct its name or remove it");
        }
    }

    /// The entries of a list, which may be absent but not empty.
    pub fn list<'a, T>(&mut self, at: &Pointer, list: &'a Option<Vec<T>>) -> &'a [T] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            self.wrong(at.clone(), "the list is empty", "name an entry, or remove the field");
        }
        list.as_deref().unwrap_or_default()
    }

    /// The entries of a list, each parsed.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        at: &Pointer,
        list: &Option<Vec<String>>,
        parse: impl Fn(&str) -> Result<T, E>,
        remedy: &str,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for (index, text) in self.list(at, list).iter().enumerate() {
            match parse(text) {
                Ok(value) => parsed.push(value),
                Err(error) => self.wrong(at.to(index), error.to_string(), remedy),
            }
        }
        parsed
    }

    /// A text that must be there.
    pub fn text<'a>(&mut self, at: Pointer, text: &'a Option<String>, remedy: &str) -> Option<&'a str> {
        let given = text.as_deref().filter(|text| !text.is_empty());
        if given.is_none() {
            self.wrong(at, "the field is missing or empty", remedy);
        }
        given
    }

    /// One of several words; the default where the field is absent.
    pub fn word<T: Copy>(&mut self, at: Pointer, text: &Option<String>, words: &[(&str, T)], default: T) -> T {
        let Some(text) = text else { return default };
        let known = words.iter().find(|(word, _)| word == text);
        if known.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let message = format!("`{}` is none of the values of this field", text.escape_debug());
            self.wrong(at, message, format!("write {}", words.join(" or ")));
        }
        known.map_or(default, |(_, value)| *value)
    }

    /// A span of time; the default where the field is absent.
    pub fn duration(&mut self, at: Pointer, text: &Option<String>, default: Duration) -> Duration {
        match text.as_deref().map(parse_duration) {
            None => default,
            Some(Ok(span)) => span,
            Some(Err(error)) => {
                self.wrong(at, error.to_string(), "write hours, minutes or seconds");
                default
            }
        }
    }
}
