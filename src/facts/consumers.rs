//! Who else may use a pod's token? Systems that accept the token of a pod as its identity leave no trace
//! in RBAC, and neither does a client that only uses the default permissions. They are recognised by
//! the annotations, variables, commands and CSI volumes of the pod.

use super::wire::{Annotations, Container, PodSpec, Word};
use crate::model::{config::ConsumerRule, pod::TOKEN_MOUNT_PATH};

/// Which value an annotation must have to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Anything,
    Yes,
}

/// Annotations that make a webhook add a client, and the system that it logs in to with the pod's
/// token.
const ANNOTATIONS: [(&str, Says, &str); 14] = [
    // hashicorp/vault-k8s: agent-inject/agent/annotations.go
    ("vault.hashicorp.com/agent-inject", Says::Yes, "Vault"),
    // openbao/openbao-k8s: agent-inject/agent/annotations.go
    ("openbao.openbao.org/agent-inject", Says::Yes, "OpenBao"),
    // bank-vaults/vault-secrets-webhook: pkg/common/common.go
    (
        "vault.security.banzaicloud.io/vault-addr",
        Says::Anything,
        "Vault",
    ),
    (
        "vault.security.banzaicloud.io/vault-role",
        Says::Anything,
        "Vault",
    ),
    // bank-vaults/secrets-webhook: pkg/common/common.go
    (
        "secrets-webhook.security.bank-vaults.io/vault-addr",
        Says::Anything,
        "Vault",
    ),
    (
        "secrets-webhook.security.bank-vaults.io/vault-role",
        Says::Anything,
        "Vault",
    ),
    (
        "secrets-webhook.security.bank-vaults.io/bao-addr",
        Says::Anything,
        "OpenBao",
    ),
    // ot-container-kit/k8s-vault-webhook: guide/annotations
    ("vault.opstree.secret.manager/enabled", Says::Yes, "Vault"),
    // hashicorp/consul-k8s: control-plane/connect-inject/constants/annotations_and_labels.go
    ("consul.hashicorp.com/connect-inject", Says::Yes, "Consul"),
    (
        "consul.hashicorp.com/gateway-kind",
        Says::Anything,
        "Consul",
    ),
    // Infisical/infisical-agent-injector: pkg/util/constants.go
    ("org.infisical.com/inject", Says::Yes, "Infisical"),
    // docs.akeyless.io/docs/kubernetes-auth
    ("akeyless/enabled", Says::Yes, "Akeyless"),
    // cyberark/secrets-provider-for-k8s
    ("conjur.org/authn-identity", Says::Anything, "Conjur"),
    ("conjur.org/inject", Says::Yes, "Conjur"),
];

/// Environment variables of clients, and the system that they log in to.
const VARIABLES: [(&str, &str); 17] = [
    // developer.hashicorp.com/vault/docs/commands
    ("VAULT_ADDR", "Vault"),
    // openbao.org/docs/commands
    ("BAO_ADDR", "OpenBao"),
    // Spring Cloud Vault: spring.cloud.vault.* by relaxed binding
    ("SPRING_CLOUD_VAULT_URI", "Vault"),
    ("SPRING_CLOUD_VAULT_HOST", "Vault"),
    ("SPRING_CLOUD_VAULT_KUBERNETES_ROLE", "Vault"),
    // Quarkus: quarkus.vault.authentication.kubernetes.role
    ("QUARKUS_VAULT_AUTHENTICATION_KUBERNETES_ROLE", "Vault"),
    // argoproj-labs/argocd-vault-plugin: pkg/types/constants.go
    ("AVP_K8S_ROLE", "Vault"),
    // hashicorp/consul-k8s and consul-dataplane
    ("CONSUL_LOGIN_AUTH_METHOD", "Consul"),
    ("CONSUL_LOGIN_BEARER_TOKEN_FILE", "Consul"),
    ("DP_CREDENTIAL_LOGIN_AUTH_METHOD", "Consul"),
    // kumahq/kuma: the injector sets it to the path of the token
    ("KUMA_DATAPLANE_RUNTIME_TOKEN_PATH", "Kuma"),
    // cyberark/conjur-authn-k8s-client: pkg/authenticator
    ("CONJUR_AUTHN_URL", "Conjur"),
    ("CONJUR_APPLIANCE_URL", "Conjur"),
    // Infisical's SDK and command line
    ("INFISICAL_KUBERNETES_IDENTITY_ID", "Infisical"),
    (
        "INFISICAL_KUBERNETES_SERVICE_ACCOUNT_TOKEN_PATH",
        "Infisical",
    ),
    // oracle/oci-python-sdk: OKE workload identity reads the token at its usual place
    ("OCI_RESOURCE_PRINCIPAL_VERSION", "Oracle Cloud"),
    ("OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH", "Oracle Cloud"),
];

