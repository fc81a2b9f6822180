//! 500 pods of all kinds of use, on two API servers with an audit log: each verdict is right, before and after one of the
//! servers restarts, and no token counts as never used once a part of the logs is lost. `make faults` runs it.

use std::{fmt::Write as _, fs, process::Command, time::Duration};

use super::*;

/// How many accounts of each kind there are: 504 pods in all.
const UNITS: usize = 21;

/// Each kind of account: whether it may read ConfigMaps, how many pods it has, and the reason if it is used in its way and
/// if it is not.
const KINDS: [(&str, bool, usize, &str, &str); 18] = [
    ("again", true, 1, "NeverUsed", "NeverUsed"),
    ("certificate", true, 1, "NeverUsed", "NeverUsed"),
    ("cron-few", true, 1, "DirectGrant", "DirectGrant"),
    ("cron-idle", true, 3, "NeverUsed", "NeverUsed"),
    ("cron-used", true, 3, "InUse", "NeverUsed"),
    ("discovers", false, 1, "NoPermissions", "NoPermissions"),
    ("discovers-permitted", true, 1, "DirectGrant", "NeverUsed"),
    ("finds-nothing", true, 1, "InUse", "NeverUsed"),
    ("idle", true, 1, "NeverUsed", "NeverUsed"),
    ("idle-replicas", true, 2, "NeverUsed", "NeverUsed"),
    ("impersonated", true, 1, "NeverUsed", "NeverUsed"),
    ("legacy", true, 1, "DirectGrant", "NeverUsed"),
    ("lists", true, 1, "InUse", "NeverUsed"),
    ("nothing", false, 1, "NoPermissions", "NoPermissions"),
    (
        "refused",
        false,
        1,
        "UsedWithoutPermission",
        "NoPermissions",
    ),
    ("refused-permitted", true, 1, "DirectGrant", "NeverUsed"),
    ("replicas", true, 2, "InUse", "NeverUsed"),
    ("watches", true, 1, "InUse", "NeverUsed"),
];

/// Whether a unit is used before the restart; the others are after it.
const fn is_first(unit: usize) -> bool {
    unit.is_multiple_of(2)
}

fn name(kind: &str, unit: usize) -> String {
    format!("{kind}-u{unit}")
}

/// The objects of one account.
fn objects(kind: &str, is_permitted: bool, unit: usize) -> Vec<Value> {
    let name = name(kind, unit);
    let metadata = json!({ "name": name, "namespace": "shop" });
    let mut objects = account(&name, is_permitted);
    if kind.ends_with("replicas") {
        objects.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": { "replicas": 2, "selector": { "matchLabels": { "app": name } }, "template": template(&name) },
        }));
    } else if kind.starts_with("cron") {
        let runs = if kind == "cron-few" { 1 } else { 3 };
        let mut job = template(&name);
        job["spec"]["restartPolicy"] = "Never".into();
        objects.extend((0..runs).map(|run| {
            let metadata = json!({ "name": format!("{name}-2941234{run}"), "namespace": "shop" });
            json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": { "template": job } })
        }));
    } else {
        objects.push(pod(&name));
    }
    if kind == "legacy" {
        let annotations = json!({ "kubernetes.io/service-account.name": name });
        objects.push(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": { "name": name, "namespace": "shop", "annotations": annotations },
        }));
    }
    objects
}

