//! Clusters that are created through the API server.

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, Client, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The role that is in each namespace.
pub(crate) const READER: (&str, &str) = ("Role", "reader");
/// The number of concurrent requests when loading.
pub(crate) const LOADERS: usize = 16;

/// The size of a cluster.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    namespaces: usize,
    accounts: usize,
    pub(crate) pods: usize,
    bindings: usize,
}

pub(crate) const TEAM: Shape = Shape {
    namespaces: 100,
    accounts: 600,
    pods: 2_000,
    bindings: 900,
};
pub(crate) const PRODUCTION: Shape = Shape {
    namespaces: 300,
    accounts: 3_000,
    pods: 10_000,
    bindings: 6_000,
};

pub(crate) async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object).await.unwrap();
}

impl Shape {
    fn namespace(self, n: usize) -> String {
        format!("ns-{}", n % self.namespaces)
    }

    /// Namespace and name of the nth account.
    pub(crate) fn account(self, n: usize) -> (String, String) {
        let n = n % self.accounts;
        (self.namespace(n), format!("account-{n}"))
    }

    /// Fills a cluster. Every second account has a permission; the pods of the others are findings.
    pub(crate) async fn load(self, client: &Client) {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespaces = &namespaces;
        each(self.namespaces, |n| async move {
            let namespace: Namespace =
                serde_json::from_value(json!({ "metadata": { "name": self.namespace(n) } }))
                    .unwrap();
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        })
        .await;
        each(self.namespaces, |n| async move {
            let role = json!({ "metadata": { "name": "reader" }, "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }] });
            create::<Role>(client, &self.namespace(n), role).await;
        })
        .await;
        each(self.accounts, |n| async move {
            let (namespace, name) = self.account(n);
            create::<ServiceAccount>(client, &namespace, json!({ "metadata": { "name": name } }))
                .await;
        })
        .await;
        each(self.bindings, |n| async move {
            let (namespace, name) = self.account(2 * n + 1);
            let binding = binding(&format!("binding-{n}"), &name, READER);
            create::<RoleBinding>(client, &namespace, binding).await;
        })
        .await;
        each(self.pods, |n| async move {
            let (namespace, account) = self.account(n);
            create::<Pod>(client, &namespace, pod(&format!("pod-{n}"), &account)).await;
        })
        .await;
    }
}

/// Runs something n times, several at a time.
async fn each<F: Future<Output = ()>>(n: usize, what: impl Fn(usize) -> F) {
    stream::iter(0..n)
        .map(what)
        .buffer_unordered(LOADERS)
        .collect::<Vec<_>>()
        .await;
}

/// A binding of an account to a role of this kind and name.
pub(crate) fn binding(name: &str, account: &str, (kind, role): (&str, &str)) -> Value {
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account }],
    })
}

/// A pod of about 10 KB, a usual size.
fn pod(name: &str, account: &str) -> Value {
    let env: Vec<_> = (0..30).map(|n| json!({ "name": format!("SETTING_NUMBER_{n}"), "value": format!("value-{n}-of-a-setting") })).collect();
    let container = |container: &str| {
        json!({
            "name": container, "image": "example/image:1.2.3", "env": env,
            "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        })
    };
    json!({
        "metadata": { "name": name, "labels": { "app": account, "team": "a-team" }, "annotations": { "note": "x".repeat(1_000) } },
        "spec": { "serviceAccountName": account, "initContainers": [container("init")], "containers": [container("main"), container("side")] },
    })
}
