//! The controller while the API server fails: what was known stays known, and afterwards the reports equal a scan.

mod large;
mod passing;
mod protobuf;
mod random;
mod server;
mod writes;

use std::time::{Duration, Instant};

use serde_json::json;
use token_exposure::{cluster::KINDS, model::InputKind};

use crate::rig::{
    ControlPlane, Controller,
    pool::{self, Lent},
    proxy::Proxy,
};

const UNNEEDED: Option<(&str, &str)> = Some(("Unneeded", "NoPermissions"));
const DENIED: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"forbidden: not yet","reason":"Forbidden","code":403}"#;
const EXPIRED: &str = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

/// The controller, and a control plane behind a proxy. They end in this order.
struct World {
    controller: Controller,
    proxy: Proxy,
    plane: Lent,
    probes: u32,
}

impl World {
    /// With an account in namespace `shop` whose token is unneeded.
    fn start(args: &[&str]) -> Self {
        Self::start_behind(args, |_| {})
    }

    /// The same, with a proxy that was changed before the controller starts.
    fn start_behind(args: &[&str], change: impl FnOnce(&Proxy)) -> Self {
        let plane = pool::installed();
        plane.namespace("shop");
        plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
        let proxy = Proxy::start(&plane);
        change(&proxy);
        let kubeconfig = plane.own_kubeconfig_for(&proxy.url(), "proxied.kubeconfig");
        let own = ["--kubeconfig", kubeconfig.to_str().unwrap()];
        let controller = Controller::start(&[&own, args].concat());
        controller.await_ready();
        plane.await_report("shop", "default", UNNEEDED);
        controller.settle();
        Self {
            plane,
            proxy,
            controller,
            probes: 0,
        }
    }

    /// Runs the controller through a fault of some seconds: nothing is written, the finding and readiness stay.
    fn endure(&self, what: &str, seconds: u64) {
        let all = || self.controller.writes() + self.controller.summary_writes();
        let writes = all();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let found = self.plane.report("shop", "default");
            assert_eq!(found, owned(UNNEEDED), "{what}");
            assert_eq!(self.controller.get("/readyz").unwrap().0, 200, "{what}");
            std::thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(
            all().to_bits(),
            writes.to_bits(),
            "{what}: {}",
            self.controller.log()
        );
    }

    /// After a fault: a change is seen, and nothing else was written.
    fn recovers(&mut self, what: &str) {
        self.controller.settle();
        let writes = self.controller.writes();
        self.probes += 1;
        let name = format!("probe-{}", self.probes);
        self.plane.apply(&unneeded_in("shop", &name));
        self.plane.await_report("shop", &name, UNNEEDED);
        self.controller.settle();
        let written = self.controller.writes() - writes;
        assert_eq!(
            written.to_bits(),
            1.0_f64.to_bits(),
            "{what}: {}",
            self.controller.log()
        );
    }

    fn errors(&self) -> f64 {
        self.controller
            .metric(r#"token_exposure_watch_errors_total{kind="Pod"}"#)
    }
}

/// A control plane with an account in namespace `shop` whose token is unneeded, and the controller, which has reported it.
fn reported(account: &str) -> (Lent, Controller) {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.apply(&unneeded_in("shop", account));
    let controller = plane.controller(&[]);
    plane.await_report("shop", account, UNNEEDED);
    controller.settle();
    (plane, controller)
}

/// Grants something to an account in namespace `many`: its token is needed.
fn bind(plane: &ControlPlane, account: &str) {
    let account = format!("--serviceaccount=many:{account}");
    let binding = [
        "create",
        "rolebinding",
        "view",
        "--clusterrole=view",
        &account,
    ];
    plane.kubectl(&[&["-n", "many"], &binding[..]].concat());
}

/// The manifests of an account and its pod.
fn unneeded_in(namespace: &str, name: &str) -> String {
    format!(
        "---\n{}\n---\n{}\n",
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"serviceAccountName": name, "containers": [{"name": "c", "image": "i"}]}}),
    )
}

/// The same in namespace `many`.
fn unneeded(name: &str) -> String {
    unneeded_in("many", name)
}

/// The requests that were rejected, for all causes.
fn rejected(controller: &Controller) -> f64 {
    let causes = ["invalid", "forbidden", "not_found", "conflict", "other"];
    let series = |cause| format!("token_exposure_report_errors_total{{cause=\"{cause}\"}}");
    causes
        .map(|cause| controller.metric(&series(cause)))
        .iter()
        .sum()
}

/// How long ago the API server has confirmed what is known of a kind.
fn stale_seconds(controller: &Controller, kind: &str) -> f64 {
    controller.metric(&format!("token_exposure_stale_seconds{{kind=\"{kind}\"}}"))
}

/// The kinds that are watched.
fn kinds() -> impl Iterator<Item = &'static str> {
    let own = [
        InputKind::TokenExposureReport,
        InputKind::TokenExposureSummary,
    ];
    KINDS.into_iter().chain(own).map(InputKind::name)
}

fn owned(verdict: Option<(&str, &str)>) -> Option<(String, String)> {
    verdict.map(|(verdict, reason)| (verdict.to_owned(), reason.to_owned()))
}
