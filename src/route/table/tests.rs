//! Lookups: by host, by path, in both readings, among many.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::path::Target;
use crate::policy::Policy;
use crate::route::{Access, ClosedReason, RouteSettings};

/// An open route of this name; the path as a Policy writes it, empty for a default backend.
fn route(name: &str, host: &str, path: &str) -> Arc<Route> {
    route_with(name, host, path, Access::open())
}

fn route_with(name: &str, host: &str, path: &str, access: Access) -> Arc<Route> {
    Arc::new(Route {
        ingress: name.into(),
        host: HostMatch::parse(host).unwrap(),
        path: (!path.is_empty()).then(|| PathMatch::parse(path).unwrap()),
        access,
        backend: None,
        settings: Arc::new(RouteSettings::default()),
    })
}

fn table(routes: &[(&str, &str, &str)]) -> RouteTable {
    RouteTable::new(routes.iter().map(|(name, host, path)| route(name, host, path)))
}

fn find<'a>(table: &'a RouteTable, host: &str, path: &str) -> Result<&'a str, NotFound> {
    let host = Host::parse(host).unwrap();
    table.find(&host, Target::parse(path).unwrap().path()).map(|found| &*found.route.ingress)
}

#[test]
fn the_longest_path_wins_and_exact_goes_first() {
    let table = table(&[
        ("root", "a.test", "/"),
        ("foo", "a.test", "/foo"),
        ("foo-exact", "a.test", "exact:/foo"),
        ("foo-slash-exact", "a.test", "exact:/foo/"),
        ("foo-bar", "a.test", "/foo/bar/"),
    ]);
    for (path, name) in [
        ("/", "root"),
        ("/x", "root"),
        ("/foobar", "root"),
        ("/foo", "foo-exact"),
        ("/foo/", "foo-slash-exact"),
        ("/foo/x", "foo"),
        ("/foo/barx", "foo"),
        ("/foo/bar", "foo-bar"),
        ("/foo/bar/", "foo-bar"),
        ("/foo/bar/x/y/z/and/much/more/than/any/prefix", "foo-bar"),
        ("/foo?/foo/bar", "foo-exact"),
        ("/%66oo/x", "foo"),
    ] {
        assert_eq!(find(&table, "a.test", path), Ok(name), "{path}");
    }
}

#[test]
fn exact_host_then_wildcard_then_any() {
    let table = table(&[("any", "", "/"), ("wildcard", "*.a.test", "/"), ("exact", "x.a.test", "/")]);
    for (host, name) in [
        ("x.a.test", "exact"),
        ("X.A.test.", "exact"),
        ("y.a.test", "wildcard"),
        ("a.test", "any"),
        ("x.y.a.test", "any"),
        ("192.0.2.7", "any"),
        ("[::1]", "any"),
    ] {
        assert_eq!(find(&table, host, "/"), Ok(name), "{host}");
    }
}

#[test]
fn a_claimed_host_does_not_fall_through_to_rules_of_another() {
    let table = table(&[("any", "", "/"), ("wildcard", "*.a.test", "/"), ("exact", "x.a.test", "/only")]);
    assert_eq!(find(&table, "x.a.test", "/only/x"), Ok("exact"));
    assert_eq!(find(&table, "x.a.test", "/other"), Err(NotFound::Nothing));
}

#[test]
fn a_reserved_host_is_left_to_its_own_routes() {
    let reserved = Reserved {
        hosts: ["bare.a.test", "x.a.test", "*.b.test"].map(|host| HostMatch::parse(host).unwrap()).into(),
        below: [("kept.test", false), ("mine.kept.test", true)].map(|(it, any)| (Host::parse(it).unwrap(), any)).into(),
    };
    let routes = table(&[
        ("any", "", "/"),
        ("wildcard", "*.a.test", "/"),
        ("exact", "x.a.test", "/"),
        ("own", "x.kept.test", "/"),
    ]);
    let table = routes.clone().reserving(reserved);
    assert_ne!(table, routes);
    for (host, found) in [
        ("bare.a.test", Err(NotFound::Nothing)),
        ("x.a.test", Ok("exact")),
        ("y.a.test", Ok("wildcard")),
        ("y.b.test", Err(NotFound::Nothing)),
        ("x.y.b.test", Ok("any")),
        ("kept.test", Ok("any")),
        ("x.kept.test", Ok("own")),
        ("y.kept.test", Err(NotFound::Nothing)),
        ("z.y.kept.test", Err(NotFound::Nothing)),
        ("y.mine.kept.test", Ok("any")),
        ("z.y.mine.kept.test", Ok("any")),
        ("192.0.2.7", Ok("any")),
    ] {
        assert_eq!(find(&table, host, "/"), found, "{host}");
    }
}

