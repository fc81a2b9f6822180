//! What a person or a program reads of a scan.

pub mod explain;
pub mod inspect;
pub mod markdown;
pub mod objects;
pub mod patch;
pub mod table;
