//! What audit logs show: the last use of each workload, what it asked for, and how complete the logs are.

use std::collections::BTreeMap;

use crate::model::{
    Explanation, Workload,
    usage::{Action, Hole, Tally, UsageDetail, Use, Window, seconds, span},
};

/// How many kinds of requests of a workload, and how many breaks of the logs, are printed.
const SHOWN: usize = 20;

/// What stands for the time of a use that was not seen.
pub(super) const NONE_SEEN: &str = "no use seen";

/// When a token was last used.
pub(super) fn last_used(used: &Use) -> String {
    let last = used.last.map(|last| seconds(last).to_string());
    last.unwrap_or_else(|| NONE_SEEN.to_owned())
}

/// The lines about use; none without evidence of it.
pub(super) fn lines(explanation: &Explanation) -> Vec<String> {
    let Some(total) = &explanation.exposure.usage else {
        return Vec::new();
    };
    let Some(detail) = &explanation.usage else {
        let day = total.window.to.strftime("%Y-%m-%d");
        let label = format!(
            "USE: no audit logs; a token in a Secret was last used on {day}, as the label kubernetes.io/legacy-token-last-used says"
        );
        return vec![String::new(), label];
    };
    let mut lines = vec![String::new(), format!("USE: {}", window(&total.window))];
    lines.extend(holes(&total.window));
    for exposed in &explanation.exposure.workloads {
        if let Some(used) = &exposed.usage {
            lines.extend(workload(&exposed.workload, used, total, detail));
        }
    }
    if let Some(actions) = detail.actions.get(&None) {
        lines.push("  requests of no workload that exists".to_owned());
        lines.extend(requests(actions));
    }
    let unused = detail.unused_bindings.iter();
    lines.extend(unused.map(|binding| {
        let kind = if binding.is_cluster() {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        };
        format!("  not used in this time: {kind} {binding}, and nothing that is used covers it")
    }));
    for (namespace, rules) in &detail.proposal {
        let place = match &**namespace {
            "" => "for the whole cluster".to_owned(),
            namespace => format!("in namespace {namespace}"),
        };
        lines.push(format!(
            "  enough for what was seen, {place} (`-o role` prints it):"
        ));
        lines.extend(rules.iter().map(|rule| format!("    {rule}")));
    }
    lines.extend(
        detail
            .remarks
            .iter()
            .map(|remark| format!("  note: {remark}")),
    );
    lines
}

/// The time that logs cover, in a few words.
pub(super) fn window(window: &Window) -> String {
    let length = span(window.to.as_second() - window.from.as_second());
    let (from, to) = (seconds(window.from), seconds(window.to));
    format!(
        "audit logs from {from} to {to} ({length}): {}",
        window.grade
    )
}

fn holes(window: &Window) -> Vec<String> {
    let mut lines: Vec<_> = window
        .holes
        .iter()
        .take(SHOWN)
        .map(|hole| format!("  missing: {hole}"))
        .collect();
    lines.extend(more(window.holes.len(), "  missing"));
    lines
}

fn workload(workload: &Workload, used: &Use, total: &Use, detail: &UsageDetail) -> Vec<String> {
    let Some(last) = used.last else {
        let mut lines = vec![format!("  {workload}: {NONE_SEEN}")];
        let is_short = used.window.from > total.window.from;
        lines.extend(is_short.then(|| format!("    since {}", seconds(used.window.from))));
        let own = used.window.holes.iter();
        let own = own.filter(|hole| matches!(hole, Hole::NeverSeen(_)));
        lines.extend(own.map(|hole| format!("    missing: {hole}")));
        let doubts = used.doubts.iter();
        lines.extend(doubts.map(|doubt| format!("    may be in use: {doubt}")));
        return lines;
    };
    let pod = used.last_pod.as_ref();
    let pod = pod.map_or_else(String::new, |pod| format!(" by pod {pod}"));
    let count = match used.requests {
        1 => "1 request".to_owned(),
        count => format!("{count} requests"),
    };
    let mut lines = vec![format!(
        "  {workload}: last used {}{pod}, {count}",
        seconds(last)
    )];
    lines.push(match used.last_beyond_defaults {
        Some(last) => format!("    last beyond the default permissions: {}", seconds(last)),
        None => "    nothing beyond the default permissions was allowed".to_owned(),
    });
    let actions = detail.actions.get(&Some(workload.clone()));
    lines.extend(actions.into_iter().flat_map(requests));
    lines
}

fn requests(actions: &BTreeMap<Action, Tally>) -> Vec<String> {
    let mut lines: Vec<_> = actions
        .iter()
        .take(SHOWN)
        .map(|(action, tally)| {
            let times = if tally.count == 1 { "once" } else { "times" };
            let count = if tally.count == 1 {
                String::new()
            } else {
                format!("{} ", tally.count)
            };
            format!("    {action}: {count}{times}, last {}", seconds(tally.last))
        })
        .collect();
    lines.extend(more(actions.len(), "    requests"));
    lines
}

fn more(count: usize, what: &str) -> Option<String> {
    let more = count.saturating_sub(SHOWN);
    (more > 0).then(|| format!("{what}: {more} more"))
}