#[test]
fn a_default_backend_takes_what_no_path_of_its_host_takes() {
    let table = table(&[
        ("own", "x.a.test", "/only"),
        ("own-default", "x.a.test", ""),
        ("bare", "y.a.test", "/only"),
        ("global", "", ""),
    ]);
    assert_eq!(find(&table, "x.a.test", "/other"), Ok("own-default"));
    assert_eq!(find(&table, "y.a.test", "/other"), Err(NotFound::Nothing));
    assert_eq!(find(&table, "unclaimed.test", "/"), Ok("global"));
    assert_eq!(find(&RouteTable::default(), "unclaimed.test", "/"), Err(NotFound::Nothing));
}

#[test]
fn the_oldest_route_of_a_place_wins() {
    let table = table(&[
        ("old", "a.test", "/foo"),
        ("young", "A.test.", "/foo/"),
        ("old-default", "a.test", ""),
        ("young-default", "a.test", ""),
    ]);
    assert_eq!(find(&table, "a.test", "/foo"), Ok("old"));
    assert_eq!(find(&table, "a.test", "/"), Ok("old-default"));
    assert_eq!(table.iter().count(), 2);
}

#[test]
fn readings_that_lead_elsewhere_are_ambiguous() {
    let routes = [
        ("root", "a.test", "/"),
        ("admin", "a.test", "/admin"),
        ("ab", "a.test", "exact:/a/b"),
        ("only", "b.test", "/x/y"),
    ];
    let table = table(&routes);
    for path in ["/admin%2Fx", "//admin", "/admin;x", "/%2561dmin", "/a%2Fb", "/a//b", "/a%5Cb"] {
        assert_eq!(find(&table, "a.test", path), Err(NotFound::Ambiguous), "{path}");
    }
    for (path, name) in
        [("/group%2Fproject", "root"), ("/admin/a%2Fb", "admin"), ("/admin//", "admin"), ("/a%2Fc", "root")]
    {
        assert_eq!(find(&table, "a.test", path), Ok(name), "{path}");
    }
    assert_eq!(find(&table, "b.test", "/x%2Fy"), Err(NotFound::Ambiguous));
    assert_eq!(find(&table, "b.test", "/z%2Fy"), Err(NotFound::Nothing));
}

#[test]
fn a_host_is_guarded_by_any_route_that_may_serve_it() {
    let closed = || Access::Closed(ClosedReason("because".into()));
    let guarded = || Access::Guarded { policy: Arc::new(Policy::authenticated()), provider: None };
    let guards = |table: &RouteTable, host| table.guards(&Host::parse(host).unwrap());
    let hosts = [
        route("open", "open.test", "/"),
        route("mixed", "mixed.test", "/"),
        route_with("mixed", "mixed.test", "/admin", guarded()),
        route_with("closed", "closed.test", "/", closed()),
        route_with("wildcard", "*.wild.test", "/", guarded()),
        route("under", "open.wild.test", "/"),
    ];
    let table = RouteTable::new(hosts.clone());
    assert_eq!(
        ["open.test", "mixed.test", "closed.test", "x.wild.test", "open.wild.test", "other.test"]
            .map(|host| guards(&table, host)),
        [false, true, true, true, false, false]
    );
    let with_default = RouteTable::new(
        hosts.into_iter().chain([route_with("global", "", "", guarded()), route("own-default", "open.test", "")]),
    );
    assert_eq!(
        ["open.test", "open.wild.test", "other.test", "[::1]"].map(|host| guards(&with_default, host)),
        [false, false, true, true]
    );
}

