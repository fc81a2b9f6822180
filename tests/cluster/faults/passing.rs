//! Faults that pass change no report; a permission that is taken away does, after a while.

use std::time::Duration;

use super::{DENIED, EXPIRED, UNNEEDED, World};
use crate::rig::{
    await_that,
    oracle::reports_equal_to_scans,
    proxy::{Answer, Cut, Protobuf},
};

/// An event that is older than what the watch has sent before.
const OLD: &str = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"resourceVersion\":\"1\"}}}\n";

/// Each fault lasts longer than a request, and shorter than `--forbidden-after`.
fn passing_faults(faults: &[(&str, Answer, Cut)]) {
    let mut world = World::start(&["--forbidden-after=60s"]);
    for (what, answer, cut) in faults {
        let errors = world.errors();
        world.proxy.fail("", *answer);
        world.proxy.cut(*cut);
        world.endure(what, 4);
        await_that("the fault is counted", || world.errors() > errors);
        world.proxy.pass();
        world.recovers(what);
    }
    let log = world.controller.log();
    assert!(
        !log.contains("are Unknown") && !log.contains("service_account=default"),
        "{log}"
    );
    assert!(log.lines().count() < 6 * (faults.len() + 1), "{log}");
    reports_equal_to_scans(&world.plane, "findings");
}

/// An API server that starts denies everything until it has read its RBAC objects.
#[test]
fn passing_faults_change_no_report() {
    passing_faults(&[
        ("403", Answer::Status(403, &[], DENIED), Cut::End),
        (
            "reset",
            Answer::Status(503, &[("Retry-After", "1")], "down"),
            Cut::Break,
        ),
        (
            "410",
            Answer::Status(429, &[("Retry-After", "2")], "slow down"),
            Cut::Line(EXPIRED),
        ),
    ]);
}

#[test]
#[ignore = "takes minutes: `make faults`"]
fn faults_of_all_kinds_change_no_report() {
    passing_faults(&[
        ("401", Answer::Status(401, &[], "who are you?"), Cut::End),
        (
            "500",
            Answer::Status(500, &[], "etcdserver: leader changed"),
            Cut::Break,
        ),
        ("504", Answer::Status(504, &[], "timeout"), Cut::End),
        (
            "a login page",
            Answer::Status(200, &[("Content-Type", "text/html")], "<html>log in</html>"),
            Cut::End,
        ),
        (
            "half a line",
            Answer::Status(502, &[], ""),
            Cut::Line("{\"type\":\"MODIF"),
        ),
        (
            "garbage",
            Answer::Status(503, &[], ""),
            Cut::Line("garbage\n"),
        ),
        (
            "Retry-After garbage",
            Answer::Status(429, &[("Retry-After", "soon")], ""),
            Cut::End,
        ),
        (
            "Retry-After negative",
            Answer::Status(429, &[("Retry-After", "-5")], ""),
            Cut::End,
        ),
        (
            "Retry-After as a date",
            Answer::Status(503, &[("Retry-After", "Fri, 31 Dec 2126 23:59:59 GMT")], ""),
            Cut::End,
        ),
        ("no answers", Answer::Nothing, Cut::End),
        (
            "an event of long ago",
            Answer::Status(503, &[], ""),
            Cut::Line(OLD),
        ),
    ]);
}

/// A watch that dies silently is noticed within 65 s, and a pause of years lasts a minute.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn a_silent_watch_and_an_endless_pause_end_within_two_minutes() {
    let mut world = World::start(&[]);
    world.proxy.cut(Cut::Silence);
    std::thread::sleep(Duration::from_secs(70));
    world.recovers("silence");
    let pause = Answer::Status(429, &[("Retry-After", "1000000000")], "");
    world.proxy.fail("", pause);
    world.proxy.cut(Cut::End);
    world.endure("an endless pause", 5);
    world.proxy.pass();
    world.endure("an endless pause", 60);
    world.recovers("an endless pause");
}

/// A right that is taken away is no passing fault: after the time that is set, verdicts are `Unknown`.
#[test]
fn a_permission_that_is_taken_away_makes_verdicts_unknown_after_a_while() {
    let mut world = World::start(&["--forbidden-after=6s"]);
    world
        .proxy
        .fail("/rolebindings", Answer::Status(403, &[], DENIED));
    world.proxy.cut(Cut::End);
    world.endure("the first seconds", 4);
    world
        .plane
        .await_report("shop", "default", Some(("Unknown", "Forbidden")));
    world.proxy.pass();
    world.plane.await_report("shop", "default", UNNEEDED);
    world.recovers("granted again");
}

/// Also where each attempt begins: without ever longer pauses, there would be some 30 errors.
#[test]
fn lists_that_fail_are_asked_for_ever_more_rarely() {
    const FAILED: &str = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"storage\",\"code\":500}}\n";
    let what = "a list that fails";
    let mut world = World::start_behind(&[], |proxy| proxy.protobuf(Protobuf::Refused));
    let before = world.errors();
    let json = &[("Content-Type", "application/json")];
    let answer = Answer::Status(200, json, FAILED);
    world.proxy.fail("sendInitialEvents", answer);
    world.proxy.cut(Cut::Line(EXPIRED));
    world.endure(what, 10);
    let errors = world.errors() - before;
    // Each attempt has two: it is made in protobuf, then in JSON.
    assert!((4.0..=16.0).contains(&errors), "{errors}");
    world.proxy.pass();
    world.recovers(what);
}
