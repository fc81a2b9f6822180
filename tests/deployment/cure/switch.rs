//! When the switch goes off, and that it comes back: the API server fails in parts, the process is frozen and goes on, a
//! standby takes over.

use std::{thread, time::Duration};

use serde_json::Value;

use super::{
    GRANT, SWITCH, arguments, await_listed, await_switch, bind, controller, controller_at, plane,
};
use crate::rig::{
    ControlPlane, Controller, await_that,
    proxy::{Answer, Cut, Proxy},
    signal,
};

/// The uid of the binding; null without one.
fn uid(plane: &ControlPlane) -> Value {
    let found = plane.ask(SWITCH).unwrap().unwrap_or_default();
    found["metadata"]["uid"].clone()
}

fn await_another(plane: &ControlPlane, before: &Value, what: &str) {
    await_that(what, || {
        let now = uid(plane);
        now.is_string() && now != *before
    });
}

/// The controller behind a proxy.
fn behind(plane: &ControlPlane) -> (Proxy, Controller) {
    let proxy = Proxy::start(plane);
    let kubeconfig = plane.own_kubeconfig_for(&proxy.url(), "proxied.kubeconfig");
    let args = arguments(plane);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let controller = controller_at(plane, &kubeconfig, &args);
    await_switch(plane, true);
    (proxy, controller)
}

#[test]
fn it_is_off_while_a_kind_cannot_be_watched_or_a_name_cannot_be_withdrawn() {
    let test = "it_is_off_while_a_kind_cannot_be_watched_or_a_name_cannot_be_withdrawn";
    let Some(plane) = plane(test) else { return };
    let (proxy, controller) = behind(&plane);
    plane.kubectl(&["-n", "shop", "run", "p", "--image=i"]);
    await_listed(&plane, "|default/Pod/p|");
    for (what, answer) in [
        (
            "/rolebindings?",
            Answer::Status(500, &[], "etcdserver: request timed out"),
        ),
        ("/clusterroles?", Answer::Status(403, &[], "forbidden")),
    ] {
        proxy.fail(what, answer);
        // Watches go on until they end.
        proxy.cut(Cut::Break);
        await_switch(&plane, false);
        proxy.pass();
        await_switch(&plane, true);
    }
    // What it may not withdraw: the API server does not answer, or denies it.
    for answer in [
        Answer::Nothing,
        Answer::Status(500, &[], "etcdserver: request timed out"),
    ] {
        proxy.fail("/token-exposure/status", answer);
        bind(&plane, &GRANT);
        await_switch(&plane, false);
        proxy.pass();
        await_listed(&plane, "|");
        await_switch(&plane, true);
        bind(&plane, &["delete", "rolebinding", "view"]);
        await_listed(&plane, "|default/Pod/p|");
    }
    let (status, _, log) = controller.terminate();
    assert!(status.success(), "{log}");
    await_switch(&plane, false);
}

/// The API server sends nothing more, and ends no connection.
#[test]
fn watches_that_die_without_an_error_switch_it_off_too() {
    let test = "watches_that_die_without_an_error_switch_it_off_too";
    let Some(plane) = plane(test) else { return };
    let (proxy, _controller) = behind(&plane);
    let before = uid(&plane);
    proxy.cut(Cut::Silence);
    await_another(&plane, &before, "it was switched off, and on again");
}

/// What is known may be old when a process goes on that was frozen.
#[test]
fn a_process_that_was_frozen_switches_it_off_first() {
    let test = "a_process_that_was_frozen_switches_it_off_first";
    let Some(plane) = plane(test) else { return };
    let controller = controller(&plane);
    await_switch(&plane, true);
    let before = uid(&plane);
    signal("STOP", controller.pid());
    // Longer than a request and a look may take.
    thread::sleep(Duration::from_secs(4));
    signal("CONT", controller.pid());
    await_another(&plane, &before, "it was switched off, and on again");
}

/// Two replicas: the standby switches off what a frozen leader left on, and a new process what a killed one did.
#[test]
fn a_switch_that_was_left_on_is_replaced_by_the_next_leader_and_by_the_next_start() {
    let test = "a_switch_that_was_left_on_is_replaced_by_the_next_leader_and_by_the_next_start";
    let Some(plane) = plane(test) else { return };
    plane.release("cure.mode=LeaveOut,cure.gracePeriod=1s,replicaCount=2");
    let first = controller(&plane);
    await_switch(&plane, true);
    let second = controller(&plane);
    // A start deletes what may have been left on: the leader creates it again.
    await_switch(&plane, true);
    let before = uid(&plane);
    signal("STOP", first.pid());
    await_another(&plane, &before, "the standby has replaced it");
    assert!(second.metric("token_exposure_leader") > 0.5);
    let before = uid(&plane);
    signal("CONT", first.pid());
    await_that("the first one knows that it does not lead", || {
        first.log().contains("another replica leads")
    });
    assert_eq!(uid(&plane), before, "it leaves the switch of the leader on");
    signal("KILL", first.pid());
    signal("KILL", second.pid());
    let _third = controller(&plane);
    await_another(&plane, &before, "the next process has replaced it");
}
