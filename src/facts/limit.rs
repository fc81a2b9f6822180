//! How much is kept of an object: who may create one must not decide how much memory we need.

use std::sync::Arc;

use crate::model::{
    Name, PodFacts, Workload,
    pod::{Container, Delegation, HostAccess, RareFacts, SubPath, Volume},
};

/// How many bytes of texts are kept of a pod; typical are 300. A constant that users read about in
/// `deploy/sizing.md`.
pub const MAX_POD_BYTES: usize = 8 * 1024;
/// How many names of Secrets are kept of a ServiceAccount: Kubernetes and OpenShift give it two at most.
pub const MAX_SECRETS: usize = 8;
/// How many bytes these names have together.
pub(super) const MAX_SECRET_BYTES: usize = 1024;
/// How long a name may be in Kubernetes.
pub(super) const MAX_NAME: usize = 253;
/// What each entry of a list costs beside its texts.
const ENTRY: usize = 32;

/// The facts of a pod; only its account, its workload and its exemption, and the name of the largest field, if
/// the pod has more than is kept.
pub(super) fn limited(facts: PodFacts, pod: &str) -> PodFacts {
    let parts = parts(&facts);
    if parts.iter().map(|(_, bytes)| bytes).sum::<usize>() <= MAX_POD_BYTES {
        return facts;
    }
    let largest = parts.iter().max_by_key(|(_, bytes)| *bytes);
    let workload = &facts.workload;
    let is_name = |name: &str| name.len() <= MAX_NAME;
    let workload = if is_name(&workload.kind) && is_name(&workload.name) {
        facts.workload
    } else {
        Workload::new("Pod", &pod[..pod.floor_char_boundary(MAX_NAME)])
    };
    let account = facts.service_account;
    let rare = facts.rare.into_facts();
    PodFacts {
        // An account of a longer name cannot exist.
        service_account: account.map(|name| name[..name.floor_char_boundary(MAX_NAME)].into()),
        workload,
        origin: facts.origin,
        automount: facts.automount,
        consumers: Box::default(),
        configs: Arc::default(),
        reads_files: false,
        reads_service_ca: false,
        starts_client: false,
        shares_processes: false,
        volumes: Arc::default(),
        containers: Arc::default(),
        rare: RareFacts {
            template: rare.template,
            exemption: rare.exemption,
            exceeded: largest.map(|(field, _)| *field),
            ..RareFacts::default()
        }
        .into(),
    }
}

