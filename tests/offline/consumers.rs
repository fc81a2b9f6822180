//! Who uses the token without RBAC: injected sidecars, clients by their own settings, scripts, probes and configuration.

use std::fs;

use serde_json::{Value, json};

use crate::rig::{scan_files, scan_in};

/// The one report about an input, in namespace `shop`.
fn status(input: &[Value], args: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": input });
    fs::write(dir.path().join("in.json"), list.to_string()).unwrap();
    let (reports, _, error) = scan_files(&[&dir.path().join("in.json")], args);
    assert!(!error.contains("error"), "{error}");
    let own = reports
        .into_iter()
        .find(|report| report["metadata"]["name"] == "app");
    own.unwrap()["status"].clone()
}

/// A Deployment whose template has these metadata and fields of its container, and volumes.
fn deployment(metadata: &Value, container: &Value, volumes: &Value) -> Value {
    let mut container = container.clone();
    container["name"] = "c".into();
    container["image"] = "i".into();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "app", "namespace": "shop" },
        "spec": { "template": { "metadata": metadata, "spec": {
            "serviceAccountName": "app", "containers": [container], "volumes": volumes } } }
    })
}

fn none() -> Value {
    json!({})
}

/// The systems that a template with this container logs in to; empty where the token is unneeded.
fn of_container(container: &Value) -> Vec<String> {
    consumers(&status(&[deployment(&none(), container, &json!([]))], &[]))
}

fn consumers(status: &Value) -> Vec<String> {
    let names = status["consumers"].as_array().into_iter().flatten();
    let names: Vec<_> = names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    let expected = if names.is_empty() {
        "NoPermissions"
    } else {
        "KnownConsumer"
    };
    assert_eq!(status["reason"], expected, "{status}");
    names
}

