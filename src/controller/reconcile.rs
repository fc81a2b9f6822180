//! Brings the report of one account up to date: assess, compare, write what differs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use parking_lot::Mutex;

use super::{
    budget::Budget,
    cure::Cure,
    events::{Change, Events},
    lease::Leadership,
    metrics::Instruments,
    write::{Error, Write, WriteId, Writer},
};
use crate::{
    api::{TokenExposureReport, TokenExposureReportStatus},
    client::Connection,
    facts::{Reports, report::ReportFacts},
    index::{Account, Index, SharedIndex, Standing},
    log::{LogLimiter, Window, clipped},
    model::{AccountSummary, Exposure, ReportScope, ServiceAccountRef, Target, Verdict},
};

/// What reconciling needs.
#[derive(Debug)]
pub struct Context {
    /// The facts of the cluster.
    pub index: SharedIndex,
    /// The client that writes reports.
    pub connection: Connection,
    /// How many requests may write.
    pub budget: Budget,
    /// Which accounts get a report.
    pub scope: ReportScope,
    /// Whether this replica writes reports.
    pub leadership: Leadership,
    /// Publishes changes of verdicts as Kubernetes events, where the user asks for it.
    pub events: Option<Events>,
    /// The workloads whose token the policy may withhold, where the user asks for it.
    pub cure: Option<Cure>,
    /// Limits how often failures are logged.
    pub log: LogLimiter,
    /// Limits how many changes of verdicts are logged.
    pub changes: Mutex<Window>,
    /// Counters and histograms.
    pub instruments: Arc<Instruments>,
}

impl Context {
    /// Resolves when a report may be written: the API server asks for no pause, and the budget has room.
    pub(super) async fn may_write(&self) {
        self.connection.throttle.passed().await;
        self.budget.ready().await;
    }

    /// Counts and logs something that changes so often that its next write waits.
    pub(super) fn flapping(&self, target: &Target, pause: Duration) {
        self.instruments.delayed("flapping");
        let (what, namespace) = (target.what(), target.namespace());
        let service_account = target.service_account();
        if self.log.failed("flapping reports", &target.to_string()) {
            tracing::warn!(%namespace, service_account, ?pause, "the {what} changes all the time: somebody changes or deletes it, or a verdict flaps; it is written ever more rarely");
        }
    }
}

/// What has to be done.
#[derive(Debug)]
enum Plan {
    Keep,
    Delete,
    Write(Box<Write>),
}

/// Computes the verdict on one account, and returns it if its report has to be written or deleted; a report of a
/// namespace that is left out is the last to go. A standby writes nothing: the next leader assesses all accounts.
pub fn assess(context: &Context, account: &ServiceAccountRef) -> Option<Verdict> {
    let timer = context.instruments.reconcile_duration.start_timer();
    let Some(Answer {
        plan,
        summary,
        elsewhere,
        reported,
        ..
    }) = answer(context, account)
    else {
        timer.stop_and_discard();
        return None;
    };
    let Some(summary) = summary else {
        timer.stop_and_discard();
        let deletes = matches!(plan, Plan::Delete) && context.leadership.is_mine();
        return deletes.then_some(Verdict::NoToken);
    };
    let verdict = summary.verdict;
    let before = remember(&context.index, account, summary);
    if !context.leadership.is_mine() {
        timer.stop_and_discard();
        return None;
    }
    let was_finding = before.or(reported).is_some_and(Verdict::is_finding);
    let cleared = elsewhere.filter(|_| was_finding && verdict == Verdict::Needed);
    log_change(context, account, before, verdict);
    if let Some(note) = cleared {
        log_cleared(context, account, &note);
    }
    if matches!(plan, Plan::Keep) {
        timer.observe_duration();
        return None;
    }
    timer.stop_and_discard();
    Some(verdict)
}

/// Brings the report of one account up to date, and returns whether that took a write.
///
/// # Errors
/// When the report cannot be written; nothing is lost, since the index still says what is wanted.
pub async fn reconcile(
    context: &Context,
    account: &ServiceAccountRef,
    queued: Instant,
) -> Result<bool, Error> {
    let _timer = context.instruments.reconcile_duration.start_timer();
    if !context.leadership.is_mine() {
        return Ok(false);
    }
    let Some(Answer { plan, change, .. }) = answer(context, account) else {
        return Ok(false);
    };
    let written = match plan {
        Plan::Keep => return Ok(false),
        Plan::Delete => delete(context, account).await?,
        Plan::Write(write) => Some(apply(context, account, *write).await?),
    };
    context
        .instruments
        .event_to_report
        .observe(queued.elapsed().as_secs_f64());
    if let (Some(events), Some(change), Some(write)) = (&context.events, change, written) {
        events.publish(account, change, &write).await;
    }
    Ok(true)
}

/// What is known of an account, and what follows from it.
struct Answer {
    plan: Plan,
    /// The verdict; `None` in a namespace that is left out.
    summary: Option<AccountSummary>,
    /// The change of the verdict that an event reports.
    change: Option<Change>,
    /// The verdict of the live report.
    reported: Option<Verdict>,
    /// That only other namespaces grant anything.
    elsewhere: Option<String>,
}

