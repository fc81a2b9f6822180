//! The audit webhook of an API server: certificates, the flags of both ends, and a client that sends batches itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use http::Request;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::runtime;

/// Certificates for the address that receives events, of the API server, and of somebody whom another authority knows.
pub struct Certificates {
    dir: TempDir,
}

/// The smallest policy that shows each use of a token, as `deploy/evidence.md` has it.
pub fn policy() -> String {
    let text = fs::read_to_string("deploy/evidence.md").unwrap();
    let begin = text.find("  apiVersion: audit.k8s.io/v1\n").unwrap();
    let end = begin + text[begin..].find("  ```").unwrap();
    text[begin..end]
        .replace("\n  ", "\n")
        .trim_start()
        .to_owned()
}

impl Certificates {
    /// Signs them.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"
            ec="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
            ca() { openssl req -x509 $ec -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" -days 2; }
            cert() {
                openssl req $ec -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
                printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%s' "$3" > extensions
                openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 1 -extfile extensions -out "$1.crt"
            }
            set -e
            ca ca; ca other-ca
            cert tls ca serverAuth; cert client ca clientAuth; cert stranger other-ca clientAuth"#;
        let made = Command::new("sh")
            .args(["-c", script])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{error}");
        Self { dir }
    }

    /// One of the files: `ca.crt`, `tls.crt` and `tls.key` among others.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The flags of the controller.
    pub fn controller_flags(&self, address: &str) -> Vec<String> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.file(name).display());
        vec![
            format!("--audit-listen={address}"),
            file("audit-tls-cert", "tls.crt"),
            file("audit-tls-key", "tls.key"),
            file("audit-client-ca", "ca.crt"),
        ]
    }

    /// The arguments of a rendered chart, with files that are there and any free port.
    pub fn in_place(&self, args: &mut [String]) {
        for own in self.controller_flags("127.0.0.1:0") {
            let flag = own.split('=').next().unwrap();
            let is_it = |arg: &&mut String| arg.split('=').next() == Some(flag);
            if let Some(arg) = args.iter_mut().find(is_it) {
                *arg = own;
            }
        }
    }

    /// The flags of an API server that sends its events to this address.
    pub fn api_server_flags(&self, address: &str) -> Vec<String> {
        fs::write(self.file("policy.yaml"), policy()).unwrap();
        let kubeconfig = self.kubeconfig(address, Some("client"));
        vec![
            format!("--audit-policy-file={}", self.file("policy.yaml").display()),
            format!("--audit-webhook-config-file={}", kubeconfig.display()),
            "--audit-webhook-batch-max-wait=1s".to_owned(),
            "--audit-webhook-truncate-enabled".to_owned(),
            "--audit-webhook-truncate-max-batch-size=4000000".to_owned(),
            "--audit-webhook-initial-backoff=1s".to_owned(),
        ]
    }

    fn kubeconfig(&self, address: &str, client: Option<&str>) -> PathBuf {
        let path = |name: String| self.file(&name).display().to_string();
        let user = client.map_or_else(
            || json!({}),
            |client| {
                json!({
                    "client-certificate": path(format!("{client}.crt")), "client-key": path(format!("{client}.key")),
                })
            },
        );
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "audit",
            "clusters": [{ "name": "audit", "cluster": {
                "server": format!("https://{address}"), "certificate-authority": path("ca.crt".to_owned()),
            } }],
            "users": [{ "name": "audit", "user": user }],
            "contexts": [{ "name": "audit", "context": { "cluster": "audit", "user": "audit" } }],
        });
        let file = self.file(&format!("{}.kubeconfig", client.unwrap_or("nobody")));
        fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// Sends a body with the certificate of `client`; the status, `None` if nobody answers.
    pub fn post(
        &self,
        address: &str,
        client: Option<&str>,
        encoding: Option<&str>,
        body: Vec<u8>,
    ) -> Option<u16> {
        let kubeconfig = self.kubeconfig(address, client);
        runtime().block_on(async {
            let client = client_of(&kubeconfig).await;
            let mut request = Request::post("/audit");
            if let Some(encoding) = encoding {
                request = request.header("Content-Encoding", encoding);
            }
            let request = request.body(Body::from(body)).unwrap();
            let answer = client.send(request).await.ok()?;
            Some(answer.status().as_u16())
        })
    }
}

impl Certificates {
    /// Sends one batch after the other on one connection, as an API server does; how long each answer took.
    pub fn post_all(&self, address: &str, bodies: Vec<Vec<u8>>) -> Vec<Duration> {
        let kubeconfig = self.kubeconfig(address, Some("client"));
        runtime().block_on(async {
            let client = client_of(&kubeconfig).await;
            let mut answers = Vec::new();
            for body in bodies {
                let began = Instant::now();
                let request = Request::post("/audit").body(Body::from(body)).unwrap();
                let answer = client.send(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                answers.push(began.elapsed());
            }
            answers
        })
    }
}

/// A client of a kubeconfig file.
pub async fn client_of(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// A batch of events.
pub fn batch(events: &[Value]) -> Vec<u8> {
    let list = json!({
        "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events,
    });
    list.to_string().into_bytes()
}

/// A request for ConfigMaps with the token of an account that is bound to no pod, denied.
pub fn denied(namespace: &str, account: &str, id: &str) -> Value {
    let mut event = discovery(namespace, account, id);
    event["requestURI"] = format!("/api/v1/namespaces/{namespace}/configmaps").into();
    event["verb"] = "list".into();
    event["objectRef"] =
        json!({ "resource": "configmaps", "namespace": namespace, "apiVersion": "v1" });
    event["responseStatus"]["code"] = 403.into();
    event["annotations"] = json!({ "authorization.k8s.io/decision": "forbid" });
    event
}

/// A request for what everybody may read.
pub fn discovery(namespace: &str, account: &str, id: &str) -> Value {
    let now = jiff::Timestamp::now().to_string();
    json!({
        "level": "Metadata", "auditID": id, "stage": "ResponseComplete", "requestURI": "/version", "verb": "get",
        "user": {
            "username": format!("system:serviceaccount:{namespace}:{account}"),
            "groups": ["system:serviceaccounts", "system:authenticated"],
        },
        "responseStatus": { "code": 200 }, "annotations": { "authorization.k8s.io/decision": "allow" },
        "requestReceivedTimestamp": now, "stageTimestamp": now,
    })
}
