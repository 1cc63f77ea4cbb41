//! The chart, rendered: its defaults are the objects of the manifests, each of its values has an effect, and what can have
//! none is refused; the API server takes what is rendered.

use std::fs;

use serde_json::Value;

use crate::support::bed::Bed;
use crate::support::cluster::in_repository;
use crate::support::objects::{self, INSTALLATION};

/// What is set, and what is rendered then, and not by default.
const EFFECTS: &[(&str, &str)] = &[
    ("image.repository=own/portcullis", r#"image: "own/portcullis:0.1.0""#),
    ("image.tag=0.2.0", r#"image: "portcullis:0.2.0""#),
    (
        "image.digest=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "portcullis@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ),
    ("image.pullPolicy=Always", "imagePullPolicy: Always"),
    ("image.pullSecrets={pull}", "imagePullSecrets:\n        - name: pull"),
    ("replicas=3", "replicas: 3"),
    ("autoscaling.enabled=true", "kind: HorizontalPodAutoscaler"),
    ("autoscaling.enabled=true,autoscaling.minReplicas=4", "minReplicas: 4"),
    ("autoscaling.enabled=true,autoscaling.maxReplicas=40", "maxReplicas: 40"),
    ("autoscaling.enabled=true,autoscaling.targetCPUUtilization=55", "averageUtilization: 55"),
    ("class.name=second", "kind: IngressClass\nmetadata:\n  name: second"),
    ("class.default=true", r#"ingressclass.kubernetes.io/is-default-class: "true""#),
    ("class.controller=example.com/second", "--controller=example.com/second"),
    ("class.settings=second", "kind: Portcullis\nmetadata:\n  name: second"),
    ("class.spec.providers={corp}", "providers:\n  - corp"),
    ("watchNamespaces={shop}", "name: portcullis-served\n  namespace: shop"),
    ("watchNamespaces={shop}", "--watch-namespace=shop"),
    ("watchIngressWithoutClass=true", "--watch-ingress-without-class"),
    ("publishService=edge/balancer", "--publish-service=edge/balancer"),
    ("publishService=edge/balancer,watchNamespaces={shop}", "name: portcullis-publish\n  namespace: edge"),
    ("watchNamespaces={shop}", "resourceNames: [portcullis]\n  verbs: [list, watch]"),
    (
        "publishAddresses={192.0.2.1,a.example.com}",
        "--publish-address=192.0.2.1\n        - --publish-address=a.example.com",
    ),
    ("publicHttpsPort=8443", "--public-https-port=8443"),
    ("defaultCertificate=tls/default", "--default-certificate=tls/default"),
    ("maxPolicyAge=1h", "--max-policy-age=1h"),
    ("sessions.store=redis,sessions.redisSecret=redis", "--redis-secret=portcullis-system/redis"),
    ("sessions.store=memory,replicas=1", "--session-store=memory"),
    ("sessions.namespace=sessions", "--session-store=secrets:sessions"),
    ("sessions.namespace=sessions", "name: portcullis-sessions\n  namespace: sessions"),
    ("sessions.staleness=1m", "--session-staleness=1m"),
    ("log.format=text", "--log=text"),
    ("log.level=debug", "--log-level=debug"),
    ("tracing.endpoint=http://collector:4318", "--otlp-endpoint=http://collector:4318"),
    ("tracing.endpoint=http://collector:4318,tracing.sampleRatio=0.25", "--otlp-sample-ratio=0.25"),
    ("metricsIngresses=50", "--metrics-ingresses=50"),
    ("service.type=NodePort", "type: NodePort"),
    ("service.annotations.a=b", "annotations:\n    a: b"),
    ("service.loadBalancerClass=example.com/lb", "loadBalancerClass: example.com/lb"),
    ("service.loadBalancerSourceRanges={192.0.2.0/24}", "loadBalancerSourceRanges:\n    - 192.0.2.0/24"),
    ("service.externalTrafficPolicy=Cluster", "externalTrafficPolicy: Cluster"),
    ("service.nodePorts.http=30080", "nodePort: 30080"),
    ("service.nodePorts.https=30443", "nodePort: 30443"),
    ("hostPorts.enabled=true", "maxSurge: 0"),
    ("hostPorts.enabled=true,hostPorts.http=8080", "hostPort: 8080"),
    ("hostPorts.enabled=true,hostPorts.https=8443", "hostPort: 8443"),
    ("resources.limits.memory=2Gi", "memory: 2Gi"),
    ("preStopSeconds=15", "terminationGracePeriodSeconds: 55"),
    ("spread.keys={rack}", "topologyKey: rack"),
    ("spread.whenUnsatisfiable=DoNotSchedule", "whenUnsatisfiable: DoNotSchedule"),
    ("podDisruptionBudget.maxUnavailable=50%", "maxUnavailable: 50%"),
    ("networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus", "- port: admin\n    from:"),
    ("serviceMonitor.enabled=true", "kind: ServiceMonitor"),
    ("serviceMonitor.enabled=true,serviceMonitor.interval=7s", "interval: 7s"),
    ("serviceMonitor.enabled=true,serviceMonitor.labels.release=one", "release: one"),
    ("podAnnotations.a=b", "annotations:\n        a: b"),
    ("podLabels.a=b", "        a: b"),
    ("nodeSelector.disk=fast", "nodeSelector:\n        disk: fast"),
    ("tolerations[0].operator=Exists", "tolerations:\n        - operator: Exists"),
    (
        "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=rack",
        "affinity:\n        podAntiAffinity:",
    ),
    ("priorityClassName=high", "priorityClassName: high"),
];

/// What of these does not go with the rest, or makes an object of a kind that the cluster has not.
const ALONE: &[&str] = &["sessions.store=", "service.type=", "serviceMonitor."];

/// What is set, and what is rendered by default, and not then.
const WITHOUT: &[(&str, &str)] = &[
    ("podDisruptionBudget.enabled=false", "kind: PodDisruptionBudget"),
    ("replicas=1", "kind: PodDisruptionBudget"),
    ("networkPolicy.enabled=false", "kind: NetworkPolicy"),
    ("preStopSeconds=0", "preStop:"),
    ("service.type=ClusterIP", "externalTrafficPolicy:"),
    ("watchNamespaces={shop}", "Secrets are watched by type"),
    ("publishAddresses={192.0.2.1}", "--publish-service="),
    ("service.type=NodePort", "--publish-service="),
];

/// What is refused, and where.
const REFUSED: &[(&str, &str)] = &[
    ("replica=3", "'replica' not allowed"),
    ("image.tg=1", "'/image'"),
    ("sessions.store=disk", "/sessions/store"),
    ("sessions.store=redis", "/sessions/redisSecret"),
    ("sessions.redisSecret=redis", "/sessions/redisSecret"),
    ("sessions.store=redis,sessions.redisSecret=redis,sessions.namespace=sessions", "/sessions/namespace"),
    ("sessions.store=memory", "/replicas"),
    ("sessions.store=memory,replicas=1,autoscaling.enabled=true", "/autoscaling/enabled"),
    ("service.type=NodePort,service.loadBalancerClass=example.com/lb", "/service/loadBalancerClass"),
    ("service.type=ClusterIP,service.nodePorts.http=30080", "/service/nodePorts/http"),
    ("defaultCertificate=default", "/defaultCertificate"),
    ("publishService=balancer", "/publishService"),
    ("watchNamespaces={a/b}", "/watchNamespaces/0"),
    ("publicHttpsPort=0", "/publicHttpsPort"),
];

/// Labels that tell who installed.
const OF_HELM: [&str; 4] =
    ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"];

pub fn journey(bed: &Bed) {
    bed.cluster.helm(&["lint", "--strict", "charts/portcullis"]);
    assert_eq!(rendered(bed), kustomized(bed), "the chart's defaults and the manifests are the same objects");
    let default = render(bed, &[]);
    for (set, text) in EFFECTS {
        let rendered = render(bed, &["--set", set]);
        assert!(rendered.contains(text), "`{set}` renders no `{text}`:\n{rendered}");
        assert!(!default.contains(text), "`{text}` is there without `{set}`");
    }
    for (set, text) in WITHOUT {
        assert!(!render(bed, &["--set", set]).contains(text), "`{set}` still renders `{text}`");
        assert!(default.contains(text), "`{text}` is not there by default");
    }
    for (set, place) in REFUSED {
        let reason = bed.cluster.helm_refuses(&["template", "portcullis", "charts/portcullis", "--set", set]);
        assert!(reason.contains(place), "`{set}` is refused for another reason: {reason}");
    }
    the_server_takes(bed, &["--set", "class.name=second"]);
    bed.cluster.apply(&["shop", "sessions", "edge"].map(objects::namespace));
    let together = EFFECTS.iter().map(|(set, _)| *set).filter(|set| !ALONE.iter().any(|part| set.starts_with(part)));
    let together: Vec<_> = together.flat_map(|set| ["--set", set]).collect();
    the_server_takes(bed, &together);
    let untold: Vec<_> = values().into_iter().filter(|path| !is_told(path)).collect();
    assert_eq!(untold, Vec::<String>::new(), "values without an effect in the tables above");
}

/// The API server itself finds nothing wrong with any object of a second installation.
fn the_server_takes(bed: &Bed, set: &[&str]) {
    let second = ["template", "second", "charts/portcullis", "--namespace", INSTALLATION];
    let rendered = bed.cluster.helm(&[&second, set].concat());
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).expect("it is YAML");
    bed.cluster.apply_with(&["--dry-run=server", "--validate=strict"], &objects);
}

/// Whether a table above sets a value.
fn is_told(path: &str) -> bool {
    let sets = EFFECTS.iter().chain(WITHOUT).flat_map(|(sets, _)| sets.split(','));
    sets.filter_map(|set| set.split('=').next()).any(|set| set.starts_with(path))
}

/// The paths of all values; what belongs to Kubernetes is one value.
fn values() -> Vec<String> {
    let text = fs::read_to_string(in_repository("charts/portcullis/values.yaml")).expect("the chart has values");
    let values: Value = serde_saphyr::from_str(&text).expect("it is YAML");
    let mut paths = Vec::new();
    for (name, value) in values.as_object().expect("values have names") {
        match value.as_object() {
            Some(fields) if name != "resources" && !fields.is_empty() => {
                paths.extend(fields.keys().map(|field| format!("{name}.{field}")));
            }
            _ => paths.push(name.clone()),
        }
    }
    paths
}

/// The chart with further arguments.
fn render(bed: &Bed, arguments: &[&str]) -> String {
    let installation = ["template", "portcullis", "charts/portcullis", "--namespace", INSTALLATION];
    bed.cluster.helm(&[&installation, arguments].concat())
}

/// The objects of the chart with its defaults.
fn rendered(bed: &Bed) -> Vec<Value> {
    comparable(&render(bed, &["--include-crds"]))
}

/// The objects of the manifests, without the namespace, which Helm has from its command line.
fn kustomized(bed: &Bed) -> Vec<Value> {
    let mut objects = comparable(&bed.cluster.kubectl(&["kustomize", &in_repository("manifests")]));
    objects.retain(|object| object["kind"] != "Namespace");
    objects
}

/// Objects without the labels of Helm, in the order of their names.
fn comparable(yaml: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("it is YAML");
    objects.iter_mut().for_each(without_labels_of_helm);
    // Only the chart labels all of its objects.
    for object in &mut objects {
        object["metadata"].as_object_mut().expect("objects have it").remove("labels");
    }
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

fn without_labels_of_helm(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_HELM.contains(&&**name));
            fields.values_mut().for_each(without_labels_of_helm);
        }
        Value::Array(values) => values.iter_mut().for_each(without_labels_of_helm),
        _ => {}
    }
}
