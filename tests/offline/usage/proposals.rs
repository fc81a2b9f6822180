//! The smallest Role that covers what was seen.

use super::*;

/// Grants the account `reader-list` more, with a RoleBinding of this name, which sorts before the others.
fn grant(world: &mut World, name: &str, rules: &Value) {
    let metadata = json!({ "name": name, "namespace": "shop" });
    world.objects.push(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules }));
    world.objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": { "kind": "Role", "name": name }, "subjects": [{ "kind": "ServiceAccount", "name": "reader-list" }],
    }));
}

/// What `-o role` prints for the account `reader-list`, and what `explain` says.
fn proposed(world: &World) -> (String, String) {
    let (_, role, error) = run(world, &["explain", "-o", "role", "shop/reader-list"]);
    assert_eq!(error, "");
    (role, run(world, &["explain", "shop/reader-list"]).1)
}

/// One more request of the account `reader-list`.
fn ask_more(world: &mut World, verb: &str, resource: &str, group: &str, reason: &str) {
    let own = &pod(world, "reader-list-0")["metadata"]["uid"];
    let uid = own.as_str().unwrap().to_owned();
    let at = world.ask(
        3000,
        &token("reader-list", "reader-list-0", &uid),
        verb,
        200,
        reason,
    );
    world.events[at].value["objectRef"] =
        json!({ "resource": resource, "namespace": "shop", "apiGroup": group });
}

#[test]
fn a_proposal_covers_requests_whatever_the_name_of_the_object() {
    // A grant for all objects covers what was seen; one for a single name may not.
    let mut world = World::new();
    let named = |names: &[&str]| json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"], "resourceNames": names }]);
    grant(&mut world, "a-first", &named(&["one"]));
    let (role, _) = proposed(&world);
    assert!(
        role.contains("list") && !role.contains("resourceNames"),
        "{role}"
    );
    // With two grants for names, both.
    let mut world = World::new();
    let secrets = |name: &str| json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": [name] }]);
    grant(&mut world, "a-first", &secrets("one"));
    grant(&mut world, "b-second", &secrets("two"));
    ask_more(&mut world, "get", "secrets", "", &allowed_by("b-second"));
    let (role, _) = proposed(&world);
    assert!(role.contains("one") && role.contains("two"), "{role}");
    assert!(
        role.contains("which of them were used is not kept"),
        "{role}"
    );
}

#[test]
fn a_proposal_says_what_it_could_not_cover() {
    let mut world = World::new();
    ask_more(&mut world, "get", "secrets", "", &allowed_by("gone"));
    let (role, _) = proposed(&world);
    assert!(
        role.contains("`get secrets in namespace shop` was allowed, and no present binding"),
        "{role}"
    );
    let mut world = World::new();
    let rules = json!([
        { "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create"] },
    ]);
    grant(&mut world, "a-binder", &rules);
    let bind = json!([{ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["bind"] }]);
    grant(&mut world, "b-bind", &bind);
    let idle = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]);
    grant(&mut world, "c-idle", &idle);
    ask_more(
        &mut world,
        "create",
        "rolebindings",
        "rbac.authorization.k8s.io",
        &allowed_by("a-binder"),
    );
    let (role, chain) = proposed(&world);
    assert!(
        role.contains("may need `bind` or `escalate`, which are not proposed"),
        "{role}"
    );
    let unused = chain
        .lines()
        .find(|line| line.contains("not used in this time"))
        .unwrap_or_default();
    assert!(
        unused.contains("shop/c-idle") && !unused.contains("b-bind"),
        "{chain}"
    );
}

#[test]
fn a_proposal_leaves_out_what_everybody_may() {
    let mut world = World::new();
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    grant(&mut world, "a-wide", &rules);
    ask_more(
        &mut world,
        "create",
        "selfsubjectaccessreviews",
        "authorization.k8s.io",
        &allowed_by("a-wide"),
    );
    let (role, _) = proposed(&world);
    assert!(!role.contains("selfsubjectaccessreviews"), "{role}");
}

