//! Makes the report of one account say what is known of it: assess, compare, write what differs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};

use super::{lease::Leadership, metrics::Instruments};
use crate::{
    api::{TokenExposureReport, TokenExposureReportStatus},
    facts::{Reports, report::ReportFacts},
    index::{Index, SharedIndex, Summary},
    model::{Exposure, ReportScope, ServiceAccountRef, Verdict},
};

/// Who writes the fields of a report, for server-side apply.
pub const FIELD_MANAGER: &str = "token-exposure";
/// How long one write may take, the client's own retries included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

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

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or could not be asked.
    #[error("cannot {operation} the report: {}", explain(source))]
    Api {
        /// `apply`, `apply the status of` or `delete`.
        operation: &'static str,
        /// What the client said.
        source: kube::Error,
    },
    /// It did not answer in time.
    #[error("cannot {operation} the report: no answer within {} seconds", WRITE_TIMEOUT.as_secs())]
    Timeout {
        /// `apply`, `apply the status of` or `delete`.
        operation: &'static str,
    },
}

/// What the API server said, with the missing rule where it refused.
fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => format!(
            "{}: grant `create`, `patch` and `delete` on `tokenexposurereports` and `patch` on \
             `tokenexposurereports/status` (apiGroup tokenexposure.io), as the ClusterRole in deploy/install.yaml does",
            status.message
        ),
        kube::Error::Api(status) => {
            format!(
                "the API server answered {}: {}",
                status.code, status.message
            )
        }
        other => other.to_string(),
    }
}

impl Error {
    /// A word for the metrics.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } => match status.code {
                403 => "forbidden",
                404 => "not_found",
                409 => "conflict",
                400 | 422 => "invalid",
                413 => "too_large",
                429 => "throttled",
                500.. => "server",
                _ => "other",
            },
            Self::Api { .. } => "connection",
        }
    }
}

impl Context {
    /// Counts a failure, and logs the first of a row.
    pub(super) fn report_error(
        &self,
        account: &ServiceAccountRef,
        error: &Error,
        failed: u32,
        pause: Duration,
    ) {
        self.instruments
            .report_errors
            .with_label_values(&[error.cause()])
            .inc();
        let (namespace, service_account) = (&account.namespace, &account.name);
        if failed > 1 {
            tracing::debug!(%namespace, %service_account, %error, failed, "report not written");
        } else {
            tracing::warn!(%namespace, %service_account, %error, retry_in = ?pause, "report not written");
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

/// A report to write, and which half of it differs.
#[derive(Debug)]
struct Write {
    report: TokenExposureReport,
    facts: ReportFacts,
    object: bool,
    status: bool,
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
    let (plan, summary) = {
        let index = context.index.read();
        let exposure = index.assess(account);
        (
            plan(&index, account, &exposure, context.scope),
            summary(&exposure),
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
    match plan {
        Plan::Keep => return Ok(()),
        Plan::Delete => delete(context, account).await?,
        Plan::Write(write) => apply(context, account, *write).await?,
    }
    context
        .instruments
        .event_to_report
        .observe(queued.elapsed().as_secs_f64());
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
            status,
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

async fn apply(context: &Context, account: &ServiceAccountRef, write: Write) -> Result<(), Error> {
    let Write {
        report,
        facts,
        object,
        status,
    } = write;
    let api = reports(context, account);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    if object {
        let object = TokenExposureReport {
            status: None,
            ..report.clone()
        };
        within(
            "apply",
            api.patch(&account.name, &params, &Patch::Apply(&object)),
        )
        .await?;
        context
            .instruments
            .report_writes
            .with_label_values(&["apply"])
            .inc();
    }
    if object || status {
        within(
            "apply the status of",
            api.patch_status(&account.name, &params, &Patch::Apply(&report)),
        )
        .await?;
        context
            .instruments
            .report_writes
            .with_label_values(&["apply_status"])
            .inc();
    }
    context
        .index
        .write()
        .apply::<Reports>(account.clone().into(), facts);
    Ok(())
}

async fn delete(context: &Context, account: &ServiceAccountRef) -> Result<(), Error> {
    let deleted = within(
        "delete",
        reports(context, account).delete(&account.name, &DeleteParams::default()),
    )
    .await;
    match deleted {
        Ok(_) => context
            .instruments
            .report_writes
            .with_label_values(&["delete"])
            .inc(),
        // Gone by itself, with its owner or by hand.
        Err(Error::Api {
            source: kube::Error::Api(status),
            ..
        }) if status.is_not_found() => {}
        Err(error) => return Err(error),
    }
    context
        .index
        .write()
        .delete::<Reports>(&account.clone().into());
    Ok(())
}

fn reports(context: &Context, account: &ServiceAccountRef) -> Api<TokenExposureReport> {
    Api::namespaced(context.client.0.clone(), &account.namespace)
}

async fn within<T>(
    operation: &'static str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(WRITE_TIMEOUT, call).await {
        Ok(result) => result.map_err(|source| Error::Api { operation, source }),
        Err(_) => Err(Error::Timeout { operation }),
    }
}
