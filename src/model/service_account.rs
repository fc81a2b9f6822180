//! What is kept of a ServiceAccount, of a Namespace and of a CSIDriver.

use super::{Claim, LeftOut};

/// What is kept of a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccountFacts {
    /// `metadata.uid`: the owner of its report; empty in files.
    pub uid: Box<str>,
    /// `automountServiceAccountToken`; `None` when unset or null.
    pub automount: Option<bool>,
    /// The exemption that its annotations state.
    pub exemption: Option<Box<Claim>>,
    /// The Secrets that it names in `secrets`.
    pub secrets: Box<[Box<str>]>,
    /// It names more Secrets than are kept.
    pub has_more_secrets: bool,
}

/// What is kept of a Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// It is being deleted: nothing new can be created in it.
    pub terminating: bool,
    /// Systems whose clients are added to the pods in it; sorted.
    pub consumers: Box<[Box<str>]>,
    /// Why its accounts are not judged.
    pub left_out: Option<LeftOut>,
}

/// What is kept of a CSIDriver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsiDriverFacts {
    /// `spec.tokenRequests`: the tokens of a pod's account that the kubelet hands to it.
    pub token_requests: Box<[TokenRequest]>,
}

/// One entry of `spec.tokenRequests` of a CSIDriver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Empty for the audiences of the API server itself.
    pub audience: Box<str>,
    /// `expirationSeconds`, with the API's default of 3600 filled in.
    pub expiration_seconds: i64,
}
