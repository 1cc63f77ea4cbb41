//! An issuer that cannot be used as a finding on its `IdentityProvider`: which field to look at, and what to do.

use crate::controller::report::{Finding, ObjectRef, Severity};
use crate::oidc::{IssuerFailure, IssuerFault};

const ISSUER: &str = "/spec/issuer";
const CA_BUNDLE: &str = "/spec/caBundleRef";

/// The finding.
pub(super) fn finding(object: &ObjectRef, failure: &IssuerFailure) -> Finding {
    let (field, reason, remedy) = said(failure.fault);
    Finding {
        object: object.clone(),
        field: field.to_owned(),
        reason,
        severity: Severity::Error,
        message: failure.detail.as_ref().to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// Field, reason and remedy.
fn said(fault: IssuerFault) -> (&'static str, &'static str, &'static str) {
    match fault {
        IssuerFault::Unreachable => (
            ISSUER,
            "IssuerUnreachable",
            "see that the issuer runs and that this pod may reach it: name resolution, network policies, the port",
        ),
        IssuerFault::NotTrusted => (
            CA_BUNDLE,
            "IssuerNotTrusted",
            "name a Secret whose `ca.crt` has the authority of the issuer's certificate, or renew that certificate",
        ),
        IssuerFault::TrustAnchors => (
            CA_BUNDLE,
            "TrustAnchorsInvalid",
            "name a Secret whose `ca.crt` has one PEM certificate or more and nothing that is none",
        ),
        IssuerFault::Identifier => (ISSUER, "IssuerInvalid", "write an `https` URL without a user and a fragment"),
        IssuerFault::Status => (
            ISSUER,
            "IssuerRefuses",
            "see that it is well, and write it so that its metadata is at `/.well-known/openid-configuration` below it",
        ),
        IssuerFault::TooLarge => {
            (ISSUER, "DocumentTooLarge", "see that it is an OpenID Provider that answers, and have it publish less")
        }
        IssuerFault::Mismatch => {
            (ISSUER, "IssuerMismatch", "write the issuer as its metadata has it, to the slash at its end")
        }
        IssuerFault::Document => {
            (ISSUER, "DocumentInvalid", "see that it is an OpenID Provider that answers, and have its document mended")
        }
        IssuerFault::Unsupported => (ISSUER, "IssuerUnsupported", "have the issuer offer it, or use another issuer"),
        IssuerFault::NoUsableKeys => (
            ISSUER,
            "NoUsableKeys",
            "have the issuer publish its signing keys (RSA, P-256, P-384 or Ed25519) at its `jwks_uri`",
        ),
    }
}