#[test]
fn a_proposal_never_widens_what_was_asked_for() {
    // In a rule, a star stands for everything: a client may ask for a thing of this name.
    let mut world = World::new();
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    grant(&mut world, "a-wide", &rules);
    for (verb, resource, group) in [
        ("list", "*", ""),
        ("get", "pods/*", ""),
        ("list", "jobs", "*"),
    ] {
        ask_more(&mut world, verb, resource, group, &allowed_by("a-wide"));
    }
    let (role, _) = proposed(&world);
    assert!(
        role.contains("in a rule it stands for everything"),
        "{role}"
    );
    let rules: String = role.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(
        !rules.contains('*') && rules.contains("configmaps"),
        "{role}"
    );
}

#[test]
fn a_rule_for_names_covers_no_request_without_a_name() {
    let rule = |verbs: &[&str], names: &[&str]| json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": verbs, "resourceNames": names });
    let mut world = World::new();
    let named = rule(&["create", "deletecollection", "get"], &["one"]);
    grant(&mut world, "a-named", &json!([named]));
    let any = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "deletecollection"] }]);
    grant(&mut world, "b-any", &any);
    for verb in ["create", "deletecollection"] {
        ask_more(&mut world, verb, "secrets", "", &allowed_by("b-any"));
    }
    ask_more(&mut world, "get", "secrets", "", &allowed_by("a-named"));
    let (_, chain) = proposed(&world);
    let lines: Vec<_> = chain.lines().map(str::trim).collect();
    assert!(
        lines.contains(&"create, deletecollection secrets"),
        "{chain}"
    );
    assert!(lines.contains(&r#"get secrets named "one""#), "{chain}");
    // Without the other one, nothing present allows them.
    world
        .objects
        .retain(|object| object["metadata"]["name"] != "b-any");
    let (_, chain) = proposed(&world);
    assert!(
        chain.contains(
            "`deletecollection secrets in namespace shop` was allowed, and no present binding"
        ),
        "{chain}"
    );
}

#[test]
fn lists_by_name_or_label_are_lists() {
    let mut world = World::new();
    let named = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"], "resourceNames": ["a", "b"] }]);
    grant(&mut world, "a-named", &named);
    ask_more(&mut world, "list", "secrets", "", &allowed_by("a-named"));
    let last = world.events.len() - 1;
    world.events[last].value["requestURI"] =
        "/api/v1/namespaces/shop/secrets?fieldSelector=metadata.name%3Da&labelSelector=app%3Dmail"
            .into();
    let (role, chain) = proposed(&world);
    assert!(
        role.contains("which of them were used is not kept"),
        "{role}"
    );
    assert!(
        role.contains("`list` and `watch` are proposed together"),
        "{role}"
    );
    assert!(
        !role.contains("mail\n") && !chain.contains("labelSelector"),
        "{chain}"
    );
    let rules: String = role.lines().filter(|line| !line.starts_with('#')).collect();
    for part in ["resourceNames", "- a", "- b", "- list", "- watch"] {
        assert!(rules.contains(part), "{part}: {role}");
    }
}

/// Grants URLs to the account `reader-list`.
fn grant_urls(world: &mut World, urls: &[&str]) {
    let rules = json!([{ "nonResourceURLs": urls, "verbs": ["get"] }]);
    world.objects.push(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "urls" }, "rules": rules }));
    world.objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "urls" },
        "roleRef": { "kind": "ClusterRole", "name": "urls" }, "subjects": [{ "kind": "ServiceAccount", "name": "reader-list", "namespace": "shop" }],
    }));
}

