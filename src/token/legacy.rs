//! Does this Secret hold a legacy token of the account? Its object says so; where Secrets are not
//! read, the `secrets` of the account, the form of the name, and the keys that pods use are hints.

use crate::model::{
    Reach, SecretFacts, ServiceAccountFacts,
    pod::{SecretKeys, TOKEN_MOUNT_PATH},
    secret::is_generated_for,
};

/// What is known of a Secret, seen from one account.
#[derive(Clone, Copy, Debug)]
pub struct Clues<'a> {
    /// The name of the account.
    pub account: &'a str,
    /// The account's object; `None` when it was not seen.
    pub service_account: Option<&'a ServiceAccountFacts>,
    /// The name of the Secret.
    pub secret: &'a str,
    /// The Secret's object; `None` when it was not seen.
    pub object: Option<&'a SecretFacts>,
    /// Every Secret of type `kubernetes.io/service-account-token` is known.
    pub complete: bool,
    /// Another account names the Secret, or has the name that the name of the Secret was generated from.
    pub elsewhere: bool,
}

/// How certain it is that a Secret holds a token of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It does.
    Token {
        /// It is marked invalid: the API server rejects it.
        invalidated: bool,
    },
    /// The account names it, perhaps for another reason.
    Named,
    /// Its name has the form of one that does.
    Suspected,
    /// It belongs to no known account.
    Unclaimed,
}

/// How certain it is that a Secret holds a token of the account; `None` when it holds none of it.
#[must_use]
pub fn holding(clues: &Clues<'_>) -> Option<Holding> {
    let uid = clues.service_account.map_or("", |facts| &*facts.uid);
    if let Some(object) = clues.object {
        let same_uid = object.owner_uid.is_empty() || uid.is_empty() || *object.owner_uid == *uid;
        let owned = object.owner.as_deref() == Some(clues.account) && same_uid;
        return owned.then_some(Holding::Token {
            invalidated: object.invalidated,
        });
    }
    if clues.complete {
        return None;
    }
    let listed = clues
        .service_account
        .into_iter()
        .flat_map(|facts| &facts.secrets);
    let named = listed.into_iter().any(|secret| **secret == *clues.secret);
    match (named, is_generated_for(clues.account, clues.secret)) {
        (true, true) => Some(Holding::Token { invalidated: false }),
        // OpenShift lists the credentials of its registry too.
        (true, false) => (!clues.secret.contains("-dockercfg-")).then_some(Holding::Named),
        (false, true) => Some(Holding::Suspected),
        (false, false) => (!clues.elsewhere).then_some(Holding::Unclaimed),
    }
}

impl Holding {
    /// Who accepts the key `token` of the Secret, seen from a pod: the API server, certainly or
    /// perhaps. `None` where nothing indicates a token of an account: many keys are named `token`.
    #[must_use]
    pub fn reach(self, keys: SecretKeys, mount_path: &str, own: bool) -> Option<Reach> {
        // The path that only API clients read.
        let at_default_path = mount_path.trim_end_matches('/') == TOKEN_MOUNT_PATH;
        match self {
            Self::Token { .. } => Some(Reach::Api),
            Self::Named if at_default_path || keys != SecretKeys::All => Some(Reach::Api),
            Self::Named | Self::Suspected => Some(Reach::Unknown),
            Self::Unclaimed => (own && (at_default_path || keys == SecretKeys::TokenAndFiles))
                .then_some(Reach::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_decides_and_without_it_the_names_do() {
        let account = ServiceAccountFacts {
            has_more_secrets: false,
            uid: "1".into(),
            secrets: ["old-token-x7k2p", "robot", "old-dockercfg-x7k2p"]
                .map(Box::from)
                .into(),
            ..Default::default()
        };
        let object = |owner: Option<&str>, uid: &str| SecretFacts {
            owner: owner.map(Box::from),
            owner_uid: uid.into(),
            ..SecretFacts::default()
        };
        let token = Some(Holding::Token { invalidated: false });
        for (secret, object, complete, elsewhere, expected) in [
            ("any", Some(object(Some("old"), "")), false, false, token),
            ("any", Some(object(Some("old"), "1")), false, false, token),
            ("any", Some(object(Some("old"), "2")), false, false, None),
            ("any", Some(object(Some("new"), "")), false, false, None),
            (
                "old-token-x7k2p",
                Some(object(None, "")),
                false,
                false,
                None,
            ),
            ("old-token-x7k2p", None, true, false, None),
            ("old-token-x7k2p", None, false, false, token),
            ("robot", None, false, false, Some(Holding::Named)),
            ("old-dockercfg-x7k2p", None, false, false, None),
            (
                "old-token-aaaaa",
                None,
                false,
                false,
                Some(Holding::Suspected),
            ),
            ("any", None, false, false, Some(Holding::Unclaimed)),
            ("any", None, false, true, None),
        ] {
            let clues = Clues {
                account: "old",
                service_account: Some(&account),
                secret,
                object: object.as_ref(),
                complete,
                elsewhere,
            };
            assert_eq!(holding(&clues), expected, "{clues:?}");
        }
    }

    #[test]
    fn a_key_named_token_alone_is_not_a_token_of_an_account() {
        use SecretKeys::{All, Token, TokenAndFiles};
        let (api, unknown) = (Some(Reach::Api), Some(Reach::Unknown));
        for (holding, keys, path, own, expected) in [
            (Holding::Named, All, "/t", true, unknown),
            (Holding::Named, Token, "", true, api),
            (Holding::Named, All, TOKEN_MOUNT_PATH, true, api),
            (Holding::Suspected, TokenAndFiles, "/t", false, unknown),
            (Holding::Unclaimed, Token, "", true, None),
            (Holding::Unclaimed, TokenAndFiles, "/t", true, unknown),
            (Holding::Unclaimed, All, TOKEN_MOUNT_PATH, true, unknown),
            (Holding::Unclaimed, All, TOKEN_MOUNT_PATH, false, None),
        ] {
            assert_eq!(
                holding.reach(keys, path, own),
                expected,
                "{holding:?} {keys:?} {path}"
            );
        }
    }
}
