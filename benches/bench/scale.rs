//! What a large cluster costs: us, and its API server. Each row is printed as text and as a line of JSON.
//!
//! `ROWS=sync,scan` measures only these rows, `RUNS=5` several times. `PROGRAMS=OLD:NEW` compares programs on one
//! control plane, in rotated order; otherwise the one of `TOKEN_EXPOSURE` is measured.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    latency::{Waits, changes},
    measure::{cpu_seconds, measure, mib, percentile, status_kib},
    rig::{
        ControlPlane, Controller,
        oracle::reports_equal_to_live_scan,
        program_path, runtime,
        world::{K3, K5, World},
    },
};

/// How long a row may take.
const PATIENCE: Duration = Duration::from_mins(20);
/// Work that the API server does after an answer, such as garbage collection, is counted for this long.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// A Lease that another holds: a controller that waits for it reads the cluster, and writes nothing.
const LEASE: &str = "
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: token-exposure, namespace: token-exposure}
spec: {holderIdentity: bench, leaseDurationSeconds: 86400, renewTime: '2026-11-20T00:00:00.000000Z'}
";
/// Grants something to every account.
const ALL: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench-all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: custom-0}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:serviceaccounts'}]
";
const REPORTS: &str = "tokenexposurereports.tokenexposure.io";

