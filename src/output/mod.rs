//! What a person or a program reads of a scan.

pub mod explain;
pub mod inspect;
pub mod objects;
pub mod table;
