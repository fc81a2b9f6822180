//! No token of an event is printed, wherever it stands and whatever the format.

use super::*;

/// Events with a token, and with a password that is none, in each of their fields.
fn anywhere(world: &mut World, text: &str) {
    let user = token("idle", "idle-0", &uid(1));
    let admin = json!({ "username": text, "groups": ["system:authenticated"] });
    let path = format!(
        "/api/v1/namespaces/shop/configmaps/{text}?token={text}&access_token=opaque-secret"
    );
    let object = json!({ "resource": "configmaps", "namespace": "shop", "name": text });
    let reviews =
        json!({ "resource": "tokenreviews", "apiGroup": "authentication.k8s.io", "name": text });
    let lease = json!({ "resource": "leases", "namespace": "kube-system", "name": format!("apiserver-{text}"), "apiGroup": "coordination.k8s.io" });
    let server = json!({ "username": "system:apiserver", "groups": ["system:masters"] });
    let mut events = vec![
        event("in-path", &user, "get", &object, 200, &allowed_by("idle")),
        event("in-name-of-reviewer", &admin, "create", &reviews, 201, ""),
        event("in-reason", &user, "get", &object, 200, &allowed_by(text)),
        event("in-verb", &user, text, &object, 200, &allowed_by("idle")),
        event("in-lease", &server, "update", &lease, 200, ""),
        event(text, &user, "get", &object, 403, text),
    ];
    for (number, field) in ["resource", "subresource", "apiGroup", "namespace"]
        .into_iter()
        .enumerate()
    {
        let mut object = object.clone();
        object[field] = text.into();
        events.push(event(
            &format!("in-{number}"),
            &user,
            "list",
            &object,
            200,
            &allowed_by("idle"),
        ));
    }
    let mut pod = user.clone();
    pod["extra"]["authentication.kubernetes.io/pod-name"] = json!([text]);
    events.push(event(
        "in-pod",
        &pod,
        "get",
        &object,
        200,
        &allowed_by("idle"),
    ));
    let mut credential = user.clone();
    credential["extra"]["authentication.kubernetes.io/credential-id"] = json!([text]);
    credential["extra"][text] = json!([text, "opaque-secret"]);
    credential["groups"]
        .as_array_mut()
        .unwrap()
        .push(text.into());
    events.push(event(
        "in-extra",
        &credential,
        "get",
        &object,
        200,
        &allowed_by("idle"),
    ));
    for mut value in events {
        value["requestURI"] = path.clone().into();
        value["userAgent"] = format!("agent/{text} opaque-secret").into();
        value["sourceIPs"] = json!([text]);
        value["responseStatus"]["message"] = format!("{text} opaque-secret").into();
        world.log(0, 2002, value);
    }
}

/// The beginning of a token in base64.
const TWICE: &str = "ZXlKaGJHY2lPaUpTVXpJMU5pSjkuZXlKemRXSWlPaUo0SW4w";

#[test]
fn no_token_in_a_request_is_printed() {
    let mut world = World::new();
    let token_text = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
    let user = token("idle", "idle-0", &uid(1));
    let encoded = token_text.replace("eyJ", "%65yJ").replace('.', "%2E");
    for (number, path) in [
        format!("/login/{token_text}"),
        format!("/x%3Ftoken={token_text}"),
        format!("/x/{encoded}"),
        format!("/x/{}", token_text.replace('.', "/")),
        // As it stands in a Secret.
        format!("/secret/{TWICE}"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut value = event(
            &format!("t{number}"),
            &user,
            "get",
            &json!(null),
            200,
            &allowed_by("idle"),
        );
        value["requestURI"] = path.into();
        world.log(0, 2000, value);
    }
    let object = json!({ "resource": "configmaps", "namespace": token_text });
    let value = event("namespace", &user, "get", &object, 200, &allowed_by("idle"));
    world.log(0, 2001, value);
    anywhere(&mut world, token_text);
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["explain", "shop/idle"],
        vec!["explain", "shop/idle", "-o", "role"],
        vec!["explain", "shop/reader-list", "-o", "role"],
    ];
    for format in [
        "table", "wide", "json", "yaml", "sarif", "html", "junit", "markdown", "patch",
    ] {
        commands.push(vec!["scan", "-o", format, "--report-scope", "all"]);
    }
    for command in &commands {
        let (code, shown, error) = run(&world, command);
        assert!(matches!(code, Some(0 | 1)), "{command:?}: {error}");
        for part in ["c2lnbmF0dXJl", "eyJ", "ZXlK", "%65yJ", "opaque-secret"] {
            let is_shown = shown.contains(part) || error.contains(part);
            assert!(!is_shown, "{command:?}: {part} in\n{shown}{error}");
        }
    }
    let (_, shown, _) = run(&world, &["explain", "shop/idle"]);
    assert!(shown.contains("get /login/(a token, not shown)"), "{shown}");
}
