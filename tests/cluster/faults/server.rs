//! What happens to the API server and its data, to the connection, and to our own process.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    UNNEEDED, World, bind, kinds, owned, rejected, reported, stale_seconds, unneeded, unneeded_in,
};
use crate::rig::{
    Controller, await_that,
    oracle::reports_equal_to_scans,
    pool,
    proxy::{Answer, Cut, Proxy},
    random::Random,
    signal,
};

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
        // Its report was restored, and is right again: it never disappears.
        assert!(answers[1], "{}", controller.log());
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

/// etcd does not answer for half a minute: nothing is written then, and everything afterwards.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_frozen_etcd_changes_no_report() {
    let mut world = World::start(&[]);
    let writes = world.controller.writes();
    signal("STOP", world.plane.pid("etcd"));
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        assert_eq!(world.controller.get("/readyz").unwrap().0, 200);
        std::thread::sleep(Duration::from_secs(1));
    }
    signal("CONT", world.plane.pid("etcd"));
    world.plane.await_report("shop", "default", UNNEEDED);
    world.controller.settle();
    assert_eq!(
        world.controller.writes().to_bits(),
        writes.to_bits(),
        "{}",
        world.controller.log()
    );
    world.recovers("a frozen etcd");
    reports_equal_to_scans(&world.plane, "findings");
}

/// A slow network delays reports and changes none: all requests take 400 ms more, then answers come byte by byte.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_slow_network_delays_reports() {
    let mut world = World::start(&[]);
    world
        .proxy
        .fail("", Answer::Late(Duration::from_millis(400)));
    world.proxy.cut(Cut::Break);
    world.endure("late answers", 10);
    world.recovers("late answers");
    world.proxy.pass();
    world.proxy.cut(Cut::Slow);
    world.endure("slow answers", 10);
    world
        .plane
        .apply(&unneeded_in("shop", "during-slow-answers"));
    // The watches that are slow end within 65 s; their successors are not.
    let until = Instant::now() + Duration::from_secs(140);
    while world.plane.report("shop", "during-slow-answers").is_none() {
        assert!(Instant::now() < until, "{}", world.controller.log());
        std::thread::sleep(Duration::from_secs(1));
    }
    world.recovers("slow answers");
    reports_equal_to_scans(&world.plane, "findings");
}

/// A token that is replaced in its file is read again when the old one is no longer valid.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_replaced_token_is_read_again() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.apply(&unneeded_in("shop", "before"));
    let token = |secret: &str| {
        plane.kubectl(&[
            "-n",
            "token-exposure",
            "create",
            "secret",
            "generic",
            secret,
        ]);
        let bound = ["--bound-object-kind=Secret", "--bound-object-name", secret];
        let create = ["create", "token", "token-exposure", "-n", "token-exposure"];
        plane.kubectl(&[&create[..], &bound].concat())
    };
    let file = plane.file("token");
    fs::write(&file, token("first").trim()).unwrap();
    let kubeconfig = fs::read_to_string(plane.kubeconfig())
        .unwrap()
        .replace(
            "token: admintoken",
            &format!("tokenFile: {}", file.display()),
        )
        .replace("user: admin}", "user: admin, namespace: token-exposure}");
    let path = plane.file("token-file.kubeconfig");
    fs::write(&path, kubeconfig).unwrap();
    let controller = Controller::start(&["--kubeconfig", path.to_str().unwrap()]);
    controller.await_ready();
    plane.await_report("shop", "before", UNNEEDED);
    controller.settle();
    let writes = controller.writes();
    fs::write(&file, token("second").trim()).unwrap();
    plane.kubectl(&["-n", "token-exposure", "delete", "secret", "first"]);
    std::thread::sleep(Duration::from_secs(75));
    assert_eq!(
        controller.writes().to_bits(),
        writes.to_bits(),
        "{}",
        controller.log()
    );
    plane.apply(&unneeded_in("shop", "after"));
    plane.await_report("shop", "after", UNNEEDED);
    assert!(!controller.log().contains("are Unknown"));
    reports_equal_to_scans(&plane, "findings");
}

