//! What a person or a program reads of a scan.

pub mod explain;
pub mod html;
pub mod inspect;
pub mod junit;
pub mod markdown;
pub mod objects;
pub mod patch;
pub mod sarif;
pub mod table;
