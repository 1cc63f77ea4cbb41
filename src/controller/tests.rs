use serde_json::json;
use tokio::time::timeout;

use super::world::{ObjectName, Stored};
use super::*;

fn owner(awaited: usize) -> (Owner, latest::Receiver<Option<Arc<Live>>>) {
    let (live, lives) = latest::channel(None);
    let (publisher, _) = crate::snapshot::channel();
    let defaults = Defaults {
        controller: "portcullis.dev/ingress-controller".to_owned(),
        without_class: false,
        installation_namespace: "portcullis-system".to_owned(),
        default_certificate: None,
        self_signed: None,
        dev: false,
    };
    let owner = Owner {
        keeper: Keeper::default(),
        publisher,
        metrics: Metrics::new(),
        defaults,
        complete: None,
        pages: Arc::default(),
        backends: Vec::new(),
        live,
        awaited,
        due: Effect::Nothing,
    };
    (owner, lives)
}

fn service(name: &str) -> Change {
    let service = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}});
    Change::Service(
        ObjectName::new("shop", name),
        Some(Stored::Decoded(Arc::new(serde_json::from_value(service).unwrap()))),
    )
}

fn batch(changes: Vec<Change>) -> Batch {
    Batch { changes, ..Batch::default() }
}

fn first_list() -> Batch {
    Batch { first_list: true, ..Batch::default() }
}

#[test]
fn nothing_is_compiled_before_every_first_list() {
    let (mut owner, lives) = owner(2);
    for early in [batch(vec![service("a")]), first_list(), batch(vec![service("b")])] {
        owner.take(early);
        owner.act();
        assert!(lives.borrow().is_none());
    }
    owner.take(first_list());
    owner.act();
    let live = lives.borrow().clone().unwrap();
    assert_eq!((live.generation, live.world.services.len()), (1, 2));
}

#[test]
fn what_is_equal_is_not_published_again_and_what_was_compiled_is_passed_on() {
    let (mut owner, lives) = owner(1);
    owner.take(first_list());
    owner.act();
    owner.take(batch(vec![service("a")]));
    owner.act();
    let live = lives.borrow().clone().unwrap();
    assert_eq!((live.generation, live.world.services.len()), (1, 1), "no route, so nothing new for the data plane");
}

#[test]
fn a_defect_of_a_slice_is_in_the_report() {
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "a"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["169.254.169.254"]}],
    });
    let slice = Some(Stored::Decoded(Arc::new(serde_json::from_value(slice).unwrap())));
    let (mut owner, lives) = owner(1);
    owner.take(batch(vec![service("a"), Change::Slice(ObjectName::new("shop", "a-1"), slice)]));
    owner.take(first_list());
    owner.act();
    let said: Vec<_> = lives.borrow().as_ref().unwrap().complaints.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["error: EndpointSlice shop/a-1: endpoints[0].addresses[0]: `169.254.169.254` is a link-local address; list \
             addresses of pods or servers, as IPv4 or IPv6, that are no part of this node"]
    );
}

#[tokio::test]
async fn a_burst_is_taken_whole_and_has_an_end() {
    let (mut owner, _lives) = owner(1);
    let (sender, mut batches) = mpsc::channel(QUEUE);
    for at in 0..20 {
        sender.send(batch(vec![service(&format!("s{at}"))])).await.unwrap();
    }
    owner.take_burst(&mut batches).await;
    assert_eq!(owner.keeper.world().services.len(), 20);

    let endless = tokio::spawn(async move { while sender.send(batch(vec![service("again")])).await.is_ok() {} });
    timeout(HOLD * 60, owner.take_burst(&mut batches)).await.expect("no change waits for ever");
    endless.abort();
}

#[tokio::test]
async fn a_folder_goes_live() {
    let (live, mut lives) = latest::channel(None);
    let (publisher, pending) = crate::snapshot::channel();
    let (owner, _) = owner(0);
    let controller = Controller {
        source: Source::Folder(Folder::embedded(&[("empty.yaml", "")])),
        publisher,
        metrics: Metrics::new(),
        defaults: owner.defaults,
        own_addresses: Box::default(),
        complete: None,
    };
    let running = tokio::spawn(controller.run(live));
    let live = lives.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!((live.generation, live.complaints.len()), (1, 0));
    assert_eq!(pending.first().await.unwrap().generation(), 1);
    running.abort();
}
