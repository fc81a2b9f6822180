//! A subject of a binding that matches no ServiceAccount, but may be meant for one: the username as people guess it.

use std::fmt;

use super::rbac::Subject;

/// The longest kind and name that are kept.
const MAX_KIND: usize = 40;
const MAX_NAME: usize = 320;
/// The longest name of a namespace, and of another object.
const MAX_NAMESPACE: usize = 63;
const MAX_OBJECT: usize = 253;

/// A subject that matches no ServiceAccount, but may be meant for one. It is kept as written: kind, and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stray(Box<str>);

impl Stray {
    /// The subject, if it is one: a User whose name has the parts of an account's username, or is the name of an object;
    /// a Group with the prefix of an account's username; or a ServiceAccount without a namespace, with a misspelled kind
    /// or with a username for a name.
    #[must_use]
    pub fn of(kind: &str, namespace: &str, name: &str, binding_namespace: &str) -> Option<Self> {
        if kind.len() > MAX_KIND || name.len() > MAX_NAME || kind.contains(' ') {
            return None;
        }
        let has_parts = name.contains([':', '/']);
        let is_matched = match Subject::of(kind, namespace, name, binding_namespace) {
            // No account and no namespace has such a name.
            Some(Subject::NamespaceServiceAccounts(_) | Subject::ServiceAccount(_)) => !has_parts,
            Some(_) => true,
            None => false,
        };
        let letters = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        // Groups have names of their own, such as `developers` and `oidc:developers`.
        if kind == "Group" && !letters(name).contains("serviceaccount") {
            return None;
        }
        let is_account = letters(kind).trim_end_matches('s') == "serviceaccount";
        if is_matched || !(is_account || matches!(kind, "User" | "Group")) {
            return None;
        }
        let written = if is_account && !has_parts && !namespace.is_empty() {
            format!("{kind} {namespace}/{name}")
        } else {
            format!("{kind} {name}")
        };
        let stray = Self(written.into());
        stray.meant().is_some().then_some(stray)
    }

    /// The account that may be meant: its namespace, where the subject has one, and its name.
    #[must_use]
    pub fn meant(&self) -> Option<(Option<&str>, &str)> {
        let (_, name) = self.0.split_once(' ')?;
        let mut parts: Vec<&str> = name.split([':', '/']).map(str::trim).collect();
        let is_system = parts[0].eq_ignore_ascii_case("system");
        if is_system {
            parts.remove(0);
        }
        let prefix = parts.first()?.replace(['-', '_'], "").to_ascii_lowercase();
        let has_prefix =
            parts.len() > 1 && matches!(&*prefix, "serviceaccount" | "serviceaccounts" | "sa");
        if has_prefix {
            parts.remove(0);
        }
        match parts[..] {
            // Other names with the prefix are those of Kubernetes' own users and groups.
            _ if is_system && !(has_prefix && parts.len() == 2) => None,
            [name] if is_name(name, MAX_OBJECT) => Some((None, name)),
            [namespace, name]
                if is_name(namespace, MAX_NAMESPACE)
                    && !namespace.contains('.')
                    && is_name(name, MAX_OBJECT) =>
            {
                Some((Some(namespace), name))
            }
            _ => None,
        }
    }
}

/// Whether an object can have this name: a DNS subdomain.
fn is_name(name: &str, limit: usize) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    name.len() <= limit
        && ends.iter().all(|end| end.is_some_and(is_word))
        && name
            .bytes()
            .all(|byte| is_word(byte) || b"-.".contains(&byte))
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_wrong_spelling_of_a_username_has_the_parts_of_an_account() {
        let both = |namespace, name| Some((Some(namespace), name));
        for (kind, namespace, name, binding_namespace, meant) in [
            ("User", "", "system:serviceaccount:shop/cart", "shop", both("shop", "cart")),
            ("User", "", "system:serviceaccounts:shop:cart", "", both("shop", "cart")),
            ("Group", "", "system:serviceaccount:shop:cart", "", both("shop", "cart")),
            ("Group", "", "system:serviceaccounts:shop:cart", "", both("shop", "cart")),
            ("User", "", "System:ServiceAccount:shop:cart", "", both("shop", "cart")),
            ("User", "", "serviceaccount:shop:cart", "", both("shop", "cart")),
            ("User", "", "shop:cart", "", both("shop", "cart")),
            ("Group", "", "shop/cart", "", None),
            ("User", "", "cart", "shop", Some((None, "cart"))),
            ("Group", "", "cart", "shop", None),
            ("ServiceAccount", "", "cart", "", Some((None, "cart"))),
            ("ServiceAccount", "shop", "system:serviceaccount:shop:cart", "shop", both("shop", "cart")),
            ("serviceAccount", "shop", "cart", "shop", both("shop", "cart")),
            ("ServiceAccounts", "", "cart", "shop", Some((None, "cart"))),
            // These match an account, or are names of something else.
            ("ServiceAccount", "shop", "cart", "", None),
            ("User", "", "system:serviceaccount:shop:cart", "", None),
            ("Group", "", "system:serviceaccounts:shop", "", None),
            ("Group", "", "system:masters", "", None),
            ("User", "", "system:kube-scheduler", "", None),
            ("User", "", "system:node:worker-1", "", None),
            ("User", "", "jane@example.com", "", None),
            ("User", "", "https://issuer.example.com#jane", "", None),
            ("User", "", "a:b:c:d", "", None),
            ("User", "", "Jane Doe", "", None),
            ("User", "", "", "", None),
            ("Robot", "", "cart", "", None),
        ] {
            let stray = Stray::of(kind, namespace, name, binding_namespace);
            assert_eq!(
                stray.as_ref().and_then(Stray::meant),
                meant,
                "{kind} {namespace} {name}"
            );
        }
    }

    #[test]
    fn a_long_subject_is_not_kept() {
        assert_eq!(Stray::of("User", "", &"a".repeat(400), ""), None);
        assert_eq!(Stray::of(&"ServiceAccount".repeat(9), "", "cart", ""), None);
    }
}
