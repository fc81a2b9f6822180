//! What an administrator asks a control plane, and changes in it: with kubectl, and without where tests do it often. Each
//! kubectl takes a tenth of a second of CPU time, and as much of the API server, whose kinds it asks for.

use std::{
    process::{Command, Output},
    sync::PoisonError,
};

use kube::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{ControlPlane, await_that, kubectl, run, runtime};

impl ControlPlane {
    /// Runs kubectl as an administrator; returns its output, or panics with its error.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args, "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs kubectl with this standard input.
    pub fn try_kubectl(&self, args: &[&str], stdin: &str) -> Output {
        let mut kubectl = Command::new(kubectl());
        kubectl.args(args).env("KUBECONFIG", self.kubeconfig());
        // It exits too soon to need garbage collection.
        kubectl.env("GOGC", "off");
        run(&mut kubectl, stdin)
    }

    /// Applies manifests, as `kubectl apply --server-side` does; each kubectl takes a tenth of a second of CPU time, and as
    /// much of the API server, whose kinds it asks for.
    pub fn apply(&self, manifests: &str) {
        for manifest in format!("\n{manifests}").split("\n---") {
            if !self.apply_one(manifest) {
                self.apply_with_kubectl(manifest);
            }
        }
    }

    /// Applies one manifest; returns whether its kind has the path that most kinds have.
    fn apply_one(&self, manifest: &str) -> bool {
        let Ok(mut object) = serde_yaml::from_str::<Value>(manifest) else {
            return false;
        };
        if object.is_null() {
            return true;
        }
        if !object["metadata"]["name"].is_string() {
            return false;
        }
        let kind = object["kind"].as_str().unwrap_or_default();
        if !is_cluster_scoped(kind) && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = "default".into();
        }
        let path = path_of(&object);
        let applied = format!("{path}?fieldManager=kubectl&fieldValidation=Ignore");
        let mut is_found = false;
        // The account of a pod in a new namespace follows.
        await_that("the account of the pod is created", || {
            let request = http::Request::patch(&applied);
            let request = request.header("Content-Type", "application/apply-patch+yaml");
            match self.request(request.body(manifest.as_bytes().to_vec()).unwrap()) {
                Ok(found) => is_found = found.is_some(),
                Err(kube::Error::Api(status))
                    if status.message.contains("looking up service account") =>
                {
                    return false;
                }
                Err(error) => panic!("{path}: {error}"),
            }
            true
        });
        is_found
    }

    /// The API server validates manifests; validation by kubectl would take another second.
    fn apply_with_kubectl(&self, manifests: &str) {
        let unchecked = ["apply", "--server-side", "--validate=false", "-f", "-"];
        let output = self.try_kubectl(&unchecked, manifests);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The output of `kubectl get … -o json`; kubectl itself is only asked where the question is not one of the usual ones.
    pub fn get(&self, args: &[&str]) -> Value {
        let Some(path) = path_asked_for(args) else {
            let output = self.kubectl(&[&["get", "-o", "json"], args].concat());
            return serde_json::from_str(&output).unwrap();
        };
        let answer = self
            .ask(&path)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut answer = answer.unwrap_or_else(|| panic!("{path} is not found"));
        // The API server names the kind of a list, and kubectl that of each item.
        let kind = answer["kind"].as_str().unwrap_or_default().to_owned();
        if let Some(kind) = kind.strip_suffix("List") {
            let api_version = answer["apiVersion"].clone();
            for item in answer["items"].as_array_mut().into_iter().flatten() {
                item["kind"] = kind.into();
                item["apiVersion"] = api_version.clone();
            }
        }
        answer
    }

    /// The API server's answer to an administrator; `None` if there is no such object. Unlike kubectl, it is cheap
    /// enough for polling.
    pub fn ask(&self, path: &str) -> Result<Option<Value>, kube::Error> {
        self.request(http::Request::get(path).body(Vec::new()).unwrap())
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, path: &str) {
        let request = http::Request::delete(path).body(Vec::new()).unwrap();
        self.request(request).expect("the API server deletes it");
    }

    /// Creates an object, as kubectl does but cheaper.
    pub fn create(&self, object: &Value) -> Result<(), kube::Error> {
        let path = path_of(object);
        let (collection, _) = path.rsplit_once('/').unwrap();
        let request = http::Request::post(collection).header("Content-Type", "application/json");
        let body = serde_json::to_vec(object).unwrap();
        self.request(request.body(body).unwrap()).map(|_| ())
    }

    /// Merges a change into an object, if it is there.
    pub fn merge(&self, path: &str, change: &Value) {
        let request = http::Request::patch(path);
        let request = request.header("Content-Type", "application/merge-patch+json");
        let body = serde_json::to_vec(change).unwrap();
        self.request(request.body(body).unwrap())
            .expect("the API server changes it");
    }

    fn request(&self, request: http::Request<Vec<u8>>) -> Result<Option<Value>, kube::Error> {
        let answer = self.with_client(|runtime, client| runtime.block_on(client.request(request)));
        match answer {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Whether the API server answers with a text, and not with an error.
    pub(super) fn answers(&self, path: &str) -> bool {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let answer =
            self.with_client(|runtime, client| runtime.block_on(client.request_text(request)));
        answer.is_ok()
    }

    fn with_client<T>(&self, ask: impl FnOnce(&Runtime, &Client) -> T) -> T {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let (runtime, client) = asking.get_or_insert_with(|| {
            let runtime = runtime();
            let client = runtime.block_on(self.client());
            (runtime, client)
        });
        ask(runtime, client)
    }

    /// Creates a namespace and waits for its `default` account, without which no pod can be created.
    pub fn namespace(&self, name: &str) {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.create(&namespace).expect("the namespace is created");
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        await_that("the default account is created", || {
            self.ask(&account).is_ok_and(|found| found.is_some())
        });
    }

    /// A new token of an account, as `kubectl create token` requests it.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = http::Request::post(&path).header("Content-Type", "application/json");
        let body =
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
        let request = request.body(body.to_string().into_bytes()).unwrap();
        let answer = self.request(request).unwrap();
        let answer = answer.unwrap_or_else(|| panic!("{path} is not found"));
        answer["status"]["token"].as_str().unwrap().to_owned()
    }
}

/// The kinds without a namespace that tests apply, beside those that begin with `Cluster`.
const CLUSTER_SCOPED: [&str; 13] = [
    "APIService",
    "CSIDriver",
    "CustomResourceDefinition",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
];

fn is_cluster_scoped(kind: &str) -> bool {
    kind.starts_with("Cluster") || CLUSTER_SCOPED.contains(&kind)
}

/// The path of an object of a builtin kind, or of most others.
pub fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let api_version = text(&object["apiVersion"]);
    let root = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    let kind = text(&object["kind"]).to_lowercase();
    let metadata = &object["metadata"];
    let folder = match text(&metadata["namespace"]).as_str() {
        "" => String::new(),
        namespace => format!("namespaces/{namespace}/"),
    };
    let plural = match kind.strip_suffix('y') {
        Some(kind) if kind.ends_with('c') => format!("{kind}ies"),
        None if kind.ends_with("class") => format!("{kind}es"),
        None if kind == "endpoints" => kind,
        _ => format!("{kind}s"),
    };
    let name = text(&metadata["name"]);
    format!("/{root}/{api_version}/{folder}{plural}/{name}")
}

