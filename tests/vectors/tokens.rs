//! Tokens that the real API server issues: their claims, and how long it accepts them.

use std::{fs, time::Duration};

use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use serde_json::{Value, json};
use token_exposure::{
    model::token::{BoundTo, TokenClaims},
    token::claims::parse_token,
};

use super::{
    equal,
    rig::ControlPlane,
    server::{Server, on},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    says: String,
    /// Bound to a pod of the account.
    #[serde(default)]
    pod: bool,
    seconds: u32,
    audience: Option<String>,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    lifetime: i64,
    refresh_after: Option<i64>,
    bound_to: Option<String>,
}

/// A test for each kind of token, and for when tokens become invalid.
pub(crate) fn trials(server: &Server) -> Vec<Trial> {
    let text = fs::read_to_string("tests/vectors/tokens/issued.yaml").unwrap();
    let cases: Cases = serde_yaml::from_str(&text).unwrap();
    let issued = cases.cases.into_iter().map(|case| {
        let server = server.clone();
        let name = format!("server::{}", case.id);
        Trial::test(name, move || on(&server, |plane| case.check(plane)))
    });
    let trial = |name: &str, check: fn(&ControlPlane) -> Result<(), Failed>| {
        let server = server.clone();
        Trial::test(format!("server::{name}"), move || on(&server, check))
    };
    issued
        .chain([
            trial("F15", ends),
            trial("F17", foreign),
            trial("legacy", legacy),
        ])
        .collect()
}

impl Case {
    fn check(&self, plane: &ControlPlane) -> Result<(), Failed> {
        let pod = Pod::new(plane, &format!("pod-{}", self.id.to_lowercase()));
        let duration = format!("{}s", self.seconds);
        let mut args = vec!["create", "token", "a", "--duration", &duration];
        if self.pod {
            args.extend(pod.binding());
        }
        if let Some(audience) = &self.audience {
            args.extend(["--audience", audience]);
        }
        let found = read(&plane.kubectl(&args));
        equal(
            &found.account.to_string(),
            &"default/a".to_owned(),
            "account",
            &self.says,
        )?;
        equal(
            &found.lifetime(),
            &Some(self.expect.lifetime),
            "lifetime",
            &self.says,
        )?;
        let refresh = found.refresh_after.zip(found.issued);
        let refresh = refresh.map(|(refresh, issued)| refresh - issued);
        equal(&refresh, &self.expect.refresh_after, "refresh", &self.says)?;
        let bound_to = found.bound_to.map(|bound_to| match bound_to {
            BoundTo::Pod(name, uid) => {
                assert_eq!((&name, &uid), (&pod.name, &pod.uid));
                "Pod".to_owned()
            }
            other => format!("{other:?}"),
        });
        equal(&bound_to, &self.expect.bound_to, "binding", &self.says)?;
        if let Some(audience) = &self.audience {
            equal(
                &found.audiences,
                &vec![audience.clone()],
                "audience",
                &self.says,
            )?;
        }
        Ok(())
    }
}

/// A pod of the account `a` on a node without a kubelet: its deletion does not complete.
struct Pod {
    name: String,
    uid: String,
}

impl Pod {
    fn new(plane: &ControlPlane, name: &str) -> Self {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "a", "namespace": "default" } });
        plane.apply(&account.to_string());
        let spec = json!({ "serviceAccountName": "a", "nodeName": "nobody", "containers": [{ "name": "c", "image": "i" }] });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default" }, "spec": spec });
        plane.apply(&pod.to_string());
        let stored = plane.get(&["pod", name]);
        Self {
            name: name.to_owned(),
            uid: stored["metadata"]["uid"].as_str().unwrap().to_owned(),
        }
    }

    fn binding(&self) -> [&str; 6] {
        [
            "--bound-object-kind",
            "Pod",
            "--bound-object-name",
            &self.name,
            "--bound-object-uid",
            &self.uid,
        ]
    }
}

fn read(token: &str) -> TokenClaims {
    parse_token(token).unwrap()
}

/// Whether the API server accepts a token.
fn accepts(plane: &ControlPlane, token: &str) -> bool {
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token.trim() } });
    let out = plane.try_kubectl(&["create", "-o", "json", "-f", "-"], &review.to_string());
    let review: Value = serde_json::from_slice(&out.stdout).unwrap();
    review["status"]["authenticated"] == true
}

/// A token is valid while its pod is being deleted (F16), and invalid after that (F15).
fn ends(plane: &ControlPlane) -> Result<(), Failed> {
    let pod = Pod::new(plane, "pod-f15");
    let token = plane.kubectl(&[&["create", "token", "a"][..], &pod.binding()].concat());
    plane.kubectl(&["delete", "pod", &pod.name, "--wait=false"]);
    let deleting = plane.get(&["pod", &pod.name]);
    equal(
        &deleting["metadata"]["deletionTimestamp"].is_string(),
        &true,
        "deletion",
        "the pod",
    )?;
    equal(
        &accepts(plane, &token),
        &true,
        "F16",
        "a pod that is being deleted",
    )?;
    plane.kubectl(&["delete", "pod", &pod.name, "--force", "--grace-period=0"]);
    // The API server caches an accepted token for ten seconds.
    let refused = (0..60).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        !accepts(plane, &token)
    });
    equal(&refused, &true, "F15", "a pod that is gone")
}

/// A token of one account cannot be bound to a pod of another.
fn foreign(plane: &ControlPlane) -> Result<(), Failed> {
    let pod = Pod::new(plane, "pod-f17");
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "b", "namespace": "default" } });
    plane.apply(&account.to_string());
    let out = plane.try_kubectl(
        &[&["create", "token", "b"][..], &pod.binding()].concat(),
        "",
    );
    equal(
        &out.status.success(),
        &false,
        "F17",
        "a pod of another account",
    )
}

/// A token that the tokens controller puts into a Secret never expires.
fn legacy(plane: &ControlPlane) -> Result<(), Failed> {
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "a", "namespace": "default" } });
    plane.apply(&account.to_string());
    let annotations = json!({ "kubernetes.io/service-account.name": "a" });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": { "name": "robot", "namespace": "default", "annotations": annotations } });
    plane.apply(&secret.to_string());
    let token = || {
        let path =
            "--output=go-template={{if .data}}{{with .data.token}}{{base64decode .}}{{end}}{{end}}";
        plane.kubectl(&["get", "secret", "robot", path])
    };
    super::rig::await_that("the token is made", || token().contains('.'));
    let found = read(&token());
    equal(&found.is_legacy(), &true, "kind", "a token of a Secret")?;
    let secret = Some(BoundTo::Secret("robot".into(), String::new()));
    equal(&found.bound_to, &secret, "binding", "a token of a Secret")
}
