//! What else changes pods at their creation: webhooks that inject containers, and policies of other products.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::{await_listed, await_switch, controller, plane, sources, token};
use crate::rig::{ControlPlane, audit::Certificates, await_that, runtime};

/// A webhook that adds a container to pods that a label names.
struct Webhook {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Webhook {
    fn start(certificates: &Certificates) -> Self {
        let chain = CertificateDer::pem_file_iter(certificates.file("tls.crt")).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(certificates.file("tls.key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, acceptor) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: started.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(connection) = acceptor.accept(connection).await else {
                return;
            };
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server
                .serve_connection(TokioIo::new(connection), service_fn(review))
                .await;
        });
    }
}

/// Adds a container: one that needs nothing, or one of a system that accepts the token.
async fn review(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let (pod, uid) = (&review["request"]["object"], &review["request"]["uid"]);
    let has = pod["spec"]["containers"].as_array().unwrap();
    let has = has.iter().any(|container| container["name"] == "sidecar");
    let inject = &pod["metadata"]["labels"]["inject"];
    let mut sidecar = json!({ "name": "sidecar", "image": "sidecar" });
    if inject == "vault" {
        sidecar["env"] = json!([{ "name": "VAULT_ADDR", "value": "https://vault" }]);
    }
    let patch = json!([{ "op": "add", "path": "/spec/containers/-", "value": sidecar }]);
    let mut response = json!({ "uid": uid, "allowed": true });
    if !has && inject.is_string() {
        response["patchType"] = "JSONPatch".into();
        response["patch"] = BASE64_STANDARD.encode(patch.to_string()).into();
    }
    let answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
    let answer = Response::builder()
        .header("Content-Type", "application/json")
        .body(Full::from(answer.to_string()));
    Ok(answer.unwrap())
}

/// Creates a pod `p`, and returns it.
fn created(plane: &ControlPlane, labels: &Value) -> Value {
    let path = "/api/v1/namespaces/shop/pods/p";
    plane.delete(&format!("{path}?gracePeriodSeconds=0"));
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "shop", "labels": labels },
        "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    plane.create(&pod).unwrap();
    plane.ask(path).unwrap().unwrap()
}

fn register(plane: &ControlPlane, webhook: &Webhook, certificates: &Certificates) {
    let ca = std::fs::read(certificates.file("ca.crt")).unwrap();
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "injector" },
        "webhooks": [{
            "name": "injector.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "url": format!("https://{}/", webhook.address), "caBundle": BASE64_STANDARD.encode(ca) },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
        }],
    });
    plane.apply(&configuration.to_string());
}

/// The policy acts before webhooks do, and again after one that changed the pod.
#[test]
#[ignore = "takes minutes; run by `make soak`"]
fn a_container_that_a_webhook_injects_gets_its_token_back_if_it_needs_it() {
    let test = "a_container_that_a_webhook_injects_gets_its_token_back_if_it_needs_it";
    let Some(plane) = plane(test) else { return };
    let _controller = controller(&plane);
    await_switch(&plane, true);
    let certificates = Certificates::new();
    let webhook = Webhook::start(&certificates);
    register(&plane, &webhook, &certificates);
    let plain = json!({ "inject": "plain" });
    let containers = |pod: &Value| pod["spec"]["containers"].as_array().unwrap().len();
    await_that("the webhook is called", || {
        containers(&created(&plane, &plain)) == 2
    });
    await_listed(&plane, "|default/Pod/p|");
    let mut pod = Value::Null;
    await_that("the policy acts", || {
        pod = created(&plane, &plain);
        token(&pod).is_null()
    });
    assert_eq!((containers(&pod), sources(&pod).len()), (2, 2), "{pod}");
    let withheld =
        |pod: &Value| pod["metadata"]["annotations"]["tokenexposure.io/withheld"].clone();
    assert!(withheld(&pod).is_string());
    for (mode, expected) in [("leave-out", Value::Null), ("neuter", Value::Null)] {
        let label = format!("tokenexposure.io/cure={mode}");
        plane.kubectl(&["label", "--overwrite", "namespace", "shop", &label]);
        created(&plane, &json!({}));
        await_listed(&plane, "|default/Pod/p|");
        await_that(mode, || {
            let token = token(&created(&plane, &json!({})));
            if mode == "neuter" {
                token["audience"] == "tokenexposure.io/withheld"
            } else {
                token.is_null()
            }
        });
        let pod = created(&plane, &json!({ "inject": "vault" }));
        let token = token(&pod);
        assert_eq!(containers(&pod), 2);
        assert_eq!(token["path"], "token", "{mode}: {pod}");
        assert_eq!(token["expirationSeconds"], 3607, "{mode}: {pod}");
        assert_eq!(token["audience"], Value::Null, "{mode}: {pod}");
        assert_eq!(withheld(&pod), expected, "{mode}: {pod}");
    }
}

