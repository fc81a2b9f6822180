//! What is kept of a Secret: whose token it holds, as its metadata says, and in files which systems its data names.

use super::{Kind, Secrets, config_map, wire, words};
use crate::model::{Config, InputKind, SecretFacts};

/// The type of a Secret that holds the token of a ServiceAccount (`SecretTypeServiceAccountToken`).
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";
/// The label of a Secret whose token the API server rejects (`InvalidSinceLabelKey`).
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// The label of a Secret whose token was used, with the day (`LastUsedLabelKey`).
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// The `kind` of an object that comes without its `type`: only Secrets of that type are listed so.
const METADATA_ONLY: &str = "PartialObjectMetadata";

impl Kind for Secrets {
    type Wire = wire::Secret;
    type Facts = SecretFacts;
    const INPUT: InputKind = InputKind::Secret;

    fn facts(wire: &Self::Wire, config: &Config) -> Self::Facts {
        let content = config_map::of_secret(wire, config);
        // Others may have the annotations too, such as the credentials for OpenShift's registry.
        if wire.type_ != TOKEN_TYPE && wire.kind != METADATA_ONLY {
            return SecretFacts {
                content,
                ..SecretFacts::default()
            };
        }
        let annotation = |key| wire.metadata.annotations.get(key).unwrap_or_default();
        SecretFacts {
            owner: Some(annotation(words::TOKEN_OWNER).into()),
            owner_uid: annotation(words::TOKEN_OWNER_UID).into(),
            invalidated: wire.metadata.labels.get(INVALID_SINCE).is_some(),
            last_used: wire
                .metadata
                .labels
                .get(LAST_USED)
                .and_then(|day| day.parse().ok()),
            content,
        }
    }
}
