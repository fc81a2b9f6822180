//! Measures on a real control plane, with the release binary: `make bench`. Prints figures and asserts
//! nothing about time: these machines are shared, so compare only within one run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that cannot go on fails"
)]
#![allow(clippy::print_stdout, reason = "figures are printed")]

mod cure;
mod events;
mod files;
mod latency;
mod load;
mod measure;
mod scale;
mod steady;

#[path = "../../tests/rig/mod.rs"]
mod rig;
