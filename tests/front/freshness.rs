//! The control plane has lost sight of the API server for longer than it may.

use crate::house::House;

#[test]
fn what_is_older_than_it_may_be_closes_every_route_until_it_is_new_again() {
    let house = House::new();
    let mut browser = house.signed_in();
    let mut statuses = || ["app.test", "open.test"].map(|host| browser.get(host, "/", &[]).status);
    assert_eq!(statuses(), [200, 200]);
    house.sight.lost();
    house.wait(600);
    assert_eq!(statuses(), [200, 200], "ten minutes, and no longer");
    house.wait(1);
    let before = house.upstream.bytes();
    assert_eq!(statuses(), [503, 503]);
    let refused = house.browser().navigate("app.test", "/");
    assert_eq!((refused.status, refused.value("retry-after")), (503, "5"));
    assert_eq!(house.event(refused.value("x-request-id"))["reason"], "policies_stale");
    assert_eq!(house.upstream.bytes(), before, "bytes went upstream");
    assert_eq!(house.browser().navigate("app.test", "/.portcullis/").status, 200, "our own pages are told still");

    house.sight.seen();
    assert_eq!(statuses(), [200, 200]);
    assert!(house.upstream.bytes() > before);
}
