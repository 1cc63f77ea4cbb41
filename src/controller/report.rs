//! What compile found, for statuses, events, log lines and `file:line:column`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::world::ObjectName;

/// A kind that findings speak of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// `Ingress`.
    Ingress,
    /// `IngressClass`.
    IngressClass,
    /// `Service`.
    Service,
    /// `EndpointSlice`.
    EndpointSlice,
    /// `Secret`.
    Secret,
    /// `Policy`.
    Policy,
    /// `IdentityProvider`.
    IdentityProvider,
    /// `Portcullis`.
    Portcullis,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ingress,
        Self::IngressClass,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::Policy,
        Self::IdentityProvider,
        Self::Portcullis,
    ];

    /// The name in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::Policy => "Policy",
            Self::IdentityProvider => "IdentityProvider",
            Self::Portcullis => "Portcullis",
        }
    }
}

/// An object that a finding is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: ObjectName,
}

/// What a finding means for routes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Something is as a default says, not as written.
    Warning,
    /// Something is closed or not served.
    Error,
}

impl Severity {
    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One defect: object, field, what is wrong, what to do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Finding {
    /// The object.
    pub object: ObjectRef,
    /// The field as a JSON pointer (RFC 6901) into the object, `""` for the whole.
    pub field: String,
    /// CamelCase reason for Events and conditions: `ServiceNotFound`, `SecretInvalid`, `PolicyInvalid`, `Conflict`, ...
    pub reason: &'static str,
    /// What it means.
    pub severity: Severity,
    /// What is wrong, one sentence; names, never values of secrets.
    pub message: String,
    /// What to do about it, one sentence.
    pub remedy: String,
}

/// The findings on one object, as they are noticed.
#[derive(Debug)]
pub struct Notes {
    object: ObjectRef,
    findings: Vec<Finding>,
}

/// What compile has to say beside the snapshot.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// All findings, sorted.
    pub findings: Vec<Finding>,
    /// Ingresses of ours, and whether each may have an address: some route live and every certificate it names there.
    pub ingresses: BTreeMap<ObjectName, IngressState>,
    /// Policies, and what became of each.
    pub policies: BTreeMap<ObjectName, PolicyState>,
    /// Providers, and whether each could be compiled.
    pub providers: BTreeMap<ObjectName, ProviderState>,
    /// The `Portcullis` objects that classes of ours name, and what became of each.
    pub portcullises: BTreeMap<ObjectName, PortcullisState>,
    /// Ends of validity, by Secret.
    pub certificates: BTreeMap<ObjectName, Timestamp>,
}

/// An Ingress of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IngressState {
    /// Some route is live, closed ones too, and every certificate that it names is there: gets the address.
    Served,
    /// Some route is live, but a certificate that it names is not there: gets no address yet, and keeps one that it has.
    Incomplete,
    /// No route is live: gets no address.
    Refused,
}

/// A Policy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyState {
    /// `metadata.generation` that was compiled.
    pub observed_generation: Option<i64>,
    /// The Ingresses it is attached to.
    pub targets: Vec<ObjectName>,
    /// Those of another installation.
    pub elsewhere: Vec<ObjectName>,
    /// Whether it is accepted: no finding of severity error on it.
    pub accepted: bool,
}

/// An IdentityProvider.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProviderState {
    /// `metadata.generation` that was compiled.
    pub observed_generation: Option<i64>,
    /// Its issuer, for looking up what discovery says.
    pub issuer: Option<crate::identity::Issuer>,
    /// Whether it is accepted.
    pub accepted: bool,
}

/// A `Portcullis`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortcullisState {
    /// `metadata.generation` that was compiled.
    pub observed_generation: Option<i64>,
    /// Whether it is accepted: no finding of severity error on it.
    pub accepted: bool,
}

impl Notes {
    /// No findings yet on an object.
    pub fn on(kind: Kind, name: &ObjectName) -> Self {
        Self { object: ObjectRef { kind, name: name.clone() }, findings: Vec::new() }
    }

    /// Something is closed or not served: at which field, for which reason, what is wrong, what to do.
    pub fn error(
        &mut self,
        field: impl Into<String>,
        reason: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(Severity::Error, field.into(), reason, message.into(), remedy.into());
    }

    /// Something is as a default says, not as written.
    pub fn warning(
        &mut self,
        field: impl Into<String>,
        reason: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(Severity::Warning, field.into(), reason, message.into(), remedy.into());
    }

    /// Whether something is closed or not served.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn note(&mut self, severity: Severity, field: String, reason: &'static str, message: String, remedy: String) {
        self.findings.push(Finding { object: self.object.clone(), field, reason, severity, message, remedy });
    }
}

impl Report {
    /// Takes the findings on an object.
    pub fn take(&mut self, notes: Notes) {
        self.findings.extend(notes.findings);
    }
}
