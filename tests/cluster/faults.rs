//! The controller while the API server fails: what was known stays known, and afterwards the reports equal a scan.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use token_exposure::{cluster::KINDS, model::InputKind};

use crate::rig::{
    ControlPlane, Controller, await_that,
    oracle::reports_equal_to_scans,
    pool::{self, Lent},
    proxy::{Answer, Cut, Proxy},
    random::{Random, cases},
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
        let plane = pool::installed();
        plane.namespace("shop");
        plane.kubectl(&["-n", "shop", "run", "web", "--image=nginx"]);
        let proxy = Proxy::start(&plane);
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
        let writes = self.controller.writes();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let found = self.plane.report("shop", "default");
            assert_eq!(found, owned(UNNEEDED), "{what}");
            assert_eq!(self.controller.get("/readyz").unwrap().0, 200, "{what}");
            std::thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(
            self.controller.writes().to_bits(),
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
            2.0_f64.to_bits(),
            "{what}: {}",
            self.controller.log()
        );
    }

    fn errors(&self) -> f64 {
        self.controller
            .metric(r#"token_exposure_watch_errors_total{kind="Pod"}"#)
    }
}

/// Each fault lasts longer than a request, and shorter than `--forbidden-after`.
fn passing_faults(faults: &[(&str, Answer, Cut)]) {
    let mut world = World::start(&["--forbidden-after=60s"]);
    for (what, answer, cut) in faults {
        let errors = world.errors();
        world.proxy.fail("", *answer);
        world.proxy.cut(*cut);
        world.endure(what, 4);
        await_that("the fault is counted", || world.errors() > errors);
        world.proxy.pass();
        world.recovers(what);
    }
    let log = world.controller.log();
    assert!(
        !log.contains("are Unknown") && !log.contains("service_account=default"),
        "{log}"
    );
    assert!(log.lines().count() < 6 * (faults.len() + 1), "{log}");
    reports_equal_to_scans(&world.plane, "findings");
}

/// An API server that starts denies everything until it has read its RBAC objects.
#[test]
fn passing_faults_change_no_report() {
    passing_faults(&[
        ("403", Answer::Status(403, &[], DENIED), Cut::End),
        (
            "reset",
            Answer::Status(503, &[("Retry-After", "1")], "down"),
            Cut::Break,
        ),
        (
            "410",
            Answer::Status(429, &[("Retry-After", "2")], "slow down"),
            Cut::Line(EXPIRED),
        ),
    ]);
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn faults_of_all_kinds_change_no_report() {
    passing_faults(&[
        ("401", Answer::Status(401, &[], "who are you?"), Cut::End),
        (
            "500",
            Answer::Status(500, &[], "etcdserver: leader changed"),
            Cut::Break,
        ),
        ("504", Answer::Status(504, &[], "timeout"), Cut::End),
        (
            "a login page",
            Answer::Status(200, &[("Content-Type", "text/html")], "<html>log in</html>"),
            Cut::End,
        ),
        (
            "half a line",
            Answer::Status(502, &[], ""),
            Cut::Line("{\"type\":\"MODIF"),
        ),
        (
            "garbage",
            Answer::Status(503, &[], ""),
            Cut::Line("garbage\n"),
        ),
        (
            "Retry-After garbage",
            Answer::Status(429, &[("Retry-After", "soon")], ""),
            Cut::End,
        ),
        (
            "Retry-After negative",
            Answer::Status(429, &[("Retry-After", "-5")], ""),
            Cut::End,
        ),
        ("no answers", Answer::Nothing, Cut::End),
    ]);
}

/// A watch that dies silently is noticed within 65 s, and a pause of years lasts a minute.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_silent_watch_and_an_endless_pause_end_within_two_minutes() {
    let mut world = World::start(&[]);
    world.proxy.cut(Cut::Silence);
    std::thread::sleep(Duration::from_secs(70));
    world.recovers("silence");
    let pause = Answer::Status(429, &[("Retry-After", "1000000000")], "");
    world.proxy.fail("", pause);
    world.proxy.cut(Cut::End);
    world.endure("an endless pause", 5);
    world.proxy.pass();
    world.endure("an endless pause", 60);
    world.recovers("an endless pause");
}

