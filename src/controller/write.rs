//! Writes reports, with what to do where that is refused.

use std::{sync::Once, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::metrics::Instruments;
use crate::{api::TokenExposureReport, facts::report::ReportFacts, model::ServiceAccountRef};

/// Who writes the fields of a report, for server-side apply.
pub const FIELD_MANAGER: &str = "token-exposure";
/// How long one write may take, the client's own retries included.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or could not be asked.
    #[error("cannot {}: {}", operation.what, explain(*operation, source))]
    Api {
        /// What was to be written.
        operation: Operation,
        /// What the client said.
        source: kube::Error,
    },
    /// It did not answer in time.
    #[error("cannot {}: no answer within {} seconds", operation.what, TIMEOUT.as_secs())]
    Timeout {
        /// What was to be written.
        operation: Operation,
    },
}

/// Something that is written.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// For example `apply the report`.
    what: &'static str,
    /// The rights that it takes, and where they are granted.
    rights: &'static str,
}

const fn of_reports(what: &'static str) -> Operation {
    Operation {
        what,
        rights: "`create`, `patch` and `delete` on `tokenexposurereports` and `patch` on \
                 `tokenexposurereports/status` (apiGroup tokenexposure.io), as the ClusterRole in \
                 deploy/install.yaml does",
    }
}

const APPLY: Operation = of_reports("apply the report");
const APPLY_STATUS: Operation = of_reports("apply the status of the report");
const DELETE: Operation = of_reports("delete the report");
pub(super) const WRITE_EVENT: Operation = Operation {
    what: "write the event",
    rights: "`create` on `events` (apiGroup events.k8s.io), as the chart does with events.create, or leave \
             --events out",
};

/// What the API server said, with the missing rule where it refused.
fn explain(operation: Operation, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => {
            format!("{}: grant {}", status.message, operation.rights)
        }
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
        match self.code() {
            Some(403) => "forbidden",
            Some(404) => "not_found",
            Some(409) => "conflict",
            Some(400 | 422) => "invalid",
            Some(413) => "too_large",
            Some(429) => "throttled",
            Some(500..) => "server",
            Some(_) => "other",
            None if matches!(self, Self::Timeout { .. }) => "timeout",
            None => "connection",
        }
    }

    /// What the API server answered, as a status code of HTTP.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Api {
                source: kube::Error::Api(status),
                ..
            } => Some(status.code),
            _ => None,
        }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(
    operation: Operation,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(result) => result.map_err(|source| Error::Api { operation, source }),
        Err(_) => Err(Error::Timeout { operation }),
    }
}

/// A report to write.
#[derive(Debug)]
pub(super) struct Write {
    pub report: TokenExposureReport,
    pub facts: ReportFacts,
    /// Whether more of it differs than the status.
    pub object: bool,
}

/// Tells one write from every other: the same for replicas that write the same.
#[derive(Debug, Hash)]
pub struct WriteId {
    /// `uid` of the report.
    pub report: Option<String>,
    /// Its `resourceVersion` after the write; `None` for its deletion.
    pub version: Option<String>,
}

/// The report of one account, as something to write.
pub(super) struct Writer<'a> {
    account: &'a ServiceAccountRef,
    api: Api<TokenExposureReport>,
    instruments: &'a Instruments,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        client: Client,
        account: &'a ServiceAccountRef,
        instruments: &'a Instruments,
    ) -> Self {
        let api = Api::namespaced(client, &account.namespace);
        Self {
            account,
            api,
            instruments,
        }
    }

    /// Makes a report what it should be. Server-side apply leaves what somebody else added where we write
    /// nothing: then the whole is replaced.
    pub(super) async fn apply(&self, write: &Write) -> Result<WriteId, Error> {
        let (name, report) = (&self.account.name, &write.report);
        let by_us = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let apply = PatchParams {
            force: true,
            ..by_us.clone()
        };
        if write.object {
            let object = Patch::Apply(TokenExposureReport {
                status: None,
                ..report.clone()
            });
            within(APPLY, self.api.patch(name, &apply, &object)).await?;
            self.instruments.wrote("apply");
        }
        let status = Patch::Apply(report);
        let mut live = within(APPLY_STATUS, self.api.patch_status(name, &apply, &status)).await?;
        self.instruments.wrote("apply_status");
        let said = live.status.as_ref();
        let is_kept = said.is_some_and(|said| write.facts.has_status(said));
        if !is_kept && self.tell_whose(&live.metadata) {
            let replaced = async {
                let patch = replacement(report)?;
                self.api.patch_status(name, &by_us, &patch).await
            };
            live = within(APPLY_STATUS, replaced).await?;
            self.instruments.wrote("replace_status");
        }
        Ok(WriteId {
            report: live.metadata.uid,
            version: live.metadata.resource_version,
        })
    }

    /// Takes a report away; one that went by itself, with its owner or by hand, is no error, and no write.
    pub(super) async fn delete(&self) -> Result<Option<WriteId>, Error> {
        let params = DeleteParams::default();
        match within(DELETE, self.api.delete(&self.account.name, &params)).await {
            Ok(deleted) => {
                self.instruments.wrote("delete");
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

    /// Tells why a report does not say what was written: whether it is that somebody else has fields in it.
    fn tell_whose(&self, live: &ObjectMeta) -> bool {
        static TOLD: Once = Once::new();
        let managers = live.managed_fields.iter().flatten();
        let others = managers.filter_map(|entry| entry.manager.as_deref());
        let others: Vec<_> = others.filter(|name| *name != FIELD_MANAGER).collect();
        let (namespace, service_account) = (&self.account.namespace, &self.account.name);
        if others.is_empty() {
            TOLD.call_once(|| {
                tracing::warn!(%namespace, %service_account, "reports are not kept as they are written: either admission changes them, or the CustomResourceDefinition is of another version (`token-exposure crd | kubectl apply --server-side -f -`)");
            });
        } else {
            tracing::warn!(%namespace, %service_account, field_managers = others.join(", "), "fields that somebody else put into the report are removed");
        }
        !others.is_empty()
    }
}

/// A patch that leaves nothing of the status that was there.
fn replacement(report: &TokenExposureReport) -> kube::Result<Patch<()>> {
    let whole = json!([{"op": "add", "path": "/status", "value": report.status}]);
    serde_json::from_value(whole)
        .map(Patch::Json)
        .map_err(kube::Error::SerdeError)
}
