//! Writes reports, with the fix where the API server denies it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::Status,
};
use serde_json::json;

use super::{budget::Budget, metrics::Instruments, reconcile::Context};
use crate::{
    api::TokenExposureReport,
    client::{self, Failed},
    facts::report::ReportFacts,
    log::LogLimiter,
    model::ServiceAccountRef,
};

/// The field manager of our summaries, for server-side apply. Earlier versions wrote reports with it, too.
pub const FIELD_MANAGER: &str = "token-exposure";
/// The field manager of our reports. It differs from that of earlier versions, which wrote the object and its status
/// apart: each side sees what the other one has left, and removes it.
const REPORT_MANAGER: &str = "token-exposure-report";
/// How long one write may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {}: {failed}{}", operation.what, fix(*operation, failed))]
pub struct Error {
    /// What was to be written.
    operation: Operation,
    /// Why that failed.
    failed: Failed,
}

/// A request that writes.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// For example `apply the report`.
    what: &'static str,
    /// The permissions that it needs, and where they are granted.
    permissions: &'static str,
}

pub(super) const fn of_ours(what: &'static str) -> Operation {
    Operation {
        what,
        permissions: "`create`, `patch` and `delete` on `tokenexposurereports` and `tokenexposuresummaries`, and \
                 `patch` on the `status` of both (apiGroup tokenexposure.io), as the ClusterRole in \
                 deploy/install.yaml does",
    }
}

const APPLY: Operation = of_ours("apply the report");
const APPLY_STATUS: Operation = of_ours("apply the status of the report");
const DELETE: Operation = of_ours("delete the report");
pub(super) const WRITE_EVENT: Operation = Operation {
    what: "write the event",
    permissions: "`create` on `events` (apiGroup events.k8s.io), as the chart does with events.create, or remove \
             --events",
};

/// The missing permission, where the API server denied a request.
fn fix(operation: Operation, failed: &Failed) -> String {
    // A quota and admission answer 403 as well, and say why. Kubernetes 1.30 says nothing where an apply may not create.
    let is_missing = |status: &Status| {
        let message = status.message.trim_end();
        status.is_forbidden()
            && (message.contains("\" cannot ") || message.ends_with("is forbidden:"))
    };
    if failed.status().is_some_and(is_missing) {
        format!(": grant {}", operation.permissions)
    } else {
        String::new()
    }
}

impl Error {
    /// The value of the label `cause` in the metrics.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self.code() {
            Some(403) => "forbidden",
            Some(404) => "not_found",
            Some(409) => "conflict",
            Some(400 | 422) => "invalid",
            Some(413) => "too_large",
            Some(429) => "throttled",
            Some(500..) => "server",
            Some(_) => "other",
            None if matches!(self.failed, Failed::Silent(_)) => "timeout",
            None => "connection",
        }
    }

    /// The HTTP status code of the answer.
    pub(super) fn code(&self) -> Option<u16> {
        self.failed.code()
    }
}

/// Waits for an answer, for a limited time.
pub(super) async fn within<T>(
    operation: Operation,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    let answer = client::within(TIMEOUT, call).await;
    answer.map_err(|failed| Error { operation, failed })
}

/// A report to write.
#[derive(Debug)]
pub(super) struct Write {
    pub report: TokenExposureReport,
    pub facts: ReportFacts,
}

/// Identifies one write: two replicas that write the same have the same one.
#[derive(Debug, Hash)]
pub struct WriteId {
    /// `uid` of the report.
    pub report: Option<String>,
    /// Its `resourceVersion` after the write; `None` for its deletion.
    pub version: Option<String>,
}

/// Writes the report of one account.
pub(super) struct Writer<'a> {
    account: &'a ServiceAccountRef,
    api: Api<TokenExposureReport>,
    instruments: &'a Instruments,
    budget: &'a Budget,
    log: &'a LogLimiter,
}

impl<'a> Writer<'a> {
    pub(super) fn new(context: &'a Context, account: &'a ServiceAccountRef) -> Self {
        let client = context.connection.client.clone();
        Self {
            account,
            api: Api::namespaced(client, &account.namespace),
            instruments: &context.instruments,
            budget: &context.budget,
            log: &context.log,
        }
    }

