//! The main job: an Ingress becomes a signed-in, authorized, proxied request, in a browser, and signing out ends it.

use std::process::Command;

use serde_json::json;

use crate::support::app::GREETING;
use crate::support::bed::Bed;
use crate::support::browser::Browser;
use crate::support::eventually::{SOON, eventually};
use crate::support::objects;
use crate::support::program::output;
use crate::support::provider::{GUEST, ISSUER, STAFF};
use crate::support::replicas::Replicas;
use crate::support::scene::{APP, HOST, Scene};

/// A page inside the app.
const DEEP_LINK: &str = "https://app.localhost:8443/reports?month=7";

pub async fn journey(bed: &Bed, name: &'static str, replicas: Replicas) {
    let scene = Scene::open_on(replicas, bed, name, 300).await;
    bed.cluster.apply(&[objects::policy(scene.namespace, "staff", &objects::allow_group("staff"))]);
    let annotations = json!({
        "portcullis.dev/policies": "staff",
        "portcullis.dev/identity-headers": "user,email,groups",
    });
    scene.publish("app", HOST, annotations).await;

    let foreign = scene.stored_sessions();
    let mut browser = Browser::start(&scene.folder, &bed.authority);
    staff_reach_the_deep_link(&scene, &mut browser);
    signing_out_ends_it(&scene, &mut browser, &foreign).await;
    guests_are_told_why_not(&scene, &mut browser).await;
    scene.stop().await;
}

fn staff_reach_the_deep_link(scene: &Scene, browser: &mut Browser) {
    browser.open(DEEP_LINK);
    assert!(browser.url().starts_with(ISSUER), "asked to sign in at the provider, not at {}", browser.url());
    browser.sign_in(STAFF.login, APP);
    assert_eq!(browser.url(), DEEP_LINK);
    let page = browser.text();
    browser.picture("app");
    assert!(page.contains(GREETING), "{page}");

    let received = scene.app.received();
    let request = received.iter().find(|request| request.target == "/reports?month=7").expect("it reached the app");
    let field = |name: &str| request.fields.get(name).map(String::as_str);
    assert_eq!(field("x-auth-request-user"), Some(STAFF.login));
    assert_eq!(field("x-auth-request-email"), Some(STAFF.email));
    assert_eq!(field("x-auth-request-groups"), Some(STAFF.group));
    assert_eq!(field("x-forwarded-proto"), Some("https"));
    let cookie = browser.cookie(HOST, "__Host-portcullis").expect("the browser has a session");
    assert!(cookie.len() <= 100, "{} bytes", cookie.len());
    for request in received {
        let text = format!("{request:?}");
        assert!(!text.contains("__Host-portcullis") && !text.contains(&cookie), "a cookie of ours at the app: {text}");
    }
}

async fn signing_out_ends_it(scene: &Scene<'_>, browser: &mut Browser, foreign: &[String]) {
    let cookie = browser.cookie(HOST, "__Host-portcullis").expect("still signed in");
    let own: Vec<_> = scene.stored_sessions().into_iter().filter(|name| !foreign.contains(name)).collect();
    let [record] = &own[..] else { panic!("one session, so one record, not {own:?}") };
    assert_eq!(replay(scene, &cookie), "200");

    browser.open(&format!("{APP}/.portcullis/"));
    assert!(browser.text().contains(STAFF.email), "{}", browser.text());
    browser.picture("who-am-i");
    browser.press("Sign out", ISSUER);
    browser.press("Sign out", &format!("{APP}/.portcullis/signed-out"));
    browser.picture("signed-out");
    assert_eq!(browser.cookie(HOST, "__Host-portcullis"), None);

    browser.open(DEEP_LINK);
    assert!(browser.url().starts_with(ISSUER), "asked again, not let in at {}", browser.url());
    // The balancer takes replicas in turn.
    eventually("the end of the old cookie at every replica", SOON, async || {
        ["401"; 2].iter().all(|&status| replay(scene, &cookie) == status).then_some(())
    })
    .await;
    eventually("the end of the session's record", SOON, async || {
        (!scene.stored_sessions().contains(record)).then_some(())
    })
    .await;
}

async fn guests_are_told_why_not(scene: &Scene<'_>, browser: &mut Browser) {
    let before = scene.app.received().len();
    browser.open(DEEP_LINK);
    browser.sign_in(GUEST.login, APP);
    let page = browser.text();
    browser.picture("denied");
    assert!(page.contains(GUEST.email), "it says who was refused: {page}");
    assert_eq!(scene.app.received().len(), before, "nothing reaches the app");

    let id = page.split_whitespace().find(|word| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let id = id.unwrap_or_else(|| panic!("no decision id on the page: {page}"));
    let event = eventually("the denial in the audit file", SOON, async || {
        let mut events = scene.audit().into_iter();
        events.find(|event| event["id"] == id && event["kind"] == "AuthorizationDenied")
    })
    .await;
    assert_eq!(event["subject"], json!({"iss": ISSUER, "sub": GUEST.login}));
    assert_eq!((&event["host"], &event["path"]), (&json!(HOST), &json!("/reports")));
}

/// The status that curl gets for the deep link with an old cookie.
fn replay(scene: &Scene, cookie: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert"]);
    curl.arg(&scene.bed.authority.file).args(["--header", &format!("Cookie: __Host-portcullis={cookie}"), DEEP_LINK]);
    output(&mut curl)
}
