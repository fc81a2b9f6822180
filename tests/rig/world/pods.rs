//! The pods of a world: what a Deployment's pod has after admission, with its status, of 7.6 KB.

use std::fmt::Write;

use k8s_pb::{
    api::core::v1::{
        Capabilities, ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerPort,
        ContainerState, ContainerStateRunning, ContainerStatus, DownwardAPIProjection,
        DownwardAPIVolumeFile, EnvVar, EnvVarSource, HttpGetAction, KeyToPath,
        LocalObjectReference, ObjectFieldSelector, Pod, PodCondition, PodSpec, PodStatus, Probe,
        ProbeHandler, ProjectedVolumeSource, ResourceRequirements, SecretKeySelector,
        SecurityContext, ServiceAccountTokenProjection, Toleration, Volume, VolumeMount,
        VolumeProjection, VolumeSource,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};

use super::{
    World,
    rbac::{created, managed, metadata, text},
};

/// The name of the injected volume.
const INJECTED: &str = "kube-api-access-x7k2p";
const DIGEST: &str = "sha256:4f1f7c4a9d1f2b0c3a5e6d7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3";
/// How many environment variables a container has.
const VARIABLES: usize = 24;

/// The service that the nth pod belongs to: one for each account.
fn service(world: World, n: usize) -> String {
    format!("service-{}", n % world.accounts)
}

fn name(world: World, n: usize) -> String {
    format!("{}-7c9d8b6f5d-{n:06x}", service(world, n))
}

/// Where the nth pod is in etcd.
pub(super) fn key(world: World, n: usize) -> String {
    let namespace = world.namespace(n % world.accounts);
    format!("/registry/pods/{namespace}/{}", name(world, n))
}

/// The nth pod.
pub(super) fn pod(world: World, n: usize) -> Pod {
    let (service, account) = (service(world, n), world.account(n));
    let namespace = world.namespace(n % world.accounts);
    let labels = [
        ("app", &*service),
        ("app.kubernetes.io/name", &service),
        ("app.kubernetes.io/part-of", "platform"),
        ("pod-template-hash", "7c9d8b6f5d"),
    ];
    let annotations = [
        ("checksum/config", DIGEST),
        ("prometheus.io/scrape", "true"),
        ("prometheus.io/port", "9090"),
    ];
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let owner = OwnerReference {
        api_version: text("apps/v1"),
        kind: text("ReplicaSet"),
        name: Some(format!("{service}-7c9d8b6f5d")),
        uid: text("b1a2c3d4-0000-4000-8000-000000000001"),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Pod {
        metadata: Some(ObjectMeta {
            generate_name: Some(format!("{service}-7c9d8b6f5d-")),
            generation: Some(1),
            labels: map(&labels),
            annotations: map(&annotations),
            owner_references: vec![owner],
            managed_fields: vec![
                managed("kube-controller-manager", &managed_spec()),
                managed("kubelet", MANAGED_STATUS),
            ],
            ..metadata(7, n, &namespace, &name(world, n))
        }),
        spec: Some(PodSpec {
            volumes: vec![config_volume(), injected_volume()],
            containers: vec![container(n, &service)],
            restart_policy: text("Always"),
            termination_grace_period_seconds: Some(30),
            dns_policy: text("ClusterFirst"),
            service_account_name: text(&account),
            service_account: text(&account),
            node_name: Some(format!("node-{}", n % 5_000)),
            scheduler_name: text("default-scheduler"),
            tolerations: ["not-ready", "unreachable"].map(toleration).into(),
            priority: Some(0),
            enable_service_links: Some(true),
            preemption_policy: text("PreemptLowerPriority"),
            ..PodSpec::default()
        }),
        status: Some(status(&service)),
    }
}

fn toleration(taint: &str) -> Toleration {
    Toleration {
        key: Some(format!("node.kubernetes.io/{taint}")),
        operator: text("Exists"),
        effect: text("NoExecute"),
        toleration_seconds: Some(300),
        ..Toleration::default()
    }
}

fn reference(name: &str) -> Option<LocalObjectReference> {
    Some(LocalObjectReference { name: text(name) })
}

fn config_volume() -> Volume {
    Volume {
        name: text("config"),
        volume_source: Some(VolumeSource {
            config_map: Some(ConfigMapVolumeSource {
                local_object_reference: reference("app-config"),
                default_mode: Some(420),
                ..ConfigMapVolumeSource::default()
            }),
            ..VolumeSource::default()
        }),
    }
}

/// The volume that admission injects.
fn injected_volume() -> Volume {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: None,
            expiration_seconds: Some(3_607),
            path: text("token"),
        }),
        ..VolumeProjection::default()
    };
    let authority = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            local_object_reference: reference("kube-root-ca.crt"),
            items: vec![KeyToPath {
                key: text("ca.crt"),
                path: text("ca.crt"),
                mode: None,
            }],
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let namespace = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: vec![DownwardAPIVolumeFile {
                path: text("namespace"),
                field_ref: Some(ObjectFieldSelector {
                    api_version: text("v1"),
                    field_path: text("metadata.namespace"),
                }),
                ..DownwardAPIVolumeFile::default()
            }],
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: text(INJECTED),
        volume_source: Some(VolumeSource {
            projected: Some(ProjectedVolumeSource {
                sources: vec![token, authority, namespace],
                default_mode: Some(420),
            }),
            ..VolumeSource::default()
        }),
    }
}

