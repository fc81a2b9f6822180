//! Pods, and the objects that embed a pod template.

use serde::Deserialize;

use super::{Container, Metadata, PodPhase, Time, lenient};
use crate::model::pod::Phase;

wire! {
    /// A Pod.
    Pod {
        /// `metadata`.
        metadata: Metadata = 1,
        /// `spec`.
        spec: PodSpec = 2,
        /// `status`.
        status: PodStatus = 3,
    }

    /// The status of a pod.
    PodStatus {
        /// `phase`.
        phase: PodPhase = 1,
        /// `conditions`, which the scheduler and the kubelet write.
        conditions: Vec<PodCondition> = 2,
        /// `startTime`: when the kubelet took it on.
        start_time: Time = 7,
        /// `containerStatuses`.
        container_statuses: Vec<ContainerStatus> = 8,
        /// `initContainerStatuses`.
        init_container_statuses: Vec<ContainerStatus> = 10,
    }

    /// A condition of a pod.
    PodCondition {
    }

    /// The status of a container.
    ContainerStatus {
        /// `state`.
        state: ContainerState = 2,
        /// `restartCount`.
        restart_count: i64 = 5,
    }

    /// The state of a container.
    ContainerState {
        /// `running`.
        running: Option<ContainerRunning> = 2,
        /// `terminated`.
        terminated: Option<ContainerTerminated> = 3,
    }

    /// A container that runs.
    ContainerRunning {
        /// `startedAt`.
        started_at: Time = 1,
    }

    /// A container that has ended.
    ContainerTerminated {
        /// `finishedAt`.
        finished_at: Time = 6,
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
    /// The metadata and the spec of the pod template that an object of this kind embeds: the API server drops one at
    /// another place. One without containers is something else with the same name.
    #[must_use]
    pub fn template(&self, kind: &str) -> Option<(&Metadata, &PodSpec)> {
        let spec = self.spec.as_ref();
        let template = match kind {
            "PodTemplate" => self.template.as_ref(),
            "CronJob" => spec?.job_template.as_ref()?.spec.template.as_ref(),
            _ => spec?.template.as_ref(),
        };
        let template = template?;
        let spec = template.spec.as_ref()?;
        (!spec.containers.is_empty()).then_some((&template.metadata, spec))
    }
}

impl PodStatus {
    /// The phase. An API server writes `Pending` into a new pod: that says something only once there is a condition. A
    /// pod is `Running` also while its containers crash: then it is not known whether it runs.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.0 {
            Phase::Pending if self.conditions.is_empty() => Phase::New,
            Phase::Running if !self.is_running() => Phase::Other,
            phase => phase,
        }
    }

    /// Whether each of its containers runs that has a status.
    fn is_running(&self) -> bool {
        let mut containers = self.container_statuses.iter();
        containers.all(|status| status.state.running.is_some())
    }

    /// When all of its containers had started, as a Unix timestamp; 0 if it is not known. Of one that was started again
    /// it is not known when it first was: after the init containers.
    #[must_use]
    pub fn started(&self) -> i64 {
        let own = self.container_statuses.iter();
        let own = own.filter(|status| status.restart_count == 0);
        let own = own.filter_map(|status| Some(status.state.running.as_ref()?.started_at.0));
        let init = self.init_container_statuses.iter();
        let init = init.filter_map(|status| {
            let ended = status.state.terminated.as_ref();
            let ended = ended.map(|ended| ended.finished_at.0);
            ended.or_else(|| Some(status.state.running.as_ref()?.started_at.0))
        });
        let last = own.chain(init).max();
        self.start_time.0.max(last.unwrap_or(0))
    }
}

impl PodSpec {
    /// All containers, init containers first.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        let lists = [
            &self.init_containers,
            &self.containers,
            &self.ephemeral_containers,
        ];
        lists.into_iter().flatten()
    }

    /// The volumes that a container mounts: the kubelet skips all others.
    pub fn mounted_volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| self.mounts(volume))
    }

    /// Whether a container mounts a volume.
    #[must_use]
    pub fn mounts(&self, volume: &Volume) -> bool {
        let mut containers = self.all_containers();
        containers.any(|container| {
            let mut mounts = container.volume_mounts.iter();
            mounts.any(|mount| mount.name == volume.name)
        })
    }
}
