//! Why something could not be listed, in one line for all that was denied.

use super::super::missing_rule;
use crate::{client::Failed, model::InputKind};

/// Why a kind could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server denies it.
    #[error("{}", message(&[Denied { kind: *kind, place, status }]))]
    Forbidden {
        /// The kind.
        kind: InputKind,
        /// Where.
        place: Place,
        /// The message of the API server.
        status: String,
    },
    /// It denies what decides which namespaces are judged.
    #[error("{source}: without it, it is not known which namespaces --namespace-selector selects")]
    Selection {
        /// What it denies.
        source: Box<Self>,
    },
    /// It failed for another reason.
    #[error("cannot list {}: {source}", kind.plural())]
    Failed {
        /// The kind.
        kind: InputKind,
        /// Why.
        source: Failed,
    },
}

/// Where a kind cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere.
    Cluster,
    /// In the namespaces that the user does not name.
    Elsewhere,
    /// In these namespaces, of those that the user names.
    Namespaces(Vec<Box<str>>),
}

/// A kind that cannot be listed.
struct Denied<'a> {
    kind: InputKind,
    place: &'a Place,
    status: &'a str,
}

impl Error {
    pub(super) const fn denied(kind: InputKind, place: Place, status: String) -> Self {
        Self::Forbidden {
            kind,
            place,
            status,
        }
    }

    /// The same where it decides which namespaces are judged.
    pub(super) fn of_selection(self) -> Self {
        match self {
            Self::Forbidden { .. } => Self::Selection {
                source: Box::new(self),
            },
            other => other,
        }
    }

    /// Whether no answer is possible without it; a denied list is a gap in the answer instead.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(self, Self::Forbidden { .. })
    }
}

/// The messages of these errors; those of several denied kinds are one, with the rules for all of them.
#[must_use]
pub fn messages(errors: &[Error]) -> Vec<String> {
    let mut denied = Vec::new();
    let mut messages = Vec::new();
    for error in errors {
        match error {
            Error::Forbidden {
                kind,
                place,
                status,
            } => denied.push(Denied {
                kind: *kind,
                place,
                status,
            }),
            other => messages.push(other.to_string()),
        }
    }
    if !denied.is_empty() {
        messages.insert(0, message(&denied));
    }
    messages
}

/// What is denied, in the words of the API server for the first kind, and the rules to grant.
fn message(denied: &[Denied<'_>]) -> String {
    let mut places: Vec<(&Place, Vec<&str>)> = Vec::new();
    for Denied { kind, place, .. } in denied {
        match places.iter_mut().find(|(known, _)| known == place) {
            Some((_, plurals)) => plurals.push(kind.plural()),
            None => places.push((place, vec![kind.plural()])),
        }
    }
    let listed = places.iter().map(|(place, plurals)| {
        let plurals = plurals.join(", ");
        match place {
            Place::Cluster => plurals,
            Place::Elsewhere => format!("{plurals} of other namespaces"),
            Place::Namespaces(names) => {
                let s = if names.len() > 1 { "s" } else { "" };
                format!("{plurals} in namespace{s} {}", names.join(", "))
            }
        }
    });
    let listed: Vec<_> = listed.collect();
    let kinds: Vec<_> = denied.iter().map(|denied| denied.kind).collect();
    let status = denied.first().map_or("", |denied| denied.status);
    format!(
        "cannot list {}: {status}: {}",
        listed.join("; "),
        missing_rule(&kinds)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_denied_is_one_line_with_one_rule() {
        let denied = |kind, place| Error::denied(kind, place, format!("no {}", kind.name()));
        let there = || Place::Namespaces(vec!["b".into(), "c".into()]);
        let errors = [
            denied(InputKind::Pod, there()),
            denied(InputKind::ServiceAccount, there()),
            denied(InputKind::ClusterRole, Place::Cluster),
            denied(InputKind::RoleBinding, Place::Elsewhere),
        ];
        let rule = "grant `list` and `watch` on `pods`, `serviceaccounts` (apiGroup \"\") and on `clusterroles`, `rolebindings` (apiGroup rbac.authorization.k8s.io) to this identity, as the ClusterRole in deploy/install.yaml does";
        assert_eq!(
            messages(&errors),
            [format!(
                "cannot list pods, serviceaccounts in namespaces b, c; clusterroles; rolebindings of other namespaces: no Pod: {rule}"
            )]
        );
        let [one] = &messages(&errors[3..])[..] else {
            unreachable!("one error is one message");
        };
        assert_eq!(*one, errors[3].to_string());
        let selection = errors.into_iter().nth(3).map(Error::of_selection);
        let selection = selection.as_ref();
        assert!(selection.is_some_and(Error::is_fatal));
        let said = selection.map(ToString::to_string).unwrap_or_default();
        assert!(said.contains("--namespace-selector"), "{said}");
    }
}