fn large_world() -> String {
    let small: Value = serde_json::from_str(&super::world()).unwrap();
    // The Role that all use, and the account that has tokens reviewed.
    let of_vault = |item: &&Value| {
        let name = &item["metadata"]["name"];
        name == "vault" || item["kind"] == "Role"
    };
    let items = small["items"].as_array().unwrap();
    let mut items: Vec<Value> = items.iter().filter(of_vault).cloned().collect();
    for (kind, is_permitted, ..) in KINDS {
        for unit in 0..UNITS {
            items.extend(objects(kind, is_permitted, unit));
        }
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// The reason for each account of the kinds, if these units were used.
fn expected_of(is_used: impl Fn(usize) -> bool) -> BTreeMap<String, String> {
    let all = KINDS
        .iter()
        .flat_map(|kind| (0..UNITS).map(move |unit| (kind, unit)));
    all.map(|((kind, _, _, used, unused), unit)| {
        let reason = if is_used(unit) { used } else { unused };
        (name(kind, unit), (*reason).to_owned())
    })
    .chain([("vault".to_owned(), "NeverUsed".to_owned())])
    .collect()
}

/// Certificates with the names of accounts, and their authority.
fn certificates_of_accounts(dir: &Path) -> String {
    let mut script = format!(
        "set -e; cd {}; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
         -nodes -subj /CN=ca -keyout ca.key -out ca.pem -days 2; \
         openssl ecparam -name prime256v1 -genkey -noout -out client.key; printf extendedKeyUsage=clientAuth > extensions\n",
        dir.display()
    );
    for unit in 0..UNITS {
        let account = name("certificate", unit);
        writeln!(
            script,
            "openssl req -new -key client.key -subj '/CN=system:serviceaccount:shop:{account}/O=system:serviceaccounts' -out client.csr; \
             openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile extensions -out {unit}.crt"
        )
        .unwrap();
    }
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    let error = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{error}");
    format!("--client-ca-file={}", dir.join("ca.pem").display())
}

/// Uses of tokens.
struct Users<'a> {
    plane: &'a ControlPlane,
    admin: Client,
    certificates: &'a Path,
    servers: [&'a str; 2],
}

impl Users<'_> {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin.clone(), "shop")
    }

    /// A client for each second API server, with the token of this pod.
    async fn of_pod(&self, account: &str, pod: &Pod, unit: usize) -> Client {
        let token = token_of(&self.admin, account, pod).await;
        client_as(self.plane, self.servers[unit / 2 % 2], bearer(&token)).await
    }

    async fn of(&self, kind: &str, unit: usize) -> Client {
        let account = name(kind, unit);
        let pod = self.pods().get(&account).await.unwrap();
        self.of_pod(&account, &pod, unit).await
    }

    async fn one_of_several(&self, account: &str) -> Pod {
        let labels = kube::api::ListParams::default().labels(&format!("app={account}"));
        let mut pods = self.pods().list(&labels).await.unwrap();
        pods.items.pop().unwrap()
    }

    /// The token of one of several pods.
    async fn of_one_of_several(&self, kind: &str, unit: usize) -> Client {
        let account = name(kind, unit);
        let pod = self.one_of_several(&account).await;
        self.of_pod(&account, &pod, unit).await
    }

    /// Deletes one of several pods: a controller creates another one.
    async fn delete_one_of_several(&self, kind: &str, unit: usize) {
        let pod = self.one_of_several(&name(kind, unit)).await.name_any();
        let now = DeleteParams::default().grace_period(0);
        self.pods().delete(&pod, &now).await.unwrap();
    }

    /// Uses the tokens of a unit, each kind in its way; returns the watch.
    async fn use_unit(&self, unit: usize) -> impl Sized + use<> {
        let config_maps = CONFIG_MAPS;
        let one = format!("{CONFIG_MAPS}/none");
        for (kind, path, status) in [
            ("lists", config_maps, 200),
            ("finds-nothing", &*one, 404),
            ("refused", config_maps, 403),
            ("refused-permitted", "/api/v1/namespaces/shop/secrets", 403),
            ("discovers", "/version", 200),
            ("discovers-permitted", "/apis", 200),
        ] {
            let client = self.of(kind, unit).await;
            assert_eq!(ask(&client, path).await, status, "{kind}");
        }
        for kind in ["replicas", "cron-used"] {
            let client = self.of_one_of_several(kind, unit).await;
            assert_eq!(ask(&client, config_maps).await, 200);
        }
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), "shop");
        let secret = secrets.get(&name("legacy", unit)).await.unwrap();
        let token = String::from_utf8(secret.data.unwrap()["token"].0.clone()).unwrap();
        let server = self.servers[unit / 2 % 2];
        let legacy = client_as(self.plane, server, bearer(&token)).await;
        assert_eq!(ask(&legacy, config_maps).await, 200);
        self.pretend(unit).await;
        let watches = self.of("watches", unit).await;
        let watch = Request::get(format!("{CONFIG_MAPS}?watch=true")).body(Vec::new());
        watches.request_stream(watch.unwrap()).await.unwrap()
    }

    /// Uses the tokens of these units.
    async fn use_units(&self, is_used: fn(usize) -> bool) -> Vec<impl Sized + use<>> {
        let mut watches = Vec::new();
        for unit in (0..UNITS).filter(|unit| is_used(*unit)) {
            watches.push(self.use_unit(unit).await);
        }
        watches
    }

    /// What bears the name of an account and is no use of its token.
    async fn pretend(&self, unit: usize) {
        let server = self.servers[unit / 2 % 2];
        let certificate = AuthInfo {
            client_certificate: Some(
                self.certificates
                    .join(format!("{unit}.crt"))
                    .display()
                    .to_string(),
            ),
            client_key: Some(self.certificates.join("client.key").display().to_string()),
            ..AuthInfo::default()
        };
        let certificate = client_as(self.plane, server, certificate).await;
        assert_eq!(ask(&certificate, CONFIG_MAPS).await, 200);
        let impersonated = AuthInfo {
            impersonate: Some(format!(
                "system:serviceaccount:shop:{}",
                name("impersonated", unit)
            )),
            impersonate_groups: Some(vec!["system:serviceaccounts".to_owned()]),
            ..bearer("admintoken")
        };
        let impersonated = client_as(self.plane, server, impersonated).await;
        assert_eq!(ask(&impersonated, CONFIG_MAPS).await, 200);
    }

    /// A pod that used its token is gone, and another one has its name.
    async fn replace(&self, unit: usize) {
        let name = name("again", unit);
        let gone = self.of("again", unit).await;
        assert_eq!(ask(&gone, CONFIG_MAPS).await, 200);
        let now = DeleteParams::default().grace_period(0);
        self.pods().delete(&name, &now).await.unwrap();
        // Creation times are whole seconds: a use in the same second may have been the new pod's.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let again: Pod = serde_json::from_value(pod(&name)).unwrap();
        self.pods()
            .create(&PostParams::default(), &again)
            .await
            .unwrap();
    }
}

