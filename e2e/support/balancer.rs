//! A balancer of connections that knows nothing of what goes over them, as kube-proxy is one.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{Api, ListParams};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::bed::Bed;
use super::controller;
use super::eventually::PAUSE;
use super::objects::INSTALLATION;

/// A running balancer. Dropping it closes its door; connections that it has made go on.
pub struct Balancer {
    task: JoinHandle<()>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    targets: Vec<SocketAddr>,
    /// Where the last connection of each caller was led.
    led: HashMap<IpAddr, SocketAddr>,
}

impl Balancer {
    /// Listens, and takes the targets in turn.
    pub async fn start(address: &str, targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        let state = Arc::new(Mutex::new(State { targets, led: HashMap::new() }));
        let task = tokio::spawn(balance(listener, Arc::clone(&state)));
        Self { task, state }
    }

    /// Sends further connections to these.
    pub fn lead_to(&self, targets: Vec<SocketAddr>) {
        self.state.lock().expect("nobody panics with it").targets = targets;
    }

    /// Where the last connection of a caller was led.
    pub fn led(&self, caller: IpAddr) -> Option<SocketAddr> {
        self.state.lock().expect("nobody panics with it").led.get(&caller).copied()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The way in from outside: the address of the Service's load balancer, which leads to the pods that its endpoints name
/// as ready.
pub struct Door {
    task: JoinHandle<()>,
}

impl Door {
    /// Opens it at 127.0.0.1:443.
    pub async fn open(bed: &Bed) -> Self {
        let slices: Api<EndpointSlice> = Api::namespaced(controller::admin(&bed.cluster).await, INSTALLATION);
        let balancer = Balancer::start("127.0.0.1:443", Vec::new()).await;
        let task = tokio::spawn(async move {
            let of_service = ListParams::default().labels("kubernetes.io/service-name=portcullis");
            loop {
                if let Ok(list) = slices.list(&of_service).await {
                    balancer.lead_to(list.iter().flat_map(ready).collect());
                }
                sleep(PAUSE).await;
            }
        });
        Self { task }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where the endpoints that are ready take HTTPS.
fn ready(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let mut ports = slice.ports.iter().flatten().filter(|port| port.name.as_deref() == Some("https"));
    let Some(port) = ports.find_map(|port| port.port?.try_into().ok()) else { return Vec::new() };
    let is_ready = |endpoint: &&Endpoint| endpoint.conditions.as_ref().is_some_and(|it| it.ready == Some(true));
    let addresses = slice.endpoints.iter().filter(is_ready).flat_map(|endpoint| &endpoint.addresses);
    addresses.map(|address| SocketAddr::new(address.parse().expect("an address"), port)).collect()
}

async fn balance(listener: TcpListener, state: Arc<Mutex<State>>) {
    for turn in 0_usize.. {
        let Ok((mut client, caller)) = listener.accept().await else { return };
        // Without a target, or where it does not answer, the connection is closed.
        let Some(target) = state.lock().expect("nobody panics with it").lead(caller.ip(), turn) else { continue };
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(target).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

impl State {
    fn lead(&mut self, caller: IpAddr, turn: usize) -> Option<SocketAddr> {
        let target = *self.targets.get(turn.checked_rem(self.targets.len())?)?;
        self.led.insert(caller, target);
        Some(target)
    }
}
