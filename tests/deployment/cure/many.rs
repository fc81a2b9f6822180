//! A namespace with 3,000 accounts: its summary fits, and the policy finds the first and the last.

use serde_json::{Value, json};

use super::{await_switch, controller, plane, token};
use crate::rig::{PATIENCE, holds_within};

#[test]
#[ignore = "takes minutes; run by `make soak`"]
fn three_thousand_accounts_in_one_namespace_are_all_listed() {
    const ACCOUNTS: usize = 3_000;
    let test = "three_thousand_accounts_in_one_namespace_are_all_listed";
    let Some(plane) = plane(test) else { return };
    let pod = |n: usize| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("pod-{n}"), "namespace": "shop" },
            "spec": { "serviceAccountName": format!("account-{n}"), "containers": [{ "name": "c", "image": "i" }] } })
    };
    for n in 0..ACCOUNTS {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": format!("account-{n}"), "namespace": "shop" } });
        plane.create(&account).unwrap();
        plane.create(&pod(n)).unwrap();
    }
    let controller = controller(&plane);
    await_switch(&plane, true);
    let path =
        "/apis/tokenexposure.io/v1alpha1/namespaces/shop/tokenexposuresummaries/token-exposure";
    let mut summary = Value::Null;
    let is_complete = || {
        summary = plane.ask(path).unwrap().unwrap_or_default();
        let listed = summary["status"]["curable"].as_str().unwrap_or_default();
        listed.split('|').filter(|entry| !entry.is_empty()).count() == ACCOUNTS
    };
    let all = holds_within(5 * PATIENCE, std::time::Duration::from_secs(1), is_complete);
    assert!(all, "{summary}: {}", controller.log());
    assert_eq!(summary["status"]["leftOut"], 0);
    assert!(summary.to_string().len() < 256 * 1024);
    let is_withheld = |n: usize| {
        let path = format!("/api/v1/namespaces/shop/pods/pod-{n}");
        plane.delete(&format!("{path}?gracePeriodSeconds=0"));
        plane.create(&pod(n)).unwrap();
        token(&plane.ask(&path).unwrap().unwrap()).is_null()
    };
    // The policy reads the summary from a cache.
    let second = std::time::Duration::from_secs(1);
    assert!(holds_within(PATIENCE, second, || is_withheld(0)));
    for n in [1, ACCOUNTS / 2, ACCOUNTS - 1] {
        assert!(is_withheld(n), "{n}");
    }
}