/// The words for kinds that tests ask for most, with the kinds.
const WORDS: [(&str, &str, &str); 12] = [
    ("pod", "v1", "Pod"),
    ("pods", "v1", "Pod"),
    ("secret", "v1", "Secret"),
    ("secrets", "v1", "Secret"),
    ("serviceaccount", "v1", "ServiceAccount"),
    ("configmap", "v1", "ConfigMap"),
    ("quota", "v1", "ResourceQuota"),
    ("deployment", "apps/v1", "Deployment"),
    ("lease", "coordination.k8s.io/v1", "Lease"),
    ("ter", "tokenexposure.io/v1alpha1", "TokenExposureReport"),
    ("clusterrole", "rbac.authorization.k8s.io/v1", "ClusterRole"),
    (
        "validatingadmissionpolicy",
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
    ),
];

/// The path that answers `kubectl get` with these arguments: a namespace or `-A`, a kind, a name, and labels.
fn path_asked_for(args: &[&str]) -> Option<String> {
    let (mut namespace, mut labels, mut words) = (None, String::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "-n" => namespace = Some(*args.next()?),
            "-l" => labels = format!("?labelSelector={}", args.next()?.replace('=', "%3D")),
            "-A" => {}
            word => words.push(word),
        }
    }
    let (word, name) = match words[..] {
        [word] => (word, ""),
        [word, name] => (word, name),
        _ => return None,
    };
    let (_, api_version, kind) = WORDS.iter().find(|(known, ..)| *known == word)?;
    let by_default = if name.is_empty() { "" } else { "default" };
    let namespace = namespace.unwrap_or(by_default);
    let namespace = if is_cluster_scoped(kind) {
        ""
    } else {
        namespace
    };
    let path = path_of(&json!({
        "apiVersion": api_version, "kind": kind, "metadata": { "namespace": namespace, "name": name },
    }));
    Some(format!("{}{labels}", path.trim_end_matches('/')))
}
