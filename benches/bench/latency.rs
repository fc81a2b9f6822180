//! From a change to its report.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, Client, ResourceExt,
    api::DeleteParams,
    runtime::{WatchStreamExt, watcher},
};
use token_exposure::api::TokenExposureReport;

use crate::{
    load::{READER, TEAM, binding, create},
    measure::{mib, percentile, status_kib},
    rig::{ControlPlane, runtime},
};

/// How long each change took until its report was there or gone, in milliseconds; sorted.
pub(crate) struct Waits {
    pub(crate) created: Vec<f64>,
    pub(crate) deleted: Vec<f64>,
}

/// Changes bindings 20 times a second: each account, which must have a finding, is bound to a role, and then each of
/// these bindings is deleted.
pub(crate) async fn changes(
    client: &Client,
    accounts: &[(String, String)],
    role: (&'static str, &'static str),
) -> Waits {
    let reports: Api<TokenExposureReport> = Api::all(client.clone());
    let mut seen = Box::pin(watcher(reports, watcher::Config::default()).default_backoff());
    // Existing reports are read first.
    while !matches!(
        seen.try_next().await.unwrap(),
        Some(watcher::Event::InitDone)
    ) {}

    let mut sent: HashMap<(String, String), Instant> = HashMap::new();
    let mut waits = Waits {
        created: Vec::new(),
        deleted: Vec::new(),
    };
    let (mut change, changes) = (0, 2 * accounts.len());
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let ends = Instant::now() + Duration::from_millis(50) * u32::try_from(changes).unwrap();
    let ends = ends + Duration::from_secs(10);
    while Instant::now() < ends && (change < changes || !sent.is_empty()) {
        tokio::select! {
            _ = tick.tick(), if change < changes => {
                let is_bound = change >= accounts.len();
                let account = accounts[change % accounts.len()].clone();
                sent.insert(account.clone(), Instant::now());
                tokio::spawn(toggle(client.clone(), account, role, is_bound));
                change += 1;
            }
            event = seen.try_next() => {
                let event = event.unwrap().unwrap();
                let is_gone = matches!(event, watcher::Event::Delete(_));
                let (watcher::Event::Apply(report) | watcher::Event::Delete(report)) = event else { continue };
                // A new report may have two events: the object, then its status.
                if !is_gone && report.status.is_none() { continue }
                let key = (report.namespace().unwrap(), report.name_any());
                if let Some(sent) = sent.remove(&key) {
                    let waits = if is_gone { &mut waits.deleted } else { &mut waits.created };
                    waits.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
            }
        }
    }
    waits.created.sort_by(f64::total_cmp);
    waits.deleted.sort_by(f64::total_cmp);
    waits
}

/// Binds an account to a role, or deletes that binding.
async fn toggle(
    client: Client,
    (namespace, name): (String, String),
    role: (&str, &str),
    is_bound: bool,
) {
    let bench = format!("bench-{name}");
    if is_bound {
        let bindings: Api<RoleBinding> = Api::namespaced(client, &namespace);
        bindings
            .delete(&bench, &DeleteParams::default())
            .await
            .unwrap();
    } else {
        create::<RoleBinding>(&client, &namespace, binding(&bench, &name, role)).await;
    }
}

#[test]
#[ignore = "measures; run by `make bench`"]
fn event_to_report() {
    let plane = ControlPlane::start(&[]);
    runtime().block_on(async {
        let client = plane.client().await;
        TEAM.load(&client).await;
        let controller = plane.controller(&[]);
        controller.settle();
        let accounts: Vec<_> = (0..300).map(|n| TEAM.account(2 * n)).collect();
        let Waits { created, deleted } = changes(&client, &accounts, READER).await;
        let mut waits = [created, deleted].concat();
        waits.sort_by(f64::total_cmp);
        println!(
            "event to report, 2,000 pods, 20 changes/s: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms ({} of {} changes seen)",
            percentile(&waits, 50), percentile(&waits, 99), percentile(&waits, 100), waits.len(), 2 * accounts.len(),
        );
        println!("  controller: {:.1} MiB peak", mib(status_kib(controller.pid(), "VmHWM")));
    });
}
