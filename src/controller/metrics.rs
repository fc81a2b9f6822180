//! The metrics: gauges are computed from the index at each scrape, counters and histograms are kept.

mod instruments;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prometheus::{
    Encoder, Registry, TextEncoder,
    core::{Collector, Desc},
    proto,
};

pub use self::instruments::Instruments;
use super::lease::Leadership;
use crate::{
    client::uptime,
    index::{Index, SharedIndex},
    model::{Verdict, note::NoteType},
};

/// Computes gauges from the index when scraped.
#[derive(Debug)]
pub struct IndexCollector {
    index: SharedIndex,
    leadership: Leadership,
    per_service_account: bool,
    descriptions: Vec<Desc>,
}

impl IndexCollector {
    /// A collector; `per_service_account` adds one series for each account with a finding.
    ///
    /// # Errors
    /// When a name below is not a valid metric name: never in practice.
    pub fn new(
        index: SharedIndex,
        leadership: Leadership,
        per_service_account: bool,
    ) -> prometheus::Result<Self> {
        let describe = |(name, help, labels): (&str, &str, &[&str])| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(
                format!("token_exposure_{name}"),
                help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )
        };
        let descriptions = FAMILIES
            .into_iter()
            .map(describe)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            index,
            leadership,
            per_service_account,
            descriptions,
        })
    }
}

const SERVICE_ACCOUNTS: (&str, &str, &[&str]) = (
    "serviceaccounts",
    "ServiceAccounts by verdict.",
    &["namespace", "verdict"],
);
const PODS: (&str, &str, &[&str]) = (
    "pods",
    "Pods by the verdict on their workload.",
    &["namespace", "verdict"],
);
const FINDING_PODS: (&str, &str, &[&str]) = (
    "finding_pods",
    "Pods that a finding concerns, by ServiceAccount.",
    &["namespace", "serviceaccount", "verdict", "reason"],
);
const CURED: (&str, &str, &[&str]) = (
    "cured_pods",
    "Pods whose token a policy of this product withholds, by mode: LeaveOut, Neuter.",
    &["mode"],
);
const NOTED: (&str, &str, &[&str]) = (
    "noted_serviceaccounts",
    "ServiceAccounts with a note, by its type.",
    &["type"],
);
const EVERYTHING: (&str, &str, &[&str]) = (
    "cluster_admin_for_everybody",
    "ClusterRoleBindings that grant everything to every ServiceAccount, to every authenticated user, or without credentials.",
    &[],
);
const EXEMPTION_EXPIRY: (&str, &str, &[&str]) = (
    "exemption_expiry_timestamp_seconds",
    "When an exemption with an end date ends or ended, as a Unix timestamp.",
    &["namespace", "serviceaccount"],
);
const SYNCED: (&str, &str, &[&str]) = (
    "synced",
    "Whether all objects of a kind were read: 1 if so, 0 if not.",
    &["kind"],
);
const WATCH_ERRORS: (&str, &str, &[&str]) = (
    "watch_errors_total",
    "Failed watch and list requests, by kind.",
    &["kind"],
);
const LAST_EVENT: (&str, &str, &[&str]) = (
    "last_event_timestamp_seconds",
    "When the last watch event of a kind arrived, as a Unix timestamp.",
    &["kind"],
);
const STALE: (&str, &str, &[&str]) = (
    "stale_seconds",
    "Time since the API server last confirmed that everything known of a kind is current; up to 65 while all is well.",
    &["kind"],
);
const REGRESSIONS: (&str, &str, &[&str]) = (
    "resource_version_regressions_total",
    "How often the API server went back to an older state of a kind, for example because etcd was restored.",
    &["kind"],
);
const LEFT_OUT: (&str, &str, &[&str]) = (
    "namespaces_left_out",
    "Namespaces whose ServiceAccounts are not judged, by what leaves them out: namespace, exclude-namespace, namespace-selector.",
    &["by"],
);
const LEADER: (&str, &str, &[&str]) = (
    "leader",
    "Whether this replica writes reports: 1 for the replica that holds the Lease, or for the only replica.",
    &[],
);
const BUILD_INFO: (&str, &str, &[&str]) = (
    "build_info",
    "Always 1; the label has the version.",
    &["version"],
);
const FAMILIES: [(&str, &str, &[&str]); 16] = [
    SERVICE_ACCOUNTS,
    PODS,
    FINDING_PODS,
    CURED,
    NOTED,
    EVERYTHING,
    EXEMPTION_EXPIRY,
    usage::LAST_USED,
    SYNCED,
    WATCH_ERRORS,
    LAST_EVENT,
    STALE,
    REGRESSIONS,
    LEFT_OUT,
    LEADER,
    BUILD_INFO,
];

