//! An API server that hangs or is down: the controller waits and exits on SIGTERM, a scan prints an error.

use std::{net::TcpListener, time::Duration};

use crate::rig::{Controller, await_that, kubeconfig_for, program};

/// The API server accepts connections and never answers.
#[test]
fn the_controller_exits_while_the_api_server_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig_for(
        dir.path(),
        &format!("https://{}", silent.local_addr().unwrap()),
    );
    let controller = Controller::start(&["--kubeconfig", kubeconfig.to_str().unwrap()]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
    let (status, took, _) = controller.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_scan_without_an_api_server_prints_one_error() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig_for(dir.path(), "https://127.0.0.1:1");
    let scan = program(&["scan", "--kubeconfig", kubeconfig.to_str().unwrap()], "");
    let error = String::from_utf8(scan.stderr).unwrap();
    assert_eq!(scan.status.code(), Some(2));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}

#[test]
fn the_controller_waits_for_an_api_server() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig_for(dir.path(), "https://127.0.0.1:1");
    let controller = Controller::start(&["--kubeconfig", kubeconfig.to_str().unwrap()]);
    await_that("the problem is logged", || {
        controller
            .log()
            .contains("the API server does not answer; retrying")
    });
    assert_eq!(controller.get("/healthz").unwrap().0, 200);
    let (code, body) = controller.get("/readyz").unwrap();
    assert_eq!(code, 503);
    assert!(body.contains("pods"), "{body}");
    let log = controller.log();
    assert_eq!(log.matches("WARN").count(), 1, "one line: {log}");
    let (status, took, _) = controller.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}
