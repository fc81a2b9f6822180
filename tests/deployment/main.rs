//! Tests of the deployment: the chart, its permissions, its policy, metrics and alerts, and the image.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod chart;
mod cure;
mod e2e;
mod image;
mod observe;
mod permissions;
mod policy;
mod release;
