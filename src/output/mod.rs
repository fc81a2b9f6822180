//! What a person or a program reads of a scan.

pub mod objects;
pub mod table;
