//! Why a token stays: what somebody wrote down, and whether it still counts.

use std::fmt;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Workload;

/// The annotation of a ServiceAccount or of a pod template that says why its tokens stay.
pub const EXEMPT: &str = "tokenexposure.io/exempt";
/// The annotation that says until which day they do.
pub const EXEMPT_UNTIL: &str = "tokenexposure.io/exempt-until";

/// What the annotations of one object claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Why its tokens stay; empty where nobody said so.
    pub reason: Box<str>,
    /// For how long.
    pub until: Until,
}

/// How long a claim lasts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// No day is given.
    Open,
    /// The last day, in UTC.
    Day(Date),
    /// What stands there is no day.
    Malformed(Box<str>),
}

/// An exemption, and whether it counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exemption {
    /// Whether it counts.
    pub state: ExemptionState,
    /// Why the tokens stay.
    pub reason: Box<str>,
    /// The last day of it, in UTC.
    pub until: Option<Date>,
    /// Who says so.
    pub by: ExemptedBy,
    /// What is wrong with it; empty for one that is well-formed.
    pub fault: Box<str>,
}

/// Whether an exemption counts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ExemptionState {
    /// The tokens stay.
    Active,
    /// Its last day has passed: the verdict is what it would be without.
    Expired,
    /// It lacks a reason, or its day is none: the verdict is what it would be without.
    Invalid,
}

/// Who says that tokens stay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExemptedBy {
    /// The annotation of the ServiceAccount.
    ServiceAccount,
    /// The annotation of the pods of a workload.
    Workload(Workload),
    /// The configuration.
    Config,
}

impl fmt::Display for ExemptedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount => f.write_str("annotation of the ServiceAccount"),
            Self::Workload(workload) => write!(f, "annotation of the pods of {workload}"),
            Self::Config => f.write_str("configuration"),
        }
    }
}

impl Exemption {
    /// Whether it counts.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == ExemptionState::Active
    }
}

impl Claim {
    /// What is wrong with it, with the fix.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if self.reason.is_empty() {
            return Some(format!(
                "annotation {EXEMPT} has no reason: say why the token stays"
            ));
        }
        match &self.until {
            Until::Open | Until::Day(_) => None,
            Until::Malformed(text) => Some(format!(
                "annotation {EXEMPT_UNTIL} is no day: write it like 2027-01-31: {text:?}"
            )),
        }
    }
}