#[test]
fn a_path_is_the_one_that_the_authorizer_saw() {
    let reason = r#"RBAC: allowed by ClusterRoleBinding "urls" of ClusterRole "urls" to ServiceAccount "reader-list/shop""#;
    for (granted, path, proposed_url) in [
        ("/metrics", "/metrics?x=1", Some("/metrics")),
        ("/metrics", "/%6detrics", Some("/metrics")),
        ("/metrics/*", "/metrics/a%2Fb", Some("/metrics/a/b")),
        ("*", "/metrics/*", None),
        ("*", "/%2A", None),
        ("/metrics", "/%256detrics", None),
    ] {
        let mut world = World::new();
        grant_urls(&mut world, &[granted]);
        ask_more(&mut world, "get", "", "", reason);
        let last = world.events.len() - 1;
        world.events[last].value["objectRef"] = Value::Null;
        world.events[last].value["requestURI"] = path.into();
        let (role, _) = proposed(&world);
        let found = role.split("nonResourceURLs:").nth(1);
        let found = found.map(|rest| {
            rest.trim_start()
                .trim_start_matches("- ")
                .lines()
                .next()
                .unwrap()
        });
        assert_eq!(found, proposed_url, "{path}: {role}");
        assert_eq!(
            role.contains("# Note"),
            proposed_url.is_none() || role.contains("together"),
            "{role}"
        );
    }
}

