//! Can a request to this API server ever match what a rule allows? Some rules are valid but have no
//! effect: a SubjectAccessReview allows them, but no request has those attributes. Mirrors
//! `RequestInfoFactory.NewRequestInfo` (apiserver: pkg/endpoints/request/requestinfo.go).

use super::cover::Atom;
use crate::model::{Scope, rbac::Caveat};

/// The verbs of requests for resources.
const REQUESTS: [&str; 9] = [
    "*",
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
/// Further verbs that the API server checks: in admission, RBAC's escalation checks, impersonation and
/// certificates.
const CHECKS: [&str; 6] = ["approve", "bind", "escalate", "impersonate", "sign", "use"];
/// The prefixes of the verbs of constrained impersonation (KEP-5284).
const CONSTRAINED: [&str; 2] = ["impersonate:", "impersonate-on:"];
/// The verbs of requests for non-resource URLs.
const METHODS: [&str; 8] = [
    "*", "delete", "get", "head", "options", "patch", "post", "put",
];
/// The API groups without a dot; no custom resource can be in one.
const DOTLESS: [&str; 7] = [
    "",
    "*",
    "apps",
    "autoscaling",
    "batch",
    "extensions",
    "policy",
];

/// The built-in resources that are cluster-scoped, by group. `kubectl api-resources
/// --namespaced=false` prints those of a server; a test compares them.
pub const CLUSTER_SCOPED: [(&str, &[&str]); 16] = [
    (
        "",
        &[
            "componentstatuses",
            "namespaces",
            "nodes",
            "persistentvolumes",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ],
    ),
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("apiregistration.k8s.io", &["apiservices"]),
    (
        "authentication.k8s.io",
        &["selfsubjectreviews", "tokenreviews"],
    ),
    (
        "authorization.k8s.io",
        &[
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews",
        ],
    ),
    (
        "certificates.k8s.io",
        &["certificatesigningrequests", "clustertrustbundles"],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        &["flowschemas", "prioritylevelconfigurations"],
    ),
    (
        "networking.k8s.io",
        &["ingressclasses", "ipaddresses", "servicecidrs"],
    ),
    ("node.k8s.io", &["runtimeclasses"]),
    ("policy", &["podsecuritypolicies"]),
    (
        "rbac.authorization.k8s.io",
        &["clusterrolebindings", "clusterroles"],
    ),
    (
        "resource.k8s.io",
        &["deviceclasses", "devicetaintrules", "resourceslices"],
    ),
    ("scheduling.k8s.io", &["priorityclasses"]),
    (
        "storage.k8s.io",
        &[
            "csidrivers",
            "csinodes",
            "storageclasses",
            "volumeattachments",
            "volumeattributesclasses",
        ],
    ),
    ("storagemigration.k8s.io", &["storageversionmigrations"]),
];

/// Why no request to this API server can use an atom; `None` for most.
#[must_use]
pub fn caveat(atom: &Atom<'_>, scope: &Scope) -> Option<Caveat> {
    match *atom {
        Atom::Url { verb, url } => {
            let is_possible = METHODS.contains(&verb) && (url == "*" || url.starts_with('/'));
            (!is_possible).then_some(Caveat::Unreachable)
        }
        Atom::Resource {
            verb,
            group,
            resource,
            name,
        } => {
            let may_be_nameless =
                matches!(verb, "create" | "list" | "watch" | "deletecollection" | "*");
            let name_can_match = match name {
                None => true,
                Some("") => may_be_nameless,
                Some(_) => verb != "deletecollection",
            };
            if !name_can_match || !is_served(group, resource) || !in_scope(atom, scope) {
                return Some(Caveat::Unreachable);
            }
            caveat_of_verb(verb)
        }
    }
}

fn caveat_of_verb(verb: &str) -> Option<Caveat> {
    let is_checked = REQUESTS.contains(&verb)
        || CHECKS.contains(&verb)
        || CONSTRAINED.iter().any(|prefix| verb.starts_with(prefix));
    if is_checked {
        None
    } else if verb.is_empty() || has_capital(verb) {
        Some(Caveat::Unreachable)
    } else {
        Some(Caveat::ThirdParty)
    }
}

/// Whether an API server can serve a resource with this group and name.
fn is_served(group: &str, resource: &str) -> bool {
    let known_group = DOTLESS.contains(&group) || (group.contains('.') && !group.contains('/'));
    known_group
        && !has_capital(group)
        && !resource.is_empty()
        && !has_capital(resource)
        // `pods/*` and `*/*` are not patterns: they match only themselves.
        && !resource.ends_with("/*")
}

fn has_capital(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether a grant in a namespace can match: requests for cluster-scoped resources have no namespace,
/// but those for one Namespace have its name, and some other verbs are checked with a namespace.
fn in_scope(atom: &Atom<'_>, scope: &Scope) -> bool {
    let (
        Scope::Namespace(namespace),
        Atom::Resource {
            verb,
            group,
            resource,
            name,
        },
    ) = (scope, atom)
    else {
        return true;
    };
    let main = resource.split('/').next().unwrap_or_default();
    let mut known = CLUSTER_SCOPED.iter();
    let is_cluster_scoped =
        known.any(|(known, resources)| known == group && resources.contains(&main));
    if !is_cluster_scoped || *verb == "*" || !REQUESTS.contains(verb) {
        return true;
    }
    main == "namespaces"
        && matches!(*verb, "get" | "update" | "patch" | "delete")
        && name.is_none_or(|name| *name == **namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Option<Caveat> = None;
    const UNREACHABLE: Option<Caveat> = Some(Caveat::Unreachable);

    fn of(verb: &str, group: &str, resource: &str, name: Option<&str>) -> Option<Caveat> {
        in_scope_of(&Scope::Cluster, verb, group, resource, name)
    }

    fn in_scope_of(
        scope: &Scope,
        verb: &str,
        group: &str,
        resource: &str,
        name: Option<&str>,
    ) -> Option<Caveat> {
        let atom = Atom::Resource {
            verb,
            group,
            resource,
            name,
        };
        caveat(&atom, scope)
    }

    #[test]
    fn some_values_occur_in_no_request() {
        for (verb, group, resource, expected) in [
            ("get", "", "pods", NONE),
            ("get", "", "pods/*", UNREACHABLE),
            ("get", "*", "*/*", UNREACHABLE),
            ("update", "apps", "*/scale", NONE),
            ("get", "core", "pods", UNREACHABLE),
            ("get", "apps/v1", "deployments", UNREACHABLE),
            ("get", "example.com", "things", NONE),
            ("GET", "", "pods", UNREACHABLE),
            ("get", "", "Pods", UNREACHABLE),
            ("", "", "", UNREACHABLE),
            ("attest", "", "things", Some(Caveat::ThirdParty)),
            ("impersonate-on:user:get", "", "pods", NONE),
        ] {
            assert_eq!(
                of(verb, group, resource, None),
                expected,
                "{verb} {group} {resource}"
            );
        }
    }

    #[test]
    fn some_requests_have_no_name_and_some_must_have_one() {
        for (verb, name, expected) in [
            ("deletecollection", "x", UNREACHABLE),
            ("create", "x", NONE),
            ("list", "x", NONE),
            ("list", "", NONE),
            ("get", "", UNREACHABLE),
        ] {
            assert_eq!(
                of(verb, "", "secrets", Some(name)),
                expected,
                "{verb} {name}"
            );
        }
    }

    #[test]
    fn a_grant_in_a_namespace_matches_only_requests_in_it() {
        let here = Scope::Namespace("here".into());
        for (verb, group, resource, name, expected) in [
            ("get", "", "nodes", None, UNREACHABLE),
            ("list", "", "namespaces", None, UNREACHABLE),
            ("get", "", "namespaces", None, NONE),
            ("get", "", "namespaces", Some("there"), UNREACHABLE),
            (
                "bind",
                "rbac.authorization.k8s.io",
                "clusterroles",
                None,
                NONE,
            ),
            ("impersonate", "", "serviceaccounts", None, NONE),
        ] {
            let found = in_scope_of(&here, verb, group, resource, name);
            assert_eq!(found, expected, "{verb} {resource} {name:?}");
        }
        assert_eq!(of("get", "", "nodes", None), NONE);
    }

    #[test]
    fn a_url_begins_with_a_slash_and_its_verbs_are_http_methods() {
        for (verb, url, expected) in [
            ("get", "/metrics", NONE),
            ("*", "*", NONE),
            ("list", "/metrics", UNREACHABLE),
            ("get", "metrics", UNREACHABLE),
        ] {
            let found = caveat(&Atom::Url { verb, url }, &Scope::Cluster);
            assert_eq!(found, expected, "{verb} {url}");
        }
    }
}
