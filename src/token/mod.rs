//! Which tokens a pod carries.

pub mod anatomy;
pub mod audience;
pub mod automount;
pub mod carriers;
pub mod legacy;
mod notes;

pub use carriers::{Bearer, carriers};
pub use notes::notes;
