//! Kubernetes' own protobuf messages are the oracle: random objects, encoded as protobuf and as JSON, are the same facts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, fmt::Debug};

use k8s_pb::{
    api::{core::v1 as core, rbac::v1 as rbac},
    apimachinery::pkg::apis::meta::v1 as meta,
};
use proptest::prelude::*;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{
    facts::{ConfigMaps, Kind, Namespaces, Pods, RoleBindings, Roles, ServiceAccounts, Wire},
    model::Config,
};

/// Which fields a type declares, those of the types of its fields included, and which of them an object has.
pub(crate) trait Declared {
    fn declared(_into: &mut BTreeSet<&'static str>) {}
    fn found(&self, _into: &mut BTreeSet<&'static str>) {}
}

macro_rules! leaves {
    ($($type:ty),*) => { $(impl Declared for $type {})* };
}
leaves!(
    String,
    Box<str>,
    bool,
    i64,
    Labels,
    Annotations,
    Texts,
    Time,
    Word,
    VariableName,
    PodPhase
);

impl<T: Declared> Declared for Vec<T> {
    fn declared(into: &mut BTreeSet<&'static str>) {
        T::declared(into);
    }

    fn found(&self, into: &mut BTreeSet<&'static str>) {
        for item in self {
            item.found(into);
        }
    }
}

impl<T: Declared> Declared for Box<T> {
    fn declared(into: &mut BTreeSet<&'static str>) {
        T::declared(into);
    }

    fn found(&self, into: &mut BTreeSet<&'static str>) {
        (**self).found(into);
    }
}

impl<T: Declared> Declared for Option<T> {
    fn declared(into: &mut BTreeSet<&'static str>) {
        T::declared(into);
    }

    fn found(&self, into: &mut BTreeSet<&'static str>) {
        if let Some(item) = self {
            item.found(into);
        }
    }
}

/// Random values, as protobuf and as JSON.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn text(&mut self) -> (Option<String>, Value) {
        let texts = [
            "",
            "a",
            "token",
            "ServiceAccount",
            "kube-root-ca.crt",
            "/var/run",
            "ä€𝄞",
        ];
        let text = match self.below(9) {
            7 => return (None, Value::Null),
            8 => "long ".repeat(100),
            n => texts[usize::try_from(n).unwrap()].to_owned(),
        };
        (Some(text.clone()), text.into())
    }

    fn flag(&mut self) -> (Option<bool>, Value) {
        match self.below(3) {
            0 => (None, Value::Null),
            n => (Some(n == 1), (n == 1).into()),
        }
    }

    fn number(&mut self) -> (Option<i64>, Value) {
        match self.below(4) {
            0 => (None, Value::Null),
            1 => (Some(-1), (-1).into()),
            _ => (Some(3_607), 3_607.into()),
        }
    }

    fn time(&mut self) -> (Option<meta::Time>, Value) {
        if self.below(3) == 0 {
            return (None, Value::Null);
        }
        let seconds = i64::try_from(self.below(4_000_000_000)).unwrap();
        let time = meta::Time {
            seconds: Some(seconds),
            // JSON has no fractions.
            nanos: Some(5),
        };
        let text = jiff::Timestamp::from_second(seconds).unwrap().to_string();
        (Some(time), text.into())
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> (T, Value)) -> (Vec<T>, Value) {
        let items = (0..self.below(3)).map(|_| item(self));
        let (items, json): (_, Vec<_>) = items.unzip();
        (items, json.into())
    }

    fn texts(&mut self) -> (Vec<String>, Value) {
        self.list(|random| {
            let text = random.text().0.unwrap_or_default();
            (text.clone(), text.into())
        })
    }

    fn option<T>(&mut self, value: fn(&mut Self) -> (T, Value)) -> (Option<T>, Value) {
        if self.below(4) == 0 {
            return (None, Value::Null);
        }
        let (value, json) = value(self);
        (Some(value), json)
    }

    fn map(&mut self) -> (std::collections::BTreeMap<String, String>, Value) {
        let keys = [
            "app",
            "kubernetes.io/config.mirror",
            "note",
            "vault.hashicorp.com/role",
        ];
        let map: std::collections::BTreeMap<_, _> = keys
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), self.text().0?)))
            .collect();
        let json = json!(map);
        (map, json)
    }
}