/// A right that is taken away is no passing fault: after the time that is set, verdicts are `Unknown`.
#[test]
fn a_permission_that_is_taken_away_makes_verdicts_unknown_after_a_while() {
    let mut world = World::start(&["--forbidden-after=6s"]);
    world
        .proxy
        .fail("/rolebindings", Answer::Status(403, &[], DENIED));
    world.proxy.cut(Cut::End);
    world.endure("the first seconds", 4);
    world
        .plane
        .await_report("shop", "default", Some(("Unknown", "Forbidden")));
    world.proxy.pass();
    world.plane.await_report("shop", "default", UNNEEDED);
    world.recovers("granted again");
}

/// A restarted API server has no history in memory and denies everything for a moment: nothing is written.
#[test]
fn an_api_server_that_restarts_changes_no_report() {
    let plane = pool::installed();
    let controller = plane.controller(&[]);
    let accounts: String = (0..100)
        .map(|number| unneeded(&format!("account-{number}")))
        .collect();
    plane.namespace("many");
    plane.apply(&accounts);
    plane.await_report("many", "account-99", UNNEEDED);
    controller.settle();
    let writes = controller.writes();
    plane.restart_api_server();
    // What is changed now shows that all kinds are watched again.
    bind(&plane, "account-0");
    plane.await_report("many", "account-0", None);
    controller.settle();
    let written = controller.writes() - writes;
    assert_eq!(written.to_bits(), 1.0_f64.to_bits(), "{}", controller.log());
    assert!(
        !controller.log().contains("are Unknown"),
        "{}",
        controller.log()
    );
    reports_equal_to_scans(&plane, "findings");
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

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
}

/// etcd is restored to an older state: a watch would wait for events that never come.
#[test]
fn a_restored_etcd_is_noticed_and_the_reports_follow() {
    let plane = pool::installed();
    let controller = plane.controller(&[]);
    plane.namespace("many");
    plane.apply(&unneeded("before"));
    plane.await_report("many", "before", UNNEEDED);
    controller.settle();
    plane.change_etcd(|dir| copy(&dir.join("etcd"), &dir.join("saved")));
    // The future that will not have been.
    plane.apply(&unneeded("lost"));
    plane.await_report("many", "lost", UNNEEDED);
    bind(&plane, "before");
    plane.await_report("many", "before", None);
    // An API server that starts writes some objects: the lost future is longer.
    let later: Vec<_> = (0..300)
        .map(|number| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{number}"), "namespace": "many"}}))
        .collect();
    plane.apply(&json!({"apiVersion": "v1", "kind": "List", "items": later}).to_string());
    controller.settle();
    plane.change_etcd(|dir| copy(&dir.join("saved"), &dir.join("etcd")));
    let began = Instant::now();
    plane.apply(&unneeded("after"));
    let noticed = || {
        let answers = ["after", "before"].map(|name| plane.report("many", name).is_some());
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "{answers:?}: {}",
            controller.log()
        );
        answers == [true, true]
    };
    while !noticed() {
        std::thread::sleep(Duration::from_millis(200));
    }
    plane.await_report("many", "after", UNNEEDED);
    plane.await_report("many", "before", UNNEEDED);
    controller.settle();
    let regressions = kinds().map(|kind| {
        controller.metric(&format!(
            "token_exposure_resource_version_regressions_total{{kind=\"{kind}\"}}"
        ))
    });
    assert!(regressions.sum::<f64>() >= 1.0, "{}", controller.log());
    assert!(
        controller.log().contains("resourceVersion went back"),
        "{}",
        controller.log()
    );
    reports_equal_to_scans(&plane, "findings");
}

