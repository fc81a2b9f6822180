//! What is kept of a ServiceAccount and of a Namespace.

/// What is kept of a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccountFacts {
    /// `metadata.uid`: the owner of its report; empty in files.
    pub uid: Box<str>,
    /// `automountServiceAccountToken`; `None` when unset or null.
    pub automount: Option<bool>,
    /// The legacy token Secrets that it names in `secrets`, by the form of their names.
    pub token_secrets: Box<[Box<str>]>,
}

/// What is kept of a Namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// It is being deleted: nothing new can be created in it.
    pub terminating: bool,
}
