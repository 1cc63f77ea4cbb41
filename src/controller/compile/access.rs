//! Who may pass an Ingress: its policies, else its annotation, else what the class says. Every doubt closes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::class::Ours;
use super::fields::Pointer;
use super::policy::{Attached, Policies, Policy as Compiled};
use super::provider::Providers;
use super::rule::{domain, email, group};
use super::settings::DefaultAccess;
use crate::api::annotations::{AccessWord, PREFIX};
use crate::controller::report::Notes;
use crate::controller::world::ObjectName;
use crate::identity::Groups;
use crate::oidc::Provider;
use crate::policy::{Description, Effect, Policy, PrincipalMatch, RequestMatch, Rule};
use crate::route::{Access, ClosedReason};

/// What access depends on beside the Ingress.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    /// Providers by name.
    pub providers: &'c Providers,
    /// Policies by name.
    pub policies: &'c Policies,
    /// Which are attached where.
    pub attached: &'c Attached,
}

/// A defect that closes an Ingress: where, for which reason, what is wrong, what to do.
struct Defect {
    at: Pointer,
    reason: &'static str,
    message: String,
    remedy: String,
}

/// The access of an Ingress; what closes it is noted.
pub(super) fn of(it: &Ours<'_>, context: Context<'_>, notes: &mut Notes) -> Access {
    for bad in &it.bad_annotations {
        let at = Pointer::annotation(&bad.name);
        match bad.closes {
            true => {
                notes.error(at, "AnnotationInvalid", format!("{}, so its routes are closed", bad.message), &*bad.remedy)
            }
            false => notes.warning(at, "AnnotationInvalid", &*bad.message, &*bad.remedy),
        }
    }
    if let Some(bad) = it.bad_annotations.iter().find(|bad| bad.closes) {
        return Access::Closed(ClosedReason(format!("annotation `{}` is invalid", bad.name).into()));
    }
    decided(it, context, notes).unwrap_or_else(|Defect { at, reason, message, remedy }| {
        notes.error(at, reason, format!("{message}, so the routes are closed"), remedy);
        Access::Closed(ClosedReason(message.into()))
    })
}

fn decided(it: &Ours<'_>, context: Context<'_>, notes: &mut Notes) -> Result<Access, Defect> {
    if let Some(ClosedReason(reason)) = &it.class.closed {
        let remedy = "correct the Portcullis, or the parameters of the IngressClass";
        return Err(Defect::new(class_field(), "ParametersInvalid", reason.to_string(), remedy));
    }
    let rules = rules(it, context)?;
    let policy = match (it.annotations.access, rules) {
        (Some(word @ (AccessWord::Public | AccessWord::Authenticated)), Some(_)) => return Err(contradiction(word)),
        (Some(AccessWord::Public), None) => return opened(it),
        (Some(AccessWord::Authenticated), None) => Policy::authenticated(),
        (Some(AccessWord::Policy), None) => {
            let message = "`access: policy` asks for a policy, and there is none";
            let remedy = "attach a Policy, or write another `access`";
            return Err(Defect::new(annotation("access"), "PolicyNotFound", message, remedy));
        }
        (None | Some(AccessWord::Policy), Some(rules)) => Policy { rules: rules.into() },
        (None, None) => match it.class.settings.default_access {
            DefaultAccess::Deny => Policy { rules: Box::default() },
            DefaultAccess::Authenticated => Policy::authenticated(),
            DefaultAccess::Public => return Ok(Access::open()),
        },
    };
    let provider = provider(it, context.providers, &policy, notes)?;
    Ok(Access::Guarded { policy: Arc::new(policy), provider })
}

/// An Ingress opens itself, where the class lets it.
fn opened(it: &Ours<'_>) -> Result<Access, Defect> {
    if it.class.settings.may_open {
        return Ok(Access::open());
    }
    let message = "the class forbids `access: public`";
    Err(Defect::new(annotation("access"), "PublicForbidden", message, "attach a Policy, or write `authenticated`"))
}

fn contradiction(word: AccessWord) -> Defect {
    let word = if word == AccessWord::Public { "public" } else { "authenticated" };
    let message = format!("`access: {word}` contradicts the policies or `allowed-` annotations beside it");
    Defect::new(annotation("access"), "Contradiction", message, "remove one of the two")
}