/// Waits until the logs show what is expected, and says what differs if they never do.
fn await_expected(
    plane: &ControlPlane,
    logs: &[&str],
    expected: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    holds_within(Duration::from_mins(3), Duration::from_secs(5), || {
        found = reasons(plane, logs);
        found == *expected
    });
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(name, reason)| found.get(*name) != Some(reason))
        .map(|(name, reason)| format!("{name}: {:?} instead of {reason}", found.get(name)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong: {wrong:#?}",
        wrong.len(),
        expected.len()
    );
    assert_eq!(found.len(), expected.len());
    found
}

/// A log without the events of some seconds, or without its begin.
fn without(plane: &ControlPlane, log: &str, from: jiff::Timestamp, to: jiff::Timestamp) -> String {
    let text = fs::read_to_string(plane.file(log)).unwrap();
    let (whole, _) = text.rsplit_once('\n').unwrap();
    let is_kept = |line: &&str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let time = event["stageTimestamp"].as_str().unwrap();
        !(from..=to).contains(&time.parse::<jiff::Timestamp>().unwrap())
    };
    let kept: String = whole
        .lines()
        .filter(is_kept)
        .flat_map(|line| [line, "\n"])
        .collect();
    let name = format!("cut-{}", log.replace('/', "-"));
    fs::write(plane.file(&name), kept).unwrap();
    name
}

/// Creates the accounts and their workloads, and waits for pods and tokens.
fn populate(plane: &ControlPlane) {
    plane.namespace("shop");
    plane.apply(&large_world());
    let pods: usize = KINDS.iter().map(|(_, _, pods, ..)| pods * UNITS).sum();
    let is_ready = || {
        let names = plane.kubectl(&["-n", "shop", "get", "pods", "-o", "name"]);
        let secrets = plane.get(&["-n", "shop", "secrets"]);
        let mut secrets = secrets["items"].as_array().unwrap().iter();
        // And that of the account that has tokens reviewed.
        names.lines().count() == pods + 1
            && secrets.all(|secret| secret["data"]["token"].is_string())
    };
    let ready = holds_within(Duration::from_mins(5), Duration::from_secs(2), is_ready);
    assert!(ready && pods >= 500, "{pods} pods");
}