fn of_metadata(pod: &Value, namespace: &Value) -> Vec<String> {
    let mut metadata = namespace.clone();
    metadata["name"] = "shop".into();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
    consumers(&status(
        &[namespace, deployment(pod, &none(), &json!([]))],
        &[],
    ))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn injection_is_recognised_by_labels_and_annotations_of_pods_and_namespaces() {
    let kuma = |value: &str| json!({ "kuma.io/sidecar-injection": value });
    let labels = |labels: Value| json!({ "labels": labels });
    let annotations = |annotations: Value| json!({ "annotations": annotations });
    let kuma_only = &["Kuma"][..];
    for (says, pod, namespace, expected) in [
        (
            "label of the pod",
            labels(kuma("enabled")),
            none(),
            kuma_only,
        ),
        (
            "older annotation of the pod",
            annotations(kuma("true")),
            none(),
            kuma_only,
        ),
        (
            "label of the namespace",
            none(),
            labels(kuma("enabled")),
            kuma_only,
        ),
        (
            "annotation of the namespace",
            none(),
            annotations(kuma("enabled")),
            kuma_only,
        ),
        (
            "the pod opts out",
            labels(kuma("disabled")),
            labels(kuma("enabled")),
            &[],
        ),
        (
            "the pod opts out by annotation",
            annotations(kuma("false")),
            labels(kuma("enabled")),
            &[],
        ),
        (
            "the namespace says no",
            none(),
            labels(kuma("disabled")),
            &[],
        ),
        (
            "another label",
            labels(json!({ "kuma.io/mesh": "default" })),
            none(),
            &[],
        ),
        (
            "Vault's injector",
            annotations(json!({ "vault.hashicorp.com/agent-inject": "true" })),
            none(),
            &["Vault"],
        ),
        (
            "its agent has a token of its own",
            annotations(json!({
                "vault.hashicorp.com/agent-inject": "true",
                "vault.hashicorp.com/agent-service-account-token-volume-name": "t",
            })),
            none(),
            &[],
        ),
        (
            "its agent has none",
            annotations(json!({
                "vault.hashicorp.com/agent-inject": "true",
                "vault.hashicorp.com/agent-service-account-token-volume-name": "",
            })),
            none(),
            &["Vault"],
        ),
        (
            "the sidecar of a namespace has a token of its own",
            annotations(json!({ "kuma.io/service-account-token-volume": "t" })),
            labels(kuma("enabled")),
            &[],
        ),
        (
            "Deckhouse's injector",
            annotations(json!({ "secrets-store.deckhouse.io/role": "r" })),
            none(),
            &["Stronghold"],
        ),
        (
            "an older one",
            annotations(json!({ "stronghold.deckhouse.io/role": "r" })),
            none(),
            &["Stronghold"],
        ),
        (
            "another annotation of Deckhouse",
            annotations(json!({ "stronghold.deckhouse.io/log-level": "debug" })),
            none(),
            &[],
        ),
        (
            "it is switched off",
            annotations(json!({ "vault.hashicorp.com/agent-inject": "false" })),
            none(),
            &[],
        ),
        (
            "Consul",
            annotations(json!({ "consul.hashicorp.com/connect-inject": "true" })),
            none(),
            &["Consul"],
        ),
        (
            "Linkerd has its own token",
            annotations(json!({ "linkerd.io/inject": "enabled" })),
            annotations(json!({ "linkerd.io/inject": "enabled" })),
            &[],
        ),
        (
            "Dapr has its own token",
            annotations(json!({ "dapr.io/enabled": "true" })),
            none(),
            &[],
        ),
        (
            "Istio has its own token",
            labels(json!({ "sidecar.istio.io/inject": "true" })),
            labels(json!({ "istio-injection": "enabled" })),
            &[],
        ),
        (
            "so has Azure",
            labels(json!({ "azure.workload.identity/use": "true" })),
            none(),
            &[],
        ),
    ] {
        assert_eq!(of_metadata(&pod, &namespace), expected, "{says}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn clients_are_recognised_by_their_own_settings() {
    let env = |name: &str, value: &str| json!({ "env": [{ "name": name, "value": value }] });
    let args = |words: &[&str]| json!({ "args": words });
    for (container, expected) in [
        (
            env(
                "AIRFLOW__SECRETS__BACKEND_KWARGS",
                r#"{"auth_type": "kubernetes"}"#,
            ),
            &["Vault"][..],
        ),
        (
            env(
                "AIRFLOW__SECRETS__BACKEND_KWARGS",
                r#"{"auth_type": "approle"}"#,
            ),
            &[],
        ),
        (
            env("AIRFLOW__SECRETS__BACKEND_KWARG__AUTH_TYPE", "kubernetes"),
            &["Vault"],
        ),
        (
            env(
                "MONGODB_URI",
                "mongodb://m/?authMechanismProperties=ENVIRONMENT:k8s",
            ),
            &["MongoDB"],
        ),
        (env("CASC_VAULT_KUBERNETES_ROLE", "jenkins"), &["Vault"]),
        (env("VAULT_K8S_LOGIN_PATH", "auth/prod/login"), &["Vault"]),
        (env("VAULT_SIDEKICK_ROLE", "r"), &["Vault"]),
        (env("VAULT_SIDEKICK_ROLE_ID", "r"), &[]),
        (env("LOGIN", "auth/prod-eu/login"), &["Vault"]),
        (env("LOGIN", "auth/approle/login"), &[]),
        (env("LOGIN", "auth/users/login"), &[]),
        // Routes of applications, not one path of Vault.
        (env("OPEN", "/v1/auth/signup,/v1/auth/login"), &[]),
        (env("OPEN", "/api/v1/auth/otp/login"), &[]),
        (env("SSO", "https://sso/v1/auth/realms/r/login"), &[]),
        (
            args(&["curl $V/v1/auth/${MOUNT:-k8s,eu}/login"]),
            &["Vault"],
        ),
        (env("VAULT_AUTH_K8S_ROLE", "r"), &["Vault"]),
        (
            args(&["consul-template", "-vault-k8s-auth-role-name", "r"]),
            &["Vault"],
        ),
        (env("VAULT_AUTH_ROLE_NAME", "r"), &[]),
        // Only a script or a command runs a program.
        (env("HELP", "ask kubectl for the logs"), &[]),
        (env("TOOLS", "kubectl helm"), &[]),
        (env("SETUP", "set -e\nkubectl version"), &["kubectl"]),
        (
            args(&["sh", "-c", "wget https://dl.k8s.io/v1/kubectl"]),
            &[],
        ),
        (args(&["sh", "-c", "echo oc && oc whoami"]), &["oc"]),
        (args(&["oc", "get", "pods"]), &["oc"]),
        (args(&["docker", "--log-driver=oc", "oc"]), &[]),
        (env("ENVIRONMENT", "k8s"), &[]),
        (env("P", "TOKEN_RESOURCE:x,ENVIRONMENT:k8s"), &[]),
        (
            env(
                "P",
                "authMechanismProperties=TOKEN_RESOURCE:x,ENVIRONMENT:k8s",
            ),
            &["MongoDB"],
        ),
        (env("URL", "https://sso/oauth/authorize?next=/login"), &[]),
        (
            args(&[
                "vault",
                "login",
                "-method=kubernetes",
                "-path=prod",
                "role=r",
            ]),
            &["Vault"],
        ),
        (
            args(&["vault", "login", "-method", "kubernetes"]),
            &["Vault"],
        ),
        (
            args(&["sh", "-c", "vault write auth/prod/login role=r jwt=@/t"]),
            &["Vault"],
        ),
        (
            args(&["tbot", "start", "--join-method=kubernetes"]),
            &["Teleport"],
        ),
        (args(&["--vault-auth=token"]), &[]),
    ] {
        assert_eq!(of_container(&container), expected, "{container}");
    }
}

#[test]
fn probes_and_hooks_are_commands_too() {
    let exec = |words: &[&str]| json!({ "exec": { "command": words } });
    let token = "cat /var/run/secrets/kubernetes.io/serviceaccount/token";
    for (container, expected) in [
        (
            json!({ "readinessProbe": exec(&["sh", "-c", token]) }),
            &["its own command line"][..],
        ),
        (
            json!({ "startupProbe": exec(&["kubectl", "version"]) }),
            &["kubectl"],
        ),
        (
            json!({ "lifecycle": { "preStop": exec(&["sh", "-c", "kubectl label pod x y-"]) } }),
            &["kubectl"],
        ),
        (
            json!({ "livenessProbe": { "httpGet": { "path": "/kubectl", "port": 1 } } }),
            &[],
        ),
        (json!({ "livenessProbe": exec(&["true"]) }), &[]),
    ] {
        assert_eq!(of_container(&container), expected, "{container}");
    }
}

#[test]
fn the_directory_of_the_token_alone_is_read_and_its_other_files_stay() {
    let directory = "/var/run/secrets/kubernetes.io/serviceaccount";
    let env = |values: &[&str]| -> Value {
        let values = values.iter().enumerate();
        let values: Vec<_> = values
            .map(|(n, value)| json!({ "name": format!("V{n}"), "value": value }))
            .collect();
        json!({ "env": values })
    };
    let itself = &["its own command line"][..];
    for (container, expected) in [
        (env(&[directory]), itself),
        (env(&[&format!("{directory}/")]), itself),
        (
            env(&["/var/run/secrets", "$(V0)/kubernetes.io/serviceaccount"]),
            itself,
        ),
        (
            env(&["/var/run/secrets/kubernetes.io", "$(V0)/serviceaccount"]),
            itself,
        ),
        (
            json!({ "args": ["sh", "-c", format!("SA={directory}; curl --cacert $SA/ca.crt -H \"$(cat $SA/token)\"")] }),
            itself,
        ),
        (
            json!({ "args": [format!("--token={directory}/$FILE")] }),
            itself,
        ),
        (env(&[&format!("{directory}/token")]), itself),
        (env(&[&format!("{directory}/ca.crt")]), &[]),
        (env(&[&format!("{directory}/service-ca.crt")]), &[]),
        (
            env(&["C:\\var\\run\\secrets\\kubernetes.io\\serviceaccount\\token"]),
            itself,
        ),
        (
            env(&["C:\\var\\run\\secrets\\kubernetes.io\\serviceaccount\\ca.crt"]),
            &[],
        ),
        (
            env(&["join('/run/secrets', 'kubernetes.io', 'serviceaccount', 'token')"]),
            itself,
        ),
        (env(&["a, kubernetes.io, serviceaccount"]), &[]),
        (env(&[&format!("{directory}/namespace")]), &[]),
        (env(&["kubernetes.io/service-account-token"]), &[]),
    ] {
        assert_eq!(of_container(&container), expected, "{container}");
    }
    // Where another workload of the account has no such client, the patch is for that one alone.
    for (file, is_openshift) in [("ca.crt", false), ("service-ca.crt", true)] {
        let status = status(
            &[deployment(
                &none(),
                &env(&[&format!("{directory}/{file}")]),
                &json!([]),
            )],
            &[],
        );
        let patch = status["remediation"]["patches"][0]["patch"]
            .as_str()
            .unwrap();
        assert!(patch.contains("kube-root-ca.crt"), "{patch}");
        let has_service_ca = patch.contains("openshift-service-ca.crt");
        assert_eq!(has_service_ca, is_openshift, "{patch}");
    }
}

const SAYS_NOT_READ: &str = "which were not read";

fn config_map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "shop" }, "data": data })
}