/// The rules of all policies and of the annotations together; none where neither speaks.
fn rules(it: &Ours<'_>, context: Context<'_>) -> Result<Option<Vec<Rule>>, Defect> {
    if let Some(policy) = context.policies.unreadable_in(&it.name.namespace) {
        let message = format!("policy `{}` cannot be read, and may be meant for this Ingress", policy.name);
        return Err(Defect::new(Pointer::spec(), "PolicyInvalid", message, "correct or delete the policy"));
    }
    let none = BTreeSet::new();
    let policies = context.attached.get(it.name).unwrap_or(&none);
    let mut all = Vec::new();
    for name in policies {
        match context.policies.get(name) {
            Some(Compiled::Rules(rules)) => all.extend(rules.iter().cloned()),
            Some(Compiled::Broken) => return Err(broken_policy(it, name)),
            None => return Err(missing_policy(name)),
        }
    }
    let allowed = allowed(it)?;
    let speaks = !policies.is_empty() || allowed.is_some();
    all.extend(allowed);
    Ok(speaks.then_some(all))
}

fn broken_policy(it: &Ours<'_>, policy: &ObjectName) -> Defect {
    let named = it.annotations.policies.iter().any(|name| **name == *policy.name);
    let at = if named { annotation("policies") } else { Pointer::spec() };
    let message = format!("policy `{}` is invalid", policy.name);
    Defect::new(at, "PolicyInvalid", message, format!("see the status of the Policy `{policy}`"))
}

fn missing_policy(policy: &ObjectName) -> Defect {
    let message = format!("there is no Policy `{}` in the namespace `{}`", policy.name, policy.namespace);
    let remedy = format!("create the Policy `{}`, or correct the annotation", policy.name);
    Defect::new(annotation("policies"), "PolicyNotFound", message, remedy)
}

/// The `allowed-` annotations as one Allow: all of them must hold, in each any entry.
fn allowed(it: &Ours<'_>) -> Result<Option<Rule>, Defect> {
    let list = &it.annotations;
    let described = Description {
        groups: Groups::new(parsed("allowed-groups", &list.allowed_groups, group)?),
        emails: parsed("allowed-emails", &list.allowed_emails, email)?.into(),
        email_domains: parsed("allowed-email-domains", &list.allowed_email_domains, domain)?.into(),
        ..Description::default()
    };
    Ok((described != Description::default()).then(|| Rule {
        name: format!("{}:allowed", it.name).into(),
        effect: Effect::Allow,
        request: RequestMatch::default(),
        principal: PrincipalMatch::Described(Box::new(described)),
    }))
}

fn parsed<T, E: ToString>(key: &str, texts: &[String], parse: fn(&str) -> Result<T, E>) -> Result<Vec<T>, Defect> {
    texts.iter().map(|text| parse(text)).collect::<Result<_, _>>().map_err(|error| {
        Defect::new(annotation(key), "AnnotationInvalid", error.to_string(), "correct the entry or remove it")
    })
}

/// Who signs people in: the provider that the Ingress names among those of its class, else the first of them. One that
/// cannot be used closes a route that needs to know who asks.
fn provider(
    it: &Ours<'_>,
    providers: &Providers,
    policy: &Policy,
    notes: &mut Notes,
) -> Result<Option<Arc<Provider>>, Defect> {
    let offered = &it.class.settings.providers;
    let named = it.annotations.provider.as_deref();
    let (name, at) = match named {
        Some(named) if offered.iter().any(|name| **name == *named) => (Some(named), annotation("provider")),
        Some(named) => {
            let message = format!("the class does not offer the provider `{named}`");
            let remedy = "name one of the class's providers, or remove the annotation";
            return Err(Defect::new(annotation("provider"), "ProviderNotFound", message, remedy));
        }
        None => (offered.first().map(|name| &**name), class_field()),
    };
    let needed = policy.rules.iter().any(|rule| rule.principal != PrincipalMatch::Anyone);
    match name.map(|name| (name, providers.get(name))) {
        Some((_, Some(Some(provider)))) => Ok(Some(Arc::clone(provider))),
        _ if !needed => Ok(None),
        None => {
            let message = "the class offers no provider, so nobody can sign in";
            notes.warning(at, "ProviderNotFound", message, "name a provider in the Portcullis of the class");
            Ok(None)
        }
        Some((name, found)) => {
            let state = if found.is_some() { "is invalid" } else { "does not exist" };
            let remedy = format!("see the status of the IdentityProvider `{name}`");
            Err(Defect::new(at, "ProviderInvalid", format!("provider `{name}` {state}"), remedy))
        }
    }
}

fn annotation(key: &str) -> Pointer {
    Pointer::annotation(&format!("{PREFIX}{key}"))
}

fn class_field() -> Pointer {
    Pointer::spec().to("ingressClassName")
}

impl Defect {
    fn new(at: Pointer, reason: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, reason, message: message.into(), remedy: remedy.into() }
    }
}
