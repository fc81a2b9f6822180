//! Pods, and the objects that embed a pod template.

use serde::Deserialize;

use super::{Metadata, VariableName, Word, lenient};

wire! {
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
        /// `hostPID`.
        #[serde(rename = "hostPID")]
        host_pid: bool,
        /// `shareProcessNamespace`.
        share_process_namespace: bool,
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
        /// `configMap`.
        config_map: Option<ConfigMapProjection>,
        /// `csi`.
        csi: Option<CsiVolume>,
        /// `hostPath`.
        host_path: Option<HostPath>,
    }

    /// A volume that a CSI driver provides.
    CsiVolume {
        /// `driver`.
        driver: String,
    }

    /// A directory or file of the node.
    HostPath {
        /// `path`.
        path: String,
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
        /// `podCertificate`.
        pod_certificate: Option<PodCertificate>,
        /// `configMap`.
        config_map: Option<ConfigMapProjection>,
        /// `downwardAPI`.
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardApi>,
    }

    /// A ConfigMap as a volume, or as a source of one.
    ConfigMapProjection {
        /// `name`.
        name: String,
        /// `items`.
        items: Vec<KeyToPath>,
    }

    /// Fields of the pod as files.
    DownwardApi {
    }

    /// A projected certificate.
    PodCertificate {
        /// `signerName`.
        signer_name: String,
        /// `maxExpirationSeconds`.
        max_expiration_seconds: Option<i64>,
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
        /// `command`.
        command: Vec<Word>,
        /// `args`.
        args: Vec<Word>,
        /// `securityContext`.
        security_context: SecurityContext,
        /// `livenessProbe`.
        liveness_probe: Handler,
        /// `readinessProbe`.
        readiness_probe: Handler,
        /// `startupProbe`.
        startup_probe: Handler,
        /// `lifecycle`.
        lifecycle: Lifecycle,
    }

    /// The hooks of a container.
    Lifecycle {
        /// `postStart`.
        post_start: Handler,
        /// `preStop`.
        pre_stop: Handler,
    }

    /// A probe or a hook.
    Handler {
        /// `exec`.
        exec: Exec,
    }

    /// A command that a probe or a hook runs in the container.
    Exec {
        /// `command`.
        command: Vec<Word>,
    }

    /// The `securityContext` of a container.
    SecurityContext {
        /// `privileged`.
        privileged: bool,
    }

    /// A source of many environment variables.
    VariableSource {
        /// `prefix` of the names of the variables.
        prefix: String,
        /// `configMapRef`.
        config_map_ref: Option<SecretReference>,
        /// `secretRef`.
        secret_ref: Option<SecretReference>,
    }

    /// A Secret or ConfigMap, or one key of it.
    SecretReference {
        /// `name`.
        name: String,
        /// `key`.
        key: String,
    }

    /// Where the value of an environment variable comes from.
    ValueFrom {
        /// `configMapKeyRef`.
        config_map_key_ref: Option<SecretReference>,
        /// `secretKeyRef`.
        secret_key_ref: Option<SecretReference>,
    }

    /// An environment variable.
    Variable {
        /// `name`.
        name: VariableName,
        /// `value`.
        value: Word,
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
}

impl Templated {
    /// The metadata and the spec of the pod template that it embeds; one without containers is
    /// something else with the same name.
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
