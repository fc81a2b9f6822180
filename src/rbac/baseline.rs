//! What does upstream Kubernetes give to every ServiceAccount?
//!
//! What everybody has is read from the bindings of `system:authenticated`, live or from the bootstrap
//! objects that files are scanned with. Besides, two bootstrap ClusterRoles are bound to
//! `system:serviceaccounts`; they are told by their rules, since labels prove nothing.

use super::cover::{Atom, breakdown};
use crate::model::Rule;

/// Whether a rule gives no more than the ClusterRoles `system:service-account-issuer-discovery` and
/// `system:cluster-trust-bundle-discovery` do (bootstrappolicy/policy.go): public keys and public
/// certificates.
#[must_use]
pub fn is_upstream_account_rule(rule: &Rule) -> bool {
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
