//! What does Kubernetes itself grant to every authenticated user, and to every ServiceAccount?
//!
//! The default permissions are read from the bindings of `system:authenticated`, live or from the
//! bootstrap objects that files are scanned with. Two more bootstrap ClusterRoles are bound to
//! `system:serviceaccounts`; they are recognised by their rules, since labels prove nothing.

use std::sync::LazyLock;

use super::cover::{Atom, breakdown, covers};
use crate::model::Rule;

/// What Kubernetes itself grants to every authenticated user: the ClusterRoles `system:basic-user`,
/// `system:discovery` and `system:public-info-viewer` (bootstrappolicy/policy.go), as of the newest
/// version; older ones grant less.
#[must_use]
pub fn default_rules() -> &'static [Rule] {
    static RULES: LazyLock<[Rule; 3]> = LazyLock::new(|| {
        let list = |words: &[&str]| words.iter().map(|word| Box::from(*word)).collect();
        let create = |group, resources: &[&str]| Rule {
            verbs: list(&["create"]),
            api_groups: list(&[group]),
            resources: list(resources),
            ..Rule::default()
        };
        [
            create(
                "authorization.k8s.io",
                &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            ),
            create("authentication.k8s.io", &["selfsubjectreviews"]),
            Rule {
                verbs: list(&["get"]),
                non_resource_urls: list(&[
                    "/api",
                    "/api/*",
                    "/apis",
                    "/apis/*",
                    "/healthz",
                    "/livez",
                    "/openapi",
                    "/openapi/*",
                    "/readyz",
                    "/version",
                    "/version/",
                ]),
                ..Rule::default()
            },
        ]
    });
    &*RULES
}

/// Whether a rule grants nothing beyond what Kubernetes itself grants to every ServiceAccount.
#[must_use]
pub fn is_default_rule(rule: &Rule) -> bool {
    let is_default = |atom: Atom<'_>| default_rules().iter().any(|known| covers(known, &atom));
    is_default_account_rule(rule) || breakdown(rule).all(is_default)
}

/// Whether a rule grants no more than the ClusterRoles `system:service-account-issuer-discovery` and
/// `system:cluster-trust-bundle-discovery` do (bootstrappolicy/policy.go): public keys and public
/// certificates.
#[must_use]
pub fn is_default_account_rule(rule: &Rule) -> bool {
    breakdown(rule).all(|atom| match atom {
        Atom::Url { verb, url } => {
            let document = url.strip_suffix('/').unwrap_or(url);
            verb == "get"
                && matches!(
                    document,
                    "/.well-known/openid-configuration" | "/openid/v1/jwks"
                )
        }
        Atom::Resource {
            verb,
            group,
            resource,
            ..
        } => {
            matches!(verb, "get" | "list" | "watch")
                && group == "certificates.k8s.io"
                && resource == "clustertrustbundles"
        }
    })
}
