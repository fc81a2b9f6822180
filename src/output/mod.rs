//! The output formats of the commands, for people and for programs.

pub mod explain;
pub mod html;
pub mod inspect;
pub mod junit;
pub mod markdown;
pub mod objects;
pub mod patch;
pub mod role;
pub mod sarif;
pub mod table;
mod usage;
