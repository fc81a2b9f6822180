//! Which ServiceAccount does a user mean?

use anyhow::{anyhow, bail};

use crate::{
    index::Index,
    model::{PodKind, ServiceAccountRef, identity::USERNAME_PREFIX},
};

/// An object that the user names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) namespace: &'a str,
    /// The kind of a workload or pod, as the user spells it; `None` for a ServiceAccount.
    kind: Option<&'a str>,
    name: &'a str,
}

impl<'a> Target<'a> {
    /// Reads `shop/mail`, `shop/deployment/web`, `shop/deployment.apps/web` (which `kubectl -o name` prints) or
    /// `system:serviceaccount:shop:mail`.
    pub(super) fn parse(text: &'a str) -> anyhow::Result<Self> {
        let username = text.strip_prefix(USERNAME_PREFIX);
        let words: Vec<_> = match username {
            Some(rest) => rest.split(':').collect(),
            None => text.split('/').collect(),
        };
        let (namespace, kind, name) = match words[..] {
            [namespace, name] => (namespace, None, name),
            [namespace, kind, name] if username.is_none() => (namespace, Some(kind), name),
            _ => ("", None, ""),
        };
        if namespace.is_empty() || name.is_empty() || kind == Some("") {
            bail!(
                "`{text}` is neither NAMESPACE/NAME nor NAMESPACE/KIND/NAME, as in shop/mail or shop/deployment/web"
            );
        }
        Ok(Self {
            namespace,
            kind: kind.filter(|kind| !is_account(kind)),
            name,
        })
    }

    /// The account that it is, or whose pods it runs.
    pub(super) fn account(&self, index: &Index) -> anyhow::Result<ServiceAccountRef> {
        let Self {
            namespace,
            kind,
            name,
        } = self;
        let Some(kind) = kind else {
            return Ok(ServiceAccountRef::new(*namespace, *name));
        };
        let kinds = kinds(kind);
        let mut found = kinds
            .iter()
            .filter_map(|kind| index.account_of(namespace, kind, name));
        found.next().ok_or_else(|| {
            let kind = kinds.last().map_or(*kind, String::as_str);
            anyhow!(
                "{kind} {name} was not found in namespace {namespace}, or uses no ServiceAccount"
            )
        })
    }
}

/// Whether a word stands for ServiceAccounts in kubectl.
fn is_account(word: &str) -> bool {
    let words = ["sa", "serviceaccount", "serviceaccounts"];
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The kinds that a word may mean: a built-in one, or a custom one, which kubectl names by its plural and its group.
fn kinds(word: &str) -> Vec<String> {
    let (resource, group) = word.split_once('.').unwrap_or((word, ""));
    if let Some(kind) = PodKind::typed(resource).filter(|_| PodKind::has_group(group)) {
        return vec![kind.name.to_owned()];
    }
    let mut kinds = Vec::new();
    for (ending, singular) in [("ies", "y"), ("es", ""), ("s", ""), ("", "")] {
        if let Some(stem) = resource.strip_suffix(ending) {
            // A custom kind with the name of a built-in one has its group in its name.
            kinds.extend([
                format!("{stem}{singular}.{group}"),
                format!("{stem}{singular}"),
            ]);
        }
    }
    // One of another group is meant.
    kinds.retain(|kind| PodKind::typed(kind).is_none());
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spelled_as_in_kubectl() {
        for (word, expected) in [
            ("deploy", "Deployment"),
            ("deployment.apps", "Deployment"),
            ("cronjobs.batch", "CronJob"),
            ("rollouts.argoproj.io", "rollout"),
            ("Rollout", "Rollout"),
            ("proxies", "proxy"),
            ("job.batch.volcano.sh", "job.batch.volcano.sh"),
        ] {
            let kinds = kinds(word);
            assert!(
                kinds.iter().any(|kind| kind == expected),
                "{word}: {kinds:?}"
            );
        }
        assert!(!kinds("jobs.batch.volcano.sh").contains(&"job".to_owned()));
    }
}
