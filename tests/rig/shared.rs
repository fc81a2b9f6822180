//! Control planes that tests share. Each is started by the first test that uses it, and stops with the test program.
//! A test on one of them uses its own namespaces and cluster-wide names, grants nothing to all users, and asserts
//! nothing about the whole cluster.

use std::{fs, sync::OnceLock};

use super::{ControlPlane, Controller, await_that};

/// With `deploy/install.yaml` and a running controller.
pub fn watched() -> &'static ControlPlane {
    static WATCHED: OnceLock<(ControlPlane, Controller)> = OnceLock::new();
    let (plane, _) = WATCHED.get_or_init(|| {
        let plane = ControlPlane::start(&[]);
        let (kubeconfig, log) = (plane.own_kubeconfig(), plane.file("controller.log"));
        let args = ["--kubeconfig", kubeconfig.to_str().unwrap()];
        let controller = Controller::start_detached(&args, log);
        controller.await_ready();
        (plane, controller)
    });
    plane
}

/// The same, with the sample workloads in the namespaces `shop` and `analytics`, for tests that only read them.
pub fn sample() -> &'static ControlPlane {
    static SAMPLE: OnceLock<()> = OnceLock::new();
    let plane = watched();
    SAMPLE.get_or_init(|| apply_sample(plane));
    plane
}

/// Creates the sample workloads, and waits for their pods and for that of `deploy/install.yaml`.
pub fn apply_sample(plane: &ControlPlane) {
    plane.apply(&fs::read_to_string("tests/demo/sample.yaml").unwrap());
    let pods = |namespace| {
        let pods = plane.get(&["-n", namespace, "pods"]);
        pods["items"].as_array().unwrap().len()
    };
    await_that("the sample's pods are created", || {
        [pods("shop"), pods("analytics"), pods("token-exposure")] == [11, 2, 1]
    });
}

/// With `deploy/install.yaml` and no controller: reports stay as they are written.
pub fn unwatched() -> &'static ControlPlane {
    static UNWATCHED: OnceLock<ControlPlane> = OnceLock::new();
    UNWATCHED.get_or_init(|| ControlPlane::start(&[]))
}

/// Without our manifests.
pub fn bare() -> &'static ControlPlane {
    static BARE: OnceLock<ControlPlane> = OnceLock::new();
    BARE.get_or_init(|| ControlPlane::bare(&[]))
}
