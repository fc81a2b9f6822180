//! What happens to the API server and its data, to the connection, and to our own process.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{UNNEEDED, World, bind, kinds, unneeded, unneeded_in};
use crate::rig::{
    Controller,
    oracle::reports_equal_to_scans,
    pool,
    proxy::{Answer, Cut},
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
