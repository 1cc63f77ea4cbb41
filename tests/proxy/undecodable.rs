//! An object of each kind that does not decode, as an API server of another version could send it: its own requests are
//! refused, the neighbour never notices, and the admin reads which object and field it is.

use crate::bad_objects::Answer::{Status, Untrusted};
use crate::bad_objects::{CERTIFICATE, CLASS, PROVIDER, Row, SIGNED_IN, each_is_closed_and_said};

const VALUE: &str = "correct the value of this field";

const BASE64: &str = "write base64 under `data`, or plain text under `stringData`";

const ROWS: &[Row] = &[
    Row {
        name: "IngressClass",
        broken: &[(
            "metadata: {name: portcullis}\nspec:\n  controller: portcullis.dev/ingress-controller",
            "metadata: {name: portcullis}\nspec:\n  controller: {portcullis.dev: ingress-controller}",
        )],
        answer: Status(404),
        findings: &[
            ("IngressClass portcullis", "correct it; until then nothing of this class is served"),
            ("IngressClass portcullis: spec.controller", VALUE),
        ],
    },
    Row {
        name: "Portcullis",
        broken: &[("providers: [corp]", "providers: corp")],
        answer: Status(503),
        findings: &[
            ("Portcullis default", "correct it; until then the routes of its classes are closed"),
            ("Portcullis default: spec.providers", VALUE),
            CLASS,
        ],
    },
    Row {
        name: "IdentityProvider",
        broken: &[SIGNED_IN, ("issuer: https://id.test", "issuer: [https://id.test]")],
        answer: Status(503),
        findings: &[
            ("IdentityProvider corp", "correct it; until then the routes that need it are closed"),
            ("IdentityProvider corp: spec.issuer", VALUE),
            PROVIDER,
        ],
    },
    Row {
        name: "Secret of a client",
        broken: &[SIGNED_IN, ("stringData: {client_id: portcullis, client_secret: hunter2}", "stringData: hunter2")],
        answer: Status(503),
        findings: &[
            ("IdentityProvider corp: spec.clientSecretRef.name", "create the Secret `portcullis-system/corp-client`"),
            ("Secret portcullis-system/corp-client: stringData", BASE64),
            PROVIDER,
        ],
    },
    Row {
        name: "Secret of a certificate",
        broken: &[("data: {tls.crt: WEB_CRT, tls.key: WEB_KEY}", "data: [WEB_CRT, WEB_KEY]")],
        answer: Untrusted,
        findings: &[
            (CERTIFICATE, "create the Secret `shop/web-tls` of type `kubernetes.io/tls`"),
            ("Secret shop/web-tls: data", BASE64),
        ],
    },
    Row {
        name: "Ingress",
        broken: &[("ingressClassName: portcullis", "ingressClassName: [portcullis]")],
        answer: Status(404),
        findings: &[
            ("Ingress shop/web", "correct it; until then it is not served"),
            ("Ingress shop/web: spec.ingressClassName", VALUE),
        ],
    },
    Row {
        name: "Policy",
        broken: &[("methods: [GET]", "methods: GET")],
        answer: Status(503),
        findings: &[
            ("Ingress shop/web: spec", "correct or delete the policy"),
            ("Policy shop/guests", "correct or delete it"),
            ("Policy shop/guests: spec.rules[0].request.methods", VALUE),
        ],
    },
    Row {
        name: "Service",
        broken: &[("ports: [{name: http, port: 80}]", "ports: [{name: http, port: http}]")],
        answer: Status(503),
        findings: &[
            (
                "Ingress shop/web: spec.rules[0].http.paths[0].backend.service.name",
                "create the Service `web`, or name one that exists",
            ),
            ("Service shop/web: spec.ports[0].port", VALUE),
        ],
    },
    Row {
        name: "EndpointSlice",
        broken: &[(
            "port: WEB_PORT}]\nendpoints: [{addresses: [127.0.0.1]}]",
            "port: WEB_PORT}]\nendpoints: [{addresses: 127.0.0.1}]",
        )],
        answer: Status(503),
        findings: &[
            (
                "EndpointSlice shop/web-1",
                "list addresses of pods or servers, as IPv4 or IPv6, that are no part of this node",
            ),
            ("EndpointSlice shop/web-1: endpoints[0].addresses", VALUE),
        ],
    },
];

#[test]
fn an_object_of_any_kind_that_does_not_decode_is_closed_and_said() {
    each_is_closed_and_said(ROWS);
}