    /// Sends a request that writes, and counts it in the budget.
    async fn send<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.budget.spend();
        within(operation, call).await
    }

    /// Writes a report, with one request; returns the metadata that it has then. Server-side apply keeps fields that other
    /// field managers added where we write nothing: then the whole status is replaced.
    pub(super) async fn apply(
        &self,
        mut report: TokenExposureReport,
        facts: &ReportFacts,
    ) -> Result<ObjectMeta, Error> {
        let name = &self.account.name;
        let by_us = PatchParams {
            field_manager: Some(REPORT_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let apply = PatchParams {
            force: true,
            ..by_us.clone()
        };
        let is_kept = |live: &TokenExposureReport| {
            let said = live.status.as_ref();
            said.is_some_and(|said| facts.has_status(said))
        };
        let patch = Patch::Apply(&report);
        let applied = self.api.patch(name, &apply, &patch);
        let mut live = self.send(APPLY, applied).await?;
        self.instruments.wrote("apply");
        let mut is_apart = false;
        if !is_kept(&live) {
            // The definition of an earlier version has a status that is written apart, and does not count generations of it.
            report.observe(live.metadata.generation.unwrap_or(1));
            let patch = Patch::Apply(&report);
            let applied = self.api.patch_status(name, &apply, &patch);
            match self.send(APPLY_STATUS, applied).await {
                Ok(applied) => {
                    self.instruments.wrote("apply_status");
                    (live, is_apart) = (applied, true);
                }
                Err(error) if error.code() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        if !is_kept(&live) && self.has_foreign_fields(&live.metadata) {
            if !is_apart {
                report.observe_next(live.metadata.generation);
            }
            let replaced = async {
                let patch = replacement(&report)?;
                if is_apart {
                    self.api.patch_status(name, &by_us, &patch).await
                } else {
                    self.api.patch(name, &by_us, &patch).await
                }
            };
            live = self.send(APPLY_STATUS, replaced).await?;
            self.instruments.wrote("replace_status");
        }
        Ok(live.metadata)
    }

    /// Deletes a report; one that is already gone, with its owner or by hand, is no error and no write.
    pub(super) async fn delete(&self) -> Result<Option<WriteId>, Error> {
        let params = DeleteParams::default();
        match self
            .send(DELETE, self.api.delete(&self.account.name, &params))
            .await
        {
            Ok(deleted) => {
                self.instruments.wrote("delete");
                if let Some(report) = deleted.as_ref().left() {
                    self.release(&report.metadata).await?;
                }
                let report = deleted.either(
                    |report| report.metadata.uid,
                    |status| status.details.map(|details| details.uid),
                );
                let version = None;
                Ok(Some(WriteId { report, version }))
            }
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes finalizers, which only others add: they would keep a report that is no longer true.
    async fn release(&self, deleted: &ObjectMeta) -> Result<(), Error> {
        let finalizers = deleted.finalizers.as_deref().unwrap_or_default();
        if finalizers.is_empty() {
            return Ok(());
        }
        let (namespace, service_account) = (&self.account.namespace, &self.account.name);
        let finalizers = finalizers.join(", ");
        if self
            .log
            .failed("finalizers of reports", &self.account.to_string())
        {
            tracing::warn!(%namespace, %service_account, finalizers, "finalizers that others added to the report are removed: it is to be deleted");
        }
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        let params = PatchParams::default();
        let released = self.api.patch(&self.account.name, &params, &patch);
        match self.send(DELETE, released).await {
            Err(error) if error.code() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether other field managers have fields in a report that differs from what was written; logs the
    /// reason why it differs.
    fn has_foreign_fields(&self, live: &ObjectMeta) -> bool {
        const CONTENT: &str = "content of reports";
        let managers = live.managed_fields.iter().flatten();
        let others = managers.filter_map(|entry| entry.manager.as_deref());
        let others = others.filter(|name| *name != REPORT_MANAGER);
        let (earlier, others): (Vec<_>, Vec<_>) = others.partition(|name| *name == FIELD_MANAGER);
        if others.is_empty() && !earlier.is_empty() {
            // What an earlier version wrote goes without a word.
            return true;
        }
        let field_managers = others.join(", ");
        let (namespace, service_account) = (&self.account.namespace, &self.account.name);
        // Once for each account and who changes its report: others can write as often as they like.
        let logged = match &*field_managers {
            "" => self.log.failed(CONTENT, ""),
            managers => self
                .log
                .failed(CONTENT, &format!("{} {managers}", self.account)),
        };
        if logged && others.is_empty() {
            tracing::warn!(%namespace, %service_account, "the API server does not keep reports as they are written: either admission changes them, or the CustomResourceDefinition has another version (`token-exposure crd | kubectl apply --server-side -f -`)");
        } else if logged {
            tracing::warn!(%namespace, %service_account, field_managers, "fields that others added to the report are removed");
        } else {
            tracing::debug!(%namespace, %service_account, field_managers, "the report is not kept as it was written");
        }
        !others.is_empty()
    }
}

/// A JSON patch that replaces the whole status.
fn replacement(report: &TokenExposureReport) -> kube::Result<Patch<()>> {
    let whole = json!([{"op": "add", "path": "/status", "value": report.status}]);
    serde_json::from_value(whole)
        .map(Patch::Json)
        .map_err(kube::Error::SerdeError)
}
