//! Notes on the real API server: in reports and metrics, and the patch for all `default` accounts.

use std::process::Command;

use crate::rig::{await_that, kubectl, pool, run};

#[test]
fn a_note_of_a_report_goes_when_the_binding_is_mended() {
    let plane = pool::installed();
    plane.namespace("noted");
    let typed = |line: &str| plane.kubectl(&line.split(' ').collect::<Vec<_>>());
    typed("-n noted create serviceaccount reporter");
    let spec = r#"--overrides={"spec":{"serviceAccountName":"reporter"}}"#;
    plane.kubectl(&["-n", "noted", "run", "web", "--image=nginx", spec]);
    let controller = plane.controller(&[]);
    let unneeded = Some(("Unneeded", "NoPermissions"));
    plane.await_report("noted", "reporter", unneeded);
    let await_note = |expected: Option<&str>| {
        await_that(&format!("the note is {expected:?}"), || {
            let report = plane.get(&["-n", "noted", "ter", "reporter"]);
            let note = &report["status"]["notes"][0];
            note["message"].as_str() == expected
                && note["type"].as_str() == expected.map(|_| "NearlyNamedBy")
        });
    };
    let noted = r#"token_exposure_noted_serviceaccounts{type="NearlyNamedBy"}"#;
    await_note(None);
    typed("-n noted create rolebinding x --clusterrole=view --serviceaccount=noted:reporters");
    let near = "RoleBinding noted/x names reporters: did you mean reporter?";
    await_note(Some(near));
    assert!(controller.metric(noted) > 0.5, "{}", controller.log());
    plane.await_report("noted", "reporter", unneeded);

    // An account that exists is meant.
    typed("-n noted create serviceaccount reporters");
    await_note(None);
    typed("-n noted delete serviceaccount reporters");
    await_note(Some(near));

    // A live scan says the same, of its own namespace too.
    for namespace in [&["-A"][..], &["-n", "noted"]] {
        let scan = plane.scan(&[namespace, &["-o", "wide"]].concat());
        let said = String::from_utf8(scan.stdout).unwrap();
        let line = format!("note on noted/reporter: {near}\n");
        assert!(said.contains(&line), "{said}");
    }

    let mended =
        r#"{"subjects":[{"kind":"ServiceAccount","name":"reporter","namespace":"noted"}]}"#;
    plane.kubectl(&[
        "-n",
        "noted",
        "patch",
        "rolebinding",
        "x",
        "--type=merge",
        "-p",
        mended,
    ]);
    plane.await_report("noted", "reporter", None);
    await_that("the note is gone from the metric", || {
        controller.metric(noted) < 0.5
    });

    let everything = "token_exposure_cluster_admin_for_everybody";
    assert!(controller.metric(everything) < 0.5);
    typed(
        "create clusterrolebinding all --clusterrole=cluster-admin --group=system:serviceaccounts",
    );
    await_that("everything for everybody is seen", || {
        controller.metric(everything) > 0.5
    });
    typed("delete clusterrolebinding all");
}

/// The command that a scan prints works as it is.
#[test]
fn one_command_hardens_all_unused_default_accounts() {
    let plane = pool::installed();
    for namespace in ["harden-a", "harden-b"] {
        plane.namespace(namespace);
    }
    plane.kubectl(&["-n", "harden-b", "run", "web", "--image=nginx"]);
    let scan = plane.scan(&["-A", "--harden-defaults", "--fail-on=never"]);
    let said = String::from_utf8(scan.stdout).unwrap();
    let command = said
        .lines()
        .find(|line| line.trim_start().starts_with("for namespace in "))
        .unwrap_or_else(|| panic!("{said}"));
    assert!(
        command.contains("harden-a") && !command.contains("harden-b"),
        "{command}"
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = kubectl();
    let path = format!("{}:{path}", bin.parent().unwrap().display());
    let shell = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("PATH", &path);
        let output = run(shell.env("KUBECONFIG", plane.kubeconfig()), "");
        assert!(output.status.success(), "{output:?}");
    };
    shell(command);
    let automount = |namespace: &str| {
        let account = plane.get(&["-n", namespace, "serviceaccount", "default"]);
        account["automountServiceAccountToken"].as_bool()
    };
    assert_eq!(
        (automount("harden-a"), automount("harden-b")),
        (Some(false), None)
    );
    let scan = plane.scan(&["-A", "--harden-defaults", "--fail-on=never"]);
    let said = String::from_utf8(scan.stdout).unwrap();
    assert!(!said.contains("for namespace in"), "{said}");
    // Other tests use the same API server.
    shell(&command.replace("false", "null"));
}
