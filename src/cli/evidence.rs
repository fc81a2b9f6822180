//! Evidence of use: audit logs, the policy that they were written by, and the time that they should cover.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, anyhow, bail};

use super::{duration::window, progress::Progress};
use crate::{
    audit,
    index::SharedIndex,
    output::{Message, table::visible},
    usage::{Lease, Record},
};

/// The flags for evidence of use.
#[derive(Debug, clap::Args)]
pub(super) struct EvidenceArgs {
    /// Audit logs of all API servers (.gz too, - for standard input); put it after the manifests
    #[arg(long, value_name = "PATH", num_args = 1..)]
    audit_log: Vec<PathBuf>,
    /// Leave out what is older, as a time or a day: a break of the logs before it does not matter then
    // Hidden where help must fit a screen; the manual page has it.
    #[arg(long, value_name = "TIME", requires = "audit_log", value_parser = audit::instant, hide_short_help = true)]
    audit_log_since: Option<i64>,
    /// Their audit policy; without it, no token counts as not used
    #[arg(long, value_name = "FILE", requires = "audit_log")]
    audit_policy: Option<PathBuf>,
    /// Since when that policy is in force, as a time or a day [default: the last start of an API server in the logs]
    #[arg(long, value_name = "TIME", requires = "audit_policy", value_parser = audit::instant, hide_short_help = true)]
    audit_policy_since: Option<i64>,
    /// How long a token must be unused, such as 30d, 12h or 90s
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = window)]
    evidence_window: i64,
}

/// What was read.
pub(super) struct Evidence {
    record: Arc<Record>,
    required: i64,
    /// Errors and warnings.
    pub(super) messages: Vec<Message>,
}

impl EvidenceArgs {
    /// Whether any was given.
    pub(super) const fn is_given(&self) -> bool {
        !self.audit_log.is_empty()
    }

    /// Whether standard input is among the audit logs.
    pub(super) fn has_stdin(&self) -> bool {
        self.audit_log.iter().any(|path| path.as_os_str() == "-")
    }

    /// Reads the audit logs; `leases` are those of the API servers that the cluster has, if it was asked.
    pub(super) fn read(&self, leases: Option<Vec<Lease>>) -> anyhow::Result<Option<Evidence>> {
        if !self.is_given() {
            return Ok(None);
        }
        let policy = self.audit_policy.as_deref().map(audit::policy);
        let policy = policy
            .transpose()
            .map_err(|problem| anyhow!("{}", visible(&problem.to_string())))
            .context("the audit policy cannot be used")?;
        let progress = Progress::of("audit logs");
        let shared = parking_lot::Mutex::new(progress);
        let outcome = audit::read(&self.audit_log, self.audit_log_since, &|read, found| {
            shared.lock().advance(read, found);
        });
        drop(shared);
        let mut record = outcome.record;
        if record.is_empty() && outcome.problems.is_empty() {
            // It counts all lines that could not be read.
            let unread = outcome.warnings.first();
            let unread = unread.map(|warning| format!("\n{}", visible(&warning.to_string())));
            let unread = unread.unwrap_or_default();
            bail!(
                "`--audit-log` has no audit event of a ServiceAccount or of an API server: manifests to scan go before this flag{unread}"
            );
        }
        // Those that were listed before the logs were copied win: the logs need not reach this moment then.
        if !record.knows_servers() {
            leases
                .into_iter()
                .flatten()
                .for_each(|lease| record.lease(lease));
        }
        if let Some(policy) = policy {
            record.set_policy(policy, self.audit_policy_since);
        }
        let errors = outcome
            .problems
            .iter()
            .map(|problem| Message::error(problem.to_string()));
        let warnings = outcome
            .warnings
            .iter()
            .map(|warning| Message::warning(warning.to_string()));
        Ok(Some(Evidence {
            record: Arc::new(record),
            required: self.evidence_window,
            messages: errors.chain(warnings).collect(),
        }))
    }
}

impl Evidence {
    /// Joins it with what is known of the pods.
    pub(super) fn join(&self, index: &SharedIndex) {
        index.write().set_usage(self.record.clone(), self.required);
    }
}