/// How many bytes each field needs.
fn parts(facts: &PodFacts) -> [(&'static str, usize); 5] {
    let account = facts.service_account.as_ref().map_or(0, Name::len);
    let owner = facts.workload.kind.len() + facts.workload.name.len();
    let labels = facts.rare.labels.iter();
    let labels = labels.map(|(key, value)| ENTRY + key.len() + value.len());
    let hosts = facts.rare.host_access.iter().map(|access| match access {
        HostAccess::Path(path) => ENTRY + path.len(),
        HostAccess::Processes | HostAccess::Privileged => ENTRY,
    });
    let delegations = facts
        .rare
        .delegations
        .iter()
        .map(|delegation| match delegation {
            Delegation::CsiDriver(name) | Delegation::PodCertificate { signer: name, .. } => {
                ENTRY + name.len()
            }
        });
    let consumers = facts.consumers.iter().chain(&facts.rare.refuses);
    let consumers = consumers.chain(&facts.rare.own_tokens);
    let consumers = consumers.chain(&facts.rare.before_removal);
    let consumers = consumers.map(|name| ENTRY + name.len());
    let configs = facts.configs.iter().map(|reference| {
        let texts = [&reference.key, &reference.variable];
        let texts = texts.into_iter().flatten().map(|text| text.len());
        ENTRY + reference.name.len() + texts.sum::<usize>()
    });
    let volumes = facts.volumes.iter().map(volume);
    [
        ("spec.serviceAccountName", account),
        ("metadata.ownerReferences", owner),
        ("metadata.labels", labels.sum()),
        (
            "spec.volumes",
            volumes
                .chain(hosts)
                .chain(delegations)
                .chain(consumers)
                .chain(configs)
                .sum(),
        ),
        (
            "spec.containers",
            facts.containers.iter().map(container).sum(),
        ),
    ]
}

fn volume(volume: &Volume) -> usize {
    let tokens = volume.tokens.iter();
    let tokens = tokens.map(|token| ENTRY + token.audience.len() + token.path.len());
    let secrets = volume.secrets.iter();
    let secrets = secrets.map(|secret| ENTRY + secret.secret.len() + secret.path.len());
    ENTRY + volume.name.len() + tokens.chain(secrets).sum::<usize>()
}

fn container(container: &Container) -> usize {
    let mounts = container.mounts.iter().map(|mount| {
        let sub_path = match &mount.sub_path {
            SubPath::Whole => 0,
            SubPath::Path(path) | SubPath::Expression(path) => path.len(),
        };
        ENTRY + mount.volume.len() + mount.path.len() + sub_path
    });
    let variables = container.variables.iter();
    let variables = variables.map(|variable| ENTRY + variable.secret.len());
    ENTRY + container.name.len() + mounts.chain(variables).sum::<usize>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        facts::{Kind, Pods},
        model::Config,
    };

    fn facts(pod: Value) -> PodFacts {
        let pod = serde_json::from_value(pod).unwrap();
        (*Pods::facts(&pod, &Config::default())).clone()
    }

    #[test]
    fn a_pod_with_more_than_is_kept_names_the_field() {
        let long = "x".repeat(60_000);
        let mount = json!({"name": "t", "mountPath": format!("/{long}")});
        let token = json!({"serviceAccountToken": {"path": "token", "audience": long}});
        let volumes = json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]);
        let owner = json!({"kind": long, "name": "o", "controller": true});
        let many: Vec<_> = (0..400)
            .map(|number| json!({"name": format!("c{number}"), "volumeMounts": [{"name": "t", "mountPath": "/t"}]}))
            .collect();
        let with_owner = json!({"name": "p", "ownerReferences": [owner]});
        for (field, metadata, spec) in [
            ("metadata.ownerReferences", with_owner, json!({})),
            (
                "spec.volumes",
                json!({"name": "p"}),
                json!({"volumes": [{"name": "t", "projected": {"sources": [token]}}]}),
            ),
            (
                "spec.containers",
                json!({"name": "p"}),
                json!({"volumes": volumes, "containers": [{"name": "c", "volumeMounts": [mount]}]}),
            ),
            (
                "spec.containers",
                json!({"name": "p"}),
                json!({"volumes": volumes, "containers": many}),
            ),
            (
                "spec.serviceAccountName",
                json!({"name": "p"}),
                json!({"serviceAccountName": long}),
            ),
        ] {
            let kept = facts(json!({"metadata": metadata, "spec": spec}));
            assert_eq!(kept.rare.exceeded, Some(field));
            assert_eq!(&*kept.workload.to_string(), "Pod/p");
            let bytes: usize = parts(&kept).iter().map(|(_, bytes)| bytes).sum();
            assert!(bytes < 600, "{field}: {bytes}");
        }
    }

    #[test]
    fn a_large_pod_that_people_run_is_kept() {
        let volumes = json!([{"name": "kube-api-access-x2z4q", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]);
        let containers: Vec<_> = (0..25)
            .map(|number| {
                json!({"name": format!("a-container-with-a-long-name-{number}"), "volumeMounts": [{
                    "name": "kube-api-access-x2z4q", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]})
            })
            .collect();
        let kept = facts(
            json!({"metadata": {"name": "p", "uid": "1"}, "spec": {"volumes": volumes, "containers": containers}}),
        );
        assert_eq!((kept.rare.exceeded, kept.containers.len()), (None, 25));
    }
}
