//! A cluster in production at work: its first sync, changes that change no fact, a relist, and live scans.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    load::{LOADERS, PRODUCTION},
    measure::{cpu_seconds, measure, mib, status_kib},
    rig::{ControlPlane, Controller, program_path, runtime},
};

#[test]
#[ignore = "measures; run by `make bench`"]
fn memory_noise_and_live_scan() {
    let plane = ControlPlane::start(&[]);
    runtime().block_on(async {
        let client = plane.client().await;
        let began = Instant::now();
        PRODUCTION.load(&client).await;
        println!(
            "loaded 10,000 pods, 3,000 accounts, 6,000 bindings in {:.0} s",
            began.elapsed().as_secs_f64()
        );
        let size = plane.get(&["-n", "ns-0", "pod", "pod-0"]).to_string().len();
        println!("a pod has {size} bytes of JSON");

        let began = Instant::now();
        let controller = plane.controller(&[]);
        println!("ready after {:.1} s", began.elapsed().as_secs_f64());
        controller.settle();
        println!(
            "all reports written after {:.1} s: {} writes",
            began.elapsed().as_secs_f64() - 1.0,
            controller.writes()
        );
        let memory = |when: &str| {
            let (now, peak) = (
                status_kib(controller.pid(), "VmRSS"),
                status_kib(controller.pid(), "VmHWM"),
            );
            println!(
                "memory, {when}: {:.1} MiB, peak {:.1} MiB",
                mib(now),
                mib(peak)
            );
        };
        memory("after the first sync");

        noise(&client, &controller).await;
        relist(&plane, &controller).await;
        memory("after a full relist");

        let kubeconfig = plane.kubeconfig();
        let scan = || {
            let mut scan = Command::new(program_path());
            scan.args(["scan", "-A", "-o", "json", "--kubeconfig"])
                .arg(&kubeconfig);
            measure(&mut scan)
        };
        for _ in 0..3 {
            let (cpu, peak) = scan();
            println!("live scan: {cpu:.2} CPU s, {peak:.1} MiB peak");
        }
    });
}

/// Patches the status of pods 10,000 times, 500 a second.
async fn noise(client: &Client, controller: &Controller) {
    let (writes, cpu) = (controller.writes(), cpu_seconds(controller.pid()));
    let reconciled = controller.metric("token_exposure_reconcile_duration_seconds_count");
    let began = Instant::now();
    // 500 a second, or as many as the API server can handle.
    let due = tokio::time::interval(Duration::from_millis(2));
    let due = stream::unfold((due, 0_usize), |(mut due, n)| async move {
        due.tick().await;
        Some((n, (due, n + 1)))
    });
    let patched = due
        .take(10_000)
        .map(|n| async move {
            let (namespace, _) = PRODUCTION.account(n % PRODUCTION.pods);
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            let status = json!({ "status": { "message": format!("change {n}") } });
            pods.patch_status(
                &format!("pod-{}", n % PRODUCTION.pods),
                &PatchParams::default(),
                &Patch::Merge(&status),
            )
            .await
            .unwrap();
        })
        .buffer_unordered(4 * LOADERS)
        .count()
        .await;
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = patched as f64 / seconds;
    println!(
        "noise, {rate:.0} status patches/s for {seconds:.0} s: {} writes, {} reconciles, {:.1} % of one core",
        controller.writes() - writes,
        controller.metric("token_exposure_reconcile_duration_seconds_count") - reconciled,
        (cpu_seconds(controller.pid()) - cpu) / seconds * 100.0,
    );
}

/// Restarts the API server: its watch cache is empty, and every watch starts again.
async fn relist(plane: &ControlPlane, controller: &Controller) {
    plane.restart_api_server();
    let event = r#"token_exposure_last_event_timestamp_seconds{kind="Pod"}"#;
    let before = controller.metric(event);
    let deadline = Instant::now() + Duration::from_mins(3);
    while controller.metric(event) <= before + 5.0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!(
        "relisted; errors of the pods' watch: {}",
        controller.metric(r#"token_exposure_watch_errors_total{kind="Pod"}"#)
    );
}