/// The answer for one account; `None` until every kind was read and it is known whether its namespace is selected: then
/// the account is named again.
fn answer(context: &Context, account: &ServiceAccountRef) -> Option<Answer> {
    let index = context.index.read();
    if !index.is_settled() {
        return None;
    }
    match index.standing(&account.namespace) {
        Standing::Selected => {}
        Standing::LeftOut => return Some(left_out(&index, account)),
        Standing::Undecided => return None,
    }
    let exposure = index.assess(account);
    if let Some(cure) = context
        .cure
        .as_ref()
        .filter(|_| context.leadership.is_mine())
    {
        cure.note(&index, account, &exposure);
    }
    let reported = index.report(account).and_then(|report| report.verdict);
    let owner = index.service_account(account);
    let change = owner
        .filter(|_| context.events.is_some())
        .and_then(|owner| Change::between(reported, &exposure, &owner.uid));
    Some(Answer {
        plan: plan(&index, account, &exposure, context.scope),
        summary: Some(AccountSummary::from(&exposure)),
        change,
        reported,
        elsewhere: exposure.granted_elsewhere().map(ToString::to_string),
    })
}

/// The answer for an account of a namespace that is left out: its report goes, also one that an earlier run wrote.
fn left_out(index: &Index, account: &ServiceAccountRef) -> Answer {
    let goes = index.report(account).is_some() && !index.is_terminating(&account.namespace);
    Answer {
        plan: if goes { Plan::Delete } else { Plan::Keep },
        summary: None,
        change: None,
        reported: None,
        elsewhere: None,
    }
}

/// Keeps the verdict for the metrics, and returns the one before it.
fn remember(
    index: &SharedIndex,
    account: &ServiceAccountRef,
    summary: AccountSummary,
) -> Option<Verdict> {
    let mut index = index.write();
    let known = index.account(account).and_then(Account::summary);
    let before = known.map(|summary| summary.verdict);
    index.set_verdict(account, summary);
    before
}

/// Logs a verdict that changed, unless too many do; the first one only for those who debug.
fn log_change(
    context: &Context,
    account: &ServiceAccountRef,
    before: Option<Verdict>,
    verdict: Verdict,
) {
    let (namespace, service_account) = (&account.namespace, &account.name);
    let before = match before {
        None => return tracing::debug!(%namespace, %service_account, %verdict, "verdict"),
        Some(before) if before == verdict => return,
        Some(before) => before,
    };
    let admitted = context.changes.lock().admits(Instant::now());
    if let Some(untold) = admitted.filter(|untold| *untold > 0) {
        tracing::info!(
            changes = untold,
            "verdicts changed that were not logged: more than are logged in a minute"
        );
    }
    if admitted.is_some() {
        tracing::info!(%namespace, %service_account, %verdict, before = before.name(), "verdict changed");
    } else {
        tracing::debug!(%namespace, %service_account, %verdict, before = before.name(), "verdict changed");
    }
}

/// Logs and counts that a binding of another namespace ended a finding: a line for each binding, however many accounts it
/// names and however often it comes and goes.
fn log_cleared(context: &Context, account: &ServiceAccountRef, note: &str) {
    context.instruments.cleared_elsewhere.inc();
    let note = clipped(note);
    let (namespace, service_account) = (&account.namespace, &account.name);
    if context.log.failed("cleared findings", note) {
        tracing::warn!(%namespace, %service_account, "a binding cleared the finding: {note}");
    } else {
        tracing::debug!(%namespace, %service_account, "a binding cleared the finding: {note}");
    }
}

/// Deletes the report; `None` where it was already gone.
async fn delete(context: &Context, account: &ServiceAccountRef) -> Result<Option<WriteId>, Error> {
    let before = context
        .index
        .read()
        .report(account)
        .and_then(|report| report.version);
    let written = Writer::new(context, account).delete().await?;
    let mut index = context.index.write();
    index.deleted::<Reports>(&account.clone().into(), before);
    Ok(written)
}

async fn apply(
    context: &Context,
    account: &ServiceAccountRef,
    write: Write,
) -> Result<WriteId, Error> {
    let Write { report, facts } = write;
    let live = Writer::new(context, account).apply(report, &facts).await?;
    let written = WriteId {
        report: live.uid,
        version: live.resource_version,
    };
    let version = written.version.as_deref();
    let facts = ReportFacts {
        version: version.and_then(|version| version.parse().ok()),
        generation: live.generation.unwrap_or_default(),
        ..facts
    };
    let mut index = context.index.write();
    index.wrote::<Reports>(&account.clone().into(), &facts);
    Ok(written)
}

fn plan(
    index: &Index,
    account: &ServiceAccountRef,
    exposure: &Exposure,
    scope: ReportScope,
) -> Plan {
    // In a namespace that is being deleted nothing can be created, and its objects are deleted anyway.
    if index.is_terminating(&account.namespace) {
        return Plan::Keep;
    }
    let live = index.report(account);
    let owner = index.service_account(account);
    // An account that we may not list may well exist: its report stays, and says what is known.
    let blind = owner.is_none() && index.is_forbidden_to_list_accounts();
    // Pods of an account that does not exist: nothing owns their report, which goes with the last of them.
    let has_pods = !blind && !exposure.workloads.is_empty();
    let exists = owner.is_some() || has_pods || (blind && live.is_some());
    let wanted = scope.includes(exposure.verdict) && exists;
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
    if live.is_some_and(|live| live.has_content_of(&facts)) {
        return Plan::Keep;
    }
    report.observe_next(live.map(|live| live.generation));
    Plan::Write(Box::new(Write { report, facts }))
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
