//! Which controls of the usual catalogues ask for what a finding asks for? Only identifiers that the catalogues themselves
//! have.

use std::fmt;

use crate::model::{Exposure, TokenSource, WorkloadExposure};

/// A control of a catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Control {
    /// The catalogue.
    pub catalogue: &'static str,
    /// Its identifier there; empty in a catalogue without identifiers.
    pub id: &'static str,
    /// Its title there; empty where the identifier is all that is shown.
    pub title: &'static str,
}

const fn control(catalogue: &'static str, id: &'static str, title: &'static str) -> Control {
    Control {
        catalogue,
        id,
        title,
    }
}

/// They ask for no token where none is needed, whatever put it there.
const ANY_TOKEN: [Control; 4] = [
    control(
        "CIS Kubernetes Benchmark",
        "5.1.6",
        "Ensure that Service Account Tokens are only mounted where necessary",
    ),
    control(
        "NSA/CISA Kubernetes Hardening Guide",
        "",
        "Protecting Pod service account tokens",
    ),
    control("MITRE ATT&CK", "T1528", "Steal Application Access Token"),
    control("kubescape", "C-0053", "Access container service account"),
];
/// They look at `automountServiceAccountToken`.
const AUTOMOUNT: [Control; 4] = [
    control(
        "kubescape",
        "C-0034",
        "Automatic mapping of service account",
    ),
    control("Trivy", "KSV-0036", "Protecting Pod service account tokens"),
    control(
        "Checkov",
        "CKV_K8S_38",
        "Ensure that Service Account Tokens are only mounted where necessary",
    ),
    control("SonarQube", "S6865", ""),
];
/// They ask that nothing runs as the account `default` of a namespace.
const DEFAULT_ACCOUNT: [Control; 2] = [
    control(
        "CIS Kubernetes Benchmark",
        "5.1.5",
        "Ensure that default service accounts are not actively used",
    ),
    control(
        "Checkov",
        "CKV_K8S_41",
        "Ensure that default service accounts are not actively used",
    ),
];

/// The controls that a finding on a workload, or on all workloads of an account, fails.
pub fn controls<'a>(
    exposure: &Exposure,
    workload: Option<&'a WorkloadExposure>,
) -> impl Iterator<Item = &'static Control> + use<'a> {
    let mounts = |workload: &WorkloadExposure| {
        let carriers = workload.carriers.iter();
        carriers
            .map(|carrier| carrier.source)
            .any(|source| source == TokenSource::Automount)
    };
    let automounts = match workload {
        Some(workload) => mounts(workload),
        None => exposure.workloads.iter().any(mounts),
    };
    let is_default = &*exposure.account.name == "default";
    let automount = automounts.then_some(&AUTOMOUNT).into_iter().flatten();
    let default = is_default.then_some(&DEFAULT_ACCOUNT).into_iter().flatten();
    ANY_TOKEN.iter().chain(automount).chain(default)
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if self.id.is_empty() || self.title.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.title)
    }
}

impl Control {
    /// The catalogue and the identifier; the title where there is none.
    #[must_use]
    pub fn name(&self) -> String {
        let id = if self.id.is_empty() {
            self.title
        } else {
            self.id
        };
        format!("{} {id}", self.catalogue)
    }
}
