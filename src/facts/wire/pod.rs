//! Pods, and the objects that embed a pod template.

use serde::Deserialize;

use super::{Metadata, VariableName, Word, lenient};

wire! {
    /// A Pod.
    Pod {
        /// `metadata`.
        metadata: Metadata = 1,
        /// `spec`.
        spec: PodSpec = 2,
    }

    /// A pod spec, of a pod or of a template.
    PodSpec {
        /// `serviceAccountName`.
        service_account_name: String = 8,
        /// `serviceAccount`, deprecated: read where the other is empty.
        service_account: String = 9,
        /// `automountServiceAccountToken`.
        automount_service_account_token: Option<bool> = 21,
        /// `hostPID`.
        #[serde(rename = "hostPID")]
        host_pid: bool = 12,
        /// `shareProcessNamespace`.
        share_process_namespace: bool = 27,
        /// `volumes`.
        volumes: Vec<Volume> = 1,
        /// `initContainers`.
        init_containers: Vec<Container> = 20,
        /// `containers`.
        containers: Vec<Container> = 2,
        /// `ephemeralContainers`.
        ephemeral_containers: Vec<Container> = 34 / 1,
    }

    /// A volume.
    Volume {
        /// `name`.
        name: String = 1,
        /// `projected`.
        projected: Option<Projected> = 2 / 26,
        /// `secret`.
        secret: Option<SecretVolume> = 2 / 6,
        /// `configMap`.
        config_map: Option<ConfigMapProjection> = 2 / 19,
        /// `csi`.
        csi: Option<CsiVolume> = 2 / 28,
        /// `hostPath`.
        host_path: Option<HostPath> = 2 / 1,
    }

    /// A volume that a CSI driver provides.
    CsiVolume {
        /// `driver`.
        driver: String = 1,
    }

    /// A directory or file of the node.
    HostPath {
        /// `path`.
        path: String = 1,
    }

    /// A Secret as a volume.
    SecretVolume {
        /// `secretName`.
        secret_name: String = 1,
        /// `items`.
        items: Vec<KeyToPath> = 2,
    }

    /// A Secret as a source of a projected volume.
    SecretProjection {
        /// `name`.
        name: String = 1 / 1,
        /// `items`.
        items: Vec<KeyToPath> = 2,
    }

    /// Which file a key becomes.
    KeyToPath {
        /// `key`.
        key: String = 1,
        /// `path`.
        path: String = 2,
    }

    /// A projected volume.
    Projected {
        /// `sources`.
        sources: Vec<Projection> = 1,
    }

    /// One source of a projected volume.
    Projection {
        /// `serviceAccountToken`.
        service_account_token: Option<TokenProjection> = 4,
        /// `secret`.
        secret: Option<SecretProjection> = 1,
        /// `podCertificate`.
        pod_certificate: Option<PodCertificate> = 6,
        /// `configMap`.
        config_map: Option<ConfigMapProjection> = 3,
        /// `downwardAPI`.
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardApi> = 2,
    }

    /// A ConfigMap as a volume, or as a source of one.
    ConfigMapProjection {
        /// `name`.
        name: String = 1 / 1,
        /// `items`.
        items: Vec<KeyToPath> = 2,
    }

    /// Fields of the pod as files.
    DownwardApi {
    }

    /// A projected certificate.
    PodCertificate {
        /// `signerName`.
        signer_name: String = 1,
        /// `maxExpirationSeconds`.
        max_expiration_seconds: Option<i64> = 3,
    }

    /// A projected token.
    TokenProjection {
        /// `audience`.
        audience: String = 1,
        /// `expirationSeconds`.
        expiration_seconds: Option<i64> = 2,
        /// `path`.
        path: String = 3,
    }

    /// A container.
    Container {
        /// `name`.
        name: String = 1,
        /// `volumeMounts`.
        volume_mounts: Vec<VolumeMount> = 9,
        /// `env`.
        env: Vec<Variable> = 7,
        /// `envFrom`.
        env_from: Vec<VariableSource> = 19,
        /// `command`.
        command: Vec<Word> = 3,
        /// `args`.
        args: Vec<Word> = 4,
        /// `securityContext`.
        security_context: SecurityContext = 15,
        /// `livenessProbe`.
        liveness_probe: Probe = 10,
        /// `readinessProbe`.
        readiness_probe: Probe = 11,
        /// `startupProbe`.
        startup_probe: Probe = 22,
        /// `lifecycle`.
        lifecycle: Lifecycle = 12,
    }

    /// The hooks of a container.
    Lifecycle {
        /// `postStart`.
        post_start: Hook = 1,
        /// `preStop`.
        pre_stop: Hook = 2,
    }

    /// A probe.
    Probe {
        /// `exec`.
        exec: Exec = 1 / 1,
    }

    /// A hook.
    Hook {
        /// `exec`.
        exec: Exec = 1,
    }

    /// A command that a probe or a hook runs in the container.
    Exec {
        /// `command`.
        command: Vec<Word> = 1,
    }

    /// The `securityContext` of a container.
    SecurityContext {
        /// `privileged`.
        privileged: bool = 2,
    }

    /// A source of many environment variables.
    VariableSource {
        /// `prefix` of the names of the variables.
        prefix: String = 1,
        /// `configMapRef`.
        config_map_ref: Option<SourceReference> = 2,
        /// `secretRef`.
        secret_ref: Option<SourceReference> = 3,
    }

    /// A Secret or ConfigMap.
    SourceReference {
        /// `name`.
        name: String = 1 / 1,
    }

    /// One key of a Secret or ConfigMap.
    SecretReference {
        /// `name`.
        name: String = 1 / 1,
        /// `key`.
        key: String = 2,
    }

    /// Where the value of an environment variable comes from.
    ValueFrom {
        /// `configMapKeyRef`.
        config_map_key_ref: Option<SecretReference> = 3,
        /// `secretKeyRef`.
        secret_key_ref: Option<SecretReference> = 4,
    }

    /// An environment variable.
    Variable {
        /// `name`.
        name: VariableName = 1,
        /// `value`.
        value: Word = 2,
        /// `valueFrom`.
        value_from: Option<ValueFrom> = 3,
    }

    /// A mount.
    VolumeMount {
        /// `name` of the volume.
        name: String = 1,
        /// `mountPath`.
        mount_path: String = 3,
        /// `subPath`.
        sub_path: String = 4,
        /// `subPathExpr`.
        sub_path_expr: String = 6,
    }
}

wire! {
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
