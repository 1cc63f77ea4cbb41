//! Every page in every form, whole.

use http::header::{CONTENT_SECURITY_POLICY, SET_COOKIE};

use crate::identity::{Email, Groups, Identity, Issuer, Subject};

use super::super::rejection::Refusal;
use super::*;

const ID: RequestId = RequestId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

fn ada() -> Principal {
    Principal {
        identity: Identity {
            issuer: Issuer::from("https://id.example.com".to_owned()),
            subject: Subject::from("4711".to_owned()),
        },
        email: Email::parse("ada@example.com"),
        name: Some("Ada <b>Lovelace</b> & \"Co\"".into()),
        preferred_username: Some("ada\u{1b}[31m".into()),
        groups: Groups::new(["staff", "</dd><script>alert(1)</script>"]),
        claims: Default::default(),
    }
}

fn shown(response: &Response<Bytes>) -> String {
    let head: Vec<_> =
        response.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    let body = std::str::from_utf8(response.body()).unwrap();
    format!("{}\n{}\n\n{body}", response.status(), head.join("\n"))
}

fn in_every_form(page: &Page) -> String {
    [Form::Html, Form::Json, Form::Text].map(|form| shown(&page.respond(form))).join("\n=====\n")
}

#[test]
fn who_am_i() {
    insta::assert_snapshot!(in_every_form(&Page::signed_in(&ada(), "2026-03-01T12:00:00.5Z".parse().unwrap(), ID)));
}

#[test]
fn nobody_is_signed_in() {
    insta::assert_snapshot!(in_every_form(&Page::anonymous(ID)));
}

#[test]
fn denied() {
    let notice = Refusal::Denied.named("no_rule_allows").notice();
    insta::assert_snapshot!(in_every_form(&Page::denied(&notice, &ada(), ID)));
}

#[test]
fn sign_in_failed() {
    let notice = Refusal::BadSignIn.named("attempt_expired").notice();
    let page = Page::failed_sign_in(&notice, &ReturnPath::parse("/reports?month=5&q=\"x\""), ID);
    insta::assert_snapshot!(in_every_form(&page));
}

#[test]
fn sign_in_unavailable() {
    let page = Page::failed_sign_in(&Refusal::ProviderUnreachable.notice(), &ReturnPath::front_page(), ID);
    insta::assert_snapshot!(in_every_form(&page));
}

#[test]
fn sign_out() {
    insta::assert_snapshot!(in_every_form(&Page::confirm_sign_out(ID)));
}

#[test]
fn signed_out() {
    insta::assert_snapshot!(in_every_form(&Page::signed_out(ID)));
}

#[test]
fn challenge() {
    let url = "https://app.example.com/.portcullis/login?return=%2F";
    insta::assert_snapshot!(shown(&Page::challenge(&Refusal::SignInRequired.notice(), url, ID)));
}

#[test]
fn redirect_and_stylesheet_heads() {
    let redirect = redirect(StatusCode::SEE_OTHER, "https://id.example.com/authorize?a=b");
    let mut stylesheet = stylesheet();
    *stylesheet.body_mut() = Bytes::new();
    insta::assert_snapshot!(format!("{}\n=====\n{}", shown(&redirect), shown(&stylesheet)));
}

#[test]
fn every_refusal_has_a_page() {
    let lines = Refusal::ALL.iter().map(|refusal| {
        let page = Page::refusal(&refusal.notice(), ID);
        assert!(page.respond(Form::Html).headers().get(SET_COOKIE).is_none());
        let retry = page.retry_after.map_or(String::new(), |seconds| format!(" (again after {seconds} s)"));
        let notice = refusal.notice();
        format!(
            "{} {}{retry}: {}. {} {}",
            notice.status.as_u16(),
            notice.reason,
            notice.title,
            notice.text,
            notice.remedy
        )
    });
    let lines: Vec<_> = lines.collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn no_page_needs_a_script_or_an_inline_style() {
    for page in [
        Page::signed_in(&ada(), Timestamp::UNIX_EPOCH, ID),
        Page::confirm_sign_out(ID),
        Page::refusal(&Refusal::NotFound.notice(), ID),
    ] {
        let response = page.respond(Form::Html);
        let html = std::str::from_utf8(response.body()).unwrap();
        let handlers = html.split(" on").skip(1).any(|rest| rest.split([' ', '>']).next().unwrap().contains('='));
        assert!(!handlers && ["<script", "<style", "style="].iter().all(|part| !html.contains(part)));
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; ") && !policy.contains("unsafe"));
    }
}

#[test]
fn the_stylesheet_holds_both_themes_to_the_contrast_of_wcag_aa() {
    let luminance = |hex: &str| {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    };
    let (light, dark) = STYLESHEET.split_once("prefers-color-scheme: dark").unwrap();
    for theme in [light, dark] {
        let colour = |name: &str| {
            let value = theme.split_once(&format!("--{name}: #")).unwrap().1;
            luminance(&value[..6])
        };
        let pairs = [("ink", "card"), ("quiet", "card"), ("accent", "card"), ("on-accent", "accent"), ("ink", "paper")];
        for (ink, paper) in pairs {
            let (ink, paper) = (colour(ink), colour(paper));
            let ratio = (ink.max(paper) + 0.05) / (ink.min(paper) + 0.05);
            assert!(ratio >= 4.5, "{ratio:.2}");
        }
    }
}