/// The API server gets a certificate of another authority, and the file of the pod follows some seconds later.
#[test]
#[ignore = "takes minutes: `make faults`"]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_replaced_certificate_authority_is_read_again() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.apply(&unneeded_in("shop", "before"));
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| fs::write(files.path().join(name), content).unwrap();
    let token = plane.kubectl(&["create", "token", "-n", "token-exposure", "token-exposure"]);
    file("token", token.trim().as_bytes());
    file("namespace", b"token-exposure");
    file("ca.crt", &fs::read(plane.file("ca.crt")).unwrap());
    let server = fs::read_to_string(plane.file("server")).unwrap();
    let (_, port) = server.trim().rsplit_once(':').unwrap();
    let Some(controller) = Controller::start_in_pod(files.path(), "127.0.0.1", port) else {
        eprintln!("skipped: a process may not mount here");
        return;
    };
    controller.await_ready();
    plane.await_report("shop", "before", UNNEEDED);
    controller.settle();
    let writes = controller.writes();
    plane.replace_certificate();
    std::thread::sleep(Duration::from_secs(10));
    file("ca.crt", &fs::read(plane.file("ca.crt")).unwrap());
    plane.apply(&unneeded_in("shop", "after"));
    // The file is read again each minute.
    let until = Instant::now() + Duration::from_secs(130);
    while plane.report("shop", "after").is_none() {
        assert!(Instant::now() < until, "{}", controller.log());
        std::thread::sleep(Duration::from_secs(1));
    }
    controller.settle();
    let written = controller.writes() - writes;
    assert_eq!(written.to_bits(), 1.0_f64.to_bits(), "{}", controller.log());
    reports_equal_to_scans(&plane, "findings");
}

/// Whoever opens as many connections as the process may have files stops neither watches nor writes.
#[test]
fn without_file_descriptors_reports_are_still_written() {
    let plane = pool::installed();
    plane.namespace("shop");
    let controller = plane.controller(&[]);
    let limited = Command::new("prlimit")
        .args(["--pid", &controller.pid().to_string(), "--nofile=32:32"])
        .status();
    assert!(limited.unwrap().success());
    let connections: Vec<_> = (0..60)
        .map(|_| std::net::TcpStream::connect(controller.address()).unwrap())
        .collect();
    plane.apply(&unneeded_in("shop", "web"));
    plane.await_report("shop", "web", UNNEEDED);
    drop(connections);
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
}

/// Killed at any moment: the next start writes what is missing, and nothing twice.
#[test]
fn a_killed_controller_leaves_nothing_half_done() {
    let plane = pool::installed();
    plane.namespace("many");
    let accounts: String = (0..60)
        .map(|number| unneeded(&format!("account-{number}")))
        .collect();
    plane.apply(&accounts);
    let mut random = Random::from_env();
    for _ in 0..5 {
        let controller = plane.controller(&["--first-writes-per-second=100"]);
        let moment = u64::try_from(random.below(300)).unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        drop(controller);
    }
    let controller = plane.controller(&[]);
    plane.await_report("many", "account-0", UNNEEDED);
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
    drop(controller);
    let controller = plane.controller(&[]);
    controller.settle();
    assert_eq!(controller.writes().to_bits(), 0.0_f64.to_bits());
}

/// An API server that does not answer yet: the controller waits, and says so.
#[test]
fn an_api_server_that_is_down_at_the_start_is_waited_for() {
    let plane = pool::installed();
    plane.namespace("shop");
    plane.apply(&unneeded_in("shop", "web"));
    let proxy = Proxy::start(&plane);
    proxy.fail("", Answer::Status(503, &[], "starting"));
    let kubeconfig = plane.own_kubeconfig_for(&proxy.url(), "proxied.kubeconfig");
    let controller = Controller::start(&["--kubeconfig", kubeconfig.to_str().unwrap()]);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
    assert_eq!(controller.get("/readyz").unwrap().0, 503);
    assert_eq!(plane.report("shop", "web"), None);
    assert!(
        controller.log().lines().count() < 30,
        "{}",
        controller.log()
    );
    proxy.pass();
    controller.await_ready();
    plane.await_report("shop", "web", UNNEEDED);
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
}

/// The API server is suspended: nothing changes but the staleness, which can be seen.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_suspended_api_server_makes_every_kind_stale() {
    let (plane, controller) = reported("web");
    let finding = "token_exposure_serviceaccounts{namespace=\"shop\",verdict=\"Unneeded\"}";
    let (writes, findings) = (controller.writes(), controller.metric(finding));
    signal("STOP", plane.pid("kube-apiserver"));
    let until = Instant::now() + Duration::from_secs(100);
    while Instant::now() < until {
        assert_eq!(controller.get("/healthz").unwrap().0, 200);
        assert_eq!(controller.metric(finding).to_bits(), findings.to_bits());
        std::thread::sleep(Duration::from_secs(1));
    }
    for kind in kinds() {
        let stale = stale_seconds(&controller, kind);
        assert!(stale > 90.0, "{kind}: {stale}");
    }
    signal("CONT", plane.pid("kube-apiserver"));
    plane.apply(&unneeded_in("shop", "after"));
    plane.await_report("shop", "after", UNNEEDED);
    controller.settle();
    let written = controller.writes() - writes;
    assert_eq!(written.to_bits(), 1.0_f64.to_bits(), "{}", controller.log());
    reports_equal_to_scans(&plane, "findings");
}

