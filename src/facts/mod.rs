//! Reduces what the API sends to what is kept: one small fact for each object. Fields that are not
//! read are never parsed. Invalid input becomes a fact or is left out; nothing here can fail.

mod clues;
mod commands;
mod config_map;
mod consumers;
pub mod exemption;
mod host_access;
pub mod limit;
pub mod owner;
pub mod pod;
pub mod rbac;
pub mod rejected;
pub mod report;
pub mod secret;
pub mod service_account;
pub mod summary;
pub mod wire;
pub mod words;

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use crate::model::{Config, InputKind, ObjectKey};

/// A kind of object that is watched, listed or read from files.
pub trait Kind: 'static {
    /// What is parsed of an object: only the fields that are read.
    type Wire: Wire;
    /// What is kept of it.
    type Facts: Clone + Debug + PartialEq + Send + Sync;
    /// Which kind it is.
    const INPUT: InputKind;

    /// Reduces an object to its facts; what is kept may depend on the configuration.
    fn facts(wire: &Self::Wire, config: &Config) -> Self::Facts;

    /// The key of an object.
    #[must_use]
    fn key(wire: &Self::Wire) -> ObjectKey {
        let metadata = wire.metadata();
        ObjectKey::new(metadata.namespace.as_str(), metadata.name.as_str())
    }
}

/// An object as it is parsed.
pub trait Wire: Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Reads one from protobuf; `None` where it is only read as JSON or YAML.
    const DECODE: Option<wire::Decode<Self>>;

    /// Its metadata.
    fn metadata(&self) -> &wire::Metadata;

    /// Its metadata, to fill in what a manifest leaves out.
    fn metadata_mut(&mut self) -> &mut wire::Metadata;

    /// What the API server would reject of it.
    fn rejected(&self) -> Vec<String>;
}

/// Implements [`Wire`] for types with a field `metadata`, given how one is read from protobuf, and what the API server
/// would reject of them.
macro_rules! objects {
    ($($type:ty: $decode:expr, $rejected:expr;)*) => {
        $(impl Wire for $type {
            const DECODE: Option<wire::Decode<Self>> = $decode;

            fn metadata(&self) -> &wire::Metadata {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut wire::Metadata {
                &mut self.metadata
            }

            fn rejected(&self) -> Vec<String> {
                let rejected: fn(&Self) -> Vec<String> = $rejected;
                rejected(self)
            }
        })*
    };
}
objects! {
    wire::Pod: Some(wire::decode), |_| Vec::new();
    wire::ServiceAccount: Some(wire::decode), |_| Vec::new();
    wire::Namespace: Some(wire::decode), |_| Vec::new();
    wire::ConfigMap: Some(wire::decode), |_| Vec::new();
    wire::Secret: None, |_| Vec::new();
    wire::CsiDriver: None, |_| Vec::new();
    wire::Role: Some(wire::decode), |role| rejected::in_rules(&role.rules, true);
    wire::Binding: Some(wire::decode), rejected::in_binding;
    report::ReportWire: None, |_| Vec::new();
    summary::SummaryWire: None, |_| Vec::new();
}

/// Pods.
#[derive(Clone, Copy, Debug)]
pub struct Pods;
/// ServiceAccounts.
#[derive(Clone, Copy, Debug)]
pub struct ServiceAccounts;
/// Namespaces.
#[derive(Clone, Copy, Debug)]
pub struct Namespaces;
/// Roles.
#[derive(Clone, Copy, Debug)]
pub struct Roles;
/// ClusterRoles.
#[derive(Clone, Copy, Debug)]
pub struct ClusterRoles;
/// RoleBindings.
#[derive(Clone, Copy, Debug)]
pub struct RoleBindings;
/// ClusterRoleBindings.
#[derive(Clone, Copy, Debug)]
pub struct ClusterRoleBindings;
/// ConfigMaps.
#[derive(Clone, Copy, Debug)]
pub struct ConfigMaps;
/// Secrets; live, without their data.
#[derive(Clone, Copy, Debug)]
pub struct Secrets;
/// CSIDrivers.
#[derive(Clone, Copy, Debug)]
pub struct CsiDrivers;
/// Our own TokenExposureReports.
#[derive(Clone, Copy, Debug)]
pub struct Reports;
/// Our own TokenExposureSummaries.
#[derive(Clone, Copy, Debug)]
pub struct Summaries;
