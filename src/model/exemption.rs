//! Exemptions: why a token stays, and whether the exemption is in force.

use std::fmt;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Workload;

/// The annotation of a ServiceAccount or of a pod template that states why its tokens stay.
pub const EXEMPT: &str = "tokenexposure.io/exempt";
/// The annotation with the last day of the exemption.
pub const EXEMPT_UNTIL: &str = "tokenexposure.io/exempt-until";

/// The exemption that the annotations of one object state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Why its tokens stay; empty when no reason is stated.
    pub reason: Box<str>,
    /// How long it lasts.
    pub until: Until,
}

/// How long an exemption lasts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// No last day is stated.
    Open,
    /// The last day, in UTC.
    Day(Date),
    /// The stated day is not a valid date.
    Malformed(Box<str>),
    /// This annotation seems to state it, and has another name.
    Misspelt(Box<str>),
}

/// An exemption, and whether it is in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exemption {
    /// Whether it is in force.
    pub state: ExemptionState,
    /// Why the tokens stay.
    pub reason: Box<str>,
    /// Its last day, in UTC.
    pub until: Option<Date>,
    /// Where it is stated.
    pub by: ExemptedBy,
    /// What is wrong with it; empty when it is valid.
    pub fault: Box<str>,
}

/// Whether an exemption is in force.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ExemptionState {
    /// The tokens stay.
    Active,
    /// Its last day has passed: the verdict is the same as without it.
    Expired,
    /// It has no reason, or its day is not a valid date: the verdict is the same as without it.
    Invalid,
}

/// Where an exemption is stated.
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
    /// Whether it is in force.
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
                "annotation {EXEMPT_UNTIL} is not a valid date: use the format 2027-01-31: {text:?}"
            )),
            Until::Misspelt(key) => Some(format!(
                "annotation {key} is unknown: write {EXEMPT_UNTIL} for the last day of the exemption, or remove it"
            )),
        }
    }
}
