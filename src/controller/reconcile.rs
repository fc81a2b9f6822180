//! Makes the report of one account say what is known of it: assess, compare, write what differs.

use std::{sync::Arc, time::Instant};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::Client;

use super::{
    events::{Change, Events},
    lease::Leadership,
    metrics::Instruments,
    write::{Error, Write, Writer},
};
use crate::{
    api::{TokenExposureReport, TokenExposureReportStatus},
    facts::{Reports, report::ReportFacts},
    index::{Index, SharedIndex, Summary},
    model::{Exposure, ReportScope, ServiceAccountRef, Verdict},
};

/// What reconciling needs.
#[derive(Debug)]
pub struct Context {
    /// What is known.
    pub index: SharedIndex,
    /// Where reports are written.
    pub client: ClientHandle,
    /// Which accounts get one.
    pub scope: ReportScope,
    /// Whether this replica writes them.
    pub leadership: Leadership,
    /// Where changes of verdicts are told, if anywhere.
    pub events: Option<Events>,
    /// What is measured.
    pub instruments: Arc<Instruments>,
}

/// The client, which has no `Debug`.
pub struct ClientHandle(pub Client);

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// What has to be done.
#[derive(Debug)]
enum Plan {
    Keep,
    Delete,
    Write(Box<Write>),
}

/// Makes the report of one account say what is known of it. A standby only keeps count: whoever leads
/// next goes through all accounts.
///
/// # Errors
/// When it cannot be written; nothing is lost, since the index still says what is wanted.
pub async fn reconcile(
    context: &Context,
    account: &ServiceAccountRef,
    queued: Instant,
) -> Result<(), Error> {
    let timer = context.instruments.reconcile_duration.start_timer();
    let (plan, summary, change) = {
        let index = context.index.read();
        let exposure = index.assess(account);
        let reported = index.report(account).and_then(|report| report.verdict);
        let change = index
            .service_account(account)
            .filter(|_| context.events.is_some())
            .and_then(|owner| Change::between(reported, &exposure, &owner.uid));
        (
            plan(&index, account, &exposure, context.scope),
            summary(&exposure),
            change,
        )
    };
    let changed = {
        let mut index = context.index.write();
        let before = index
            .account(account)
            .and_then(|known| known.summary())
            .map(|summary| summary.verdict);
        let verdict = summary.verdict;
        index.set_verdict(account, summary);
        (before != Some(verdict)).then_some((before, verdict))
    };
    if !context.leadership.is_mine() {
        timer.stop_and_discard();
        return Ok(());
    }
    if let Some((before, verdict)) = changed {
        let (namespace, service_account) = (&account.namespace, &account.name);
        let before = before.map_or("", Verdict::name);
        if before.is_empty() {
            tracing::debug!(%namespace, %service_account, %verdict, "verdict");
        } else {
            tracing::info!(%namespace, %service_account, %verdict, before, "verdict changed");
        }
    }
    let writer = || Writer::new(context.client.0.clone(), account, &context.instruments);
    let written = match plan {
        Plan::Keep => return Ok(()),
        Plan::Delete => {
            let written = writer().delete().await?;
            let mut index = context.index.write();
            index.delete::<Reports>(&account.clone().into());
            written
        }
        Plan::Write(write) => {
            let written = writer().apply(&write).await?;
            let mut index = context.index.write();
            index.apply::<Reports>(account.clone().into(), write.facts);
            Some(written)
        }
    };
    context
        .instruments
        .event_to_report
        .observe(queued.elapsed().as_secs_f64());
    if let (Some(events), Some(change), Some(written)) = (&context.events, change, written) {
        events.tell(account, change, &written).await;
    }
    Ok(())
}

fn plan(
    index: &Index,
    account: &ServiceAccountRef,
    exposure: &Exposure,
    scope: ReportScope,
) -> Plan {
    // In a namespace that is being deleted nothing can be made, and everything goes by itself.
    if index.is_terminating(&account.namespace) {
        return Plan::Keep;
    }
    let live = index.report(account);
    let owner = index.service_account(account);
    // An account that may not be listed may well exist: its report stays, and says what is known.
    let blind = owner.is_none() && index.is_forbidden_to_list_accounts();
    let wanted = scope.includes(exposure.verdict) && (owner.is_some() || (blind && live.is_some()));
    if !wanted {
        return if live.is_some() && !blind {
            Plan::Delete
        } else {
            Plan::Keep
        };
    }
    let mut report = TokenExposureReport::from(exposure);
    let owner_uid = owner.map_or("", |owner| &owner.uid);
    report.metadata.owner_references = owner.map(|_| {
        vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ServiceAccount".to_owned(),
            name: account.name.to_string(),
            uid: owner_uid.to_owned(),
            ..OwnerReference::default()
        }]
    });
    let status = report.status.get_or_insert_default();
    keep_transition_times(status, live);
    let mut facts = ReportFacts::new(&report.spec, status, owner_uid);
    if let Some(live) = live.filter(|_| blind) {
        facts.object_digest = live.object_digest;
    }
    let object = live.is_none_or(|live| live.object_digest != facts.object_digest);
    let status = live.is_none_or(|live| live.status_digest != facts.status_digest);
    if object || status {
        Plan::Write(Box::new(Write {
            report,
            facts,
            object,
        }))
    } else {
        Plan::Keep
    }
}

/// Conditions keep the time of their last change as long as their status stays.
fn keep_transition_times(status: &mut TokenExposureReportStatus, live: Option<&ReportFacts>) {
    let before = live.and_then(|live| live.evaluated.as_ref());
    for condition in &mut status.conditions {
        let unchanged =
            before.filter(|(status, time)| *status == condition.status && !time.is_empty());
        let now = || Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        condition.last_transition_time = Some(unchanged.map_or_else(now, |(_, time)| time.clone()));
    }
}

fn summary(exposure: &Exposure) -> Summary {
    let pods_by_verdict = Verdict::ALL.map(|verdict| {
        exposure
            .workloads
            .iter()
            .filter(|workload| workload.verdict == verdict)
            .map(|workload| workload.pods)
            .sum()
    });
    Summary {
        verdict: exposure.verdict,
        reason: exposure.reason,
        pods: exposure.pods,
        exempt_until: exposure
            .exemption
            .as_ref()
            .and_then(|exemption| exemption.until),
        pods_by_verdict,
    }
}
