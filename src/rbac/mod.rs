//! Who is granted what, and what goes beyond the default permissions.

pub mod aggregate;
pub mod baseline;
pub mod cover;
pub mod reachable;
pub mod resolve;

pub use resolve::{BoundRole, explain, permissions};
