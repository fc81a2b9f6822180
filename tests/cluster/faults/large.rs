//! An API server that restarts in a large cluster: it takes longer to read its RBAC objects, and denies everything
//! until then; and each report that changed would be one of thousands.
#![allow(clippy::print_stdout, reason = "the figures are of interest")]

use std::time::{Duration, Instant};

use super::{kinds, stale_seconds};
use crate::rig::{
    Controller,
    world::{K3, K5, World},
};

/// How long the first reports, and the return of the API server, may take.
const LONG: Duration = Duration::from_mins(20);

#[test]
#[ignore = "takes minutes: `make faults`"]
fn an_api_server_of_10000_pods_that_restarts_changes_no_report() {
    restarts(K3);
}

#[test]
#[ignore = "takes minutes and 20 GB of memory: `make faults`"]
fn an_api_server_of_150000_pods_that_restarts_changes_no_report() {
    restarts(K5);
}

fn restarts(world: World) {
    let plane = world.start();
    let kubeconfig = plane.own_kubeconfig();
    let controller = Controller::start(&["--kubeconfig", kubeconfig.to_str().unwrap()]);
    controller.await_ready_within(LONG);
    controller.settle_within(LONG);
    let findings = || {
        let (_, text) = controller.get("/metrics").unwrap();
        let lines = text.lines();
        let lines = lines.filter(|line| line.starts_with("token_exposure_finding_pods{"));
        lines.count()
    };
    let (writes, found) = (controller.writes(), findings());
    assert!(found >= world.findings(), "{found}");
    let lines = controller.log().lines().count();
    let began = Instant::now();
    plane.restart_api_server();
    let back = Instant::now();
    // Every kind was confirmed after the API server was back.
    let is_fresh = |kind: &str| stale_seconds(&controller, kind) < back.elapsed().as_secs_f64();
    while !kinds().all(is_fresh) {
        assert!(began.elapsed() < LONG, "{}", controller.log());
        assert_eq!(findings(), found);
        std::thread::sleep(Duration::from_secs(1));
    }
    controller.settle_within(LONG);
    let log = controller.log();
    println!(
        "{}: {found} findings, {writes} writes before; the API server was back after {:.0} s, all kinds were fresh after {:.0} s; {} writes and {} lines of logs since",
        world.name,
        back.duration_since(began).as_secs_f64(),
        began.elapsed().as_secs_f64(),
        controller.writes() - writes,
        log.lines().count() - lines,
    );
    assert_eq!(controller.writes().to_bits(), writes.to_bits(), "{log}");
    assert_eq!(findings(), found);
    assert!(!log.contains("are Unknown"), "{log}");
}
