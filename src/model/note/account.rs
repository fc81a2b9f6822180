//! Something to know about an account that no verdict depends on.

use std::fmt;

use super::shown;
use crate::model::{
    identity::{ObjectKey, ServiceAccountRef},
    rbac::{Grant, RoleRef, Subject},
    workload::Workload,
};

/// Something to know about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountNote {
    /// All that it is granted by name, it is granted in other namespaces, by these bindings; none of them is trusted.
    GrantedElsewhereOnly(Vec<(ObjectKey, RoleRef)>),
    /// Objects of custom kinds name it, and it is not known which pods they stand for.
    NamedBy(Vec<Workload>),
    /// It is granted permissions by name, and no pod of it has a token to use them with.
    PermissionsWithoutToken {
        /// Some of what it is granted.
        grants: Vec<Grant>,
        /// Its pods still have the token, and lose it when they are recreated.
        on_recreate: bool,
    },
    /// Bindings name another account, which does not exist, and may mean this one.
    NearlyNamedBy {
        /// The account.
        account: ServiceAccountRef,
        /// The first of these bindings, and the subject of each.
        bindings: Vec<NearName>,
    },
    /// Several workloads run as the account: its permissions reach all of them.
    SharedPermissions(Sharing),
    /// The `default` account of its namespace mounts a token, and no pod uses it.
    UnusedDefault,
}

/// The types of [`AccountNote`], what breaks first; their names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteType {
    /// [`AccountNote::PermissionsWithoutToken`].
    PermissionsWithoutToken,
    /// [`AccountNote::NearlyNamedBy`].
    NearlyNamedBy,
    /// [`AccountNote::GrantedElsewhereOnly`].
    GrantedElsewhereOnly,
    /// [`AccountNote::SharedPermissions`].
    SharedPermissions,
    /// [`AccountNote::NamedBy`].
    NamedBy,
    /// [`AccountNote::UnusedDefault`].
    UnusedDefault,
}

/// A binding that may mean an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NearName {
    /// The RoleBinding, or with an empty namespace the ClusterRoleBinding.
    pub binding: ObjectKey,
    /// What it names instead: an account that does not exist, or a misspelled username.
    pub subject: Subject,
}

/// Who shares an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// The workloads that carry its token, in order.
    pub workloads: Vec<Workload>,
    /// Which of them need its permissions, as far as that is known, and why.
    pub need: Option<(Vec<Workload>, NeedReason)>,
}

/// Why some of the workloads that share an account need its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedReason {
    /// Audit logs show that they use them, and that no other does.
    Used,
    /// The only binding, or the role of all bindings, has the name of the workload, and not that of the account.
    SameName(Grant),
}

impl NoteType {
    /// Every type.
    pub const ALL: [Self; 6] = [
        Self::PermissionsWithoutToken,
        Self::NearlyNamedBy,
        Self::GrantedElsewhereOnly,
        Self::SharedPermissions,
        Self::NamedBy,
        Self::UnusedDefault,
    ];

    /// As the API spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GrantedElsewhereOnly => "GrantedElsewhereOnly",
            Self::NamedBy => "NamedBy",
            Self::PermissionsWithoutToken => "PermissionsWithoutToken",
            Self::NearlyNamedBy => "NearlyNamedBy",
            Self::SharedPermissions => "SharedPermissions",
            Self::UnusedDefault => "UnusedDefault",
        }
    }
}

impl AccountNote {
    /// Its type.
    #[must_use]
    pub const fn type_(&self) -> NoteType {
        match self {
            Self::GrantedElsewhereOnly(_) => NoteType::GrantedElsewhereOnly,
            Self::NamedBy(_) => NoteType::NamedBy,
            Self::PermissionsWithoutToken { .. } => NoteType::PermissionsWithoutToken,
            Self::NearlyNamedBy { .. } => NoteType::NearlyNamedBy,
            Self::SharedPermissions(_) => NoteType::SharedPermissions,
            Self::UnusedDefault => NoteType::UnusedDefault,
        }
    }
}

impl fmt::Display for AccountNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GrantedElsewhereOnly(bindings) => {
                let name = |(binding, role): &(ObjectKey, RoleRef)| {
                    format!(
                        "RoleBinding {} in namespace {} ({role})",
                        binding.name, binding.namespace
                    )
                };
                let shown = shown(bindings, name);
                write!(f, "only other namespaces grant it permissions: {shown}")
            }
            Self::NamedBy(objects) => {
                let shown = shown(objects, Workload::to_string);
                write!(
                    f,
                    "named by {shown}: which pods the operator creates is not known"
                )
            }
            Self::PermissionsWithoutToken {
                grants,
                on_recreate,
            } => {
                let shown = shown(grants, Grant::to_string);
                let when = if *on_recreate {
                    "its pods lose their token when they are recreated"
                } else {
                    "none of its pods has a token for the API server"
                };
                write!(
                    f,
                    "permissions are granted by {shown}, but {when}: set automountServiceAccountToken: true in the pods that use them, or delete what nobody uses"
                )
            }
            Self::NearlyNamedBy { account, bindings } => nearly_named(f, account, bindings),
            Self::SharedPermissions(sharing) => sharing.fmt(f),
            Self::UnusedDefault => f.write_str(
                "no pod uses this default ServiceAccount, and it mounts its token into each that names no other: set automountServiceAccountToken: false",
            ),
        }
    }
}

/// Which bindings may mean an account.
fn nearly_named(
    f: &mut fmt::Formatter<'_>,
    account: &ServiceAccountRef,
    bindings: &[NearName],
) -> fmt::Result {
    let is_neighbour = |subject: &Subject| matches!(subject, Subject::ServiceAccount(named) if named.namespace == account.namespace);
    let name = |near: &NearName| {
        let kind = near.binding.binding_kind();
        let subject = match &near.subject {
            Subject::ServiceAccount(named) if is_neighbour(&near.subject) => named.name.to_string(),
            Subject::ServiceAccount(named) => named.to_string(),
            subject => subject.to_string(),
        };
        format!("{kind} {} names {subject}", near.binding)
    };
    let shown = shown(bindings, name);
    if bindings.iter().all(|near| is_neighbour(&near.subject)) {
        write!(f, "{shown}: did you mean {}?", account.name)
    } else {
        write!(f, "{shown}: did you mean ServiceAccount {account}?")
    }
}

impl Sharing {
    /// The workloads that could have an account of their own.
    pub fn others(&self) -> impl Iterator<Item = &Workload> {
        let need = self.need.as_ref();
        let all = self.workloads.iter().filter(move |_| need.is_some());
        all.filter(move |workload| need.is_some_and(|(users, _)| !users.contains(workload)))
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |list: &[Workload]| shown(list, Workload::to_string);
        write!(
            f,
            "{} workloads share this ServiceAccount, and its permissions reach all of them: {}",
            self.workloads.len(),
            names(&self.workloads)
        )?;
        let Some((users, reason)) = &self.need else {
            return Ok(());
        };
        let users = names(users);
        match reason {
            NeedReason::Used => write!(
                f,
                "; audit logs show that {users} {} them, and no use by the others",
                if self
                    .need
                    .as_ref()
                    .is_some_and(|(users, _)| users.len() == 1)
                {
                    "uses"
                } else {
                    "use"
                }
            )?,
            NeedReason::SameName(grant) => write!(f, "; {grant} has the name of {users}")?,
        }
        let others: Vec<_> = self.others().cloned().collect();
        write!(
            f,
            ": a ServiceAccount of their own would keep them from {}",
            names(&others)
        )
    }
}
