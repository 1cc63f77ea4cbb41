//! `portcullis check`: what is wrong with the objects of a file, a folder or a cluster, each with place, object, field and
//! remedy.

use anyhow::bail;
use serde::Serialize;

use crate::controller::complaint::{Complaint, field_path};
use crate::controller::report::Severity;
use crate::inspect::Scope;
use crate::output::Choice;

/// A complaint for programs; what does not apply is left out.
#[derive(Serialize)]
struct Finding<'a> {
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    message: &'a str,
    remedy: &'a str,
    #[serde(skip)]
    line_for_people: String,
}

/// Prints what is wrong; an error where something would be closed or not served.
pub fn main(scope: &Scope, choice: Choice) -> anyhow::Result<()> {
    let seen = scope.look()?;
    let findings: Vec<_> = seen.complaints.iter().map(Finding::of).collect();
    choice.print(&findings, |all| all.iter().map(|finding| format!("{}\n", finding.line_for_people)).collect())?;
    let errors = seen.complaints.iter().filter(|complaint| complaint.severity == Severity::Error).count();
    if errors > 0 {
        bail!("{} of {} findings close something or leave it out", errors, findings.len());
    }
    let routes = seen.snapshot.routes.iter().count();
    eprintln!("{routes} routes, no errors, {} warnings", findings.len());
    Ok(())
}

impl<'a> Finding<'a> {
    fn of(complaint: &'a Complaint) -> Self {
        let Complaint { place, severity, object, field, message, remedy } = complaint;
        let name = object.as_ref().map(|object| &object.name);
        Self {
            severity: severity.as_str(),
            file: place.as_ref().map(|place| &*place.file),
            line: place.as_ref().map(|place| place.line),
            column: place.as_ref().map(|place| place.column),
            kind: object.as_ref().map(|object| object.kind.as_str()),
            namespace: name.map(|name| &*name.namespace).filter(|namespace| !namespace.is_empty()),
            name: name.map(|name| &*name.name),
            field: field_path(field),
            message,
            remedy,
            line_for_people: complaint.to_string(),
        }
    }
}