/// Defines functions for random messages: the fields of a message, with their names in JSON.
macro_rules! random {
    ($($name:ident: $type:ty { $($field:ident $json:literal = $value:expr),* $(,)? } $(+ { $($noise:ident: $noise_value:expr),* })?)*) => {
        $(#[allow(unused, reason = "no field of some messages is read")]
        fn $name(random: &mut Random) -> ($type, Value) {
            type Message = $type;
            let mut json = serde_json::Map::new();
            $(let $field = {
                let make: fn(&mut Random) -> _ = $value;
                let (value, part): (_, Value) = make(random);
                // Fields of a message that JSON inlines.
                match part {
                    Value::Object(part) if $json.is_empty() => json.extend(part),
                    part if $json.is_empty() => assert!(part.is_null()),
                    part => drop(json.insert($json.to_owned(), part)),
                }
                value
            };)*
            #[allow(clippy::needless_update, reason = "some messages have all their fields")]
            let message = Message { $($field,)* $($($noise: $noise_value,)*)? ..Message::default() };
            (message, json.into())
        })*
    };
}

random! {
    owner: meta::OwnerReference {
        api_version "apiVersion" = Random::text, kind "kind" = Random::text, name "name" = Random::text,
        uid "uid" = Random::text, controller "controller" = Random::flag,
    } + { block_owner_deletion: Some(true) }
    metadata: meta::ObjectMeta {
        name "name" = Random::text, generate_name "generateName" = Random::text, namespace "namespace" = Random::text,
        uid "uid" = Random::text, resource_version "resourceVersion" = Random::text,
        creation_timestamp "creationTimestamp" = Random::time, deletion_timestamp "deletionTimestamp" = Random::time,
        labels "labels" = Random::map, annotations "annotations" = Random::map,
        owner_references "ownerReferences" = |random| random.list(owner),
    } + {
        generation: Some(7), self_link: Some("/".to_owned()), finalizers: vec!["f".to_owned()],
        managed_fields: vec![meta::ManagedFieldsEntry { manager: Some("m".repeat(300)), ..Default::default() }]
    }
    namespace: core::Namespace { metadata "metadata" = |random| random.option(metadata) }
    object_reference: core::ObjectReference { name "name" = Random::text } + { kind: Some("Secret".to_owned()) }
    service_account: core::ServiceAccount {
        metadata "metadata" = |random| random.option(metadata), secrets "secrets" = |random| random.list(object_reference),
        automount_service_account_token "automountServiceAccountToken" = Random::flag,
    }
    config_map: core::ConfigMap {
        metadata "metadata" = |random| random.option(metadata), data "data" = Random::map,
    } + { immutable: Some(true), binary_data: [("b".to_owned(), vec![0xff])].into() }
    rule: rbac::PolicyRule {
        verbs "verbs" = Random::texts, api_groups "apiGroups" = Random::texts, resources "resources" = Random::texts,
        resource_names "resourceNames" = Random::texts, non_resource_ur_ls "nonResourceURLs" = Random::texts,
    }
    role: rbac::ClusterRole {
        metadata "metadata" = |random| random.option(metadata), rules "rules" = |random| random.list(rule),
    } + { aggregation_rule: Some(rbac::AggregationRule::default()) }
    subject: rbac::Subject {
        kind "kind" = Random::text, api_group "apiGroup" = Random::text, name "name" = Random::text,
        namespace "namespace" = Random::text,
    }
    role_ref: rbac::RoleRef { kind "kind" = Random::text, api_group "apiGroup" = Random::text, name "name" = Random::text }
    binding: rbac::RoleBinding {
        metadata "metadata" = |random| random.option(metadata), subjects "subjects" = |random| random.list(subject),
        role_ref "roleRef" = |random| random.option(role_ref),
    }
    reference: core::LocalObjectReference { name "name" = Random::text }
    key_to_path: core::KeyToPath { key "key" = Random::text, path "path" = Random::text } + { mode: Some(420) }
    secret_volume: core::SecretVolumeSource {
        secret_name "secretName" = Random::text, items "items" = |random| random.list(key_to_path),
    } + { default_mode: Some(420), optional: Some(true) }
    config_map_volume: core::ConfigMapVolumeSource {
        local_object_reference "" = |random| random.option(reference), items "items" = |random| random.list(key_to_path),
    } + { default_mode: Some(420), optional: Some(true) }
    secret_projection: core::SecretProjection {
        local_object_reference "" = |random| random.option(reference), items "items" = |random| random.list(key_to_path),
    } + { optional: Some(false) }
    config_map_projection: core::ConfigMapProjection {
        local_object_reference "" = |random| random.option(reference), items "items" = |random| random.list(key_to_path),
    } + { optional: Some(false) }
    token: core::ServiceAccountTokenProjection {
        audience "audience" = Random::text, expiration_seconds "expirationSeconds" = Random::number, path "path" = Random::text,
    }
    certificate: core::PodCertificateProjection {
        signer_name "signerName" = Random::text,
        max_expiration_seconds "maxExpirationSeconds" = |random| {
            let (number, json) = random.number();
            (number.map(|number| i32::try_from(number).unwrap()), json)
        },
    } + { key_type: Some("RSA".to_owned()) }
    downward: core::DownwardAPIProjection {} + { items: vec![core::DownwardAPIVolumeFile::default()] }
    projection: core::VolumeProjection {
        secret "secret" = |random| random.option(secret_projection),
        downward_api "downwardAPI" = |random| random.option(downward),
        config_map "configMap" = |random| random.option(config_map_projection),
        service_account_token "serviceAccountToken" = |random| random.option(token),
        pod_certificate "podCertificate" = |random| random.option(certificate),
    }
    projected: core::ProjectedVolumeSource { sources "sources" = |random| random.list(projection) } + { default_mode: Some(420) }
    csi: core::CSIVolumeSource { driver "driver" = Random::text } + { read_only: Some(true) }
    host_path: core::HostPathVolumeSource { path "path" = Random::text } + { r#type: Some("Directory".to_owned()) }
    volume_source: core::VolumeSource {
        host_path "hostPath" = |random| random.option(host_path), secret "secret" = |random| random.option(secret_volume),
        config_map "configMap" = |random| random.option(config_map_volume),
        projected "projected" = |random| random.option(projected), csi "csi" = |random| random.option(csi),
    } + { empty_dir: Some(core::EmptyDirVolumeSource::default()) }
    volume: core::Volume { name "name" = Random::text, volume_source "" = |random| random.option(volume_source) }
    secret_key: core::SecretKeySelector {
        local_object_reference "" = |random| random.option(reference), key "key" = Random::text,
    } + { optional: Some(true) }
    config_map_key: core::ConfigMapKeySelector {
        local_object_reference "" = |random| random.option(reference), key "key" = Random::text,
    } + { optional: Some(true) }
    value_from: core::EnvVarSource {
        config_map_key_ref "configMapKeyRef" = |random| random.option(config_map_key),
        secret_key_ref "secretKeyRef" = |random| random.option(secret_key),
    } + { field_ref: Some(core::ObjectFieldSelector::default()) }
    variable: core::EnvVar {
        name "name" = Random::text, value "value" = Random::text, value_from "valueFrom" = |random| random.option(value_from),
    }
    config_map_source: core::ConfigMapEnvSource {
        local_object_reference "" = |random| random.option(reference),
    } + { optional: Some(true) }
    secret_source: core::SecretEnvSource {
        local_object_reference "" = |random| random.option(reference),
    } + { optional: Some(true) }
    variables: core::EnvFromSource {
        prefix "prefix" = Random::text, config_map_ref "configMapRef" = |random| random.option(config_map_source),
        secret_ref "secretRef" = |random| random.option(secret_source),
    }
    mount: core::VolumeMount {
        name "name" = Random::text, mount_path "mountPath" = Random::text, sub_path "subPath" = Random::text,
        sub_path_expr "subPathExpr" = Random::text,
    } + { read_only: Some(true), mount_propagation: Some("None".to_owned()), recursive_read_only: Some("Disabled".to_owned()) }
    exec: core::ExecAction { command "command" = Random::texts }
    handler: core::ProbeHandler { exec "exec" = |random| random.option(exec) } + { http_get: Some(core::HttpGetAction::default()) }
    probe: core::Probe { handler "" = |random| random.option(handler) } + { period_seconds: Some(10) }
    hook: core::LifecycleHandler { exec "exec" = |random| random.option(exec) } + { sleep: Some(core::SleepAction::default()) }
    lifecycle: core::Lifecycle {
        post_start "postStart" = |random| random.option(hook), pre_stop "preStop" = |random| random.option(hook),
    }
    security_context: core::SecurityContext { privileged "privileged" = Random::flag } + { run_as_user: Some(0), run_as_non_root: Some(false) }
    container: core::Container {
        name "name" = Random::text, command "command" = Random::texts, args "args" = Random::texts,
        env_from "envFrom" = |random| random.list(variables), env "env" = |random| random.list(variable),
        volume_mounts "volumeMounts" = |random| random.list(mount),
        liveness_probe "livenessProbe" = |random| random.option(probe),
        readiness_probe "readinessProbe" = |random| random.option(probe),
        startup_probe "startupProbe" = |random| random.option(probe),
        lifecycle "lifecycle" = |random| random.option(lifecycle),
        security_context "securityContext" = |random| random.option(security_context),
    } + { image: Some("image".to_owned()), stdin: Some(true), ports: vec![core::ContainerPort::default()] }
    common: core::EphemeralContainerCommon {
        name "name" = Random::text, command "command" = Random::texts, args "args" = Random::texts,
        env "env" = |random| random.list(variable), volume_mounts "volumeMounts" = |random| random.list(mount),
        security_context "securityContext" = |random| random.option(security_context),
    } + { image: Some("image".to_owned()) }
    ephemeral: core::EphemeralContainer {
        ephemeral_container_common "" = |random| { let (common, json) = common(random); (Some(common), json) },
    } + { target_container_name: Some("c".to_owned()) }
    pod_spec: core::PodSpec {
        service_account_name "serviceAccountName" = Random::text, service_account "serviceAccount" = Random::text,
        automount_service_account_token "automountServiceAccountToken" = Random::flag, host_pid "hostPID" = Random::flag,
        share_process_namespace "shareProcessNamespace" = Random::flag, volumes "volumes" = |random| random.list(volume),
        init_containers "initContainers" = |random| random.list(container),
        containers "containers" = |random| random.list(container),
        ephemeral_containers "ephemeralContainers" = |random| random.list(ephemeral),
    } + { host_network: Some(true), host_ipc: Some(true), node_name: Some("node".to_owned()), priority: Some(-1) }
    running: core::ContainerStateRunning { started_at "startedAt" = Random::time }
    terminated: core::ContainerStateTerminated { finished_at "finishedAt" = Random::time } + { exit_code: Some(1), reason: Some("Error".to_owned()) }
    state: core::ContainerState {
        running "running" = |random| random.option(running),
        terminated "terminated" = |random| random.option(terminated),
    } + { waiting: Some(core::ContainerStateWaiting::default()) }
    container_status: core::ContainerStatus {
        state "state" = |random| random.option(state),
        restart_count "restartCount" = |random| {
            let (number, json) = random.number();
            (number.map(|number| i32::try_from(number).unwrap()), json)
        },
    } + { name: Some("c".to_owned()), ready: Some(true), image: Some("image".to_owned()) }
    condition: core::PodCondition {} + { r#type: Some("Ready".to_owned()) }
    pod_status: core::PodStatus {
        phase "phase" = |random| {
            let phases = ["Running", "Succeeded", "Pending", ""];
            let phase = phases[usize::try_from(random.below(4)).unwrap()];
            (Some(phase.to_owned()), phase.into())
        },
        conditions "conditions" = |random| random.list(condition),
        start_time "startTime" = Random::time,
        container_statuses "containerStatuses" = |random| random.list(container_status),
        init_container_statuses "initContainerStatuses" = |random| random.list(container_status),
    } + { message: Some("m".to_owned()), pod_ip: Some("10.0.0.1".to_owned()) }
    pod: core::Pod {
        metadata "metadata" = |random| random.option(metadata), spec "spec" = |random| random.option(pod_spec),
        status "status" = |random| random.option(pod_status),
    }
    list_metadata: meta::ListMeta {
        resource_version "resourceVersion" = Random::text, r#continue "continue" = Random::text,
        remaining_item_count "remainingItemCount" = Random::number,
    } + { self_link: Some("/".to_owned()) }
    status: meta::Status {
        message "message" = Random::text, reason "reason" = Random::text,
        code "code" = |random| { let code = i32::try_from(random.below(600)).unwrap(); (Some(code), code.into()) },
    } + { status: Some("Failure".to_owned()), details: Some(meta::StatusDetails::default()) }
}

/// What is read of a message as protobuf and as JSON is the same; notes which fields it had.
fn same<T>((message, json): (impl Message, Value), found: &mut BTreeSet<&'static str>) -> T
where
    T: Proto + Declared + DeserializeOwned + Debug,
{
    let bytes = message.encode_to_vec();
    let from_protobuf: Box<T> = decode(&bytes).unwrap();
    let from_json: T = serde_json::from_value(json).unwrap();
    assert_eq!(format!("{from_protobuf:?}"), format!("{from_json:?}"));
    from_protobuf.found(found);
    *from_protobuf
}

#[test]
fn every_field_is_read_from_protobuf_as_from_json() {
    let (mut random, mut found) = (Random(0x9e37_79b9_7f4a_7c15), BTreeSet::new());
    for _ in 0..3_000 {
        same::<Pod>(pod(&mut random), &mut found);
        same::<Namespace>(namespace(&mut random), &mut found);
        same::<ServiceAccount>(service_account(&mut random), &mut found);
        same::<ConfigMap>(config_map(&mut random), &mut found);
        same::<Role>(role(&mut random), &mut found);
        same::<Binding>(binding(&mut random), &mut found);
        same::<ListMetadata>(list_metadata(&mut random), &mut found);
        same::<Status>(status(&mut random), &mut found);
    }
    let mut declared = BTreeSet::new();
    Pod::declared(&mut declared);
    Namespace::declared(&mut declared);
    ServiceAccount::declared(&mut declared);
    ConfigMap::declared(&mut declared);
    Role::declared(&mut declared);
    Binding::declared(&mut declared);
    ListMetadata::declared(&mut declared);
    Status::declared(&mut declared);
    assert!(declared.len() > 90, "{declared:?}");
    assert_eq!(found, declared);
}

/// Facts of whatever bytes say; nothing may panic.
fn read<K: Kind>(bytes: &[u8]) {
    if let Ok(wire) = (K::Wire::DECODE.unwrap())(bytes) {
        let _ = K::facts(&wire, &Config::default());
        let _ = (K::key(&wire), wire.rejected());
    }
}

fn read_all(bytes: &[u8]) {
    read::<Pods>(bytes);
    read::<ServiceAccounts>(bytes);
    read::<Namespaces>(bytes);
    read::<Roles>(bytes);
    read::<RoleBindings>(bytes);
    read::<ConfigMaps>(bytes);
    let _ = decode::<Status>(bytes);
}

proptest! {
    #[test]
    fn random_bytes_are_an_error_or_facts(bytes: Vec<u8>) {
        read_all(&bytes);
    }

    #[test]
    fn changed_bytes_are_an_error_or_facts(seed in 1_u64.., changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), end: prop::sample::Index) {
        let mut bytes = pod(&mut Random(seed)).0.encode_to_vec();
        if !bytes.is_empty() {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            read_all(&bytes);
            bytes.truncate(end.index(bytes.len()));
            read_all(&bytes);
        }
    }
}

#[test]
fn wrong_types_and_deep_groups_are_errors() {
    // `metadata` is a number.
    assert_eq!(decode::<Pod>(&[0x08, 0x01]).unwrap_err(), Malformed);
    // A length beyond the end, a number without an end, the end of a group that never began.
    for bytes in [&[0x0a, 0x05, 0x0a][..], &[0xff; 11], &[0x0c]] {
        assert_eq!(decode::<Pod>(bytes).unwrap_err(), Malformed);
    }
    // A group in a group, and so on.
    assert_eq!(
        decode::<Pod>(&vec![0x7b; 1_000_000]).unwrap_err(),
        Malformed
    );
    // Unknown fields of every type: a number, 8 bytes, a text, a group, 4 bytes.
    let unknown = [
        0x78, 0x01, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7a, 0x01, 0x41, 0x7b, 0x7c, 0x7d, 0, 0, 0, 0,
    ];
    assert_eq!(
        format!("{:?}", decode::<Pod>(&unknown).unwrap()),
        format!("{:?}", Pod::default())
    );
}