/// Somebody, or the garbage collector, deletes a report whenever it is there.
#[test]
fn a_report_that_is_deleted_again_and_again_is_written_ever_more_rarely() {
    let plane = pool::installed();
    let controller = plane.controller(&[]);
    plane.namespace("many");
    plane.apply(&unneeded("victim"));
    plane.apply(&unneeded("other"));
    plane.await_report("many", "victim", UNNEEDED);
    controller.settle();
    let writes = controller.writes();
    let delete = || {
        plane.delete("/apis/tokenexposure.io/v1alpha1/namespaces/many/tokenexposurereports/victim");
        std::thread::sleep(Duration::from_millis(20));
    };
    await_that("the next write waits", || {
        delete();
        controller.metric(r#"token_exposure_delayed_writes_total{cause="flapping"}"#) >= 1.0
    });
    let at_once = controller.writes() - writes;
    assert!((20.0..=42.0).contains(&at_once), "{at_once}");
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        delete();
    }
    // After 1, 2, 4 and 8 s, two requests each.
    let later = controller.writes() - writes - at_once;
    assert!((2.0..=10.0).contains(&later), "{later}");
    assert!(
        controller.log().contains("changes all the time"),
        "{}",
        controller.log()
    );
    // The others do not wait.
    plane.apply(&unneeded("third"));
    plane.await_report("many", "third", UNNEEDED);
    plane.await_report("many", "victim", UNNEEDED);
}

/// One person's binding concerns every account: it costs no more than the budget, and the end is right.
#[test]
fn a_flapping_binding_costs_at_most_the_budget() {
    let plane = pool::installed();
    let accounts: String = (0..200)
        .map(|number| unneeded(&format!("account-{number}")))
        .collect();
    plane.namespace("many");
    plane.apply(&accounts);
    let controller = plane.controller(&["--writes-per-second=20"]);
    plane.await_report("many", "account-99", UNNEEDED);
    controller.settle();
    let (writes, began) = (controller.writes(), Instant::now());
    let create = [
        "create",
        "clusterrolebinding",
        "all",
        "--clusterrole=view",
        "--group=system:serviceaccounts:many",
    ];
    while began.elapsed() < Duration::from_secs(12) {
        plane.kubectl(&create);
        plane.kubectl(&["delete", "clusterrolebinding", "all"]);
    }
    let written = controller.writes() - writes;
    let budget = 20.0 * (began.elapsed().as_secs_f64() + 1.0) + 16.0;
    assert!(written <= budget, "{written} > {budget}");
    assert!(written > 50.0, "{written}");
    await_that("nothing waits", || {
        controller.metric("token_exposure_pending_writes") == 0.0
    });
    controller.settle();
    let live = reports_equal_to_scans(&plane, "findings");
    assert!(
        live.iter()
            .filter(|report| report["status"]["verdict"] == "Unneeded")
            .count()
            >= 200
    );
}

/// What everybody who may create pods can legally put into them does not make us run out of memory.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn pods_with_large_fields_cost_little_and_are_stated_gaps() {
    let plane = pool::installed();
    let controller = plane.controller(&[]);
    plane.namespace("many");
    plane.apply(&unneeded("honest"));
    let long = "x".repeat(60_000);
    let pod = |number: usize| -> Value {
        let (mut owner, mut path, mut audience) =
            ("Odd".to_owned(), "/t".to_owned(), "a".to_owned());
        match number % 3 {
            0 => owner = format!("K{number}{long}"),
            1 => path = format!("/{number}{long}"),
            _ => audience = format!("{number}{long}"),
        }
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("odd-{number}"), "namespace": "many", "ownerReferences": [
                {"apiVersion": "v1", "kind": owner, "name": "o", "uid": "u", "controller": true}]},
            "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "t", "mountPath": path}]}],
                "volumes": [{"name": "t", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token", "audience": audience}}]}}]}})
    };
    for begin in (0..1_200).step_by(50) {
        let pods: Vec<_> = (begin..begin + 50).map(pod).collect();
        plane.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string());
    }
    plane.await_report("many", "default", Some(("Unknown", "LimitExceeded")));
    plane.await_report("many", "honest", UNNEEDED);
    controller.settle();
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
    let status = fs::read_to_string(format!("/proc/{}/status", controller.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < 64 * 1_024, "{peak} kB");
    reports_equal_to_scans(&plane, "findings");
}

/// The kinds that are watched.
fn kinds() -> impl Iterator<Item = &'static str> {
    let own = [InputKind::TokenExposureReport];
    KINDS.into_iter().chain(own).map(InputKind::name)
}