/// Parts of a command line or of the value of a variable, and who then uses the token.
const WORDS: [(&str, &str); 7] = [
    // istio/istio: JWT_POLICY, before tokens of its own audience
    ("first-party-jwt", "Istio"),
    // A login without a client: developer.hashicorp.com/vault/docs/auth/kubernetes
    ("auth/kubernetes/login", "Vault"),
    // hashicorp/consul-dataplane
    ("-login-auth-method", "Consul"),
    // openshift/oauth-proxy: the account is an OAuth client, and its token the client's secret
    ("-openshift-service-account", "OpenShift OAuth"),
    // The keys of the API server, which every account may read
    ("/openid/v1/jwks", "OpenID discovery"),
    // The token file itself: a command that names it reads it
    ("kubernetes.io/serviceaccount/token", "its own command line"),
    // OpenShift mounts one more file beside the token
    (
        "kubernetes.io/serviceaccount/service-ca.crt",
        "its own command line",
    ),
];

/// CSI drivers whose charts request tokens of the pod's account (`CSIDriver.spec.tokenRequests`).
const DRIVERS: [&str; 3] = [
    // kubernetes-sigs/secrets-store-csi-driver: for Vault and clouds
    "secrets-store.csi.k8s.io",
    // cert-manager/csi-driver and csi-driver-spiffe: for the API server
    "csi.cert-manager.io",
    "spiffe.csi.cert-manager.io",
];

/// The program that uses the token whatever its permissions are, as `kubectl proxy` does.
const KUBECTL: &str = "kubectl";

/// What a word says about the pod's use of the files that admission mounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Who uses the token.
    pub system: Option<&'static str>,
    /// `ca.crt` or `namespace` is read where admission mounts it.
    pub reads_files: bool,
}

/// The keys of the annotations that are read.
pub(super) fn annotations() -> impl Iterator<Item = &'static str> {
    ANNOTATIONS.iter().map(|(key, _, _)| *key)
}

/// The system whose clients have a variable of this name.
fn system_of_variable(name: &str) -> Option<&'static str> {
    let found = VARIABLES.iter().find(|(known, _)| *known == name);
    found.map(|(_, system)| *system)
}

/// What a word of a command line, or the value of a variable, says.
pub(super) fn hint_of_word(word: &str) -> Hint {
    let known = WORDS.iter().find(|(part, _)| word.contains(part));
    let system = known.map(|(_, system)| *system);
    let files = ["ca.crt", "namespace"];
    let mut mentions = word.match_indices(TOKEN_MOUNT_PATH);
    Hint {
        system: system.or_else(|| runs_kubectl(word).then_some(KUBECTL)),
        reads_files: mentions.any(|(place, path)| {
            let rest = word[place + path.len()..].strip_prefix('/');
            rest.is_some_and(|rest| files.iter().any(|file| rest.starts_with(file)))
        }),
    }
}

/// Whether a word is a call of kubectl, or a script that contains one.
fn runs_kubectl(word: &str) -> bool {
    let mut words =
        word.split(|character: char| character.is_whitespace() || ";|&()`$\"'".contains(character));
    words.any(|word| word.rsplit('/').next() == Some(KUBECTL))
}

impl Says {
    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Yes => ["true", "yes", "enabled", "1"]
                .iter()
                .any(|yes| value.eq_ignore_ascii_case(yes)),
        }
    }
}

/// The containers that a template may have.
fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().chain(&spec.containers)
}

/// The words of a container's command line, and the values of its variables.
fn words(container: &Container) -> impl Iterator<Item = &Word> {
    let values = container.env.iter().map(|variable| &variable.value);
    container
        .command
        .iter()
        .chain(&container.args)
        .chain(values)
}

/// The systems that a pod refers to, sorted; `more` are those of the configuration.
pub(super) fn systems(
    annotations: &Annotations,
    spec: &PodSpec,
    more: &[ConsumerRule],
) -> Box<[Box<str>]> {
    let has = |key, says: Says| {
        annotations
            .get(key)
            .is_some_and(|value| says.accepts(value))
    };
    let annotated = ANNOTATIONS.iter().filter(|(key, says, _)| has(key, *says));
    let annotated = annotated.map(|(_, _, system)| *system);
    let recognised = containers(spec).flat_map(|container| {
        let variables = container.env.iter();
        let variables = variables.filter_map(|variable| system_of_variable(&variable.name.0));
        let words = words(container).filter_map(|word| word.0.system);
        variables.chain(words)
    });
    let volumes = spec.volumes.iter().filter_map(|volume| volume.csi.as_ref());
    let drivers = volumes.filter_map(|csi| {
        let mut drivers = DRIVERS.into_iter();
        drivers.find(|driver| *driver == csi.driver)
    });
    let configured = more
        .iter()
        .filter(|rule| refers_to(rule, annotations, spec));
    let mut systems: Vec<Box<str>> = annotated
        .chain(recognised)
        .chain(drivers)
        .map(Box::from)
        .chain(configured.map(|rule| rule.name.clone()))
        .collect();
    systems.sort_unstable();
    systems.dedup();
    systems.into()
}

/// Whether a pod refers to a system of the configuration.
fn refers_to(rule: &ConsumerRule, annotations: &Annotations, spec: &PodSpec) -> bool {
    let variables = || containers(spec).flat_map(|container| &container.env);
    rule.annotations.iter().any(|key| annotations.enables(key))
        || rule
            .variables
            .iter()
            .any(|name| variables().any(|variable| variable.name.0 == *name))
}

/// Whether a pod mentions `ca.crt` or `namespace` where admission mounts them.
pub(super) fn reads_files(spec: &PodSpec) -> bool {
    containers(spec)
        .flat_map(words)
        .any(|word| word.0.reads_files)
}