const LOGS: [&str; 2] = ["audit.log", "second/audit.log"];

/// Without a whole log, or a part of one, nobody counts as never used.
fn nothing_is_certain_without_a_part(plane: &ControlPlane, since: jiff::Timestamp, time: &str) {
    let from = since + Duration::from_secs(3);
    for (log, other) in [(LOGS[0], LOGS[1]), (LOGS[1], LOGS[0])] {
        assert_eq!(never(&reasons(plane, &[log, time])), [""; 0], "only {log}");
        let cut = without(plane, log, from, from + Duration::from_secs(40));
        assert_eq!(
            never(&reasons(plane, &[&cut, other, time])),
            [""; 0],
            "{log}"
        );
    }
}

#[test]
#[ignore = "long; run by `make faults`"]
fn each_of_500_pods_has_the_right_verdict_and_lost_logs_never_make_one_unused() {
    let dir = tempfile::tempdir().unwrap();
    let plane = ControlPlane::audited(&[&certificates_of_accounts(dir.path())]);
    let first = fs::read_to_string(plane.file("server")).unwrap();
    let Some(second) = plane.second_api_server() else {
        panic!("two API servers need the right to change the name of a host");
    };
    let runtime = runtime();
    // The policy counts from the last start of an API server, and runs of CronJobs only from then on.
    let token = bearer("admintoken");
    let other = runtime.block_on(client_as(&plane, &second, token));
    await_that("the second API server is ready", || {
        let request = Request::get("/readyz").body(Vec::new()).unwrap();
        runtime.block_on(other.request_text(request)).is_ok()
    });
    std::thread::sleep(Duration::from_secs(2));
    populate(&plane);
    let users = Users {
        plane: &plane,
        admin: runtime.block_on(plane.client()),
        certificates: dir.path(),
        servers: [first.trim(), &second],
    };
    runtime.block_on(async {
        futures::future::join_all((0..UNITS).map(|unit| users.replace(unit))).await
    });
    let watches = runtime.block_on(users.use_units(is_first));
    await_expected(&plane, &LOGS, &expected_of(is_first));
    drop(watches);
    // Their connections end, and with them the last use.
    runtime.block_on(async { tokio::time::sleep(Duration::from_secs(2)).await });

    plane.restart_api_server();
    std::thread::sleep(Duration::from_secs(2));
    let since = jiff::Timestamp::now();
    let watches = runtime.block_on(async {
        // An account that creates something: else nothing shows that this would be recorded.
        users.delete_one_of_several("idle-replicas", 0).await;
        users.use_units(|unit| !is_first(unit)).await
    });
    // Over both: use that was seen is use, whatever the restart broke.
    let all = expected_of(|_| true);
    let found = reasons(&plane, &LOGS);
    assert!(
        never(&found).iter().all(|name| never(&all).contains(name)),
        "{:?}",
        never(&found)
    );
    let in_use = |reasons: &BTreeMap<String, String>| {
        let used = reasons.iter().filter(|(_, reason)| *reason == "InUse");
        used.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(in_use(&found), in_use(&all));
    // Since the restart: as if the uses before it had never been.
    let time = format!("--audit-log-since={since}");
    let both = [LOGS[0], LOGS[1], &time];
    let mut expected = expected_of(|unit| !is_first(unit));
    for (name, reason) in &mut expected {
        // It has not run since.
        if name.starts_with("cron-") && reason == "NeverUsed" {
            "DirectGrant".clone_into(reason);
        }
    }
    await_expected(&plane, &both, &expected);
    nothing_is_certain_without_a_part(&plane, since, &time);
    runtime.block_on(async {
        let idle = users.pods().get(&name("idle", 0)).await.unwrap();
        let token = token_of(&users.admin, &name("idle", 0), &idle).await;
        review(&plane, &second, token).await;
    });
    let found = reasons(&plane, &both);
    assert_eq!((never(&found), found["vault"].as_str()), (vec![], "InUse"));
    drop(watches);
}
