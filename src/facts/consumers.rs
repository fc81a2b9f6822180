//! Who else may verify a pod's token? Systems that take the token of a pod as its identity leave no
//! trace in RBAC; they are recognised by what a pod says of them.

use super::wire::{Annotations, PodSpec};

/// Environment variables that tell a client of such a system, and the system.
const VARIABLES: [(&str, &str); 6] = [
    // Vault's own client and agent: developer.hashicorp.com/vault/docs/commands
    ("VAULT_ADDR", "Vault"),
    // Spring Cloud Vault: spring.cloud.vault.* by relaxed binding
    ("SPRING_CLOUD_VAULT_URI", "Vault"),
    ("SPRING_CLOUD_VAULT_HOST", "Vault"),
    // Conjur's Kubernetes authenticator clients: cyberark/conjur-authn-k8s-client
    ("CONJUR_AUTHN_URL", "Conjur"),
    ("CONJUR_APPLIANCE_URL", "Conjur"),
    // Istio before tokens of its own audience: pilot-agent's --jwt-policy
    ("JWT_POLICY", "Istio"),
];

/// The system whose clients have a variable of this name.
pub(super) fn of_variable(name: &str) -> Option<&'static str> {
    VARIABLES
        .iter()
        .find(|(variable, _)| *variable == name)
        .map(|(_, system)| *system)
}

/// The systems that a pod speaks of, sorted.
pub(super) fn consumers(annotations: &Annotations, spec: &PodSpec) -> Box<[Box<str>]> {
    let is_true = |value: &Option<String>| {
        value
            .as_deref()
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    };
    let annotated = [
        // Vault's injector: the agent logs in with the pod's token unless told of another
        (is_true(&annotations.vault_agent_inject), "Vault"),
        // Consul's sidecar logs in with the pod's token: hashicorp/consul-k8s, connect-init
        (is_true(&annotations.consul_connect_inject), "Consul"),
        // Bank-Vaults' webhook: vault-env logs in with the pod's token
        (
            annotations.bank_vaults_address.is_some()
                || annotations.bank_vaults_address_old.is_some(),
            "Vault",
        ),
    ];
    let annotated = annotated
        .into_iter()
        .filter(|(present, _)| *present)
        .map(|(_, system)| system);
    let containers = [&spec.init_containers, &spec.containers]
        .into_iter()
        .flatten();
    let variables = containers
        .flat_map(|container| &container.env)
        .filter_map(|variable| variable.name.0);
    let mut systems: Vec<Box<str>> = annotated.chain(variables).map(Box::from).collect();
    systems.sort_unstable();
    systems.dedup();
    systems.into()
}
