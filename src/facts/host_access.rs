//! Can a pod read the tokens of other pods on its node?

use super::wire::PodSpec;
use crate::model::pod::HostAccess;

/// Where kubelets keep the volumes of pods, by default and in k0s and MicroK8s.
const KUBELET_DIRECTORIES: [&str; 3] = [
    "/var/lib/kubelet/pods",
    "/var/lib/k0s/kubelet/pods",
    "/var/snap/microk8s/common/var/lib/kubelet/pods",
];

/// How the containers of a pod can do that; sorted.
pub(super) fn of_pod(spec: &PodSpec) -> Box<[HostAccess]> {
    let paths = spec.volumes.iter().filter_map(|volume| {
        let host = volume.host_path.as_ref();
        host.filter(|host| reaches_volumes(&host.path) && spec.mounts(volume))
    });
    let mut access: Vec<_> = paths
        .map(|host| HostAccess::Path(host.path.as_str().into()))
        .collect();
    if spec.host_pid {
        access.push(HostAccess::Processes);
    }
    if spec
        .all_containers()
        .any(|container| container.security_context.privileged)
    {
        access.push(HostAccess::Privileged);
    }
    access.sort_unstable();
    access.dedup();
    access.into()
}

/// Whether a path of the host contains a kubelet's volumes, or lies in them.
fn reaches_volumes(path: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let path = parts(path);
    KUBELET_DIRECTORIES.iter().any(|directory| {
        let directory = parts(directory);
        directory.starts_with(&path) || path.starts_with(&directory)
    })
}
