//! The slim types that objects are parsed into: only the fields that are read, `null` taken as
//! absent everywhere, as the API server takes it.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Visitor};

use super::consumers::of_variable;

/// Reads `null` as the default value.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Declares slim types: every field may be absent or `null`.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub struct $name {
                $(
                    $(#[$field_doc])*
                    #[serde(default, deserialize_with = "lenient")]
                    pub $field: $type,
                )*
            }
        )*
    };
}

wire! {
    /// `metadata`.
    Metadata {
        /// `name`.
        name: String,
        /// `generateName`.
        generate_name: String,
        /// `namespace`; empty when cluster-scoped or left out.
        namespace: String,
        /// `uid`, which only the API server assigns.
        uid: String,
        /// `resourceVersion`.
        resource_version: String,
        /// `deletionTimestamp`.
        deletion_timestamp: Option<String>,
        /// `ownerReferences`.
        owner_references: Vec<OwnerReference>,
        /// The labels that are read.
        labels: Labels,
        /// The annotations that are read.
        annotations: Annotations,
    }

    /// One owner reference.
    OwnerReference {
        /// `kind`.
        kind: String,
        /// `name`.
        name: String,
        /// `uid`.
        uid: String,
        /// `controller`.
        controller: bool,
    }

    /// The labels that tell a pod's owner's owner.
    Labels {
        /// What a Deployment appends to the names of its ReplicaSets.
        #[serde(rename = "pod-template-hash")]
        pod_template_hash: String,
        /// What an Argo Rollout appends to the names of its ReplicaSets.
        #[serde(rename = "rollouts-pod-template-hash")]
        rollouts_pod_template_hash: String,
    }

    /// The annotations that are read.
    Annotations {
        /// Present on the mirror of a static pod, with any value.
        #[serde(rename = "kubernetes.io/config.mirror")]
        mirror: Option<String>,
        /// Vault's injector adds an agent.
        #[serde(rename = "vault.hashicorp.com/agent-inject")]
        vault_agent_inject: Option<String>,
        /// Consul's injector adds a sidecar.
        #[serde(rename = "consul.hashicorp.com/connect-inject")]
        consul_connect_inject: Option<String>,
        /// Bank-Vaults' webhook adds its client.
        #[serde(rename = "vault.security.bank-vaults.io/vault-addr")]
        bank_vaults_address: Option<String>,
        /// The same before the project changed its name.
        #[serde(rename = "vault.security.banzaicloud.io/vault-addr")]
        bank_vaults_address_old: Option<String>,
    }

    /// A Pod.
    Pod {
        /// `metadata`.
        metadata: Metadata,
        /// `spec`.
        spec: PodSpec,
    }

    /// A pod spec, of a pod or of a template.
    PodSpec {
        /// `serviceAccountName`.
        service_account_name: String,
        /// `serviceAccount`, deprecated: read where the other is empty.
        service_account: String,
        /// `automountServiceAccountToken`.
        automount_service_account_token: Option<bool>,
        /// `volumes`.
        volumes: Vec<Volume>,
        /// `initContainers`.
        init_containers: Vec<Container>,
        /// `containers`.
        containers: Vec<Container>,
        /// `ephemeralContainers`.
        ephemeral_containers: Vec<Container>,
    }

    /// A volume.
    Volume {
        /// `name`.
        name: String,
        /// `projected`.
        projected: Option<Projected>,
        /// `secret`.
        secret: Option<SecretVolume>,
    }

    /// A Secret as a volume.
    SecretVolume {
        /// `secretName`.
        secret_name: String,
        /// `items`.
        items: Vec<KeyToPath>,
    }

    /// A Secret as a source of a projected volume.
    SecretProjection {
        /// `name`.
        name: String,
        /// `items`.
        items: Vec<KeyToPath>,
    }

    /// Which file a key becomes.
    KeyToPath {
        /// `key`.
        key: String,
        /// `path`.
        path: String,
    }

    /// A projected volume.
    Projected {
        /// `sources`.
        sources: Vec<Projection>,
    }

    /// One source of a projected volume.
    Projection {
        /// `serviceAccountToken`.
        service_account_token: Option<TokenProjection>,
        /// `secret`.
        secret: Option<SecretProjection>,
    }

    /// A projected token.
    TokenProjection {
        /// `audience`.
        audience: String,
        /// `expirationSeconds`.
        expiration_seconds: Option<i64>,
        /// `path`.
        path: String,
    }

    /// A container.
    Container {
        /// `name`.
        name: String,
        /// `volumeMounts`.
        volume_mounts: Vec<VolumeMount>,
        /// `env`.
        env: Vec<Variable>,
        /// `envFrom`.
        env_from: Vec<VariableSource>,
    }

    /// A source of many environment variables.
    VariableSource {
        /// `secretRef`.
        secret_ref: Option<SecretReference>,
    }

    /// A Secret, or one key of it.
    SecretReference {
        /// `name`.
        name: String,
        /// `key`.
        key: String,
    }

    /// Where the value of an environment variable comes from.
    ValueFrom {
        /// `secretKeyRef`.
        secret_key_ref: Option<SecretReference>,
    }

    /// An environment variable.
    Variable {
        /// `name`, where it tells something.
        name: VariableName,
        /// `valueFrom`.
        value_from: Option<ValueFrom>,
    }

    /// A mount.
    VolumeMount {
        /// `name` of the volume.
        name: String,
        /// `mountPath`.
        mount_path: String,
        /// `subPath`.
        sub_path: String,
        /// `subPathExpr`.
        sub_path_expr: String,
    }

    /// An object that embeds a pod template in one of the usual places.
    Templated {
        /// `metadata`.
        metadata: Metadata,
        /// `spec`.
        spec: Option<TemplatedSpec>,
        /// `template` of a PodTemplate.
        template: Option<PodTemplateSpec>,
    }

    /// A spec that embeds a pod template.
    TemplatedSpec {
        /// `template`.
        template: Option<PodTemplateSpec>,
        /// `jobTemplate` of a CronJob.
        job_template: Option<JobTemplate>,
    }

    /// `jobTemplate` of a CronJob.
    JobTemplate {
        /// `spec`.
        spec: JobSpec,
    }

    /// The spec of a Job.
    JobSpec {
        /// `template`.
        template: Option<PodTemplateSpec>,
    }

    /// A pod template.
    PodTemplateSpec {
        /// `metadata`.
        metadata: Metadata,
        /// `spec`.
        spec: Option<PodSpec>,
    }

    /// A ServiceAccount.
    ServiceAccount {
        /// `metadata`.
        metadata: Metadata,
        /// `secrets`.
        secrets: Vec<SecretReference>,
        /// `automountServiceAccountToken`.
        automount_service_account_token: Option<bool>,
    }

    /// A Namespace.
    Namespace {
        /// `metadata`.
        metadata: Metadata,
    }

    /// A Role or ClusterRole.
    Role {
        /// `metadata`.
        metadata: Metadata,
        /// `rules`.
        rules: Vec<PolicyRule>,
    }

    /// One rule of a role.
    PolicyRule {
        /// `verbs`.
        verbs: Vec<Box<str>>,
        /// `apiGroups`.
        api_groups: Vec<Box<str>>,
        /// `resources`.
        resources: Vec<Box<str>>,
        /// `resourceNames`.
        resource_names: Vec<Box<str>>,
        /// `nonResourceURLs`.
        #[serde(rename = "nonResourceURLs")]
        non_resource_urls: Vec<Box<str>>,
    }

    /// A RoleBinding or ClusterRoleBinding.
    Binding {
        /// `metadata`.
        metadata: Metadata,
        /// `roleRef`.
        role_ref: RoleRef,
        /// `subjects`.
        subjects: Vec<Subject>,
    }

    /// `roleRef`.
    RoleRef {
        /// `kind`.
        kind: String,
        /// `name`.
        name: String,
    }

    /// One subject of a binding.
    Subject {
        /// `kind`.
        kind: String,
        /// `name`.
        name: String,
        /// `namespace`.
        namespace: String,
    }
}

/// The name of an environment variable, kept only as the system that its presence tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VariableName(pub Option<&'static str>);

impl<'de> Deserialize<'de> for VariableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = VariableName;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E>(self, name: &str) -> Result<VariableName, E> {
                Ok(VariableName(of_variable(name)))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl Templated {
    /// The metadata and the spec of the pod template that it embeds; one without containers is
    /// something else by the same name.
    #[must_use]
    pub fn template(&self) -> Option<(&Metadata, &PodSpec)> {
        let spec = self.spec.as_ref();
        let of_job = || spec?.job_template.as_ref()?.spec.template.as_ref();
        let template = self
            .template
            .as_ref()
            .or_else(|| spec?.template.as_ref())
            .or_else(of_job)?;
        let spec = template.spec.as_ref()?;
        (!spec.containers.is_empty()).then_some((&template.metadata, spec))
    }
}