/// What a pod that refers to ConfigMap or Secret `x` says, with this object.
fn configured(container: &Value, volumes: &Value, object: &Value) -> Vec<String> {
    let found = status(
        &[deployment(&none(), container, volumes), object.clone()],
        &[],
    );
    assert!(!found.to_string().contains(SAYS_NOT_READ), "{found}");
    consumers(&found)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn configuration_in_the_input_says_which_systems_its_pods_log_in_to() {
    let mounts = json!({ "volumeMounts": [{ "name": "v", "mountPath": "/etc/app" }] });
    let volume = json!([{ "name": "v", "configMap": { "name": "x" } }]);
    let item = |key: &str| json!([{ "name": "v", "configMap": { "name": "x", "items": [{ "key": key, "path": "p" }] } }]);
    let projected =
        json!([{ "name": "v", "projected": { "sources": [{ "configMap": { "name": "x" } }] } }]);
    let prometheus = json!({ "prometheus.yml": "scrape_configs:\n- bearer_token_file: /var/run/secrets/kubernetes.io/serviceaccount/token\n" });
    let spire = json!({ "agent.conf": "NodeAttestor \"k8s_sat\" {}" });
    let agent = json!({ "agent.hcl": "auto_auth {\n method \"kubernetes\" {}\n}", "other": "x" });
    let of_configuration = &["its own configuration"][..];
    for (volumes, data, expected) in [
        (&volume, &prometheus, of_configuration),
        (&projected, &prometheus, of_configuration),
        (&volume, &spire, &["SPIRE"]),
        (&item("agent.hcl"), &agent, &["Vault"]),
        (&item("other"), &agent, &[]),
        (
            &volume,
            &json!({ "run.sh": "#!/bin/sh\nkubectl get pods" }),
            &["kubectl"],
        ),
        (&volume, &json!({ "README": "see kubectl get pods" }), &[]),
        (
            &volume,
            &json!({ "run.sh": "cd /\nkubectl get pods" }),
            &["kubectl"],
        ),
        (&volume, &json!({ "run": "cd /\nkubectl get pods" }), &[]),
        (
            &volume,
            &json!({ "login.md": "`vault login -method=kubernetes`" }),
            &[],
        ),
        (
            &volume,
            &json!({ "login.yml": "run: vault login -method=kubernetes" }),
            &["Vault"],
        ),
        (
            &volume,
            &json!({ "nginx.conf": "location /v1/auth/ {\n  deny all;\n}\nlocation /login {}" }),
            &[],
        ),
        (
            &volume,
            &json!({ "app.yml": "MONGO: mongodb://m/x\nENVIRONMENT: k8s" }),
            &[],
        ),
        (
            &volume,
            &json!({ "app.yml": "MONGODB-OIDC:\n  ENVIRONMENT: k8s" }),
            &["MongoDB"],
        ),
        (
            &volume,
            &json!({ "jenkins.yaml": "- vaultKubernetesCredential:\n    role: r" }),
            &["Vault"],
        ),
        (
            &volume,
            &json!({ "jenkins.yaml": "- vaultTokenCredential:\n    id: v" }),
            &[],
        ),
        (
            &volume,
            &json!({ "ca.yml": "ca_file: /var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt" }),
            &[],
        ),
    ] {
        assert_eq!(
            configured(&mounts, volumes, &config_map("x", data)),
            expected,
            "{volumes} {data}"
        );
    }
    let from = json!({ "envFrom": [{ "configMapRef": { "name": "x" } }] });
    let prefixed = json!({ "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "x" } }] });
    let one = |key: &str| json!({ "env": [{ "name": "V", "valueFrom": { "configMapKeyRef": { "name": "x", "key": key } } }] });
    let sub_path = |path: &str| json!({ "volumeMounts": [{ "name": "v", "mountPath": "/etc/f", "subPath": path }] });
    for (path, expected) in [
        ("agent.hcl", &["Vault"][..]),
        ("./other", &[]),
        ("..data/agent.hcl", &["Vault"]),
    ] {
        assert_eq!(
            configured(&sub_path(path), &volume, &config_map("x", &agent)),
            expected,
            "{path}"
        );
    }
    let variables = json!({ "VAULT_ADDR": "https://v", "URI": "mongodb://m/?p=ENVIRONMENT:k8s" });
    let prefixed_by = |prefix: &str| json!({ "envFrom": [{ "prefix": prefix, "configMapRef": { "name": "x" } }] });
    let named = |name: &str, key: &str| json!({ "env": [{ "name": name, "valueFrom": { "configMapKeyRef": { "name": "x", "key": key } } }] });
    let parts = json!({ "ADDR": "https://v", "access": "k8s", "method": "jwt" });
    for (container, expected) in [
        (prefixed_by("VAULT_"), &["Vault"][..]),
        (prefixed_by("BAO_"), &["OpenBao"]),
        (prefixed_by("APP_"), &[]),
        (named("AKEYLESS_ACCESS_TYPE", "access"), &["Akeyless"]),
        (named("AKEYLESS_ACCESS_TYPE", "method"), &[]),
        (named("CONJUR_AUTHN_TYPE", "method"), &["Conjur"]),
        (named("ACCESS_TYPE", "access"), &[]),
    ] {
        assert_eq!(
            configured(&container, &json!([]), &config_map("x", &parts)),
            expected,
            "{container}"
        );
    }
    for (container, expected) in [
        (&from, &["MongoDB", "Vault"][..]),
        (&prefixed, &["MongoDB"]),
        (&one("URI"), &["MongoDB"]),
        (&one("VAULT_ADDR"), &[]),
    ] {
        assert_eq!(
            configured(container, &json!([]), &config_map("x", &variables)),
            expected,
            "{container}"
        );
    }
}

#[test]
fn a_client_with_a_token_of_its_own_needs_no_other() {
    let bot = config_map("x", &json!({ "tbot.yaml": "join_method: kubernetes" }));
    let volume = json!([{ "name": "v", "configMap": { "name": "x" } }]);
    let auto_mounted = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    for (name, path, expected) in [
        ("KUBERNETES_TOKEN_PATH", "/var/run/join/token", &[][..]),
        (
            "KUBERNETES_TOKEN_PATH",
            auto_mounted,
            &["Teleport", "its own command line"],
        ),
        ("KUBERNETES_TOKEN_PATH", "$(DIRECTORY)/token", &["Teleport"]),
        ("TOKEN_PATH", "/var/run/join/token", &["Teleport"]),
        (
            "KUMA_DATAPLANE_RUNTIME_TOKEN_PATH",
            "/var/run/kuma/token",
            &["Teleport"],
        ),
    ] {
        let container = json!({
            "env": [{ "name": name, "value": path }],
            "volumeMounts": [{ "name": "v", "mountPath": "/etc/tbot" }],
        });
        assert_eq!(
            configured(&container, &volume, &bot),
            expected,
            "{name} {path}"
        );
    }
}

#[test]
fn a_secret_in_the_input_says_so_too_and_its_values_are_never_shown() {
    let value = "mongodb://admin:hunter2@m/?authMechanismProperties=ENVIRONMENT:k8s";
    // The value, in base64.
    let encoded =
        "bW9uZ29kYjovL2FkbWluOmh1bnRlcjJAbS8/YXV0aE1lY2hhbmlzbVByb3BlcnRpZXM9RU5WSVJPTk1FTlQ6azhz";
    let container = json!({ "env": [{ "name": "URI", "valueFrom": { "secretKeyRef": { "name": "x", "key": "uri" } } }] });
    for part in [
        json!({ "stringData": { "uri": value } }),
        json!({ "data": { "uri": encoded } }),
    ] {
        let mut secret = part.clone();
        secret["apiVersion"] = "v1".into();
        secret["kind"] = "Secret".into();
        secret["metadata"] = json!({ "name": "x", "namespace": "shop" });
        assert_eq!(configured(&container, &json!([]), &secret), ["MongoDB"]);
        let dir = tempfile::tempdir().unwrap();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [deployment(&none(), &container, &json!([])), secret] });
        fs::write(dir.path().join("in.json"), list.to_string()).unwrap();
        for format in [
            "table", "wide", "json", "yaml", "sarif", "html", "junit", "markdown", "patch",
        ] {
            let (_, shown, error) = scan_in(
                dir.path(),
                &["in.json", "-o", format, "--report-scope", "all"],
            );
            assert!(
                !shown.contains("hunter2") && !error.contains("hunter2"),
                "{format}"
            );
        }
    }
}

#[test]
fn what_was_not_read_is_said() {
    let container = json!({
        "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }],
        "envFrom": [{ "configMapRef": { "name": "m" } }],
        "volumeMounts": [{ "name": "v", "mountPath": "/etc/app" }],
    });
    let volumes = json!([{ "name": "v", "configMap": { "name": "x" } }, { "name": "unmounted", "secret": { "secretName": "u" } }]);
    let found = status(&[deployment(&none(), &container, &volumes)], &[]);
    assert_eq!(
        found["workloads"][0]["notes"][0],
        "takes variables or files from ConfigMap m, ConfigMap x, Secret s, which were not read: a system that it logs in to by them is not recognised"
    );
    assert_eq!(found["reason"], "NoPermissions");
}

#[test]
fn a_users_entry_can_do_all_that_ours_can() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    let container = json!({ "args": ["login --to sesame --now"], "env": [{ "name": "OPEN", "value": "yes" }], "volumeMounts": [{ "name": "v", "mountPath": "/v" }] });
    let pod = deployment(
        &json!({ "labels": { "sesame": "on" } }),
        &container,
        &json!([{ "name": "v", "csi": { "driver": "sesame.csi" } }]),
    );
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "labels": { "sesame-injection": "enabled" } } });
    let objects = [pod, namespace];
    for (entry, expected) in [
        ("labels: [sesame=on]", true),
        ("labels: [sesame=off]", false),
        ("namespaceLabels: [sesame-injection]", true),
        ("variables: [OPEN=yes]", true),
        ("variables: [OPE*]", true),
        ("words: ['--to sesame*now']", true),
        ("words: ['--to sesame*later']", false),
        ("commands: [login]", true),
        ("drivers: [sesame.csi]", true),
        (
            "labels: [sesame], token: own, source: https://sesame, since: '1'",
            false,
        ),
    ] {
        fs::write(
            &config,
            format!("knownConsumers: [{{name: Sesame, {entry}}}]"),
        )
        .unwrap();
        let found = consumers(&status(&objects, &["--config", config.to_str().unwrap()]));
        assert_eq!(found == ["Sesame"], expected, "{entry}: {found:?}");
    }
    // An entry of the same name says that a newer version projects its own token.
    fs::write(&config, "knownConsumers: [{name: Kuma, token: own}]").unwrap();
    let pod = deployment(
        &json!({ "labels": { "kuma.io/sidecar-injection": "enabled" } }),
        &none(),
        &json!([]),
    );
    assert_eq!(
        consumers(&status(&[pod], &["--config", config.to_str().unwrap()])),
        Vec::<String>::new()
    );
}