impl Collector for IndexCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let index = self.index.read();
        let mut families = verdicts(&index);
        if self.per_service_account {
            families.push(finding_pods(&index));
            families.push(exemption_expiry(&index));
            families.push(usage::last_used(&index));
        }
        families.push(cured(&index));
        families.push(noted(&index));
        families.push(everything(&index));
        let readings = || {
            index
                .readings()
                .map(|(kind, reading)| (vec![kind.name()], reading))
        };
        let yes = |yes: bool| if yes { 1.0 } else { 0.0 };
        families.push(gauges(
            SYNCED,
            readings().map(|(kind, reading)| (kind, yes(reading.synced && !reading.forbidden))),
        ));
        families.push(left_out(&index));
        let leads = yes(self.leadership.is_mine());
        families.push(gauges(LEADER, [(Vec::new(), leads)]));
        families.push(gauges(
            LAST_EVENT,
            readings().map(|(kind, reading)| (kind, reading.last_event_seconds)),
        ));
        let now = uptime().as_secs_f64();
        families.push(gauges(
            STALE,
            readings().map(|(kind, reading)| (kind, reading.stale_seconds(now))),
        ));
        families.push(counters(
            WATCH_ERRORS,
            readings().map(|(kind, reading)| (kind, reading.errors)),
        ));
        families.push(counters(
            REGRESSIONS,
            readings().map(|(kind, reading)| (kind, reading.regressions)),
        ));
        families.push(gauges(BUILD_INFO, [(vec![env!("CARGO_PKG_VERSION")], 1.0)]));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

/// `serviceaccounts` and `pods`: one series for each namespace and verdict that exists.
fn verdicts(index: &Index) -> Vec<proto::MetricFamily> {
    let mut accounts: BTreeMap<(&str, Verdict), u32> = BTreeMap::new();
    let mut pods: BTreeMap<(&str, Verdict), u32> = BTreeMap::new();
    for (account, known) in index.accounts() {
        let Some(summary) = known.summary() else {
            continue;
        };
        *accounts
            .entry((&account.namespace, summary.verdict))
            .or_default() += 1;
        for (verdict, count) in Verdict::ALL
            .into_iter()
            .zip(summary.pods_by_verdict)
            .filter(|(_, count)| *count > 0)
        {
            *pods.entry((&account.namespace, verdict)).or_default() += count;
        }
    }
    [(SERVICE_ACCOUNTS, accounts), (PODS, pods)]
        .map(|(family, counts)| {
            let series = counts.into_iter().map(|((namespace, verdict), count)| {
                (vec![namespace, verdict.name()], f64::from(count))
            });
            gauges(family, series)
        })
        .into()
}

fn finding_pods(index: &Index) -> proto::MetricFamily {
    let findings = index.accounts().filter_map(|(account, known)| {
        let summary = known
            .summary()
            .filter(|summary| summary.verdict.is_finding())?;
        let labels = vec![
            &*account.namespace,
            &*account.name,
            summary.verdict.name(),
            summary.reason.name(),
        ];
        Some((labels, f64::from(summary.pods)))
    });
    gauges(FINDING_PODS, findings)
}

