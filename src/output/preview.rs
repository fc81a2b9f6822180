//! What the policy that withholds tokens would do to the next pods of each workload, before anybody switches it on.

use std::{collections::BTreeSet, io};

use super::table::visible;
use crate::model::{Exposure, Note, Verdict, WorkloadExposure};

/// Writes which workloads would lose their token at their next start, which would not and why, and what was not
/// checked in this scan.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, all: &[Exposure]) -> io::Result<()> {
    let workloads = || {
        all.iter().flat_map(|exposure| {
            let with_token = exposure.workloads.iter();
            let with_token = with_token.filter(|found| found.verdict != Verdict::NoToken);
            with_token.map(move |found| (exposure, found))
        })
    };
    let keeps = |exposure: &Exposure, found: &WorkloadExposure| {
        let mut keeps = exposure.keeps();
        keeps.extend(found.all_keeps());
        keeps
    };
    let (cured, kept): (Vec<_>, Vec<_>) = workloads()
        .map(|(exposure, found)| (exposure, found, keeps(exposure, found)))
        .partition(|(.., keeps)| keeps.is_empty());
    writeln!(out, "Their next pods would have no token: {}", cured.len())?;
    for (exposure, found, _) in &cured {
        let already = if found.verdict == Verdict::Withheld {
            ", as now"
        } else {
            ""
        };
        writeln!(out, "  {}{already}", described(exposure, found))?;
    }
    writeln!(out, "\nTheir next pods would have it: {}", kept.len())?;
    for (exposure, found, keeps) in &kept {
        let because: Vec<_> = keeps.iter().map(ToString::to_string).collect();
        let because = because.join("; ");
        writeln!(out, "  {}: {because}", described(exposure, found))?;
    }
    let conditions: BTreeSet<_> = workloads()
        .flat_map(|(exposure, found)| void_conditions(exposure, found))
        .collect();
    if !conditions.is_empty() {
        writeln!(out, "\nNot checked in this scan:")?;
    }
    for condition in conditions {
        writeln!(out, "  {condition}")?;
    }
    writeln!(
        out,
        "\nOnly in namespaces with the label tokenexposure.io/cure, after the grace period, while the controller is in sync;\n\
         then RBAC is asked again for each pod. Pods with the label tokenexposure.io/cure=off keep their token."
    )
}

fn described(exposure: &Exposure, found: &WorkloadExposure) -> String {
    let pods = found.pods;
    let unit = if pods == 1 { "pod" } else { "pods" };
    visible(&format!(
        "{}: {}, {pods} {unit}",
        exposure.account, found.workload
    ))
}

/// What the answer for a workload would depend on, and what is not known in this scan.
fn void_conditions(exposure: &Exposure, found: &WorkloadExposure) -> Vec<&'static str> {
    let mut conditions = Vec::new();
    if exposure.usage.is_none() {
        conditions.push("use: no audit logs were given (--audit-log)");
    }
    let is_not_read = |note: &Note| matches!(note, Note::NotRead(_));
    if found.notes.iter().any(is_not_read) {
        conditions.push(
            "consumers that only ConfigMaps and Secrets name: they were not read (--config-maps)",
        );
    }
    conditions
}
