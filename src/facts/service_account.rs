//! What is kept of a ServiceAccount, of a Namespace and of a CSIDriver.

use super::{
    CsiDrivers, Kind, Namespaces, ServiceAccounts, consumers, exemption,
    limit::{MAX_SECRET_BYTES, MAX_SECRETS},
    wire,
};
use crate::model::{
    Config, CsiDriverFacts, InputKind, NamespaceFacts, ServiceAccountFacts, TokenRequest,
};

impl Kind for ServiceAccounts {
    type Wire = wire::ServiceAccount;
    type Facts = ServiceAccountFacts;
    const INPUT: InputKind = InputKind::ServiceAccount;

    fn facts(wire: &Self::Wire, _: &Config) -> Self::Facts {
        let names = wire.secrets.iter().map(|secret| &*secret.name);
        let mut bytes = 0;
        let fits = |name: &&str| {
            bytes += name.len();
            bytes <= MAX_SECRET_BYTES
        };
        let secrets: Vec<Box<str>> = names
            .take(MAX_SECRETS)
            .take_while(fits)
            .map(Box::from)
            .collect();
        ServiceAccountFacts {
            uid: wire.metadata.uid.as_str().into(),
            automount: wire.automount_service_account_token,
            exemption: exemption::claim(&wire.metadata.annotations),
            has_more_secrets: secrets.len() < wire.secrets.len(),
            secrets: secrets.into(),
        }
    }
}

impl Kind for Namespaces {
    type Wire = wire::Namespace;
    type Facts = NamespaceFacts;
    const INPUT: InputKind = InputKind::Namespace;

    fn facts(wire: &Self::Wire, config: &Config) -> Self::Facts {
        NamespaceFacts {
            terminating: wire.metadata.deletion_timestamp.is_some(),
            consumers: consumers::of_namespace(&wire.metadata, config),
            left_out: config
                .namespaces
                .leaves_out(&wire.metadata.name, |key| wire.metadata.labels.get(key)),
        }
    }
}

/// What the API fills in for a missing `expirationSeconds` of a token request.
const DEFAULT_EXPIRATION_SECONDS: i64 = 3600;

impl Kind for CsiDrivers {
    type Wire = wire::CsiDriver;
    type Facts = CsiDriverFacts;
    const INPUT: InputKind = InputKind::CsiDriver;

    fn facts(wire: &Self::Wire, _: &Config) -> Self::Facts {
        let request = |request: &wire::TokenRequest| TokenRequest {
            audience: request.audience.as_str().into(),
            expiration_seconds: request
                .expiration_seconds
                .unwrap_or(DEFAULT_EXPIRATION_SECONDS),
        };
        CsiDriverFacts {
            token_requests: wire.spec.token_requests.iter().map(request).collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_account_names_costs_little_and_more_is_known_to_be_missing() {
        let facts = |names: &[String]| {
            let secrets: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
            let wire = json!({ "metadata": { "name": "a" }, "secrets": secrets });
            ServiceAccounts::facts(&serde_json::from_value(wire).unwrap(), &Config::default())
        };
        let short = |count: usize| -> Vec<String> {
            (0..count)
                .map(|number| format!("a-token-{number}"))
                .collect()
        };
        let few = facts(&short(MAX_SECRETS));
        assert_eq!(
            (few.secrets.len(), few.has_more_secrets),
            (MAX_SECRETS, false)
        );
        let many = facts(&short(MAX_SECRETS + 1));
        assert_eq!(
            (many.secrets.len(), many.has_more_secrets),
            (MAX_SECRETS, true)
        );
        let long = facts(&["x".repeat(600), "y".repeat(600)]);
        assert_eq!((long.secrets.len(), long.has_more_secrets), (1, true));
    }
}
