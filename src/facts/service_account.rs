//! What is kept of a ServiceAccount, of a Namespace and of a CSIDriver.

use super::{
    CsiDrivers, Kind, Namespaces, ServiceAccounts, consumers, exemption,
    limit::{MAX_NAME, MAX_SECRETS},
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
        ServiceAccountFacts {
            uid: wire.metadata.uid.as_str().into(),
            automount: wire.automount_service_account_token,
            exemption: exemption::claim(&wire.metadata.annotations),
            has_more_secrets: wire.secrets.len() > MAX_SECRETS,
            secrets: wire
                .secrets
                .iter()
                .take(MAX_SECRETS)
                .map(|secret| secret.name[..secret.name.floor_char_boundary(MAX_NAME)].into())
                .collect(),
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
