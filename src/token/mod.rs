//! Which tokens a pod carries.

pub mod audience;
pub mod automount;
pub mod carriers;

pub use carriers::{Bearer, carriers};
