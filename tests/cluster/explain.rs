//! `explain` on a live cluster.

use crate::rig::{program, shared::watched};

#[test]
fn explain_accepts_a_live_pod_instead_of_its_account() {
    let plane = watched();
    plane.namespace("explained");
    plane.kubectl(&["-n", "explained", "run", "web", "--image=nginx"]);
    let kubeconfig = plane.kubeconfig();
    let args = [
        "explain",
        "explained/po/web",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ];
    let chain = String::from_utf8(program(&args, "").stdout).unwrap();
    for line in [
        "ServiceAccount explained/default: Unneeded (NoPermissions)",
        "  Pod/web, 1 pod: Unneeded (NoPermissions)",
        "      containers: web",
        "    automountServiceAccountToken: not set in the pod or in the ServiceAccount; the default is true",
        "PERMISSIONS: none beyond the default permissions of every authenticated user",
    ] {
        assert!(chain.lines().any(|found| found == line), "{line}\n{chain}");
    }
}