#[test]
fn proposed_roles_of_two_accounts_have_two_names() {
    let mut world = World::new();
    // An account of the same name in another namespace, which works in this one.
    world.objects.push(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "reader-list", "namespace": "other" } }));
    world.objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "other", "namespace": "shop" },
        "roleRef": { "kind": "Role", "name": "reader" }, "subjects": [{ "kind": "ServiceAccount", "name": "reader-list", "namespace": "other" }],
    }));
    let mut user = token("reader-list", "reader-list-0", &uid_of_gone());
    user["username"] = "system:serviceaccount:other:reader-list".into();
    world.ask(3000, &user, "get", 200, &allowed_by("other"));
    let names = |account: &str| {
        let (_, role, _) = run(&world, &["explain", "-o", "role", account]);
        let names = role
            .lines()
            .filter(|line| line.trim_start().starts_with("name: "));
        names
            .map(|line| line.trim().to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert!(names("shop/reader-list").contains("name: reader-list-used"));
    let other = names("other/reader-list");
    assert!(
        other
            .iter()
            .any(|name| name.contains("other:reader-list-used"))
            && !other.contains("name: reader-list-used"),
        "{other:?}"
    );
}

/// Grants the account `reader-list` verbs on a resource.
fn allow(world: &mut World, name: &str, verbs: &[&str], resource: &str) {
    let rule = json!({ "apiGroups": [""], "resources": [resource], "verbs": verbs });
    grant(world, name, &json!([rule]));
}

#[test]
fn a_patch_that_creates_an_object_needs_create_too() {
    for (code, creates) in [(201, true), (200, false)] {
        let mut world = World::new();
        allow(&mut world, "b-patch", &["patch"], "secrets");
        allow(&mut world, "c-create", &["create"], "secrets");
        ask_more(&mut world, "patch", "secrets", "", &allowed_by("b-patch"));
        let event = world.events.last_mut().unwrap();
        event.value["responseStatus"]["code"] = code.into();
        let (_, chain) = proposed(&world);
        let both = chain
            .lines()
            .any(|line| line.trim() == "create, patch secrets");
        assert_eq!(both, creates, "{code}: {chain}");
        // The authorizer names one of two bindings: the other may be in use, whatever this one created.
        assert!(
            !chain.contains("not used in this time: RoleBinding shop/c-create"),
            "{chain}"
        );
    }
}

#[test]
fn a_stream_by_web_socket_needs_create_too() {
    let mut world = World::new();
    allow(&mut world, "b-get", &["get"], "pods/exec");
    allow(&mut world, "c-create", &["create"], "pods/exec");
    ask_more(&mut world, "get", "pods", "", &allowed_by("b-get"));
    let event = world.events.last_mut().unwrap();
    event.value["objectRef"]["subresource"] = "exec".into();
    event.value["responseStatus"]["code"] = 101.into();
    let (_, chain) = proposed(&world);
    assert!(
        chain.lines().any(|line| line.trim() == "get pods/exec"),
        "{chain}"
    );
    assert!(
        !chain.contains("not used in this time: RoleBinding shop/c-create"),
        "{chain}"
    );
    allow(&mut world, "d-both", &["create", "get"], "pods/exec");
    world
        .objects
        .retain(|object| object["metadata"]["name"] != "b-get");
    let (role, chain) = proposed(&world);
    assert!(
        chain
            .lines()
            .any(|line| line.trim() == "create, get pods/exec"),
        "{chain}"
    );
    assert!(
        role.contains("an API server since 1.35 asks for both"),
        "{role}"
    );
}

#[test]
fn what_was_only_received_was_not_allowed() {
    let mut world = World::new();
    allow(&mut world, "b-new", &["list"], "secrets");
    ask_more(&mut world, "list", "secrets", "", "");
    let mut denied = world.events.last().unwrap().clone();
    denied.value["responseStatus"]["code"] = 403.into();
    denied.value["annotations"]["authorization.k8s.io/decision"] = "forbid".into();
    let received = world.events.last_mut().unwrap();
    received.value["stage"] = "RequestReceived".into();
    let event = received.value.as_object_mut().unwrap();
    event.retain(|field, _| field != "responseStatus" && field != "annotations");
    // More are received than have ended: of what kind the others were is not known.
    let again = world.events.last().unwrap().clone();
    world.events.push(again);
    let (_, unanswered) = proposed(&world);
    assert!(
        unanswered.contains("more kinds of requests than are kept"),
        "{unanswered}"
    );
    world.events.pop();
    world.events.push(denied);
    let (role, chain) = proposed(&world);
    assert!(
        !role.contains("secrets") && !chain.contains("was allowed"),
        "{chain}"
    );
    assert!(
        chain.contains("list secrets in namespace shop (denied): once"),
        "{chain}"
    );
    assert!(!chain.contains("more kinds of requests"), "{chain}");
}

#[test]
fn a_request_without_a_verb_is_not_proposed() {
    let mut world = World::new();
    allow(&mut world, "b-all", &["*"], "secrets");
    ask_more(&mut world, "", "secrets", "", &allowed_by("b-all"));
    let (role, _) = proposed(&world);
    assert!(
        !role.contains("no verb") && role.contains("without a verb"),
        "{role}"
    );
}

#[test]
fn a_binding_with_a_quote_in_its_name_is_seen_to_be_used() {
    for (name, quoted) in [("b-plain", "b-plain"), ("b\"quoted", "b\\\"quoted")] {
        let mut world = World::new();
        allow(&mut world, name, &["get"], "secrets");
        let unused = format!("not used in this time: RoleBinding shop/{name}");
        let (_, chain) = proposed(&world);
        assert!(chain.contains(&unused), "{chain}");
        ask_more(&mut world, "get", "secrets", "", &allowed_by(quoted));
        let (_, chain) = proposed(&world);
        assert!(!chain.contains(&unused), "{chain}");
    }
}

#[test]
fn no_binding_is_called_unused_while_it_is_doubted() {
    let unused = "not used in this time: RoleBinding shop/b-more";
    let mut world = World::new();
    allow(&mut world, "b-more", &["get"], "secrets");
    assert!(proposed(&world).1.contains(unused));
    // The workload has run for a minute.
    let mut young = World::new();
    allow(&mut young, "b-more", &["get"], "secrets");
    pod(&mut young, "reader-list-0")["status"]["startTime"] = time(LENGTH - 60).into();
    assert!(!proposed(&young).1.contains(unused));
    // A proxy has tokens reviewed, and asks whether their accounts may do something.
    let review = json!({ "resource": "tokenreviews", "apiGroup": "authentication.k8s.io" });
    let proxy = token("busy", "busy-0", &uid(901));
    let value = event("review", &proxy, "create", &review, 201, "");
    world.log(0, 1000, value);
    assert!(!proposed(&world).1.contains(unused));
}
