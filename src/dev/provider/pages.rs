//! The page that asks whom to sign in as: a plain form, no script.

use std::fmt::Write as _;

use crate::dev::personas::PERSONAS;

/// The page. Its form is posted back to the address that it has.
pub fn choose() -> String {
    let mut people = String::new();
    for persona in PERSONAS {
        let groups = if persona.groups.is_empty() { "no group".to_owned() } else { persona.groups.join(", ") };
        writeln!(
            people,
            "<p><button name=persona value={}><b>{}</b> {} ({groups})</button><br><small>{}</small></p>",
            persona.subject, persona.name, persona.email, persona.hint
        )
        .expect("a string takes everything");
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Demo provider</title><style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui;max-width:32rem;margin:3rem auto;\
         padding:0 1rem}}button{{font:inherit;padding:.5rem 1rem;width:100%;text-align:left}}</style>\
         <h1>Who are you today?</h1><p>This is the demo provider of <code>portcullis dev</code>. It asks for no password.</p>\
         <form method=post>{people}</form></html>\n"
    )
}
