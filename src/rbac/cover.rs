//! Does one rule allow all that another one does? Mirrors k8s.io/component-helpers
//! auth/rbac/validation/policy_comparator.go: a rule is broken down to atoms, and each atom must be
//! covered by one rule.

use crate::model::Rule;

/// One verb on one resource or URL: the smallest thing that a rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atom<'a> {
    /// A verb on a resource, perhaps only of one name.
    Resource {
        /// The verb.
        verb: &'a str,
        /// The API group.
        group: &'a str,
        /// The resource, with its subresource.
        resource: &'a str,
        /// The only name; `None` for any.
        name: Option<&'a str>,
    },
    /// A verb on a non-resource URL.
    Url {
        /// The verb.
        verb: &'a str,
        /// The URL.
        url: &'a str,
    },
}

impl Atom<'_> {
    /// Whether only admission checks it, for the pod's account and without a token: `use` of
    /// a PodSecurityPolicy or of a SecurityContextConstraints.
    #[must_use]
    pub fn is_admission_only(&self) -> bool {
        matches!(
            self,
            Atom::Resource {
                verb: "use",
                group: "policy" | "extensions",
                resource: "podsecuritypolicies",
                ..
            } | Atom::Resource {
                verb: "use",
                group: "security.openshift.io",
                resource: "securitycontextconstraints",
                ..
            }
        )
    }
}

/// The atoms of a rule. Mirrors `BreakdownRule`: a rule without verbs, without groups or without
/// resources and URLs allows nothing.
pub fn breakdown(rule: &Rule) -> impl Iterator<Item = Atom<'_>> {
    let names = move || {
        let any = rule.resource_names.is_empty().then_some(None);
        any.into_iter()
            .chain(rule.resource_names.iter().map(|name| Some(&**name)))
    };
    let resources = rule.api_groups.iter().flat_map(move |group| {
        rule.resources.iter().flat_map(move |resource| {
            rule.verbs.iter().flat_map(move |verb| {
                names().map(move |name| Atom::Resource {
                    verb,
                    group,
                    resource,
                    name,
                })
            })
        })
    });
    let urls = rule
        .non_resource_urls
        .iter()
        .flat_map(|url| rule.verbs.iter().map(move |verb| Atom::Url { verb, url }));
    resources.chain(urls)
}

/// Whether a rule allows an atom. Mirrors `ruleCovers`, where `*` in the atom is a literal that
/// only `*` in the rule covers.
#[must_use]
pub fn covers(rule: &Rule, atom: &Atom<'_>) -> bool {
    match *atom {
        Atom::Resource {
            verb,
            group,
            resource,
            name,
        } => {
            has(&rule.verbs, verb)
                && has(&rule.api_groups, group)
                && rule
                    .resources
                    .iter()
                    .any(|owned| resource_covers(owned, resource))
                && (rule.resource_names.is_empty()
                    || name.is_some_and(|name| {
                        rule.resource_names.iter().any(|owned| &**owned == name)
                    }))
        }
        Atom::Url { verb, url } => {
            has(&rule.verbs, verb)
                && rule
                    .non_resource_urls
                    .iter()
                    .any(|owned| url_covers(owned, url))
        }
    }
}

fn has(list: &[Box<str>], wanted: &str) -> bool {
    list.iter()
        .any(|owned| &**owned == "*" || &**owned == wanted)
}

/// Mirrors `resourceCoversAll`: `*` covers all, `*/scale` covers that subresource of all.
fn resource_covers(owned: &str, wanted: &str) -> bool {
    owned == "*"
        || owned == wanted
        || matches!((owned.strip_prefix("*/"), wanted.split_once('/')), (Some(own), Some((_, sub))) if own == sub)
}

/// Mirrors `nonResourceURLCovers`: a trailing `*` covers every longer URL.
fn url_covers(owned: &str, wanted: &str) -> bool {
    owned == wanted || (owned.ends_with('*') && wanted.starts_with(owned.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let list = |list: &[&str]| list.iter().map(|word| Box::from(*word)).collect();
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: Box::default(),
        }
    }

    fn urls(verbs: &[&str], urls: &[&str]) -> Rule {
        let list = |list: &[&str]| list.iter().map(|word| Box::from(*word)).collect();
        Rule {
            verbs: list(verbs),
            non_resource_urls: list(urls),
            ..Rule::default()
        }
    }

    fn covers_all(owner: &Rule, sub: &Rule) -> bool {
        breakdown(sub).all(|atom| covers(owner, &atom))
    }

    #[test]
    fn should_cover() {
        let any = rule(&["*"], &["*"], &["*"], &[]);
        for (owner, sub) in [
            (&any, rule(&["*"], &["*"], &["*"], &[])),
            (
                &any,
                rule(&["get"], &["apps"], &["deployments/scale"], &["x"]),
            ),
            (
                &rule(&["get", "list"], &[""], &["pods", "secrets"], &[]),
                rule(&["list"], &[""], &["secrets"], &["a", "b"]),
            ),
            (
                &rule(&["update"], &["apps"], &["*/scale"], &[]),
                rule(&["update"], &["apps"], &["deployments/scale"], &[]),
            ),
            (
                &rule(&["get"], &[""], &["pods"], &["a", "b"]),
                rule(&["get"], &[""], &["pods"], &["b"]),
            ),
            (
                &urls(&["get"], &["/api/*"]),
                urls(&["get"], &["/api/v1", "/api/"]),
            ),
            (&urls(&["get"], &["/a/**"]), urls(&["get"], &["/a/b"])),
            (&urls(&["get"], &["*"]), urls(&["get"], &["/metrics"])),
        ] {
            assert!(covers_all(owner, &sub), "{owner:?} {sub:?}");
        }
    }

    #[test]
    fn should_not_cover() {
        for (owner, sub) in [
            (
                rule(&["get"], &[""], &["pods"], &[]),
                rule(&["get"], &[""], &["pods/log"], &[]),
            ),
            (
                rule(&["get"], &[""], &["pods"], &[]),
                rule(&["*"], &[""], &["pods"], &[]),
            ),
            (
                rule(&["get"], &[""], &["pods"], &["a"]),
                rule(&["get"], &[""], &["pods"], &[]),
            ),
            (
                rule(&["get"], &[""], &["pods/*"], &[]),
                rule(&["get"], &[""], &["pods/log"], &[]),
            ),
            (
                rule(&["update"], &["apps"], &["deployments/scale"], &[]),
                rule(&["update"], &["apps"], &["*/scale"], &[]),
            ),
            (
                rule(&["get"], &["core"], &["pods"], &[]),
                rule(&["get"], &[""], &["pods"], &[]),
            ),
            (
                rule(&["get"], &[""], &["pods"], &[]),
                rule(&["GET"], &[""], &["pods"], &[]),
            ),
            (urls(&["get"], &["/api/*"]), urls(&["get"], &["/api*"])),
            (
                urls(&["get"], &["/healthz"]),
                urls(&["get"], &["/healthz/*"]),
            ),
        ] {
            assert!(!covers_all(&owner, &sub), "{owner:?} {sub:?}");
        }
    }

    #[test]
    fn a_rule_that_the_api_server_rejects_has_no_atoms() {
        for rejected in [
            rule(&[], &[""], &["pods"], &[]),
            rule(&["get"], &[], &["pods"], &[]),
            rule(&["get"], &[""], &[], &[]),
            urls(&[], &["/metrics"]),
        ] {
            assert_eq!(breakdown(&rejected).count(), 0, "{rejected:?}");
        }
    }
}
