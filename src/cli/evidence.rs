//! Evidence of use: audit logs, the policy that they were written by, and the time that they should cover.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, anyhow, bail};

use super::progress::Progress;
use crate::{
    audit,
    index::SharedIndex,
    output::{Message, table::visible},
    usage::{Lease, Record},
};

/// The flags for evidence of use.
#[derive(Debug, clap::Args)]
pub(super) struct EvidenceArgs {
    /// Audit logs of all API servers, - or .gz too; comes after manifests
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
    /// How long no use must be seen, such as 30d, 12h or 90s
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = days)]
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
            bail!(
                "`--audit-log` has no audit event of a ServiceAccount or of an API server: manifests to scan go before this flag"
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

/// A duration in seconds, like `30d`, `12h`, `90s` or `1d12h`.
fn days(text: &str) -> Result<i64, String> {
    let fault = || "use a duration like 30d, 12h or 90s".to_owned();
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|character: char| !character.is_ascii_digit())
            .ok_or_else(fault)?;
        let count: i64 = rest[..end].parse().map_err(|_| fault())?;
        let mut unit = rest[end..].chars();
        let seconds = match unit.next() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(fault()),
        };
        let part = count.checked_mul(seconds).ok_or_else(fault)?;
        total = total.checked_add(part).ok_or_else(fault)?;
        rest = unit.as_str();
    }
    if total > 0 { Ok(total) } else { Err(fault()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_may_have_days() {
        for (text, seconds) in [
            ("30d", Some(2_592_000)),
            ("12h", Some(43_200)),
            ("90s", Some(90)),
            ("1d12h", Some(129_600)),
        ] {
            assert_eq!(days(text).ok(), seconds, "{text}");
        }
        for text in [
            "",
            "30",
            "d",
            "0d",
            "-1d",
            "1w",
            "99999999999999999999d",
            "9223372036854775807d",
        ] {
            assert!(days(text).is_err(), "{text}");
        }
    }
}