#[test]
#[ignore = "measures; run by `make bench`"]
fn k0() {
    let plane = ControlPlane::start(&[]);
    let bench = Bench { plane, name: "K0" };
    bench.each_program("sync", |program| bench.sync(program));
    bench.each_program("idle", |program| bench.idle(program));
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn k3() {
    measure_world(K3);
}

#[test]
#[ignore = "measures; needs 20 GB of memory; run by `make bench`"]
fn k5() {
    measure_world(K5);
}

fn measure_world(world: World) {
    let began = Instant::now();
    let bench = Bench {
        plane: world.start(),
        name: world.name,
    };
    println!(
        "{} is there after {:.0} s",
        world.name,
        began.elapsed().as_secs_f64()
    );
    bench.each_program("sync", |program| bench.sync(program));
    // An API server of 150,000 pods runs out of memory when all are asked for at once.
    if world.pods < 50_000 {
        bench.each_program("kubectl", |_| bench.kubectl());
    }
    bench.each_program("scan", |program| bench.scan(program));
    bench.each_program("reports", |program| bench.reports(program, world));
    bench.each_program("binding", |program| bench.binding(program));
}

struct Bench {
    plane: ControlPlane,
    name: &'static str,
}

/// What was used since a moment.
struct Since {
    began: Instant,
    own: Option<(u32, f64)>,
    api_server: (u32, f64),
}

impl Since {
    fn now(plane: &ControlPlane, own: Option<u32>) -> Self {
        let api_server = plane.pid("kube-apiserver");
        Self {
            began: Instant::now(),
            own: own.map(|pid| (pid, cpu_seconds(pid))),
            api_server: (api_server, cpu_seconds(api_server)),
        }
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn own_cpu(&self) -> f64 {
        self.own
            .map_or(0.0, |(pid, before)| cpu_seconds(pid) - before)
    }

    /// With what it does afterwards.
    fn api_server_cpu(&self) -> f64 {
        std::thread::sleep(AFTERWARDS);
        cpu_seconds(self.api_server.0) - self.api_server.1
    }
}

impl Bench {
    /// Measures a row for each program, several times, unless `ROWS` names others.
    fn each_program(&self, row: &str, measured: impl Fn(&Path) -> Value) {
        let wanted = std::env::var("ROWS").ok();
        if wanted.is_some_and(|rows| !rows.split(',').any(|wanted| wanted == row)) {
            return;
        }
        let programs = match std::env::var("PROGRAMS") {
            Ok(paths) => paths.split(':').map(PathBuf::from).collect(),
            Err(_) => vec![program_path()],
        };
        let runs = std::env::var("RUNS")
            .ok()
            .and_then(|runs| runs.parse().ok());
        for run in 0..runs.unwrap_or(1) {
            for n in 0..programs.len() {
                let program = &programs[(n + run) % programs.len()];
                let figures = measured(program);
                println!("{} {row}, {}: {figures}", self.name, program.display());
                let line = json!({ "world": self.name, "row": row, "program": program, "run": run, "figures": figures });
                println!("{line}");
            }
        }
    }

    /// A controller as our account. A standby only reads.
    fn controller(&self, program: &Path, is_standby: bool) -> Controller {
        let kubeconfig = self.plane.own_kubeconfig();
        let mut args = vec!["--kubeconfig", kubeconfig.to_str().unwrap()];
        if is_standby {
            self.plane.apply(LEASE);
            args.push("--leader-elect");
        }
        Controller::start_program(program, &args)
    }

    /// Reading everything once.
    fn sync(&self, program: &Path) -> Value {
        let requests = self.requests();
        let since = Since::now(&self.plane, None);
        let controller = self.controller(program, true);
        controller.await_ready_within(PATIENCE);
        let (own, ready) = (cpu_seconds(controller.pid()), since.seconds());
        let api_server = since.api_server_cpu();
        let figures = json!({
            "own_cpu_seconds": own,
            "ready_after_seconds": ready,
            "api_server_cpu_seconds": api_server,
            "peak_mib": mib(status_kib(controller.pid(), "VmHWM")),
            "mib": mib(status_kib(controller.pid(), "VmRSS")),
        });
        controller.terminate();
        // Watches are counted when they end.
        with(figures, "requests", (self.requests() - requests).into())
    }

    /// Watches of a cluster where nothing happens, for two minutes.
    fn idle(&self, program: &Path) -> Value {
        let controller = self.controller(program, true);
        controller.await_ready_within(PATIENCE);
        std::thread::sleep(AFTERWARDS);
        let wakeups = || status_kib(controller.pid(), "voluntary_ctxt_switches");
        let (before, since) = (wakeups(), Since::now(&self.plane, Some(controller.pid())));
        std::thread::sleep(Duration::from_mins(2));
        json!({
            "seconds": since.seconds(),
            "own_cpu_seconds": since.own_cpu(),
            "wakeups": wakeups() - before,
            "mib": mib(status_kib(controller.pid(), "VmRSS")),
        })
    }

    /// All pods, as kubectl reads them.
    fn kubectl(&self) -> Value {
        let since = Since::now(&self.plane, None);
        let mut kubectl = Command::new(crate::rig::kubectl());
        kubectl.args(["get", "--raw", "/api/v1/pods", "--kubeconfig"]);
        let (cpu, peak) = measure(kubectl.arg(self.plane.kubeconfig()));
        json!({ "own_cpu_seconds": cpu, "peak_mib": peak, "api_server_cpu_seconds": since.api_server_cpu() })
    }

    /// A live scan.
    fn scan(&self, program: &Path) -> Value {
        let since = Since::now(&self.plane, None);
        let mut scan = Command::new(program);
        scan.args(["scan", "-A", "-o", "json", "--kubeconfig"]);
        let (cpu, peak) = measure(scan.arg(self.plane.kubeconfig()));
        let seconds = since.seconds();
        json!({ "own_cpu_seconds": cpu, "peak_mib": peak, "seconds": seconds, "api_server_cpu_seconds": since.api_server_cpu() })
    }

    /// The first reports, which are those of a scan, and 20 changes a second.
    fn reports(&self, program: &Path, world: World) -> Value {
        // With their definition, the reports of an earlier run are deleted.
        self.plane
            .kubectl(&["delete", "crd", REPORTS, "--timeout=20m"]);
        self.plane.install();
        self.plane
            .kubectl(&["wait", "crd", REPORTS, "--for=condition=Established"]);
        let since = Since::now(&self.plane, None);
        let controller = self.controller(program, false);
        controller.await_ready_within(PATIENCE);
        let ready =
            json!({ "seconds": since.seconds(), "own_cpu_seconds": cpu_seconds(controller.pid()) });
        let first = with(
            self.written(&controller, || {}),
            "all_writes",
            controller.writes().into(),
        );
        let count = controller.metric("token_exposure_pending_writes");
        assert!(count.abs() < f64::EPSILON, "{count} reports wait");
        let live = reports_equal_to_live_scan(&self.plane, program, "findings");
        assert_eq!(live.len(), world.findings());
        json!({
            "findings": world.findings(),
            "ready": ready,
            "first_reports": first,
            "twenty_changes_a_second": self.changes(&controller, world),
            "peak_mib": mib(status_kib(controller.pid(), "VmHWM")),
        })
    }

    /// A start that finds the reports written, and a binding that concerns every account.
    fn binding(&self, program: &Path) -> Value {
        let controller = self.controller(program, false);
        controller.await_ready_within(PATIENCE);
        let warm = self.written(&controller, || {});
        let warm = with(warm, "all_writes", controller.writes().into());
        let made = self.written(&controller, || self.plane.apply(ALL));
        let deleted = self.written(&controller, || {
            self.plane
                .kubectl(&["delete", "clusterrolebinding", "bench-all"]);
        });
        json!({
            "warm_start": warm,
            "binding_to_all_made": made,
            "binding_to_all_deleted": deleted,
            "peak_mib": mib(status_kib(controller.pid(), "VmHWM")),
        })
    }

    /// What the writes that follow something cost.
    fn written(&self, controller: &Controller, something: impl FnOnce()) -> Value {
        let (before, since) = (
            controller.writes(),
            Since::now(&self.plane, Some(controller.pid())),
        );
        something();
        controller.settle_within(PATIENCE);
        let (seconds, own) = (since.seconds(), since.own_cpu());
        json!({
            "writes": controller.writes() - before,
            "seconds": seconds,
            "own_cpu_seconds": own,
            "api_server_cpu_seconds": since.api_server_cpu(),
        })
    }

    fn changes(&self, controller: &Controller, world: World) -> Value {
        let accounts = 0..300.min(world.namespaces);
        let accounts: Vec<_> = accounts
            .map(|n| (world.namespace(n), world.account(n)))
            .collect();
        let role = ("ClusterRole", "custom-0");
        let since = Since::now(&self.plane, Some(controller.pid()));
        let Waits { created, deleted } = runtime()
            .block_on(async { changes(&self.plane.client().await, &accounts, role).await });
        let share = since.own_cpu() / since.seconds();
        let milliseconds = |waits: &[f64]| json!({ "changes": waits.len(), "p50": percentile(waits, 50), "p99": percentile(waits, 99), "max": percentile(waits, 100) });
        json!({
            "report_made_milliseconds": milliseconds(&created),
            "report_deleted_milliseconds": milliseconds(&deleted),
            "share_of_a_core": share,
        })
    }

    /// The requests that the API server has answered, but for those for its metrics.
    fn requests(&self) -> u64 {
        let metrics = self.plane.kubectl(&["get", "--raw", "/metrics"]);
        let counts = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{") && !line.contains(r#",resource="""#)
        });
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let sum = counts.sum::<f64>() as u64;
        sum
    }
}

/// An object with one more value.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}
