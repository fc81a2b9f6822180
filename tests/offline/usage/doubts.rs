//! What forbids `NeverUsed`, what does not, and what is said of it.

use super::*;

fn explained(world: &World, account: &str) -> String {
    run(world, &["explain", &format!("shop/{account}")]).1
}

#[test]
fn whoever_acts_as_an_account_uses_no_token_of_it() {
    let mut world = World::new();
    let groups = ["system:serviceaccounts", "system:authenticated"];
    let impersonated = json!({ "username": "system:serviceaccount:shop:idle", "groups": groups });
    let admin = json!({ "username": "admin", "groups": ["system:masters"] });
    let account = token("busy", "busy-0", &uid(901));
    for user in [&admin, &account] {
        let at = world.ask(2500, user, "get", 200, &allowed_by("idle"));
        world.events[at].value["impersonatedUser"] = impersonated.clone();
    }
    let found = world.reasons(&world.events, ALL);
    assert_eq!(
        (found["idle"], found["busy"]),
        (Reason::NeverUsed, Reason::InUse)
    );
    let chain = explained(&world, "idle");
    assert!(chain.contains("StatefulSet/idle: no use seen"), "{chain}");
    // With its own token, it acted as another account.
    let at = world.ask(2600, &token("idle", "idle-0", &uid(902)), "get", 200, "");
    world.events[at].value["impersonatedUser"] =
        json!({ "username": "system:serviceaccount:shop:busy" });
    assert_ne!(world.reasons(&world.events, ALL)["idle"], Reason::NeverUsed);
}

#[test]
fn permissions_that_count_at_kubelets_and_other_servers_forbid_never_used() {
    for (rule, expected) in [
        (
            json!({ "apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"] }),
            Reason::DirectGrant,
        ),
        (
            json!({ "apiGroups": ["*"], "resources": ["*/proxy"], "verbs": ["get"] }),
            Reason::DirectGrant,
        ),
        (
            json!({ "apiGroups": [""], "resources": ["*"], "verbs": ["get"] }),
            Reason::DirectGrant,
        ),
        (
            json!({ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }),
            Reason::DirectGrant,
        ),
        (
            json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }),
            Reason::NeverUsed,
        ),
    ] {
        let mut world = World::new();
        world.objects.push(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "more" }, "rules": [rule] }));
        world.objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "more" },
            "roleRef": { "kind": "ClusterRole", "name": "more" }, "subjects": [{ "kind": "ServiceAccount", "name": "idle", "namespace": "shop" }],
        }));
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["idle"], expected, "{rule}");
        let doubt = "is granted nodes/* or URLs";
        assert_eq!(
            explained(&world, "idle").contains(doubt),
            expected == Reason::DirectGrant,
            "{rule}"
        );
    }
}

