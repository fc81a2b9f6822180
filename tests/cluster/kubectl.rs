//! Reports in kubectl, and the events of an account.

use crate::rig::{ControlPlane, await_that, feature::Feature, pool, shared::sample};

/// Runs kubectl with a command line; returns its output.
fn typed(plane: &ControlPlane, line: &str) -> String {
    plane.kubectl(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn reports_work_with_kubectl_get_wait_describe_and_explain() {
    let plane = sample();
    plane.await_report("shop", "mail", Some(("Unneeded", "NoPermissions")));
    for (line, says) in [
        (
            "-n shop wait --for=condition=Evaluated ter/mail --timeout=20s",
            "tokenexposurereport.tokenexposure.io/mail condition met",
        ),
        (
            "-n shop wait --for=jsonpath={.status.verdict}=Unneeded ter/mail --timeout=20s",
            "condition met",
        ),
        ("-n shop get ters mail -o wide", "Deployment/mail"),
        ("-n shop get ter mail -o wide", "WORKLOADS"),
        ("get ter -A -o wide", "CONSUMERS"),
        ("get ter -A --sort-by=.status.pods", "mail"),
        ("explain ter.status", "permissions\t<Object>"),
        (
            "-n shop get ter mail -o name",
            "tokenexposurereport.tokenexposure.io/mail\n",
        ),
        ("-n shop describe ter mail", "Verdict:"),
        (
            "explain ter.status.workloads.carriers",
            "expirationSeconds\t<integer>",
        ),
    ] {
        let shown = typed(plane, line);
        assert!(shown.contains(says), "kubectl {line}: {shown}");
    }
}

#[test]
fn reports_are_selected_by_verdict_and_reason() {
    let plane = sample();
    if plane.lacks(
        Feature::SelectableFields,
        "reports_are_selected_by_verdict_and_reason",
    ) {
        return;
    }
    plane.await_report("shop", "mail", Some(("Unneeded", "NoPermissions")));
    let unneeded =
        "get ter -A --field-selector=status.verdict=Unneeded,status.reason=NoPermissions -o name";
    let unneeded = typed(plane, unneeded);
    assert!(
        unneeded.contains("tokenexposurereport.tokenexposure.io/mail\n"),
        "{unneeded}"
    );
    let others = "get ter -A --field-selector=status.verdict!=Unneeded --no-headers";
    let others = typed(plane, others);
    assert!(
        others.contains("Review") && !others.contains("Unneeded"),
        "{others}"
    );
}

/// Each change of a verdict is an event of the ServiceAccount: once, and neither repeated after a
/// restart nor written for an unchanged verdict.
#[test]
fn a_change_of_verdict_is_an_event_of_the_account() {
    let plane = pool::installed();
    plane.release("events.create=true");
    plane.namespace("shop");
    typed(&plane, "-n shop run web --image=nginx");
    let events = || typed(&plane, "-n shop events --for=serviceaccount/default");
    let controller = plane.controller(&["--events"]);
    await_that("there is an event for the finding", || {
        events().contains("Unneeded")
    });
    let bind = "-n shop create rolebinding read --clusterrole=view --serviceaccount=shop:default";
    typed(&plane, bind);
    await_that("there is an event for the new verdict", || {
        events().contains("DirectGrant, was Unneeded.")
    });
    controller.settle();
    controller.terminate();

    // After a restart, only a verdict that changed meanwhile has a new event.
    let before = events();
    let controller = plane.controller(&["--events"]);
    controller.settle();
    assert_eq!(events().lines().count(), before.lines().count());
    controller.terminate();
    typed(&plane, "-n shop delete rolebinding read");
    let controller = plane.controller(&["--events"]);
    controller.settle();
    await_that("there is a second event for the finding", || {
        events().matches("NoPermissions").count() == 2
    });
    let written = controller.metric(r#"token_exposure_events_total{result="written"}"#);
    assert_eq!(written.to_bits(), 1.0_f64.to_bits());
    let described = typed(&plane, "-n shop describe serviceaccount default");
    assert!(described.contains("Warning  Unneeded"), "{described}");
}
