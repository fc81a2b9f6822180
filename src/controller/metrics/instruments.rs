//! Counters and histograms, which are kept.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};

/// Counters and histograms.
#[derive(Debug)]
pub struct Instruments {
    /// How long one reconcile takes, its writes included.
    pub reconcile_duration: Histogram,
    /// From the moment that an account is queued to its written report.
    pub event_to_report: Histogram,
    /// Writes that succeeded.
    pub report_writes: IntCounterVec,
    /// Writes of summaries that succeeded.
    pub summary_writes: IntCounterVec,
    /// Writes that failed.
    pub report_errors: IntCounterVec,
    /// Kubernetes events, by result.
    pub events: IntCounterVec,
    /// Reports and summaries that wait to be written.
    pub pending_writes: IntGauge,
    /// Findings that a binding of another namespace cleared.
    pub cleared_elsewhere: IntCounter,
    /// Writes that were put off, by cause.
    pub delayed_writes: IntCounterVec,
}

fn histogram(name: &str, help: &str) -> prometheus::Result<Histogram> {
    let buckets = prometheus::exponential_buckets(0.001, 2.0, 15)?;
    let options = HistogramOpts::new(format!("token_exposure_{name}"), help);
    Histogram::with_opts(options.buckets(buckets))
}

fn counter(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(format!("token_exposure_{name}"), help), &[label])
}

impl Instruments {
    /// Creates the instruments and registers them.
    ///
    /// # Errors
    /// When the registry already has a name.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let instruments = Self {
            reconcile_duration: histogram(
                "reconcile_duration_seconds",
                "Duration of the reconcile of one ServiceAccount, its writes included.",
            )?,
            event_to_report: histogram(
                "event_to_report_seconds",
                "Time from a watch event to the written report.",
            )?,
            report_writes: counter(
                "report_writes_total",
                "Successful writes of reports, by operation.",
                "operation",
            )?,
            summary_writes: counter(
                "summaries_written_total",
                "Successful writes of summaries, by operation.",
                "operation",
            )?,
            report_errors: counter(
                "report_errors_total",
                "Failed writes of reports and summaries, by cause.",
                "cause",
            )?,
            events: counter(
                "events_total",
                "Kubernetes events, by result: written, repeated (the API server already had it), dropped (over the limit), failed.",
                "result",
            )?,
            pending_writes: IntGauge::new(
                "token_exposure_pending_writes",
                "Reports and summaries that wait to be written.",
            )?,
            cleared_elsewhere: IntCounter::new(
                "token_exposure_findings_cleared_elsewhere_total",
                "Findings that ended because a RoleBinding of another namespace, which is not trusted, grants something.",
            )?,
            delayed_writes: counter(
                "delayed_writes_total",
                "Writes of reports and summaries that were put off, by cause: flapping (it changes all the time), throttled (the API server asked for a pause).",
                "cause",
            )?,
        };
        instruments.begin();
        let all: [Box<dyn Collector>; 9] = [
            Box::new(instruments.reconcile_duration.clone()),
            Box::new(instruments.event_to_report.clone()),
            Box::new(instruments.report_writes.clone()),
            Box::new(instruments.summary_writes.clone()),
            Box::new(instruments.report_errors.clone()),
            Box::new(instruments.events.clone()),
            Box::new(instruments.pending_writes.clone()),
            Box::new(instruments.delayed_writes.clone()),
            Box::new(instruments.cleared_elsewhere.clone()),
        ];
        all.into_iter()
            .try_for_each(|collector| registry.register(collector))?;
        Ok(instruments)
    }

    /// Series that exist from the start let `rate` see the first increase.
    fn begin(&self) {
        for operation in ["apply", "apply_status", "replace_status", "delete"] {
            self.report_writes.with_label_values(&[operation]);
        }
        for operation in ["apply", "apply_status", "delete"] {
            self.summary_writes.with_label_values(&[operation]);
        }
        for cause in ["flapping", "throttled"] {
            self.delayed_writes.with_label_values(&[cause]);
        }
    }

    /// Counts a write that failed.
    pub(in crate::controller) fn failed(&self, cause: &str) {
        self.report_errors.with_label_values(&[cause]).inc();
    }

    /// Counts a write that was put off.
    pub(in crate::controller) fn delayed(&self, cause: &str) {
        self.delayed_writes.with_label_values(&[cause]).inc();
    }

    /// Counts a write of a report.
    pub(in crate::controller) fn wrote(&self, operation: &str) {
        self.report_writes.with_label_values(&[operation]).inc();
    }
}
