//! Something to know beside the verdict: notes on accounts, and on workloads.

mod account;

use std::fmt;

pub use self::account::{AccountNote, NearName, NeedReason, NoteType, Sharing};
use super::{
    pod::{ConfigKind, HostAccess},
    usage,
};

/// The first entries of a list, and how many more there are.
fn shown<T>(list: &[T], name: impl Fn(&T) -> String) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = list.iter().take(SHOWN).map(name).collect();
    shown.join(", ") + &and_more(list.len().saturating_sub(SHOWN))
}

/// How many more there are than those that are named; empty for none.
#[must_use]
pub fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" and {count} more"),
    }
}

/// Something to know about a workload that no verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// A container sees tokens of other pods on its node.
    HostAccess(HostAccess),
    /// A container that mounts no token can read those that others mount.
    SharedProcesses,
    /// A token is mounted by `subPath` and is never renewed there.
    Pinned(Box<str>),
    /// A volume projects a token, and no container mounts it.
    Unmounted(Box<str>),
    /// The token of this Secret is marked invalid: the API server rejects it.
    Invalidated(Box<str>),
    /// The pod disables automount, and has an injected token all the same.
    DisabledTooLate,
    /// What runs for this part of a custom object is a guess: it has the shape of a pod spec.
    FoundByShape(Box<str>),
    /// It takes variables or files from these ConfigMaps and Secrets, which were not read.
    NotRead(Box<[(ConfigKind, Box<str>)]>),
    /// The account's object was not seen: it is assumed not to disable automount.
    AssumedServiceAccount,
    /// Audit logs show use, but none that needs a permission beyond the default permissions.
    OnlyDefaultsUsed,
    /// So many versions of its pod template are seen in the window of the audit logs.
    Changed(usize),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostAccess(HostAccess::Path(path)) => write!(
                f,
                "mounts {path} of the host, where tokens of every pod on the node can be read"
            ),
            Self::HostAccess(HostAccess::Processes) => f.write_str(
                "hostPID: tokens of every pod on the node can be read through /proc",
            ),
            Self::HostAccess(HostAccess::Privileged) => {
                f.write_str("a privileged container can read tokens of every pod on the node")
            }
            Self::SharedProcesses => f.write_str(
                "shareProcessNamespace: containers without the token can read it from those that mount it, through /proc",
            ),
            Self::Pinned(path) => write!(
                f,
                "the token at {path} is mounted by subPath: it is never renewed and stops working when it expires"
            ),
            Self::Unmounted(volume) => write!(
                f,
                "volume {volume} projects a token that no container mounts; an ephemeral container could"
            ),
            Self::Invalidated(secret) => write!(
                f,
                "the token of Secret {secret} is marked invalid: the API server rejects it (401 Unauthorized) until the label kubernetes.io/legacy-token-invalid-since is removed"
            ),
            Self::DisabledTooLate => f.write_str(
                "automountServiceAccountToken is false in the pod, and its token is mounted: a policy or webhook sets the field after the token is injected, where it has no effect, or the volume was copied from a running pod",
            ),
            Self::FoundByShape(place) => write!(
                f,
                "the kind is not known: {place} was recognised as a pod template by its shape; what its operator makes of it may differ"
            ),
            Self::NotRead(objects) => {
                let name = |(kind, name): &(ConfigKind, Box<str>)| format!("{kind} {name}");
                write!(
                    f,
                    "takes variables or files from {}, which were not read: a system that it logs in to by them is not recognised",
                    shown(objects, name)
                )
            }
            Self::AssumedServiceAccount => f.write_str(
                "the ServiceAccount is not in the input: assumed not to disable automount",
            ),
            Self::OnlyDefaultsUsed => f.write_str(usage::ONLY_DEFAULTS_USED),
            Self::Changed(versions) => usage::changed(f, *versions),
        }
    }
}