/// The database of etcd is full: nothing can be written, and everything is afterwards.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_full_etcd_delays_reports() {
    let (plane, controller) = reported("before");
    let errors = || controller.metric(r#"token_exposure_report_errors_total{cause="server"}"#);
    let before = errors();
    plane.apply(&unneeded_in("shop", "after"));
    plane.await_report("shop", "after", UNNEEDED);
    controller.settle();
    let alarm = |action: &str| {
        let body = json!({"action": action, "memberID": 0, "alarm": "NOSPACE"});
        let set = Command::new("curl")
            .args([
                "--silent",
                "--fail",
                "--output",
                "/dev/null",
                "--data",
                &body.to_string(),
            ])
            .arg(format!("{}/v3/maintenance/alarm", plane.etcd_url()))
            .status();
        assert!(set.unwrap().success(), "{action}");
    };
    // Whoever deletes reports is allowed to, also when etcd is full.
    alarm("ACTIVATE");
    plane.delete("/apis/tokenexposure.io/v1alpha1/namespaces/shop/tokenexposurereports/after");
    await_that("a write is rejected", || errors() > before);
    std::thread::sleep(Duration::from_secs(30));
    assert!(
        errors() - before <= 12.0,
        "{}: {}",
        errors(),
        controller.log()
    );
    assert_eq!(controller.get("/readyz").unwrap().0, 200);
    assert_eq!(plane.report("shop", "before"), owned(UNNEEDED));
    alarm("DEACTIVATE");
    plane.await_report("shop", "after", UNNEEDED);
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
}

/// In a namespace that is being deleted nothing can be created: it is tried ever more rarely.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_namespace_that_cannot_end_causes_no_storm() {
    let plane = pool::installed();
    plane.namespace("ending");
    plane.apply(&unneeded_in("ending", "web"));
    let finalizer = r#"{"metadata":{"finalizers":["example.com/never"]}}"#;
    plane.kubectl(&["-n", "ending", "patch", "pod", "web", "-p", finalizer]);
    plane.kubectl(&[
        "-n",
        "ending",
        "patch",
        "serviceaccount",
        "web",
        "-p",
        finalizer,
    ]);
    let controller = plane.controller(&[]);
    plane.await_report("ending", "web", UNNEEDED);
    controller.settle();
    let (writes, errors) = (controller.writes(), rejected(&controller));
    plane.kubectl(&["delete", "namespace", "ending", "--wait=false"]);
    std::thread::sleep(Duration::from_secs(40));
    let tries = controller.writes() - writes + rejected(&controller) - errors;
    assert!(tries <= 20.0, "{tries}: {}", controller.log());
    assert!(!controller.log().contains("grant "), "{}", controller.log());
    let none = r#"{"metadata":{"finalizers":null}}"#;
    plane.kubectl(&["-n", "ending", "patch", "pod", "web", "-p", none]);
    plane.kubectl(&["-n", "ending", "patch", "serviceaccount", "web", "-p", none]);
    await_that("the namespace has ended", || {
        plane
            .ask("/api/v1/namespaces/ending")
            .is_ok_and(|found| found.is_none())
    });
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
}

/// SIGTERM while it starts, lists, writes or waits: it ends at once and rightly, and the Lease is free.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_controller_that_is_asked_to_end_does_so_at_any_moment() {
    let plane = pool::installed();
    plane.release("replicaCount=2");
    plane.namespace("many");
    let accounts: String = (0..60)
        .map(|number| unneeded(&format!("account-{number}")))
        .collect();
    plane.apply(&accounts);
    let kubeconfig = plane.own_kubeconfig();
    let args = [
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--leader-elect",
    ];
    let mut random = Random::from_env();
    for moment in 0..20 {
        let controller = Controller::start(&args);
        let wait = u64::try_from(random.below(100 * (moment + 1))).unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let (status, took, log) = controller.terminate();
        assert!(status.success(), "after {wait} ms: {log}");
        assert!(took < Duration::from_secs(10), "after {wait} ms: {took:?}");
        let lease = plane
            .ask("/apis/coordination.k8s.io/v1/namespaces/token-exposure/leases/token-exposure");
        let holder = lease.unwrap().unwrap_or_default()["spec"]["holderIdentity"].clone();
        assert!(holder.as_str().unwrap_or_default().is_empty(), "{holder}");
    }
    let controller = Controller::start(&args);
    controller.await_ready();
    plane.await_report("many", "account-0", UNNEEDED);
    controller.settle();
    reports_equal_to_scans(&plane, "findings");
}
