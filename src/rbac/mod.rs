//! Who is granted what, and what goes beyond the default permissions.

pub mod aggregate;
pub mod cover;
pub mod defaults;
pub mod near;
pub mod reachable;
pub mod resolve;

pub use resolve::{BoundRole, explain, permissions};