#[test]
fn a_client_that_opens_the_token_when_it_starts_gets_a_step_in_between() {
    for flag in ["--in-cluster", "--leader-elect", "--kubeconfig="] {
        let found = status(
            &[deployment(&none(), &json!({ "args": [flag] }), &json!([]))],
            &[],
        );
        assert_eq!(found["reason"], "NoPermissions");
        let summary = found["remediation"]["summary"].as_str().unwrap();
        assert!(
            summary.contains("may not start without the file"),
            "{summary}"
        );
        let patch = &found["remediation"]["patches"][0];
        assert_eq!(
            (&patch["kind"], &patch["type"]),
            (&json!("Deployment"), &json!("strategic"))
        );
        let patch: Value = serde_json::from_str(patch["patch"].as_str().unwrap()).unwrap();
        let spec = &patch["spec"]["template"]["spec"];
        let token = &spec["volumes"][0]["projected"]["sources"][2]["serviceAccountToken"];
        assert_eq!(
            token,
            &json!({ "audience": "tokenexposure.io/withheld", "path": "token" })
        );
        // After the patch, no API server accepts what is mounted.
        let container =
            json!({ "args": [flag], "volumeMounts": spec["containers"][0]["volumeMounts"] });
        let mut after = deployment(&none(), &container, &spec["volumes"]);
        after["spec"]["template"]["spec"]["automountServiceAccountToken"] = false.into();
        assert_eq!(status(&[after], &[])["reason"], "ExternalAudienceOnly");
    }
}

