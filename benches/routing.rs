//! What reading a target and finding its route cost, among 100, 10,000 and 50,000 routes: the same.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::host::{Host, HostMatch};
use portcullis::path::{PathMatch, Target};
use portcullis::route::{Access, Route, RouteSettings, RouteTable};

/// Five paths a host.
fn routes(count: usize) -> Vec<Arc<Route>> {
    let access = Access::open();
    let settings = Arc::new(RouteSettings::default());
    let paths = ["/", "/api", "/api/v1", "/static/assets", "/reports"]
        .map(|path| PathMatch::prefix(path).expect("a plain path"));
    let route = |at: usize| Route {
        ingress: format!("shop/app-{at}").into(),
        host: HostMatch::parse(&format!("app-{}.example.com", at / paths.len())).expect("a host"),
        path: Some(paths[at % paths.len()].clone()),
        access: access.clone(),
        backend: None,
        settings: Arc::clone(&settings),
    };
    (0..count).map(|at| Arc::new(route(at))).collect()
}

fn lookups(criterion: &mut Criterion) {
    for count in [100, 10_000, 50_000] {
        let table = RouteTable::new(routes(count));
        let host = Host::parse(&format!("app-{}.example.com", count / 10)).expect("a host");
        for (name, target) in [("plain path", "/api/v1/things/7/parts"), ("two readings", "/api/v1/things%2F7/parts")] {
            let target = Target::parse(target).expect("a target");
            criterion.bench_function(&format!("find/{count}/{name}"), |bencher| {
                bencher.iter(|| table.find(black_box(&host), black_box(target.path())).is_ok());
            });
        }
    }
}

fn parses(criterion: &mut Criterion) {
    for (name, target) in [("plain", "/api/v1/things/7?page=2"), ("two readings", "/api/v1/things%2f7?page=2")] {
        criterion.bench_function(&format!("parse target/{name}"), |bencher| {
            bencher.iter(|| Target::parse(black_box(target)).is_ok());
        });
    }
    criterion
        .bench_function("parse host", |bencher| bencher.iter(|| Host::parse(black_box("app-1.example.com")).is_ok()));
}

fn builds(criterion: &mut Criterion) {
    let routes = routes(10_000);
    criterion.bench_function("build/10000", |bencher| bencher.iter(|| RouteTable::new(routes.iter().cloned())));
}

criterion_group!(benches, lookups, parses, builds);
criterion_main!(benches);