#[test]
fn routes_are_listed_in_order_of_precedence() {
    let table = table(&[
        ("7", "", ""),
        ("6", "", "/"),
        ("5", "*.test", "/"),
        ("4", "a.test", ""),
        ("3", "a.test", "/"),
        ("2", "a.test", "/foo"),
        ("1", "a.test", "exact:/foo"),
        ("shadowed", "a.test", "/foo/"),
    ]);
    let names: String = table.iter().map(|route| &*route.ingress).collect();
    assert_eq!(names, "1234567");
}

#[test]
fn tables_are_equal_when_their_routes_are() {
    let routes = [("a", "a.test", "/"), ("b", "b.test", "/")];
    let reversed = [routes[1], routes[0]];
    assert_eq!(table(&routes), table(&reversed));
    assert_ne!(table(&routes), table(&routes[..1]));
    assert_ne!(table(&[("a", "a.test", "/")]), table(&[("z", "a.test", "/")]));
}

#[test]
fn each_of_ten_thousand_routes_is_found() {
    let names: Vec<_> = (0..10_000).map(|at| format!("{at}")).collect();
    let place = |at: usize| match at % 4 {
        0 => (format!("h{at}.test"), "/".to_owned()),
        1 => (format!("*.w{at}.test"), format!("/p{at}")),
        2 => ("shared.test".to_owned(), format!("/a/p{at}")),
        _ => ("shared.test".to_owned(), format!("exact:/a/p{at}/x")),
    };
    let routes = names.iter().enumerate().map(|(at, name)| route(name, &place(at).0, &place(at).1));
    let table = RouteTable::new(routes);
    assert_eq!(table.iter().count(), names.len());
    for (at, name) in names.iter().enumerate() {
        let (host, path) = place(at);
        let (host, path) = (host.replace('*', "x"), path.replace("exact:", ""));
        assert_eq!(find(&table, &host, &path), Ok(name.as_str()));
    }
    assert_eq!(find(&table, "shared.test", "/a/p"), Err(NotFound::Nothing));
}

/// The route that the sentences of the documentation choose, by looking at every one.
fn naive<'a>(routes: &'a [Arc<Route>], host: &Host, path: &str) -> Option<&'a str> {
    let bucket = routes.iter().filter(|route| route.host.matches(host)).map(|route| &route.host).min()?;
    let at = |wanted: &HostMatch| routes.iter().filter(move |route| route.host == *wanted).collect::<Vec<_>>();
    let default = |host: &HostMatch| at(host).into_iter().find(|route| route.path.is_none());
    let matching = at(bucket).into_iter().filter(|route| route.path.as_ref().is_some_and(|rule| rule.matches(path)));
    let found = matching.min_by_key(|route| route.path.clone());
    found.or_else(|| default(bucket)).map(|route| &*route.ingress)
}

proptest! {
    #[test]
    fn a_lookup_finds_what_looking_at_every_route_finds(
        places in vec((select(&["", "*.t", "a.t", "b.t"][..]), select(&["", "/", "/x", "/x/y", "/x/y/z", "exact:/x", "exact:/x/", "exact:/"][..])), 0..12),
        host in select(&["a.t", "b.t", "c.t", "t", "[::1]"][..]),
        path in select(&["/", "/x", "/x/", "/x/y", "/x/yy", "/x/y/z/w", "/q", "/x%2Fy", "//x", "/x;p/y", "/q%2Fx"][..]),
    ) {
        let routes: Vec<_> = places.iter().enumerate().map(|(at, (host, path))| route(&at.to_string(), host, path)).collect();
        let table = RouteTable::new(routes.iter().cloned());
        let (name, path) = (Host::parse(host).unwrap(), Target::parse(path).unwrap().path().clone());
        let canonical = naive(&routes, &name, path.as_str());
        let lenient = path.lenient().map_or(canonical, |lenient| naive(&routes, &name, lenient));
        let expected = if canonical == lenient { canonical.ok_or(NotFound::Nothing) } else { Err(NotFound::Ambiguous) };
        prop_assert_eq!(table.find(&name, &path).map(|found| &*found.route.ingress), expected);
    }
}