fn cured(index: &Index) -> proto::MetricFamily {
    let mut counts = [0_u32; 2];
    for (_, known) in index.accounts() {
        for (count, more) in counts.iter_mut().zip(known.cured_pods()) {
            *count += more;
        }
    }
    let series = ["LeaveOut", "Neuter"].into_iter().zip(counts);
    gauges(
        CURED,
        series.map(|(mode, count)| (vec![mode], f64::from(count))),
    )
}

/// `noted_serviceaccounts`: a series for each type, so that an alert sees the first.
fn noted(index: &Index) -> proto::MetricFamily {
    let mut counts = [0_u32; NoteType::ALL.len()];
    let summaries = index.accounts().filter_map(|(_, known)| known.summary());
    for summary in summaries {
        for (count, has) in counts.iter_mut().zip(summary.notes) {
            *count += u32::from(has);
        }
    }
    let series = NoteType::ALL.into_iter().zip(counts);
    let series = series.map(|(type_, count)| (vec![type_.name()], f64::from(count)));
    gauges(NOTED, series)
}

fn everything(index: &Index) -> proto::MetricFamily {
    let bindings: BTreeSet<_> = index
        .granting_everything()
        .into_iter()
        .map(|grant| grant.binding)
        .collect();
    let count = u32::try_from(bindings.len()).unwrap_or(u32::MAX);
    gauges(EVERYTHING, [(Vec::new(), f64::from(count))])
}

fn exemption_expiry(index: &Index) -> proto::MetricFamily {
    let ends = index.accounts().filter_map(|(account, known)| {
        let day = known.summary()?.exempt_until?;
        // The first second of the day after the last one.
        let end = day
            .tomorrow()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?;
        let labels = vec![&*account.namespace, &*account.name];
        Some((labels, end.timestamp().as_duration().as_secs_f64()))
    });
    gauges(EXEMPTION_EXPIRY, ends)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there will not be 2^53 namespaces"
)]
fn left_out(index: &Index) -> proto::MetricFamily {
    let counts = index.left_out().unwrap_or_default().into_iter();
    gauges(
        LEFT_OUT,
        counts.map(|(by, count)| (vec![by.condition()], count as f64)),
    )
}

fn gauges<'a>(
    description: (&str, &str, &[&str]),
    series: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
) -> proto::MetricFamily {
    family(
        proto::MetricType::GAUGE,
        description,
        series,
        |metric, value| {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        },
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus counts in floats; there will not be 2^53 errors"
)]
fn counters<'a>(
    description: (&str, &str, &[&str]),
    series: impl IntoIterator<Item = (Vec<&'a str>, u64)>,
) -> proto::MetricFamily {
    family(
        proto::MetricType::COUNTER,
        description,
        series,
        |metric, count| {
            let mut counter = proto::Counter::default();
            counter.set_value(count as f64);
            metric.set_counter(counter);
        },
    )
}

fn family<'a, V>(
    field_type: proto::MetricType,
    (name, help, labels): (&str, &str, &[&str]),
    series: impl IntoIterator<Item = (Vec<&'a str>, V)>,
    set: impl Fn(&mut proto::Metric, V),
) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(format!("token_exposure_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(field_type);
    let metric = |(values, value): (Vec<&str>, V)| {
        let mut metric = proto::Metric::default();
        metric.set_label(pairs(labels, &values));
        set(&mut metric, value);
        metric
    };
    family.set_metric(series.into_iter().map(metric).collect());
    family
}

fn pairs(labels: &[&str], values: &[&str]) -> Vec<proto::LabelPair> {
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().zip(values).map(pair).collect()
}

/// All registered metrics in the text exposition format.
#[must_use]
pub fn exposition(registry: &Arc<Registry>) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to memory fails only for a family without series, which are left out above.
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut text) {
        tracing::error!(%error, "metrics cannot be encoded");
    }
    text
}
