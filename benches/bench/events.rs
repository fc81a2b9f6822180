//! Audit events that an API server sends to the controller.

use std::{
    fs,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use http::Request;

use crate::{
    files::audit_event,
    measure::{cpu_seconds, mib, status_kib},
    rig::{
        ControlPlane, Controller,
        audit::{Certificates, client_of, policy},
        runtime,
    },
};

/// Batches of 400 events, as webhooks send them: what a second of 1,000 events costs.
#[test]
#[ignore = "measures; run by `make bench`"]
fn audit_events_live() {
    const BATCH: usize = 400;
    const BATCHES: usize = 500;
    let plane = ControlPlane::start(&[]);
    let certificates = Certificates::new();
    let flags = certificates.controller_flags("127.0.0.1:0");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let controller: Controller = plane.controller(&flags);
    controller.settle();
    let bodies = (0..BATCHES).map(|batch| {
        let events = (0..BATCH).map(|n| audit_event(batch * BATCH + n));
        let events: Vec<_> = events.map(|event| event.trim_end().to_owned()).collect();
        let list = events.join(",");
        format!(
            "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{{}},\"items\":[{list}]}}\n"
        )
        .into_bytes()
    });
    let bodies: Vec<Vec<u8>> = bodies.collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let (pid, began) = (controller.pid(), Instant::now());
    let (cpu, before) = (cpu_seconds(pid), status_kib(pid, "VmHWM"));
    let answers = certificates.post_all(&controller.audit_address(), bodies);
    std::thread::sleep(Duration::from_secs(1));
    let cpu = cpu_seconds(pid) - cpu;
    let slowest = answers.iter().max().unwrap();
    let events = u32::try_from(BATCH * BATCHES).unwrap();
    println!(
        "{events} events of 10,000 pods and 3,000 accounts, {} bytes each, in {:.1} s: {cpu:.2} CPU s, {:.1} % of a core for 1,000 a \
         second; slowest answer {slowest:?}; peak {:.1} MiB, {:.1} MiB before",
        bytes / (BATCH * BATCHES),
        began.elapsed().as_secs_f64(),
        cpu / f64::from(events) * 1e5,
        mib(status_kib(pid, "VmHWM")),
        mib(before),
    );
    let read = controller.metric("token_exposure_audit_events_total");
    assert!(
        (read - f64::from(events)).abs() < 0.5,
        "{read} events were read"
    );
}

/// What the audit policy costs an API server: requests of a ServiceAccount, without it, to a log, and to the controller.
#[test]
#[ignore = "measures; run by `make bench`"]
fn audit_policy() {
    let listening = ControlPlane::start(&[]);
    let certificates = Certificates::new();
    let flags = certificates.controller_flags("127.0.0.1:0");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let controller = listening.controller(&flags);
    let file = listening.file("policy.yaml");
    fs::write(&file, policy()).unwrap();
    let to_a_log = vec![
        format!("--audit-policy-file={}", file.display()),
        format!("--audit-log-path={}", listening.file("audit.log").display()),
    ];
    let to_us = certificates.api_server_flags(&controller.audit_address());
    let variants = [
        ("no audit policy", vec![]),
        ("to a log", to_a_log),
        ("to the controller", to_us),
    ];
    let planes = variants.map(|(name, flags)| {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        (name, ControlPlane::start(&flags))
    });
    // The first requests after a start cost more than others.
    for (_, plane) in &planes {
        requests_cost(plane);
    }
    for round in 0..5 {
        let costs = planes
            .each_ref()
            .map(|(name, plane)| format!("{name} {:.3}", requests_cost(plane)));
        println!(
            "round {round}, CPU ms of the API server for a request: {}",
            costs.join(", ")
        );
    }
}

/// CPU of the API server for a request of a ServiceAccount, in milliseconds, with what follows in the next seconds.
fn requests_cost(plane: &ControlPlane) -> f64 {
    const REQUESTS: u32 = 10_000;
    const AFTERWARDS: Duration = Duration::from_secs(3);
    let api_server = plane.pid("kube-apiserver");
    let before = cpu_seconds(api_server);
    runtime().block_on(async {
        let client = client_of(&plane.own_kubeconfig()).await;
        let client = &client;
        stream::iter(0..REQUESTS)
            .for_each_concurrent(8, |_| async move {
                let request = Request::get("/api/v1/namespaces?limit=1");
                let request = request.body(Vec::new()).unwrap();
                client.request_text(request).await.unwrap();
            })
            .await;
    });
    std::thread::sleep(AFTERWARDS);
    (cpu_seconds(api_server) - before) * 1000.0 / f64::from(REQUESTS)
}
