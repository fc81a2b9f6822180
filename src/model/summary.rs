//! What is kept of the last answer for an account: for the metrics, and for the summary of its namespace.

use jiff::civil::Date;

use super::{Exposure, PodKind, Reason, Verdict, Workload, note::NoteType};

/// How long the name of an object may be (`DNS1123SubdomainMaxLength`).
const NAME_BYTES: usize = 253;
/// The name of the summary of a namespace.
pub const NAME: &str = "token-exposure";

/// The last answer for an account, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// The verdict.
    pub verdict: Verdict,
    /// Its reason.
    pub reason: Reason,
    /// The pods that it is about.
    pub pods: u32,
    /// The last day of its exemption, in UTC, which may have passed.
    pub exempt_until: Option<Date>,
    /// How many pods have each verdict, in the order of [`Verdict::ALL`].
    pub pods_by_verdict: [u32; Verdict::ALL.len()],
    /// Whether the account has each type of note, in the order of [`NoteType::ALL`].
    pub notes: [bool; NoteType::ALL.len()],
    /// Of an account whose verdict is `Unneeded`: its workloads of built-in kinds that are exempted or need a review,
    /// sorted.
    pub otherwise: Box<[Workload]>,
}

impl AccountSummary {
    /// Whether the summary of the namespace counts the account: one without a pod says nothing.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        !matches!(self.reason, Reason::NoPods)
    }
}

impl From<&Exposure> for AccountSummary {
    fn from(exposure: &Exposure) -> Self {
        let workloads = || exposure.workloads.iter();
        let pods = |verdict| {
            let of_verdict = workloads().filter(|workload| workload.verdict == verdict);
            of_verdict.map(|workload| workload.pods).sum()
        };
        let has = |type_| exposure.notes.iter().any(|note| note.type_() == type_);
        let until = exposure.exemption.as_ref();
        let is_otherwise = |verdict| matches!(verdict, Verdict::Review | Verdict::Exempted);
        let otherwise = workloads().filter(|workload| {
            exposure.verdict == Verdict::Unneeded
                && is_otherwise(workload.verdict)
                && is_plain(&workload.workload)
        });
        let mut otherwise: Vec<_> = otherwise
            .map(|workload| workload.workload.clone())
            .collect();
        otherwise.sort_unstable();
        Self {
            verdict: exposure.verdict,
            reason: exposure.reason,
            pods: exposure.pods,
            exempt_until: until.and_then(|exemption| exemption.until),
            pods_by_verdict: Verdict::ALL.map(pods),
            notes: NoteType::ALL.map(has),
            otherwise: otherwise.into(),
        }
    }
}

/// Whether a workload may be an object of a built-in kind: the owner that a pod names can be any text.
#[must_use]
pub fn is_plain(workload: &Workload) -> bool {
    PodKind::named(&workload.kind).is_some() && is_name(&workload.name)
}

/// Whether a text is a name as objects have it, so that it has no separator of names.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
}
