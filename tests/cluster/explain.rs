//! `explain` on a live cluster.

use std::fs;

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

/// Whoever asks for an account gets its verdict, and learns why it has no report.
#[test]
fn explain_says_that_the_configuration_leaves_out_the_namespace() {
    let plane = watched();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    let kubeconfig = plane.kubeconfig();
    let [kubeconfig, file] = [&kubeconfig, &config].map(|path| path.to_str().unwrap());
    let explain = |content: &str| {
        fs::write(&config, content).unwrap();
        let args = [
            "explain",
            "kube-public/default",
            "--kubeconfig",
            kubeconfig,
            "--config",
            file,
        ];
        let output = program(&args, "");
        let [out, error] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(
            out.starts_with("ServiceAccount kube-public/default: "),
            "{out}{error}"
        );
        error
    };
    let rest = "of the configuration leaves out namespace kube-public: the controller writes no report for its ServiceAccounts\n";
    assert_eq!(
        explain("excludeNamespaces: [kube-*]"),
        format!("note: `excludeNamespaces` {rest}")
    );
    assert_eq!(
        explain("namespaces: [shop]"),
        format!("note: `namespaces` {rest}")
    );
    assert_eq!(explain("namespaces: [kube-public]"), "");
}