fn variable(n: usize, number: usize) -> EnvVar {
    if number % 7 == 3 {
        let from = SecretKeySelector {
            local_object_reference: reference("db-credentials"),
            key: Some(format!("key{number}")),
            optional: None,
        };
        return EnvVar {
            name: Some(format!("SECRET_{number}")),
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(from),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        };
    }
    EnvVar {
        name: Some(format!("APP_SETTING_{number}")),
        value: Some(format!("value-{number}-for-app-{}", n % 97)),
        ..EnvVar::default()
    }
}

fn probe(path: &str) -> Option<Probe> {
    Some(Probe {
        handler: Some(ProbeHandler {
            http_get: Some(HttpGetAction {
                path: text(path),
                scheme: text("HTTP"),
                port: Some(IntOrString {
                    r#type: Some(0),
                    int_val: Some(8_080),
                    str_val: None,
                }),
                ..HttpGetAction::default()
            }),
            ..ProbeHandler::default()
        }),
        timeout_seconds: Some(1),
        period_seconds: Some(10),
        success_threshold: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    })
}

fn container(n: usize, service: &str) -> Container {
    let quantity = |text: &str| Quantity {
        string: Some(text.to_owned()),
    };
    let quantities = |cpu, memory| {
        [
            ("cpu".to_owned(), quantity(cpu)),
            ("memory".to_owned(), quantity(memory)),
        ]
        .into()
    };
    let mount = |name: &str, path: &str| VolumeMount {
        name: text(name),
        mount_path: text(path),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let port = |name: &str, number| ContainerPort {
        name: text(name),
        container_port: Some(number),
        protocol: text("TCP"),
        ..ContainerPort::default()
    };
    Container {
        name: text("app"),
        image: Some(format!(
            "registry.example.com/platform/{service}:v1.{}@{DIGEST}",
            n % 30
        )),
        args: ["--port=8080", "--log-level=info"]
            .map(str::to_owned)
            .into(),
        ports: vec![port("http", 8_080), port("metrics", 9_090)],
        env: (0..VARIABLES).map(|number| variable(n, number)).collect(),
        resources: Some(ResourceRequirements {
            limits: quantities("500m", "512Mi"),
            requests: quantities("100m", "128Mi"),
            ..ResourceRequirements::default()
        }),
        volume_mounts: vec![
            mount("config", "/etc/app"),
            mount(INJECTED, "/var/run/secrets/kubernetes.io/serviceaccount"),
        ],
        liveness_probe: probe("/healthz"),
        readiness_probe: probe("/readyz"),
        termination_message_path: text("/dev/termination-log"),
        termination_message_policy: text("File"),
        image_pull_policy: text("IfNotPresent"),
        security_context: Some(SecurityContext {
            capabilities: Some(Capabilities {
                drop: vec!["ALL".to_owned()],
                ..Capabilities::default()
            }),
            run_as_non_root: Some(true),
            read_only_root_filesystem: Some(true),
            allow_privilege_escalation: Some(false),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn status(service: &str) -> PodStatus {
    let condition = |kind: &str| PodCondition {
        r#type: text(kind),
        status: text("True"),
        last_transition_time: created(),
        ..PodCondition::default()
    };
    let conditions = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ];
    PodStatus {
        phase: text("Running"),
        conditions: conditions.map(condition).into(),
        host_ip: text("10.1.2.3"),
        pod_ip: text("10.0.0.1"),
        start_time: created(),
        container_statuses: vec![ContainerStatus {
            name: text("app"),
            state: Some(ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: created(),
                }),
                ..ContainerState::default()
            }),
            ready: Some(true),
            restart_count: Some(0),
            image: Some(format!("registry.example.com/platform/{service}:v1")),
            image_id: Some(format!("registry.example.com/platform/x@{DIGEST}")),
            container_id: Some(format!("containerd://{}", &DIGEST[7..])),
            started: Some(true),
            ..ContainerStatus::default()
        }],
        qos_class: text("Burstable"),
        ..PodStatus::default()
    }
}

/// What the controller manager manages of a pod.
fn managed_spec() -> String {
    let mut env = String::new();
    for number in 0..VARIABLES {
        write!(env, r#","k:{{\"name\":\"APP_SETTING_{number}\"}}":{{".":{{}},"f:name":{{}},"f:value":{{}}}}"#).unwrap();
    }
    [MANAGED_BEFORE, &env, MANAGED_AFTER].concat()
}

const MANAGED_BEFORE: &str = r#"{"f:metadata":{"f:annotations":{".":{},"f:checksum/config":{}},"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"b1a2c3d4-0000-4000-8000-000000000001\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:args":{},"f:env":{".":{}"#;
const MANAGED_AFTER: &str = r#"},"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{},"f:successThreshold":{},"f:timeoutSeconds":{}},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},"f:readinessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{}},"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{},"f:volumeMounts":{".":{},"k:{\"mountPath\":\"/etc/app\"}":{".":{},"f:mountPath":{},"f:name":{},"f:readOnly":{}}}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:serviceAccount":{},"f:serviceAccountName":{},"f:terminationGracePeriodSeconds":{},"f:volumes":{".":{},"k:{\"name\":\"config\"}":{".":{},"f:configMap":{".":{},"f:defaultMode":{},"f:name":{}},"f:name":{}}}}}"#;
/// What the kubelet manages of it.
const MANAGED_STATUS: &str = r#"{"f:status":{"f:conditions":{"k:{\"type\":\"PodReadyToStartContainers\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}"#;
