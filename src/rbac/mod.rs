//! Who is granted what, and what of it goes beyond what everybody has.

pub mod aggregate;
pub mod baseline;
pub mod cover;
pub mod reachable;
pub mod resolve;

pub use resolve::{BoundRole, explain, permissions};
