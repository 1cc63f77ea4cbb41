//! The people of the demo: who can be signed in as, and what the demo provider says of each.

use serde_json::{Value, json};

/// Somebody to sign in as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persona {
    /// The subject, and what is typed into a form.
    pub subject: &'static str,
    /// The full name.
    pub name: &'static str,
    /// The verified e-mail address.
    pub email: &'static str,
    /// The groups.
    pub groups: &'static [&'static str],
    /// What to try as this one.
    pub hint: &'static str,
}

/// Everybody.
pub const PERSONAS: [Persona; 3] = [
    Persona {
        subject: "sam",
        name: "Sam Staff",
        email: "sam@example.com",
        groups: &["staff"],
        hint: "opens the app for everyone signed in, is denied at the one for finance",
    },
    Persona {
        subject: "fiona",
        name: "Fiona Finance",
        email: "fiona@example.com",
        groups: &["staff", "finance"],
        hint: "opens every app",
    },
    Persona {
        subject: "otto",
        name: "Otto Outsider",
        email: "otto@elsewhere.example",
        groups: &[],
        hint: "has no group at all",
    },
];

impl Persona {
    /// The persona of a subject.
    pub fn of(subject: &str) -> Option<Self> {
        PERSONAS.into_iter().find(|persona| persona.subject == subject)
    }

    /// The claims of OpenID Connect Core section 5.1, and `groups`.
    pub fn claims(&self) -> Value {
        json!({
            "sub": self.subject, "name": self.name, "preferred_username": self.subject,
            "email": self.email, "email_verified": true, "groups": self.groups,
        })
    }
}
