//! Kubernetes objects, as a cluster administrator and an app team write them.

use serde_json::{Value, json};

use super::authority::Pair;
use super::provider::{CLIENT_ID, CLIENT_SECRET, ISSUER};

/// The namespace of the installation.
pub const INSTALLATION: &str = "portcullis-system";

/// The resources that an installation watches.
pub const WATCHED: &[&str] = &[
    "namespaces",
    "secrets",
    "services",
    "endpointslices",
    "ingressclasses",
    "ingresses",
    "identityproviders",
    "policies",
    "portcullises",
];

/// The port of every app.
pub const APP_PORT: u16 = 3000;

/// What the administrator writes: the class, its settings, and the provider with its client and its authority.
pub fn installation(authority: &str) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "portcullis"},
            "spec": {
                "controller": "portcullis.dev/ingress-controller",
                "parameters": {"apiGroup": "portcullis.dev", "kind": "Portcullis", "name": "default"},
            },
        }),
        json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "Portcullis",
            "metadata": {"name": "default"},
            "spec": {"providers": ["corp"], "access": {"default": "Deny"}},
        }),
        json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "IdentityProvider",
            "metadata": {"name": "corp"},
            "spec": {
                "issuer": ISSUER,
                "clientSecretRef": {"namespace": INSTALLATION, "name": "corp-client"},
                "caBundleRef": {"namespace": INSTALLATION, "name": "corp-ca"},
                "scopes": ["openid", "email", "profile", "groups", "offline_access"],
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": INSTALLATION, "name": "corp-client"},
            "stringData": {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": INSTALLATION, "name": "corp-ca"},
            "stringData": {"ca.crt": authority},
        }),
    ]
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A TLS Secret.
pub fn tls_secret(namespace: &str, name: &str, pair: &Pair) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.certificate, "tls.key": pair.key},
    })
}

/// A Service.
pub fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": APP_PORT}]},
    })
}

/// The endpoints of a Service.
pub fn endpoints(namespace: &str, service: &str, addresses: &[&str]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": format!("{service}-1"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": APP_PORT, "protocol": "TCP"}],
        "endpoints": addresses.iter().map(|address| json!({"addresses": [address]})).collect::<Vec<_>>(),
    })
}

/// An Ingress that sends a whole host to the Service of its own name, over the TLS Secret of the same name.
pub fn ingress(namespace: &str, name: &str, host: &str, annotations: &Value) -> Value {
    let backend = json!({"service": {"name": name, "port": {"name": "http"}}});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
        "spec": {
            "ingressClassName": "portcullis",
            "tls": [{"hosts": [host], "secretName": name}],
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    })
}

/// A Policy.
pub fn policy(namespace: &str, name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"rules": rules},
    })
}

/// A Policy that attaches itself to an Ingress.
pub fn attached(ingress: &str, mut policy: Value) -> Value {
    policy["spec"]["targetRefs"] = json!([{"group": "networking.k8s.io", "kind": "Ingress", "name": ingress}]);
    policy
}

/// The rules by which a group may do everything.
pub fn allow_group(group: &str) -> Value {
    json!([{"name": "members", "effect": "Allow", "principal": {"groups": [group]}}])
}
