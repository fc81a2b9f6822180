//! docs later
pub mod model;
pub mod facts;
pub mod rbac;
pub mod token;
pub mod assess;
pub mod index;
pub mod api;
