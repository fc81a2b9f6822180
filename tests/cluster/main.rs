//! Tests on a real control plane: the controller, and the commands that read a cluster.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod controller;
mod definitions;
mod differential;
mod exemptions;
mod explain;
mod faults;
mod inspect;
mod kubectl;
mod legacy_tokens;
mod notes;
mod remediation;
mod replicas;
mod scan;
mod selection;
mod summaries;
mod usage;
