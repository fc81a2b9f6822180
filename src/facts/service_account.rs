//! What is kept of a ServiceAccount and of a Namespace.

use super::{Kind, Namespaces, ServiceAccounts, wire};
use crate::model::{InputKind, NamespaceFacts, ServiceAccountFacts, pod::legacy_token_owner};

impl Kind for ServiceAccounts {
    type Wire = wire::ServiceAccount;
    type Facts = ServiceAccountFacts;
    const INPUT: InputKind = InputKind::ServiceAccount;

    fn metadata(wire: &Self::Wire) -> &wire::Metadata {
        &wire.metadata
    }

    fn facts(wire: &Self::Wire) -> Self::Facts {
        ServiceAccountFacts {
            uid: wire.metadata.uid.as_str().into(),
            automount: wire.automount_service_account_token,
            token_secrets: wire
                .secrets
                .iter()
                .filter(|secret| legacy_token_owner(&secret.name).is_some())
                .map(|secret| secret.name.as_str().into())
                .collect(),
        }
    }
}

impl Kind for Namespaces {
    type Wire = wire::Namespace;
    type Facts = NamespaceFacts;
    const INPUT: InputKind = InputKind::Namespace;

    fn metadata(wire: &Self::Wire) -> &wire::Metadata {
        &wire.metadata
    }

    fn facts(wire: &Self::Wire) -> Self::Facts {
        NamespaceFacts {
            terminating: wire.metadata.deletion_timestamp.is_some(),
        }
    }
}
