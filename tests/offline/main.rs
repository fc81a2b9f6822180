//! Tests without a cluster: the commands on files, their outputs, and the files around the code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod action;
mod bad_input;
mod baseline;
mod browser;
mod cases;
mod command_line;
mod consumers;
mod copies;
mod corpus;
mod crd;
mod custom;
mod devtools;
mod exemptions;
mod explain;
mod fix;
mod html;
mod inspect;
mod layering;
mod memory;
mod notes;
mod outputs;
mod preview;
mod project;
mod render;
mod scan;
mod server;
mod unreachable;
mod usage;
