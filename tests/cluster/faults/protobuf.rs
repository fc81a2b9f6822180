//! Protobuf that an API server, or a proxy before it, does not have, or that is wrong: JSON is read instead.

use std::fs;

use k8s_pb::apimachinery::pkg::{
    apis::meta::v1::{Status, WatchEvent},
    runtime::RawExtension,
};
use prost::Message;

use super::World;
use crate::rig::{
    await_that,
    oracle::reports_equal_to_scans,
    program,
    proxy::{Cut, Protobuf},
    world::etcd::envelope,
};

/// What is logged, once.
const SAID: &str = "no protobuf: reading JSON instead";

/// The controller and a scan find what they find without the proxy.
fn finds_the_same(world: &mut World) {
    world.recovers("JSON instead of protobuf");
    reports_equal_to_scans(&world.plane, "findings");
    let server = fs::read_to_string(world.plane.file("server")).unwrap();
    let kubeconfig = fs::read_to_string(world.plane.kubeconfig()).unwrap();
    let proxied = world.plane.file("admin-proxied.kubeconfig");
    fs::write(
        &proxied,
        kubeconfig.replace(server.trim(), &world.proxy.url()),
    )
    .unwrap();
    let args = ["-A", "-o", "json"];
    let kubeconfig = ["--kubeconfig", proxied.to_str().unwrap()];
    let scan = program(&[&["scan"], &kubeconfig[..], &args].concat(), "");
    let said = String::from_utf8_lossy(&scan.stderr);
    assert_eq!(scan.stdout, world.plane.scan(&args).stdout, "{said}");
}

fn instead(protobuf: Protobuf) {
    let mut world = World::start_behind(&[], |proxy| proxy.protobuf(protobuf));
    finds_the_same(&mut world);
    let log = world.controller.log();
    assert_eq!(log.matches(SAID).count(), 1, "{log}");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn a_proxy_that_refuses_protobuf_gets_requests_for_json() {
    instead(Protobuf::Refused);
}

#[test]
fn a_proxy_that_answers_json_instead_of_protobuf_gets_requests_for_json() {
    instead(Protobuf::Replaced);
}

#[test]
fn a_proxy_that_garbles_protobuf_gets_requests_for_json() {
    instead(Protobuf::Garbled);
}

/// While watches run: what was known stays known.
#[test]
fn garbled_and_cut_frames_change_no_report() {
    let mut world = World::start(&[]);
    for (what, cut) in [
        ("a cut frame", Cut::Bytes(&[0, 0, 1, 0, 10])),
        ("a frame that is too large", Cut::Bytes(&[0xff; 40])),
        (
            "a frame without a message",
            Cut::Bytes(&[0, 0, 0, 2, 0xff, 0xff]),
        ),
    ] {
        world.proxy.cut(cut);
        world.endure(what, 3);
        world.recovers(what);
    }
    let log = world.controller.log();
    assert_eq!(log.matches(SAID).count(), 1, "{log}");
    reports_equal_to_scans(&world.plane, "findings");
}

/// The API server no longer has the history: everything is read again, as protobuf.
#[test]
fn an_expired_watch_of_protobuf_reads_everything_again() {
    let status = Status {
        code: Some(410),
        reason: Some("Expired".to_owned()),
        message: Some("too old resource version".to_owned()),
        ..Status::default()
    };
    let event = WatchEvent {
        r#type: Some("ERROR".to_owned()),
        object: Some(RawExtension {
            raw: Some(envelope("v1", "Status", &status.encode_to_vec())),
        }),
    };
    let event = event.encode_to_vec();
    let length = u32::try_from(event.len()).unwrap().to_be_bytes();
    let mut world = World::start(&[]);
    let errors = world.errors();
    world
        .proxy
        .cut(Cut::Bytes([&length[..], &event].concat().leak()));
    await_that("the end of the watch is counted", || {
        world.errors() > errors
    });
    world.endure("an expired watch", 3);
    world.recovers("an expired watch");
    assert!(
        !world.controller.log().contains(SAID),
        "{}",
        world.controller.log()
    );
    reports_equal_to_scans(&world.plane, "findings");
}
