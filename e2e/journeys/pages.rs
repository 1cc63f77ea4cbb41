//! Every page of ours in a browser: readable for everybody, light and dark, on a desk and on a phone.

use serde_json::json;

use crate::support::bed::Bed;
use crate::support::browser::Browser;
use crate::support::eventually::{SOON, eventually};
use crate::support::provider::GUEST;
use crate::support::scene::{APP, NEIGHBOUR, NEIGHBOUR_APP, Scene};

pub async fn journey(bed: &Bed) {
    let scene = Scene::open(bed, "pages", 300).await;
    scene.publish_for_staff().await;
    scene.publish("other", NEIGHBOUR, json!({"portcullis.dev/access": "public"})).await;
    let mut browser = Browser::start(&scene.folder, &bed.authority);

    let own = |path: &str| format!("{APP}/.portcullis/{path}");
    is_for_everybody(&mut browser, "nobody", &own(""), 200);
    is_for_everybody(&mut browser, "not-found", &own("nothing"), 404);
    is_for_everybody(&mut browser, "sign-in-error", &own("callback/corp?error=access_denied"), 400);
    is_for_everybody(&mut browser, "sign-out", &own("logout"), 200);
    is_for_everybody(&mut browser, "signed-out", &own("signed-out"), 200);
    browser.open(APP);
    browser.sign_in(GUEST.login, APP);
    is_for_everybody(&mut browser, "denied", APP, 403);
    is_for_everybody(&mut browser, "who-am-i", &own(""), 200);

    let annotate = ["annotate", "ingress", "other", "portcullis.dev/acess=public", "--namespace", scene.namespace];
    scene.bed.cluster.kubectl(&annotate);
    eventually("the neighbour to be closed", SOON, async || (browser.open(NEIGHBOUR_APP) == 503).then_some(())).await;
    is_for_everybody(&mut browser, "unavailable", NEIGHBOUR_APP, 503);
    drop(browser);
    scene.portcullis.stop().await;
}

/// The page has nothing in anybody's way, in any of its looks, each of which is kept as a picture.
fn is_for_everybody(browser: &mut Browser, name: &str, url: &str, status: u64) {
    for (look, scheme, width) in [("light", "light", 1280), ("dark", "dark", 1280), ("phone", "light", 320)] {
        browser.look(scheme, width);
        assert_eq!(browser.open(url), status, "{url}");
        browser.picture(&format!("{name}-{look}"));
        assert_eq!(browser.barriers(), json!([]), "{name}, {look}");
        assert!(browser.text().contains("Request number"), "{}", browser.text());
    }
}
