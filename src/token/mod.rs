//! Which tokens a pod carries.

pub mod audience;
pub mod automount;
pub mod carriers;
pub mod claims;
pub mod legacy;
mod notes;
pub mod redact;

pub use carriers::{Bearer, carriers};
pub use notes::notes;
