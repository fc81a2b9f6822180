//! Reports as a person reads and awaits them with kubectl.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod rig;
use rig::ControlPlane;

#[test]
fn reports_are_listed_awaited_and_explained_as_a_person_types_it() {
    let plane = ControlPlane::start(&[]);
    plane.kubectl(&["apply", "-f", "tests/demo/sample.yaml"]);
    let _controller = plane.controller(&[]);
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
        let words: Vec<_> = line.split(' ').collect();
        let shown = plane.kubectl(&words);
        assert!(shown.contains(says), "kubectl {line}: {shown}");
    }
}
