//! Findings as people read them: where in which file, what is wrong, what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::report::{Finding, ObjectRef, Severity};

/// A place in a file of a folder source; lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The file, relative to the folder.
    pub file: Arc<str>,
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// One defect, of an object or of a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Complaint {
    /// Where it is written, for a folder source.
    pub place: Option<Place>,
    /// What it means.
    pub severity: Severity,
    /// The object; none for a file that is no YAML, or a document that names no object.
    pub object: Option<ObjectRef>,
    /// The field as a JSON pointer (RFC 6901) into the object, `""` for the whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Where the fields of one object are written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spots {
    /// The file, relative to the folder.
    pub file: Arc<str>,
    /// Line and column by JSON pointer (RFC 6901).
    pub by_pointer: BTreeMap<String, (u64, u64)>,
}

/// What a folder source knows beside its objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pages {
    /// Where each object is written.
    pub spots: BTreeMap<ObjectRef, Arc<Spots>>,
    /// What is wrong with files, so that compile never sees it.
    pub complaints: Vec<Complaint>,
}

impl Spots {
    /// The place of a field, or of the nearest one around it that is written.
    pub fn place(&self, mut pointer: &str) -> Option<Place> {
        loop {
            if let Some((line, column)) = self.by_pointer.get(pointer) {
                return Some(Place { file: Arc::clone(&self.file), line: *line, column: *column });
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

impl Pages {
    /// All that there is to complain about, sorted and without repetition.
    pub fn complaints(&self, findings: &[Finding]) -> Vec<Complaint> {
        let mut all = self.complaints.clone();
        all.extend(findings.iter().map(|finding| Complaint::of(finding, self.spots.get(&finding.object))));
        all.sort();
        all.dedup();
        all
    }
}

impl Complaint {
    fn of(finding: &Finding, spots: Option<&Arc<Spots>>) -> Self {
        Self {
            place: spots.and_then(|spots| spots.place(&finding.field)),
            severity: finding.severity,
            object: Some(finding.object.clone()),
            field: finding.field.clone(),
            message: finding.message.clone(),
            remedy: finding.remedy.clone(),
        }
    }

    /// The object and its field, `Ingress shop/web: spec.rules[0].host`; empty where there is no object.
    pub fn subject(&self) -> String {
        self.object.as_ref().map_or_else(String::new, |object| subject(object, &self.field))
    }
}

fn subject(object: &ObjectRef, pointer: &str) -> String {
    let separator = if pointer.is_empty() { "" } else { ": " };
    format!("{} {}{separator}{}", object.kind.as_str(), object.name, field_path(pointer))
}

/// A JSON pointer the way kubectl writes field paths: `spec.rules[0].host`.
pub fn field_path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let index = part.parse::<usize>().is_ok();
        let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if index || !plain {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&part);
        }
    }
    path
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: ", self.severity.as_str())?;
        if let Some(object) = &self.object {
            write!(f, "{}: ", subject(object, &self.field))?;
        }
        write!(f, "{}; {}", self.message.trim_end_matches('.'), self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Kind;
    use super::super::world::ObjectName;
    use super::*;

    #[test]
    fn a_field_is_named_the_way_kubectl_does() {
        let object = ObjectRef { kind: Kind::Ingress, name: ObjectName::new("shop", "web") };
        assert_eq!(subject(&object, ""), "Ingress shop/web");
        assert_eq!(subject(&object, "/spec/rules/0/host"), "Ingress shop/web: spec.rules[0].host");
        assert_eq!(
            subject(&object, "/metadata/annotations/portcullis.dev~1access"),
            "Ingress shop/web: metadata.annotations[portcullis.dev/access]"
        );
    }

    #[test]
    fn a_field_that_is_not_written_is_placed_at_the_nearest_one_around_it() {
        let by_pointer = [("".to_owned(), (1, 1)), ("/spec".to_owned(), (4, 1))].into();
        let spots = Spots { file: "a.yaml".into(), by_pointer };
        assert_eq!(spots.place("/spec/rules/0").unwrap().to_string(), "a.yaml:4:1");
        assert_eq!(spots.place("/metadata").unwrap().to_string(), "a.yaml:1:1");
    }
}