impl World {
    /// Sleeps; the finding that is true all the time never disappears in between.
    fn sample(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            assert!(
                self.plane.report("shop", "default") == owned(UNNEEDED),
                "{}",
                self.controller.log()
            );
            std::thread::sleep(Duration::from_millis(200).min(time));
        }
    }

    /// Somebody changes the cluster.
    fn change(&self, random: &mut Random) {
        let name = format!("random-{}", random.below(6));
        let account = format!("shop:{name}");
        match random.below(5) {
            0 | 1 => self.plane.apply(&unneeded_in("shop", &name)),
            2 => drop(self.plane.try_kubectl(
                &[
                    "-n",
                    "shop",
                    "delete",
                    "pod",
                    &name,
                    "--ignore-not-found",
                    "--now",
                ],
                "",
            )),
            3 => drop(self.plane.try_kubectl(
                &[
                    "-n",
                    "shop",
                    "create",
                    "rolebinding",
                    &name,
                    "--clusterrole=view",
                    "--serviceaccount",
                    &account,
                ],
                "",
            )),
            _ => drop(self.plane.try_kubectl(
                &[
                    "-n",
                    "shop",
                    "delete",
                    "rolebinding",
                    &name,
                    "--ignore-not-found",
                ],
                "",
            )),
        }
    }

    /// Waits until the API server has confirmed every kind again.
    fn await_news(&self) {
        let since = Instant::now();
        let is_fresh = |kind: &str| {
            let stale = self
                .controller
                .metric(&format!("token_exposure_stale_seconds{{kind=\"{kind}\"}}"));
            stale < since.elapsed().as_secs_f64()
        };
        while !kinds().all(is_fresh) {
            assert!(
                since.elapsed() < Duration::from_secs(130),
                "{}",
                self.controller.log()
            );
            self.sample(Duration::from_millis(500));
        }
    }
}

fn owned(verdict: Option<(&str, &str)>) -> Option<(String, String)> {
    verdict.map(|(verdict, reason)| (verdict.to_owned(), reason.to_owned()))
}

/// Random faults of random requests while the cluster changes: afterwards the reports equal a scan, and nothing is
/// written any more. `SEED` replays a run, `CASES` says how many.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn random_faults_leave_the_right_reports() {
    let answers = [
        Answer::Status(403, &[], DENIED),
        Answer::Status(401, &[], ""),
        Answer::Status(429, &[("Retry-After", "1")], ""),
        Answer::Status(429, &[("Retry-After", "3")], "slow down"),
        Answer::Status(500, &[], "etcdserver: request timed out"),
        Answer::Status(503, &[], ""),
        Answer::Status(504, &[], "timeout"),
        Answer::Status(409, &[], "conflict"),
        Answer::Status(200, &[], "<html>"),
        Answer::Nothing,
    ];
    let cuts = [
        Cut::End,
        Cut::Break,
        Cut::Line(EXPIRED),
        Cut::Line("{\"type\":\"MOD"),
        Cut::Line("garbage\n"),
    ];
    let requests = [
        "",
        "/pods",
        "/rolebindings",
        "watch=true",
        "limit=1",
        "tokenexposurereports",
        "/serviceaccounts",
    ];
    let mut random = Random::from_env();
    let world = World::start(&["--forbidden-after=90s"]);
    for _ in 0..cases(20) {
        for _ in 0..=random.below(3) {
            world.proxy.fail(
                random.pick::<&'static str>(&requests),
                *random.pick(&answers),
            );
            if random.below(3) > 0 {
                world.proxy.cut(*random.pick(&cuts));
            }
            world.change(&mut random);
            world.sample(Duration::from_millis(
                u64::try_from(random.below(2_000)).unwrap(),
            ));
        }
        world.proxy.pass();
        world.change(&mut random);
        world.await_news();
        world.controller.settle();
        reports_equal_to_scans(&world.plane, "findings");
        let writes = world.controller.writes();
        world.sample(Duration::from_secs(2));
        assert_eq!(
            world.controller.writes().to_bits(),
            writes.to_bits(),
            "{}",
            world.controller.log()
        );
    }
    assert!(
        !world.controller.log().contains("are Unknown"),
        "{}",
        world.controller.log()
    );
}
