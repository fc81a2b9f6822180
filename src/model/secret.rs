//! What is kept of a Secret: whose token it holds, and what its data says in files. No value of it is kept.

use jiff::civil::Date;

use super::pod::ConfigFacts;

/// How many characters of a base `SimpleNameGenerator` (apiserver: pkg/storage/names/generate.go) keeps,
/// and how many random ones it appends.
const MAX_BASE: usize = 58;
const RANDOM: usize = 5;

/// The facts of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFacts {
    /// Of a Secret of type `kubernetes.io/service-account-token`, the account in its annotation;
    /// `None` for any other type, whatever its annotations.
    pub owner: Option<Box<str>>,
    /// The uid in its annotation; empty when it has none. Mirrors `IsServiceAccountToken`.
    pub owner_uid: Box<str>,
    /// It has the label `kubernetes.io/legacy-token-invalid-since`: the API server rejects it (401).
    pub invalidated: bool,
    /// The day in its label `kubernetes.io/legacy-token-last-used`, in UTC: the API server writes it when the token is
    /// used, once a day.
    pub last_used: Option<Date>,
    /// What its data says; `None` where it was not read.
    pub content: Option<ConfigFacts>,
}

/// The account whose token a Secret holds, by its name: before Kubernetes 1.24 every account got a Secret
/// named `<account>-token-` and five random characters (`ensureReferencedToken` of the tokens controller).
#[must_use]
pub fn generated_for(secret: &str) -> Option<&str> {
    let (base, random) = secret.split_at_checked(secret.len().checked_sub(RANDOM)?)?;
    let owner = base.strip_suffix("-token-")?;
    (!owner.is_empty() && is_random(random)).then_some(owner)
}

/// Whether the name of a Secret was generated for the token of this account; a long name
/// was truncated.
#[must_use]
pub fn is_generated_for(account: &str, secret: &str) -> bool {
    let base = format!("{account}-token-");
    let base = base.get(..MAX_BASE).unwrap_or(&base);
    secret
        .strip_prefix(base)
        .is_some_and(|random| random.len() == RANDOM && is_random(random))
}

fn is_random(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_identifies_its_account() {
        let long = "a".repeat(60);
        let cut = format!("{}x7k2p", "a".repeat(58));
        for (secret, owner) in [
            ("default-token-x7k2p", Some("default")),
            ("my-token-token-x7k2p", Some("my-token")),
            ("-token-x7k2p", None),
            ("default-token-x7k2", None),
            ("default-token-X7k2p", None),
            ("default-dockercfg-x7k2p", None),
            ("tok", None),
            ("ü-token-ü2p", None),
        ] {
            assert_eq!(generated_for(secret), owner, "{secret}");
        }
        assert!(is_generated_for("default", "default-token-x7k2p"));
        assert!(!is_generated_for("other", "default-token-x7k2p"));
        assert!(is_generated_for(&long, &cut));
    }
}
