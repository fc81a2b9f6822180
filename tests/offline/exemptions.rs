//! Exemptions by annotation and by `--config`, in files.

use std::fs;

use serde_json::Value;

use crate::rig::program;

/// Workloads with an account each: `plain` has no annotation, the others have one.
const WORKLOADS: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: told, namespace: a, annotations: {tokenexposure.io/exempt: asks a cloud by it}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: told, namespace: a}
spec: {template: {spec: {serviceAccountName: told, containers: [{name: c}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain, namespace: a}
spec:
  template:
    metadata: {labels: {app: plain}}
    spec: {serviceAccountName: plain, containers: [{name: c, env: [{name: SESAME_ADDR, value: x}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dated, namespace: a}
spec:
  template:
    metadata: {annotations: {tokenexposure.io/exempt: until the move, tokenexposure.io/exempt-until: 2999-12-31}}
    spec: {serviceAccountName: dated, containers: [{name: c}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ended, namespace: a}
spec:
  template:
    metadata: {annotations: {tokenexposure.io/exempt: until the move, tokenexposure.io/exempt-until: 2020-02-29}}
    spec: {serviceAccountName: ended, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: a, annotations: {tokenexposure.io/exempt: a test}}
spec: {serviceAccountName: shared, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: a}
spec: {serviceAccountName: shared, containers: [{name: c}]}
";

/// Name and status of each account of a scan; its exit code and standard error.
fn scan(input: &str, config: Option<&str>) -> (Vec<(String, Value)>, i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let mut args = vec!["scan", "-o", "json", "--report-scope", "all", "-"];
    if let Some(config) = config {
        fs::write(&path, config).unwrap();
        args.extend(["--config", path.to_str().unwrap()]);
    }
    let output = program(&args, input);
    let error = String::from_utf8(output.stderr).unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let row = |item: &Value| {
        let name = item["metadata"]["name"].as_str().unwrap().to_owned();
        (name, item["status"].clone())
    };
    let error = error.replace(dir.path().to_str().unwrap(), "DIR");
    (
        items.iter().map(row).collect(),
        output.status.code().unwrap(),
        error,
    )
}

/// The account's verdict and message.
fn status_of(found: &[(String, Value)], account: &str) -> (String, String) {
    let (_, status) = found.iter().find(|(name, _)| name == account).unwrap();
    let text = |field: &str| status[field].as_str().unwrap().to_owned();
    (text("verdict"), text("message"))
}

#[test]
fn annotations_exempt_a_token_with_a_reason_and_an_end_date() {
    let (found, code, error) = scan(WORKLOADS, None);
    let verdict = |account| status_of(&found, account);
    let exempted = |message: &str| ("Exempted".to_owned(), message.to_owned());
    assert_eq!(
        verdict("told"),
        exempted(
            "1 pod carries a token that is exempted: asks a cloud by it (annotation of the ServiceAccount)"
        )
    );
    assert_eq!(
        verdict("dated"),
        exempted(
            "1 pod carries a token that is exempted until 2999-12-31: until the move (annotation of the pods of Deployment/dated)"
        )
    );
    let (ended, message) = verdict("ended");
    assert_eq!(ended, "Unneeded");
    assert!(
        message.ends_with("; its exemption expired after 2020-02-29: until the move"),
        "{message}"
    );
    // One of two pods of an account is exempted: the other is still a finding, and its remediation does
    // not change the exempted one.
    let (shared, _) = verdict("shared");
    assert_eq!(shared, "Unneeded");
    let (_, status) = found.iter().find(|(name, _)| name == "shared").unwrap();
    assert_eq!(status["pods"], 1);
    assert!(
        !status["remediation"]
            .to_string()
            .contains("ServiceAccount\""),
        "{status}"
    );
    assert_eq!((code, error.as_str()), (1, NOTE));
}

const NOTE: &str = "note: the input contains no RBAC objects: permissions granted elsewhere in the cluster are not considered; add them or use `--with-cluster`\n";

#[test]
fn a_report_shows_the_exemption() {
    let (found, _, _) = scan(WORKLOADS, None);
    let (_, status) = found.iter().find(|(name, _)| name == "dated").unwrap();
    assert_eq!(
        status["exemption"],
        serde_json::json!({
            "state": "Active",
            "reason": "until the move",
            "until": "2999-12-31",
            "by": "annotation of the pods of Deployment/dated",
        })
    );
    let (_, status) = found.iter().find(|(name, _)| name == "plain").unwrap();
    assert_eq!(status["exemption"], Value::Null);
}

#[test]
fn an_invalid_annotation_is_an_error_with_its_line_and_is_ignored() {
    let pod = |annotations: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{{annotations}}}}}\nspec: {{containers: [{{name: c}}]}}\n"
        )
    };
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, annotations: {tokenexposure.io/exempt: x}}\nspec: {template: {spec: {containers: [{name: c}]}}}\n";
    let cases = [
        (
            pod("tokenexposure.io/exempt: ''"),
            "standard input:2: Pod p: annotation tokenexposure.io/exempt has no reason: say why the token stays",
        ),
        (
            pod("tokenexposure.io/exempt-until: 2999-01-01"),
            "has no reason",
        ),
        (
            pod("tokenexposure.io/exempt: x, tokenexposure.io/exempt-until: 31.01.2027"),
            "standard input:2: Pod p: annotation tokenexposure.io/exempt-until is not a valid date: use the format 2027-01-31: \"31.01.2027\"",
        ),
        (
            pod("tokenexposure.io/exempt: x, tokenexposure.io/exempt-until: 2027-02-30"),
            "is not a valid date",
        ),
        // It would last forever.
        (
            pod("tokenexposure.io/exempt: x, tokenexposure.io/exempt-untill: 2020-01-01"),
            "standard input:2: Pod p: annotation tokenexposure.io/exempt-untill is unknown: write tokenexposure.io/exempt-until for the last day of the exemption, or remove it",
        ),
        (
            pod("tokenexposure.io/exempt: x, tokenexposure.io/until: 2999-01-01"),
            "annotation tokenexposure.io/until is unknown",
        ),
        (
            pod("tokenexposure.io/exempt: x, tokenexposure.io/exempt_until: 2027-01-31"),
            "annotation tokenexposure.io/exempt_until is unknown",
        ),
        (
            template.to_owned(),
            "standard input:1: Deployment d: annotation tokenexposure.io/exempt is not on the pod template and is ignored: move it to the metadata of the template",
        ),
    ];
    for (input, expected) in cases {
        let (found, code, error) = scan(&input, None);
        assert!(error.contains(expected), "{error}");
        assert_eq!(
            (status_of(&found, "default").0.as_str(), code),
            ("Unneeded", 2)
        );
    }
}

#[test]
fn the_configuration_exempts_by_namespace_name_and_labels() {
    for (rule, verdict) in [
        ("namespace: a", "Exempted"),
        ("namespace: '*'", "Exempted"),
        ("namespace: b", "Unneeded"),
        ("name: pl*n", "Exempted"),
        ("namespace: a, name: other", "Unneeded"),
        ("labels: {app: plain}", "Exempted"),
        ("labels: {app: plain, tier: web}", "Unneeded"),
        ("name: plain, until: 2999-01-01", "Exempted"),
        ("name: plain, until: 2020-01-01", "Unneeded"),
    ] {
        let config = format!("exemptions: [{{reason: because, {rule}}}]");
        let (found, _, error) = scan(WORKLOADS, Some(&config));
        assert_eq!(status_of(&found, "plain").0, verdict, "{rule}: {error}");
    }
}

#[test]
fn the_configuration_adds_known_consumers_default_permissions_and_audiences() {
    let config = "knownConsumers: [{name: Sesame, variables: [SESAME_ADDR]}]";
    let (found, _, _) = scan(WORKLOADS, Some(config));
    let (verdict, message) = status_of(&found, "plain");
    assert_eq!(verdict, "Review");
    assert!(message.contains("Sesame may use it"), "{message}");

    let annotated = "{kind: Pod, metadata: {name: p, annotations: {sesame/inject: 'VALUE'}}, spec: {containers: [{name: c}]}}";
    let config = "knownConsumers: [{name: Sesame, annotations: [sesame/inject]}]";
    for (value, verdict) in [("true", "Review"), ("false", "Unneeded")] {
        let (found, _, _) = scan(&annotated.replace("VALUE", value), Some(config));
        assert_eq!(status_of(&found, "default").0, verdict);
    }

    let granted = "
{kind: Pod, metadata: {name: p}, spec: {containers: [{name: c}]}}
---
{kind: Role, apiVersion: rbac.authorization.k8s.io/v1, metadata: {name: r}, rules: [{apiGroups: [''], resources: [configmaps], resourceNames: [a], verbs: [get]}]}
---
{kind: RoleBinding, apiVersion: rbac.authorization.k8s.io/v1, metadata: {name: b}, roleRef: {kind: Role, name: r}, subjects: [{kind: ServiceAccount, name: default}]}
";
    // Default permissions are those of groups: a binding that names the account is none.
    let group = granted.replace(
        "{kind: ServiceAccount, name: default}",
        "{kind: Group, apiGroup: rbac.authorization.k8s.io, name: 'system:serviceaccounts:default'}",
    );
    for (subject, verbs, verdict) in [
        (&*group, "[get, list]", "Unneeded"),
        (&*group, "[list]", "Review"),
        (granted, "[get, list]", "Needed"),
    ] {
        let rule = format!("{{apiGroups: [''], resources: [configmaps], verbs: {verbs}}}");
        let old = format!("baseline: [{rule}]");
        let to = "'system:serviceaccounts:<namespace>'";
        let new = format!("defaultPermissions: [{{name: us, to: {to}, rules: [{rule}]}}]");
        for config in [old, new] {
            let (found, _, error) = scan(subject, Some(&config));
            assert_eq!(status_of(&found, "default").0, verdict, "{config}: {error}");
        }
    }

    let audience = "{kind: Pod, metadata: {name: p}, spec: {automountServiceAccountToken: false, containers: [{name: c, volumeMounts: [{name: v, mountPath: /t}]}], volumes: [{name: v, projected: {sources: [{serviceAccountToken: {audience: mine, path: token}}]}}]}}";
    for (config, verdict) in [
        ("", "Unknown"),
        ("apiAudiences: [mine]", "Review"),
        ("apiAudiences: [other]", "NoToken"),
    ] {
        let (found, _, _) = scan(audience, Some(config));
        assert_eq!(status_of(&found, "default").0, verdict);
    }
}

#[test]
fn an_invalid_configuration_is_an_error_with_its_place_and_the_fix() {
    let config = "exemptions:\n- reason: r\n  nmae: x\n";
    let (_, code, error) = scan(WORKLOADS, Some(config));
    assert_eq!(
        (code, error.as_str()),
        (
            2,
            "error: DIR/config.yaml:3:3: unknown field `nmae`, expected one of reason, until, namespace, name, labels\n"
        )
    );
    let output = program(&["scan", "-", "--config", "missing.yaml"], "");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error.starts_with("error: missing.yaml: cannot be read: "),
        "{error}"
    );
}