/// A copy of a pod without a token gets it when its account has a permission, although admission does not add it.
#[test]
#[ignore = "takes minutes; run by `make soak`"]
fn a_copy_of_a_pod_gets_the_token_that_its_account_needs_now() {
    let test = "a_copy_of_a_pod_gets_the_token_that_its_account_needs_now";
    let Some(plane) = plane(test) else { return };
    let _controller = controller(&plane);
    await_switch(&plane, true);
    created(&plane, &json!({}));
    await_listed(&plane, "|default/Pod/p|");
    let mut pod = Value::Null;
    await_that("the policy acts", || {
        pod = created(&plane, &json!({}));
        token(&pod).is_null()
    });
    plane.kubectl(&[&["-n", "shop"], &super::GRANT[..]].concat());
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        pod["metadata"].as_object_mut().unwrap().remove(field);
    }
    pod["metadata"]["name"] = "copy".into();
    pod.as_object_mut().unwrap().remove("status");
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    plane.create(&pod).unwrap();
    let copy = plane
        .ask("/api/v1/namespaces/shop/pods/copy")
        .unwrap()
        .unwrap();
    assert_eq!(token(&copy)["path"], "token", "{copy}");
    assert_eq!(sources(&copy).len(), 3, "{copy}");
}

/// Policies of other products, which come before and after ours in the order of names.
#[test]
#[ignore = "takes minutes; run by `make soak`"]
fn policies_of_other_products_beside_it_change_nothing() {
    let test = "policies_of_other_products_beside_it_change_nothing";
    let Some(plane) = plane(test) else { return };
    let _controller = controller(&plane);
    await_switch(&plane, true);
    // Each acts once, whether the other one is active yet or not.
    for (name, once, expression) in [
        // Moves the injected volume.
        (
            "a-volume",
            r#"!has(object.spec.volumes) || !object.spec.volumes.exists(volume, volume.name == "first")"#,
            r#"[JSONPatch{op: "add", path: "/spec/volumes/0", value: Object.spec.volumes{name: "first", emptyDir: Object.spec.volumes.emptyDir{}}}]"#,
        ),
        (
            "z-label",
            r#"!has(object.metadata.labels) || !("seen" in object.metadata.labels)"#,
            r#"[JSONPatch{op: "add", path: "/metadata/labels", value: {"seen": "yes"}}]"#,
        ),
    ] {
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
                "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }] },
                "matchConditions": [{ "name": "once", "expression": once }],
                "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }],
            },
        });
        let binding = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": { "name": name }, "spec": { "policyName": name,
                "matchResources": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "shop" } } } } });
        plane.apply(&policy.to_string());
        plane.apply(&binding.to_string());
    }
    let has_both = |pod: &Value| {
        pod["spec"]["volumes"][0]["name"] == "first" && pod["metadata"]["labels"]["seen"] == "yes"
    };
    await_that("they act", || has_both(&created(&plane, &json!({}))));
    await_listed(&plane, "|default/Pod/p|");
    await_that("ours acts too", || {
        let pod = created(&plane, &json!({}));
        has_both(&pod) && token(&pod).is_null()
    });
}
