//! Can a request to this API server ever match what a rule allows? Some rules are valid and yet
//! nothing: a review says yes to them, and no request has those attributes. Mirrors
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
/// The verbs that the API server asks for besides: admission, RBAC's escalation checks, impersonation,
/// certificates.
const CHECKS: [&str; 6] = ["approve", "bind", "escalate", "impersonate", "sign", "use"];
/// What the verbs of constrained impersonation begin with (KEP-5284).
const CONSTRAINED: [&str; 2] = ["impersonate:", "impersonate-on:"];
/// The verbs of requests for URLs.
const METHODS: [&str; 8] = [
    "*", "delete", "get", "head", "options", "patch", "post", "put",
];
/// The API groups without a dot; no custom resource can have one.
const DOTLESS: [&str; 7] = [
    "",
    "*",
    "apps",
    "autoscaling",
    "batch",
    "extensions",
    "policy",
];

/// The resources of Kubernetes itself that lie in no namespace, by group. `kubectl api-resources
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

/// What keeps an atom from being used by a request to this API server; `None` for most.
#[must_use]
pub fn caveat(atom: &Atom<'_>, scope: &Scope) -> Option<Caveat> {
    match *atom {
        Atom::Url { verb, url } => {
            let real = METHODS.contains(&verb) && (url == "*" || url.starts_with('/'));
            (!real).then_some(Caveat::Unreachable)
        }
        Atom::Resource {
            verb,
            group,
            resource,
            name,
        } => {
            let nameless = matches!(verb, "create" | "list" | "watch" | "deletecollection" | "*");
            let addressed = match name {
                None => true,
                Some("") => nameless,
                Some(_) => verb != "deletecollection",
            };
            if !addressed || !is_served(group, resource) || !in_scope(atom, scope) {
                return Some(Caveat::Unreachable);
            }
            of_verb(verb)
        }
    }
}

fn of_verb(verb: &str) -> Option<Caveat> {
    let asked = REQUESTS.contains(&verb)
        || CHECKS.contains(&verb)
        || CONSTRAINED.iter().any(|prefix| verb.starts_with(prefix));
    if asked {
        None
    } else if verb.is_empty() || has_capital(verb) {
        Some(Caveat::Unreachable)
    } else {
        Some(Caveat::ThirdParty)
    }
}

/// Whether a server can serve a resource of this spelling.
fn is_served(group: &str, resource: &str) -> bool {
    let known_group = DOTLESS.contains(&group) || (group.contains('.') && !group.contains('/'));
    known_group
        && !has_capital(group)
        && !resource.is_empty()
        && !has_capital(resource)
        // `pods/*` and `*/*` are no patterns: they equal nothing but themselves.
        && !resource.ends_with("/*")
}

fn has_capital(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether a grant in a namespace can match: requests for resources outside of namespaces have none,
/// but those for one Namespace have it as theirs, and some verbs are asked for with one.
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
    let outside = known.any(|(known, resources)| known == group && resources.contains(&main));
    if !outside || *verb == "*" || !REQUESTS.contains(verb) {
        return true;
    }
    main == "namespaces"
        && matches!(*verb, "get" | "update" | "patch" | "delete")
        && name.is_none_or(|name| *name == **namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_rules_match_no_request() {
        let here = Scope::Namespace("here".into());
        let resource = |verb, group, resource, name| Atom::Resource {
            verb,
            group,
            resource,
            name,
        };
        let url = |verb, url| Atom::Url { verb, url };
        let (none, unreachable) = (None, Some(Caveat::Unreachable));
        for (atom, scope, expected) in [
            (resource("get", "", "pods", None), &Scope::Cluster, none),
            (
                resource("get", "", "pods/*", None),
                &Scope::Cluster,
                unreachable,
            ),
            (
                resource("get", "*", "*/*", None),
                &Scope::Cluster,
                unreachable,
            ),
            (
                resource("update", "apps", "*/scale", None),
                &Scope::Cluster,
                none,
            ),
            (
                resource("get", "core", "pods", None),
                &Scope::Cluster,
                unreachable,
            ),
            (
                resource("get", "apps/v1", "deployments", None),
                &Scope::Cluster,
                unreachable,
            ),
            (
                resource("get", "example.com", "things", None),
                &Scope::Cluster,
                none,
            ),
            (
                resource("GET", "", "pods", None),
                &Scope::Cluster,
                unreachable,
            ),
            (
                resource("get", "", "Pods", None),
                &Scope::Cluster,
                unreachable,
            ),
            (resource("", "", "", None), &Scope::Cluster, unreachable),
            (
                resource("deletecollection", "", "pods", Some("x")),
                &Scope::Cluster,
                unreachable,
            ),
            (
                resource("create", "", "pods", Some("x")),
                &Scope::Cluster,
                none,
            ),
            (
                resource("list", "", "secrets", Some("")),
                &Scope::Cluster,
                none,
            ),
            (
                resource("get", "", "secrets", Some("")),
                &Scope::Cluster,
                unreachable,
            ),
            (resource("get", "", "nodes", None), &here, unreachable),
            (resource("get", "", "nodes", None), &Scope::Cluster, none),
            (resource("list", "", "namespaces", None), &here, unreachable),
            (resource("get", "", "namespaces", None), &here, none),
            (
                resource("get", "", "namespaces", Some("there")),
                &here,
                unreachable,
            ),
            (
                resource("bind", "rbac.authorization.k8s.io", "clusterroles", None),
                &here,
                none,
            ),
            (
                resource("impersonate", "", "serviceaccounts", None),
                &here,
                none,
            ),
            (
                resource("request-serviceaccounts-token-audience", "", "vault", None),
                &Scope::Cluster,
                Some(Caveat::ThirdParty),
            ),
            (url("get", "/metrics"), &Scope::Cluster, none),
            (url("*", "*"), &Scope::Cluster, none),
            (url("list", "/metrics"), &Scope::Cluster, unreachable),
            (url("get", "metrics"), &Scope::Cluster, unreachable),
        ] {
            assert_eq!(caveat(&atom, scope), expected, "{atom:?} {scope:?}");
        }
    }
}