#[test]
fn more_reasons_for_doubt_than_are_shown_are_still_reasons() {
    // Callers of TokenReviews: the first ones have old reviews.
    let mut world = World::new();
    let reviews = json!({ "resource": "tokenreviews", "apiGroup": "authentication.k8s.io" });
    for number in 0..80 {
        let user =
            json!({ "username": format!("reviewer-{number}"), "groups": ["system:authenticated"] });
        let value = event(
            &format!("review-{number}"),
            &user,
            "create",
            &reviews,
            201,
            "",
        );
        world.log(0, 3000 + number, value);
    }
    let found = world.reasons(&world.events, ALL);
    assert!(
        !found.values().any(|reason| *reason == Reason::NeverUsed),
        "{found:?}"
    );
    assert!(explained(&world, "idle").contains("reviewer-0 had tokens reviewed"));
    // Holes, more than a report has.
    let mut world = World::new();
    world
        .events
        .retain(|event| event.time % 120 < 60 || event.time > 7100);
    let found = world.reasons(&world.events, ALL);
    assert!(
        !found.values().any(|reason| *reason == Reason::NeverUsed),
        "{found:?}"
    );
    let chain = explained(&world, "idle");
    assert!(chain.contains("missing: 98 more"), "{chain}");
    let (_, text, _) = run(&world, &["scan", "-o", "json", "--report-scope", "all"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    for holes in items
        .map(|item| &item["status"]["use"]["holes"])
        .filter(|holes| !holes.is_null())
    {
        let holes = holes.as_array().unwrap();
        assert_eq!(
            (holes.len(), holes[49].as_str()),
            (50, Some("69 more")),
            "{holes:?}"
        );
    }
}

#[test]
fn the_bindings_of_workloads_that_use_them_are_not_to_be_deleted() {
    let message = |is_used: bool| {
        let mut world = World::new();
        let pod = world.pod("idle", "other-0", -900);
        let owner = &mut world.objects.last_mut().unwrap()["metadata"]["ownerReferences"][0];
        owner["name"] = "other".into();
        if is_used {
            world.ask(
                2000,
                &token("idle", "other-0", &pod),
                "get",
                200,
                &allowed_by("idle"),
            );
        }
        let (_, text, _) = run(&world, &["scan", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        let mut items = list["items"].as_array().unwrap().iter();
        let idle = items
            .find(|item| item["metadata"]["name"] == "idle")
            .unwrap();
        assert_eq!(idle["status"]["reason"], "NeverUsed");
        let targets: Vec<_> = idle["status"]["remediation"]["patches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|patch| {
                patch["target"]["kind"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        (
            idle["status"]["message"].as_str().unwrap().to_owned(),
            targets,
        )
    };
    let (both, _) = message(false);
    assert!(
        both.starts_with("2 pods carry") && both.ends_with("or delete the bindings"),
        "{both}"
    );
    let (one, targets) = message(true);
    assert!(
        one.starts_with("1 pod carries")
            && one.contains(
                "for StatefulSet/idle alone: other workloads of the account use its bindings"
            ),
        "{one}"
    );
    assert!(
        !one.contains("delete the bindings") && !targets.contains(&"ServiceAccount".to_owned()),
        "{one} {targets:?}"
    );
}

/// A workload of a custom kind may own pods of any name; that it may have owned one does not say that no other did.
#[test]
fn a_custom_kind_does_not_explain_away_a_use_by_whom_is_not_known() {
    let custom = |name: &str| {
        json!({ "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "template": { "spec": { "serviceAccountName": "idle", "containers": [{ "name": "c", "image": "i" }] } } } })
    };
    for (kinds, used, is_expected) in [
        (0, true, false),
        (1, true, false),
        (2, true, false),
        (0, false, true),
        (1, false, true),
    ] {
        let mut world = World::new();
        for n in 0..kinds {
            world.objects.push(custom(&format!("kn-{n}")));
        }
        if used {
            let user = token("idle", "canary", &uid_of_gone());
            world.ask(1200, &user, "get", 200, &allowed_by("idle"));
        }
        let chain = explained(&world, "idle");
        let own = chain
            .lines()
            .find(|line| line.contains("StatefulSet/idle, 1 pod"));
        let is_never = own.is_some_and(|line| line.contains("NeverUsed"));
        assert_eq!(is_never, is_expected, "{kinds} {used}: {chain}");
    }
}

#[test]
fn a_policy_that_drops_subresources_of_reviews_drops_reviews() {
    let drops = |resource: &str| {
        let dropped = format!(
            "{{level: None, users: [vault], resources: [{{group: authentication.k8s.io, resources: ['{resource}']}}]}}"
        );
        ALL.replace("rules: [", &format!("rules: [{dropped}, "))
    };
    let world = World::new();
    for (resource, expected) in [
        ("tokenreviews/*", Reason::DirectGrant),
        ("tokenreviews", Reason::DirectGrant),
        ("selfsubjectreviews", Reason::NeverUsed),
    ] {
        let found = world.reasons(&world.events, &drops(resource));
        assert_eq!(found["idle"], expected, "{resource}");
    }
}

#[test]
fn a_cut_line_is_that_of_a_running_server_only_at_the_end_of_its_newest_file() {
    let world = World::new();
    let text_of = |server: usize, hour: i64| -> String {
        let events = world.events.iter();
        let own = events.filter(|event| event.server == server && event.time / 3600 == hour);
        own.map(|event| line(&event.value)).collect()
    };
    let cut = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Meta"#;
    let parts = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
        .map(|(server, hour)| text_of(server, hour));
    let never = |files: &[String]| {
        let dir = tempfile::tempdir().unwrap();
        for (number, text) in files.iter().enumerate() {
            fs::write(dir.path().join(format!("{number}.log")), text).unwrap();
        }
        world.reasons_in(dir.path(), ALL)["idle"] == Reason::NeverUsed
    };
    let [a0, a1, a2, b0, b1, b2] = parts.each_ref().map(String::as_str);
    // The newest file of a server that goes on.
    assert!(never(&[
        a0.to_owned(),
        [a1, a2, cut].concat(),
        b0.to_owned(),
        [b1, b2].concat()
    ]));
    // An older one, and then files that became one: of one server, and of two.
    assert!(!never(&[
        [a0, cut].concat(),
        [a1, a2].concat(),
        [b0, b1, b2].concat()
    ]));
    assert!(!never(&[[a1, a2, a0, cut].concat(), [b0, b1, b2].concat()]));
    assert!(!never(&[[a0, a1, a2, b0, b1, b2, cut].concat()]));
}

#[test]
fn events_in_forms_that_are_not_read_are_said_and_prove_nothing() {
    let world = World::new();
    let used = event(
        "u",
        &token("idle", "idle-0", &uid(1)),
        "get",
        &json!({}),
        200,
        "",
    );
    let flow = "auditID: u\nkind: Event\nstage: ResponseComplete\n";
    let escaped = line(&used).replace("system:serviceaccount:", "system\\u003aserviceaccount:");
    for (name, text) in [
        ("events.yaml", flow.to_owned()),
        (
            "firehose.log",
            "{\"awslogs\": {\"data\": \"H4sIAAAA\"}}\n".to_owned(),
        ),
        ("escaped.log", escaped),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write_logs(dir.path(), &world.events);
        assert_eq!(world.reasons_in(dir.path(), ALL)["idle"], Reason::NeverUsed);
        fs::write(dir.path().join(name), text).unwrap();
        let found = world.reasons_in(dir.path(), ALL);
        assert_ne!(found["idle"], Reason::NeverUsed, "{name}");
    }
}

/// A request that only an authenticated user may send fails without the token, whatever allowed it.
#[test]
fn what_kubernetes_itself_does_not_allow_is_use() {
    const THROTTLED: &str = "429";
    let all = r#"RBAC: allowed by RoleBinding "all/shop" of Role "reader" to Group "system:authenticated""#;
    let own = r#"RBAC: allowed by RoleBinding "own/shop" of Role "reader" to ServiceAccount "nothing/shop""#;
    let everybody = json!({ "kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io" });
    let itself = json!({ "kind": "ServiceAccount", "name": "nothing" });
    for (bindings, reason, expected) in [
        (vec![], "allowed by OPA", Reason::InUse),
        (vec![], "", Reason::InUse),
        // It was turned away before anybody decided.
        (vec![], THROTTLED, Reason::NoPermissions),
        (vec![("all", "reader", &everybody)], all, Reason::InUse),
        // What the group has covers what the account has.
        (
            vec![("all", "reader", &everybody), ("own", "reader", &itself)],
            own,
            Reason::InUse,
        ),
        (vec![("own", "elsewhere", &itself)], own, Reason::InUse),
        // A binding that is gone.
        (vec![], own, Reason::UsedWithoutPermission),
    ] {
        let mut world = World::new();
        for (name, role, subject) in &bindings {
            world.objects.push(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": name, "namespace": "shop" },
                "roleRef": { "kind": "Role", "name": role }, "subjects": [subject],
            }));
        }
        let uid = pod(&mut world, "nothing-0")["metadata"]["uid"].clone();
        let user = token("nothing", "nothing-0", uid.as_str().unwrap());
        let (code, reason) = match reason {
            THROTTLED => (429, ""),
            reason => (200, reason),
        };
        world.ask(2500, &user, "list", code, reason);
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["nothing"], expected, "{reason} {bindings:?}");
        let chain = explained(&world, "nothing");
        assert!(
            expected == Reason::NoPermissions
                || !chain.contains("only for what the default permissions allow"),
            "{chain}"
        );
    }
}
