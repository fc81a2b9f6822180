//! Tests of what is deployed: the chart, its rights, its policy, what is observed, and the image.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod chart;
mod e2e;
mod image;
mod observe;
mod policy;
mod release;
mod rights;
