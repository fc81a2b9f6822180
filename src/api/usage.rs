//! The use of tokens in a report: coarse, so that time alone rarely rewrites it, or exact.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TokenExposureReport, from_exposure::clipped};
use crate::model::{self, Exposure, ServiceAccountRef, usage::Grade};

/// How coarse times in a report are, in seconds: a week.
const COARSE: i64 = 7 * 86_400;
const DAY: i64 = 86_400;
/// How many holes an exact answer has.
const MAX_HOLES: usize = 50;
/// How long a hole may be, in characters.
const MAX_CHARACTERS: usize = 512;

/// The use of tokens, as audit logs show it: use at the API server only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// The last request with a token, denied ones included; in a report the week of it. Absent where none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_used: Option<String>,
    /// The last request that only a permission beyond the default permissions allowed; in a report the week of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_used_beyond_defaults: Option<String>,
    /// How many requests; only in the output of a scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64"))]
    pub requests: Option<u64>,
    /// The time that the audit logs cover without a break.
    pub window: UseWindow,
    /// What the audit logs lack, and why a token may be in use although none is seen; only in the output of a scan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "atomic"))]
    pub holes: Vec<String>,
}

/// The time that audit logs cover without a break, up to their end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UseWindow {
    /// Its begin; in a report the end of that week.
    #[schemars(extend("format" = "date-time"))]
    pub from: String,
    /// Its end; only in the output of a scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub to: Option<String>,
    /// Complete: every request of the account would have been recorded. Partial: some may not have been. Unproven:
    /// nothing shows that requests were recorded.
    pub grade: Grade,
}

impl TokenExposureReport {
    /// The answer of a scan: as a report, with exact times of use.
    #[must_use]
    pub fn exact(exposure: &Exposure) -> Self {
        let mut report = Self::from(exposure);
        if let Some(status) = &mut report.status {
            status.usage = exposure.usage.as_ref().map(exact);
            let workloads = status.workloads.iter_mut().zip(&exposure.workloads);
            for (workload, exposed) in workloads {
                workload.usage = exposed.usage.as_deref().map(exact);
            }
            let grants = exposure.permissions.grants.iter();
            let grants: Vec<_> = grants.filter(|grant| !grant.via.is_group()).collect();
            for (grant, known) in status.permissions.direct.iter_mut().zip(grants) {
                grant.last_used = known.last_used.map(text);
            }
        }
        report
    }
}

fn exact(used: &model::usage::Use) -> Use {
    let holes = used.window.holes.iter().map(ToString::to_string);
    let doubts = used.doubts.iter().map(ToString::to_string);
    let doubts = doubts.filter(|_| used.last.is_none());
    Use {
        last_used: used.last.map(text),
        last_used_beyond_defaults: used.last_beyond_defaults.map(text),
        // A label of a Secret says when, and not how often.
        requests: (used.requests > 0 || used.last.is_none()).then_some(used.requests),
        window: UseWindow {
            from: text(used.window.from),
            to: Some(text(used.window.to)),
            grade: used.window.grade,
        },
        holes: shown(holes.chain(doubts).collect()),
    }
}

/// The reasons, bounded; the last one says how many more there are.
fn shown(mut holes: Vec<String>) -> Vec<String> {
    if holes.len() > MAX_HOLES {
        let more = holes.len() - (MAX_HOLES - 1);
        holes.truncate(MAX_HOLES - 1);
        holes.push(format!("{more} more"));
    }
    let clipped = holes.iter().map(|hole| clipped(hole, MAX_CHARACTERS));
    clipped.collect()
}

/// The use in a report.
pub(super) fn coarse(account: &ServiceAccountRef, used: &model::usage::Use) -> Use {
    let floor = |time| text(week(account, time, false));
    Use {
        last_used: used.last.map(floor),
        last_used_beyond_defaults: used.last_beyond_defaults.map(floor),
        requests: None,
        window: UseWindow {
            from: text(week(account, used.window.from, true)),
            to: None,
            grade: used.window.grade,
        },
        holes: Vec::new(),
    }
}

/// When a grant was last used, in a report.
pub(super) fn coarse_time(account: &ServiceAccountRef, time: Timestamp) -> String {
    text(week(account, time, false))
}

/// The begin or the end of the week in which a time lies. The weeks of accounts begin on different days, so that not
/// all reports are written at once.
fn week(account: &ServiceAccountRef, time: Timestamp, is_end: bool) -> Timestamp {
    let bytes = account.namespace.bytes().chain(account.name.bytes());
    let offset = bytes.map(i64::from).sum::<i64>() % 7 * DAY;
    let begin = (time.as_second() - offset).div_euclid(COARSE) * COARSE + offset;
    let end = if begin == time.as_second() {
        begin
    } else {
        begin + COARSE
    };
    Timestamp::from_second(if is_end { end } else { begin }).unwrap_or(time)
}

fn text(time: Timestamp) -> String {
    format!("{time:.0}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::model::usage;

    fn used(minutes: i64) -> usage::Use {
        let time = |minutes: i64| Timestamp::from_second(1_795_730_509 + minutes * 60).unwrap();
        usage::Use {
            last: Some(time(minutes)),
            last_beyond_defaults: None,
            last_denied: None,
            requests: 7,
            last_pod: None,
            window: usage::Window {
                from: time(-60 * 24 * 40),
                to: time(minutes),
                grade: Grade::Complete,
                holes: vec![usage::Hole::NoPolicy],
            },
            doubts: Vec::new(),
        }
    }

    #[test]
    fn time_alone_changes_a_report_at_most_once_a_week() {
        let account = ServiceAccountRef::new("shop", "mail");
        let mut reports: Vec<_> = (0..28 * 24)
            .map(|hour| coarse(&account, &used(hour * 60)))
            .collect();
        reports.dedup();
        assert!((4..=5).contains(&reports.len()), "{}", reports.len());
    }

    #[test]
    fn a_scan_has_exact_times_and_what_is_missing() {
        let used = exact(&used(0));
        assert_eq!(used.last_used.as_deref(), Some("2026-11-26T22:01:49Z"));
        assert_eq!((used.requests, used.holes.len()), (Some(7), 1));
    }
}