/// Dapr's sidecar opens the auto-mounted token, which it does not need, unless an annotation says otherwise.
#[test]
fn what_must_be_done_before_a_token_is_removed_is_said_instead_of_a_patch() {
    let deployment = |annotations: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  selector: \
             {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}, annotations: {{{annotations}}}}}\n    \
             spec: {{containers: [{{name: c, image: i}}]}}\n"
        )
    };
    let enabled = r#"dapr.io/enabled: "true""#;
    let store = r#"dapr.io/disable-builtin-k8s-secret-store: "true""#;
    for (annotations, is_ready) in [
        (enabled.to_owned(), false),
        (format!("{enabled}, {store}"), true),
        (r#"dapr.io/enabled: "false""#.to_owned(), true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("web.yaml"), deployment(&annotations)).unwrap();
        let (reports, _, _) = scan_files(&[dir.path()], &[]);
        let status = &reports[0]["status"];
        assert_eq!(status["verdict"], "Unneeded", "{annotations}");
        let remediation = &status["remediation"];
        let says = remediation["summary"].as_str().unwrap();
        assert_eq!(
            says.contains("disable-builtin-k8s-secret-store"),
            !is_ready,
            "{says}"
        );
        assert_eq!(remediation["patches"].is_array(), is_ready, "{remediation}");
        let message = status["message"].as_str().unwrap();
        let says_when = message.contains("disable-builtin-k8s-secret-store");
        assert_eq!(says_when, !is_ready, "{message}");
        let disable = "set automountServiceAccountToken: false";
        assert!(message.ends_with(disable), "{message}");
    }
}