/// What a distribution grants to all accounts: exactly these rules, by this group, in this scope.
#[test]
#[rustfmt::skip]
fn what_a_distribution_grants_to_every_account_is_a_default_permission() {
    let world = |role: &str, binding: &str| {
        format!(
            "{{kind: Pod, metadata: {{name: p, namespace: shop}}, spec: {{containers: [{{name: c}}]}}}}\n---\n\
             {{kind: ClusterRole, apiVersion: rbac.authorization.k8s.io/v1, metadata: {{name: 'system:image-puller'}}, rules: [{role}]}}\n---\n\
             {{apiVersion: rbac.authorization.k8s.io/v1, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:image-puller'}}, {binding}}}\n"
        )
    };
    let pull =
        "{apiGroups: ['', image.openshift.io], resources: [imagestreams/layers], verbs: [get]}";
    let older = "{apiGroups: [''], resources: [imagestreams/layers], verbs: [get]}";
    let more = format!("{pull}, {{apiGroups: [''], resources: [secrets], verbs: [get]}}");
    let to = |kind: &str, namespace: &str, subject: &str| {
        format!(
            "kind: {kind}, metadata: {{name: 'system:image-pullers'{namespace}}}, subjects: [{subject}]"
        )
    };
    let group = |name: &str| {
        format!("{{kind: Group, apiGroup: rbac.authorization.k8s.io, name: '{name}'}}")
    };
    let own = to(
        "RoleBinding",
        ", namespace: shop",
        &group("system:serviceaccounts:shop"),
    );
    let account = "{kind: ServiceAccount, name: default, namespace: shop}";
    let all = group("system:serviceaccounts");
    let of_shop = group("system:serviceaccounts:shop");
    let (shop, other) = (", namespace: shop", ", namespace: other");
    for (role, binding, config, verdict) in [
        (pull, &own, "", "Unneeded"),
        (older, &own, "", "Unneeded"),
        (&*more, &own, "", "Review"),
        (pull, &own, "disable: [OpenShift]", "Review"),
        (pull, &to("RoleBinding", shop, &all), "", "Review"),
        (pull, &to("RoleBinding", other, &of_shop), "", "Review"),
        (pull, &to("ClusterRoleBinding", "", &of_shop), "", "Review"),
        (pull, &to("RoleBinding", shop, account), "", "Needed"),
        (pull, &to("RoleBinding", other, account), "", "Needed"),
    ] {
        let (found, _, error) = scan(&world(role, binding), Some(config));
        let all = format!("{role} {binding} {config}: {error}");
        let (found, message) = status_of(&found, "default");
        assert_eq!(found, verdict, "{all}");
        let set_aside = "nothing needs beyond what OpenShift grants to every ServiceAccount";
        assert_eq!(
            message.contains(set_aside),
            verdict == "Unneeded",
            "{message}"
        );
    }
    let (_, code, error) = scan(WORKLOADS, Some("disable: [Openshift]\n"));
    assert_eq!(code, 2);
    assert!(error.contains("`disable` names no built-in default permissions: \"Openshift\": remove it, or use one of: OpenShift"), "{error}");
}
