//! Exemptions by annotation and by `--config`, on a live cluster.

use std::{fs, path::Path};

use crate::rig::{await_that, pool};

#[test]
fn the_controller_follows_annotations_and_its_configuration() {
    let plane = pool::installed();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    let write = |text: &str| {
        // Like the kubelet, replaces the old file in one step.
        let new = dir.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, Path::new(&config)).unwrap();
    };
    write(
        "exemptions: [{reason: until we look, name: default, namespace: shop, until: 2999-01-01}]\n",
    );
    let controller = plane.controller(&["--config", config.to_str().unwrap()]);
    plane.namespace("shop");
    let labelled = [
        "-n",
        "shop",
        "run",
        "web",
        "--image=nginx",
        "--labels=app=web",
        "--env=SESAME=1",
    ];
    plane.kubectl(&labelled);
    let unneeded = Some(("Unneeded", "NoPermissions"));
    let exempted = Some(("Exempted", "Exemption"));
    plane.await_report("shop", "default", exempted);
    let expiry = "token_exposure_exemption_expiry_timestamp_seconds{namespace=\"shop\",serviceaccount=\"default\"}";
    // 2999-01-02T00:00:00Z
    assert!((controller.metric(expiry) - 32_472_230_400.0).abs() < 1.0);

    // The configuration changes: an ended exemption, an invalid one, and one by a label that no rule used before.
    write("exemptions: [{reason: until we look, name: default, until: 2020-01-01}]\n");
    plane.await_report("shop", "default", unneeded);
    write("exemptions: [{reason: '', name: default}]\n");
    await_that("the error is logged", || {
        let log = controller.log();
        log.contains("config.yaml:1:14: the exemption has no `reason`: say why the token stays")
    });
    plane.await_report("shop", "default", unneeded);
    write("exemptions: [{reason: a web, labels: {app: web}}]\n");
    plane.await_report("shop", "default", exempted);
    write("knownConsumers: [{name: Sesame, variables: [SESAME]}]\n");
    plane.await_report("shop", "default", Some(("Review", "KnownConsumer")));

    // Annotations on objects.
    let annotate = |value: &str| {
        let value = format!("tokenexposure.io/exempt{value}");
        plane.kubectl(&[
            "-n",
            "shop",
            "annotate",
            "serviceaccount",
            "default",
            &value,
        ]);
    };
    annotate("=we know");
    plane.await_report("shop", "default", exempted);
    annotate("-");
    plane.await_report("shop", "default", Some(("Review", "KnownConsumer")));
    let (status, _, log) = controller.terminate();
    assert!(status.success());
    // Each error is logged once, however often the file is read.
    assert_eq!(log.matches("has no `reason`").count(), 1, "{log}");
}
