//! Proof of use: verdicts from audit logs, and what must never make a used token `NeverUsed`.

mod doubts;
mod proposals;
mod running;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use serde_json::{Value, json};
use token_exposure::{
    audit,
    index::Index,
    model::{Reason, ServiceAccountRef},
};

use crate::{
    browser::Browser,
    rig::{self, program, random::Random},
};

/// When the logs begin, as a Unix timestamp: 2026-11-26T08:00:00Z.
const BEGIN: i64 = 1_795_680_000;
/// How long they are, in seconds.
const LENGTH: i64 = 2 * 3600;
/// How long they must show no use.
const REQUIRED: i64 = 3600;
const ALL: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";

/// An event in the log of an API server.
#[derive(Clone, Debug)]
struct Event {
    server: usize,
    /// Seconds after the begin.
    time: i64,
    value: Value,
}

/// A cluster, and the logs of its two API servers.
struct World {
    objects: Vec<Value>,
    events: Vec<Event>,
    expected: BTreeMap<String, Reason>,
}

fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(BEGIN + seconds).unwrap();
    format!("{time:.6}")
}

fn event(id: &str, user: &Value, verb: &str, object: &Value, code: u16, reason: &str) -> Value {
    let decision = if code == 403 { "forbid" } else { "allow" };
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id, "stage": "ResponseComplete",
        "requestURI": "/x", "verb": verb, "user": user, "objectRef": object, "responseStatus": { "code": code },
        "annotations": { "authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason },
    })
}

fn token(account: &str, pod: &str, uid: &str) -> Value {
    json!({
        "username": format!("system:serviceaccount:shop:{account}"),
        "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
        "extra": {
            "authentication.kubernetes.io/pod-name": [pod], "authentication.kubernetes.io/pod-uid": [uid],
            "authentication.kubernetes.io/credential-id": [format!("JTI={uid}")],
        },
    })
}

fn uid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn allowed_by(account: &str) -> String {
    format!(
        r#"RBAC: allowed by RoleBinding "{account}/shop" of Role "reader" to ServiceAccount "{account}/shop""#
    )
}

impl World {
    fn new() -> Self {
        let reading = json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"] });
        let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "reader", "namespace": "shop" }, "rules": [reading] });
        let mut world = Self {
            objects: vec![role],
            events: Vec::new(),
            expected: BTreeMap::new(),
        };
        for server in 0..2 {
            let name = ["apiserver-a", "apiserver-b"][server];
            let user = json!({ "username": "system:apiserver", "groups": ["system:masters", "system:authenticated"] });
            let lease = json!({ "resource": "leases", "namespace": "kube-system", "name": name, "apiGroup": "coordination.k8s.io" });
            for beat in (0..=LENGTH).step_by(10) {
                let id = format!("{name}-{beat}");
                world.log(server, beat, event(&id, &user, "update", &lease, 200, ""));
            }
            world.objects.push(json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name, "namespace": "kube-system" },
                "spec": { "renewTime": time(LENGTH) },
            }));
        }
        world.workloads();
        world
    }

    fn log(&mut self, server: usize, time: i64, mut value: Value) {
        value["requestReceivedTimestamp"] = self::time(time).into();
        value["stageTimestamp"] = self::time(time).into();
        self.events.push(Event {
            server,
            time,
            value,
        });
    }

    /// An account with a pod of its own; returns the uid of the pod.
    fn account(&mut self, name: &str, is_bound: bool, created: i64, expected: Reason) -> String {
        let number = self.objects.len();
        self.expected.insert(name.to_owned(), expected);
        self.objects.push(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": "shop", "uid": uid(number) } }));
        if is_bound {
            self.objects.push(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": name, "namespace": "shop" },
                "roleRef": { "kind": "Role", "name": "reader" }, "subjects": [{ "kind": "ServiceAccount", "name": name }],
            }));
        }
        self.pod(name, &format!("{name}-0"), created)
    }

    fn pod(&mut self, account: &str, name: &str, created: i64) -> String {
        let uid = uid(1000 + self.objects.len());
        let mount = json!({ "name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" });
        let sources = json!([
            { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt" } }, { "downwardAPI": { "items": [] } },
        ]);
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "shop", "uid": uid, "creationTimestamp": time(created).replace(".000000", ""),
                "ownerReferences": [{ "kind": "StatefulSet", "name": account, "controller": true }],
            },
            "status": { "phase": "Running", "startTime": time(created).replace(".000000", "") },
            "spec": {
                "serviceAccountName": account, "containers": [{ "name": "c", "volumeMounts": [mount] }],
                "volumes": [{ "name": "kube-api-access-x", "projected": { "sources": sources } }],
            },
        }));
        uid
    }

    /// A request for ConfigMaps.
    fn ask(&mut self, seconds: i64, user: &Value, verb: &str, code: u16, reason: &str) -> usize {
        let id = format!("request-{}", self.events.len());
        let object = json!({ "resource": "configmaps", "namespace": "shop" });
        self.log(
            usize::from(seconds % 2 == 1),
            seconds,
            event(&id, user, verb, &object, code, reason),
        );
        self.events.len() - 1
    }

    fn workloads(&mut self) {
        for (number, verb) in ["get", "list", "watch"].into_iter().enumerate() {
            let name = format!("reader-{verb}");
            let uid = self.account(&name, true, -900, Reason::InUse);
            let seconds = 100 + 2001 * i64::try_from(number).unwrap();
            let at = self.ask(
                seconds,
                &token(&name, &format!("{name}-0"), &uid),
                verb,
                200,
                &allowed_by(&name),
            );
            if verb == "watch" {
                self.events[at].value["stage"] = "ResponseStarted".into();
            }
        }
        // Others keep the verbs in sight, whatever is removed.
        let uid = self.account("busy", true, -900, Reason::InUse);
        for seconds in (3..LENGTH).step_by(300) {
            for verb in ["get", "list", "watch"] {
                self.ask(
                    seconds,
                    &token("busy", "busy-0", &uid),
                    verb,
                    200,
                    &allowed_by("busy"),
                );
            }
        }
        self.account("idle", true, -900, Reason::NeverUsed);
        self.account("nothing", false, -900, Reason::NoPermissions);
        let uid = self.account("refused", false, -900, Reason::UsedWithoutPermission);
        self.ask(3100, &token("refused", "refused-0", &uid), "list", 403, "");
        let uid = self.account("discovery", false, -900, Reason::NoPermissions);
        let mut discovery = event(
            "discovery",
            &token("discovery", "discovery-0", &uid),
            "get",
            &json!(null),
            200,
            "",
        );
        discovery["requestURI"] = "/version?timeout=32s".into();
        self.log(0, 5000, discovery);
        self.account("replicas", true, -900, Reason::InUse);
        let second = self.pod("replicas", "replicas-1", -900);
        self.ask(
            4001,
            &token("replicas", "replicas-1", &second),
            "get",
            404,
            &allowed_by("replicas"),
        );
        self.account("impersonated", true, -900, Reason::NeverUsed);
        let user = token("impersonated", "impersonated-0", "u");
        let admin = json!({ "username": "admin", "groups": ["system:masters"] });
        let at = self.ask(1500, &admin, "get", 200, &allowed_by("impersonated"));
        self.events[at].value["impersonatedUser"] = user;
        self.account("certificate", true, -900, Reason::NeverUsed);
        let mut user = token("certificate", "", "");
        user["extra"] = json!({ "authentication.kubernetes.io/credential-id": ["X509SHA256=1"] });
        self.ask(1600, &user, "get", 200, &allowed_by("certificate"));
        self.account("young", true, LENGTH - 600, Reason::DirectGrant);
        self.account("rolled-out", true, 600, Reason::InUse);
        self.ask(
            300,
            &token("rolled-out", "rolled-out-0", &uid_of_gone()),
            "get",
            200,
            &allowed_by("rolled-out"),
        );
        self.account("legacy", true, -900, Reason::DirectGrant);
        let mut user = token("legacy", "", "");
        user.as_object_mut().unwrap().remove("extra");
        self.ask(1700, &user, "get", 200, &allowed_by("legacy"));
        let uid = self.account("denied", true, -900, Reason::DirectGrant);
        self.ask(1800, &token("denied", "denied-0", &uid), "delete", 403, "");
    }

    /// The reasons for all accounts, with these logs and this policy.
    fn reasons(&self, events: &[Event], policy: &str) -> BTreeMap<String, Reason> {
        let dir = tempfile::tempdir().unwrap();
        write_logs(dir.path(), events);
        self.reasons_in(dir.path(), policy)
    }

    /// The same for logs in a directory.
    fn reasons_in(&self, logs: &Path, policy: &str) -> BTreeMap<String, Reason> {
        let dir = tempfile::tempdir().unwrap();
        let (dump, leases) = self.write(dir.path());
        let file = dir.path().join("policy.yaml");
        fs::write(&file, policy).unwrap();
        let mut index = Index::new(&[]);
        rig::load(&dump, &mut index);
        let mut outcome = audit::read(&[logs.to_owned(), leases], None, &|_, _| {});
        outcome
            .record
            .set_policy(audit::policy(&file).unwrap(), None);
        index.set_usage(Arc::new(outcome.record), REQUIRED);
        let reason = |name: &String| {
            let account = ServiceAccountRef::new("shop", name.as_str());
            (name.clone(), index.assess(&account).reason)
        };
        self.expected.keys().map(reason).collect()
    }

    /// Writes the objects: the dump, and the Leases.
    fn write(&self, dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
        let (leases, objects): (Vec<&Value>, Vec<&Value>) = self
            .objects
            .iter()
            .partition(|object| object["kind"] == "Lease");
        let list = |items: &[&Value]| {
            json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
        };
        let (dump, file) = (dir.join("dump.json"), dir.join("leases.json"));
        fs::write(&dump, list(&objects)).unwrap();
        fs::write(&file, list(&leases)).unwrap();
        (dump, file)
    }

    /// Asserts that changed logs make no verdict stronger.
    fn only_weaker(&self, what: &str, events: &[Event], policy: &str) {
        let found = self.reasons(events, policy);
        for (account, reason) in &found {
            let was = self.expected[account];
            let is_false = *reason == Reason::NeverUsed && was != Reason::NeverUsed;
            assert!(!is_false, "{what}: {account} is NeverUsed, and was {was}");
        }
    }
}

/// The pod of this name.
fn pod<'a>(world: &'a mut World, name: &str) -> &'a mut Value {
    let mut objects = world.objects.iter_mut();
    let pod = objects.find(|object| object["kind"] == "Pod" && object["metadata"]["name"] == name);
    pod.unwrap()
}

fn uid_of_gone() -> String {
    uid(999_999)
}

/// An event as the API server writes it: its first fields come first.
fn line(value: &Value) -> String {
    let text = value.to_string();
    let rest = text.replacen('{', "", 1);
    let rest = rest
        .replace("\"kind\":\"Event\",", "")
        .replace("\"apiVersion\":\"audit.k8s.io/v1\",", "");
    format!("{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",{rest}\n")
}

/// Writes a file for each hour of each API server.
fn write_logs(dir: &Path, events: &[Event]) {
    let mut files: BTreeMap<(usize, i64), String> = BTreeMap::new();
    for event in events {
        let file = files.entry((event.server, event.time / 3600)).or_default();
        file.push_str(&line(&event.value));
    }
    for ((server, hour), text) in files {
        fs::write(dir.join(format!("{server}-{hour}.log")), text).unwrap();
    }
}

#[test]
fn each_kind_of_use_has_its_verdict() {
    let world = World::new();
    assert_eq!(world.reasons(&world.events, ALL), world.expected);
}

#[test]
fn a_deleted_part_of_the_logs_never_makes_a_used_token_unused() {
    let world = World::new();
    let mut random = Random::from_env();
    for round in 0..60 {
        let length = [26, 30, 60, 600, 3600][round % 5];
        // Every second time, the part that has the only use of an account.
        let uses = [100, 300, 2101, 4001, 4102];
        let begin = if round % 2 == 0 {
            *random.pick(&uses) - i64::try_from(random.below(20)).unwrap()
        } else {
            i64::try_from(random.below(usize::try_from(LENGTH).unwrap())).unwrap()
        };
        let server = random.below(3);
        let mut kept = world.events.clone();
        kept.retain(|event| {
            let concerned = server == 2 || event.server == server;
            !(concerned && (begin..=begin + length).contains(&event.time))
        });
        if kept.iter().any(|event| event.time < begin) {
            world.only_weaker(&format!("{length} s at {begin} of {server}"), &kept, ALL);
        }
    }
}

#[test]
fn a_missing_file_or_server_makes_nothing_never_used() {
    let world = World::new();
    let never = |events: &[Event]| {
        let found = world.reasons(events, ALL);
        found
            .values()
            .filter(|reason| **reason == Reason::NeverUsed)
            .count()
    };
    assert_eq!(never(&world.events), 3);
    for server in 0..2 {
        for hour in 0..3 {
            let mut kept = world.events.clone();
            kept.retain(|event| {
                !(event.server == server && (hour == 2 || event.time / 3600 == hour))
            });
            assert_eq!(never(&kept), 0, "server {server}, hour {hour}");
        }
    }
    for hour in [1, 2] {
        let mut kept = world.events.clone();
        kept.retain(|event| event.time < hour * 3600 - 100);
        assert_eq!(never(&kept), 0, "the end from hour {hour}");
    }
}

#[test]
fn a_policy_that_leaves_something_out_makes_nothing_never_used() {
    let world = World::new();
    for rules in [
        "[]",
        "[{level: None}]",
        "[{level: Metadata, verbs: [get]}]",
        "[{level: None, verbs: [get]}, {level: Metadata}]",
        "[{level: None, namespaces: [shop]}, {level: Metadata}]",
        "[{level: None, resources: [{group: '', resources: [configmaps]}]}, {level: Metadata}]",
        "[{level: None, userGroups: ['system:serviceaccounts:shop']}, {level: Metadata}]",
        "[{level: None, nonResourceURLs: ['/version']}, {level: Metadata}]",
        "[{level: Metadata, omitStages: [ResponseComplete]}]",
    ] {
        let policy = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n");
        let found = world.reasons(&world.events, &policy);
        let never: Vec<_> = found
            .iter()
            .filter(|(_, reason)| **reason == Reason::NeverUsed)
            .collect();
        assert_eq!(never, [], "{rules}");
        // What was seen stays seen.
        assert_eq!(found["reader-get"], Reason::InUse, "{rules}");
    }
    let one = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, users: ['system:serviceaccount:shop:idle'], verbs: [get]}, {level: Metadata}]\n";
    let found = world.reasons(&world.events, one);
    assert_eq!(
        (found["idle"], found["impersonated"]),
        (Reason::DirectGrant, Reason::NeverUsed)
    );
    // The policy says that it records reading, and the logs show none.
    let mut unseen = world.events.clone();
    unseen.retain(|event| event.value["verb"] != "get");
    world.only_weaker("no get", &unseen, ALL);
    assert_eq!(world.reasons(&unseen, ALL)["idle"], Reason::DirectGrant);
}

#[test]
fn forged_events_fill_no_hole_and_hide_no_use() {
    let world = World::new();
    let mut forged = world.events.clone();
    forged.retain(|event| !(2050..2150).contains(&event.time));
    let admin = json!({ "username": "mallory", "groups": ["system:authenticated"] });
    let beats: Vec<Event> = world
        .events
        .iter()
        .filter(|event| (2050..2150).contains(&event.time))
        .cloned()
        .collect();
    for mut event in beats {
        event.value["impersonatedUser"] = event.value["user"].take();
        event.value["user"] = admin.clone();
        forged.push(event.clone());
        // A user of this name without its group.
        event
            .value
            .as_object_mut()
            .unwrap()
            .remove("impersonatedUser");
        event.value["user"] =
            json!({ "username": "system:apiserver", "groups": ["system:authenticated"] });
        forged.push(event);
    }
    world.only_weaker("forged", &forged, ALL);
    assert_eq!(world.reasons(&forged, ALL)["idle"], Reason::DirectGrant);
}

#[test]
fn the_order_and_repetition_of_events_and_clocks_change_no_use() {
    let world = World::new();
    let mut random = Random::from_env();
    let mut shuffled = world.events.clone();
    for place in (1..shuffled.len()).rev() {
        shuffled.swap(place, random.below(place + 1));
    }
    assert_eq!(world.reasons(&shuffled, ALL), world.expected);
    let repeated: Vec<Event> = world.events.iter().chain(&shuffled).cloned().collect();
    assert_eq!(world.reasons(&repeated, ALL), world.expected);
    for (server, shift) in [
        (0, -300),
        (0, 300),
        (1, -300),
        (1, 300),
        (2, -300),
        (2, 300),
    ] {
        let mut shifted = world.events.clone();
        for event in shifted
            .iter_mut()
            .filter(|event| server == 2 || event.server == server)
        {
            event.value["requestReceivedTimestamp"] = time(event.time + shift).into();
            event.value["stageTimestamp"] = time(event.time + shift).into();
        }
        world.only_weaker(&format!("clock of {server} by {shift}"), &shifted, ALL);
    }
}

#[test]
fn a_broken_line_makes_nothing_never_used() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    write_logs(dir.path(), &world.events);
    let file = dir.path().join("1-1.log");
    let text = fs::read_to_string(&file).unwrap();
    let broken = text.replacen("\"auditID\":\"request-", "\"auditID\":", 1);
    assert_ne!(text, broken);
    fs::write(&file, broken).unwrap();
    let found = world.reasons_in(dir.path(), ALL);
    let never: BTreeSet<_> = found
        .values()
        .filter(|reason| **reason == Reason::NeverUsed)
        .collect();
    assert!(never.is_empty());
}

/// Runs the program on the world: with the logs in a folder, the policy and an evidence window of an hour.
fn run(world: &World, command: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    write_logs(&logs, &world.events);
    let (dump, leases) = world.write(dir.path());
    let policy = dir.path().join("policy.yaml");
    fs::write(&policy, ALL).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (dump, leases, logs, policy) = (path(&dump), path(&leases), path(&logs), path(&policy));
    let evidence = [
        &dump,
        "--audit-log",
        &logs,
        &leases,
        "--audit-policy",
        &policy,
        "--evidence-window",
        "1h",
    ];
    let output = program(&[command, &evidence].concat(), "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_table_shows_the_last_use() {
    let (code, table, error) = run(
        &World::new(),
        &["scan", "-o", "wide", "--report-scope", "all"],
    );
    assert_eq!((code, error.as_str()), (Some(1), ""));
    // The folder has another name each time.
    let before_folder = |line: &str| match line.split_once("  /") {
        Some((begin, rest)) => {
            let (_, message) = rest.split_once(".json:1").unwrap();
            format!("{begin}  DIR/dump.json:1{message}")
        }
        None => line.replace("FILE      ", "FILE"),
    };
    let table: Vec<_> = table.lines().map(before_folder).collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn explain_shows_what_was_used_and_proposes_a_role() {
    let world = World::new();
    let mut chains = String::new();
    for account in ["reader-list", "idle", "refused", "young"] {
        let (code, chain, error) = run(&world, &["explain", &format!("shop/{account}")]);
        assert_eq!((code, error.as_str()), (Some(0), ""));
        chains.extend([&*chain, "\n=====\n"]);
    }
    insta::assert_snapshot!(chains);
    let (code, role, error) = run(&world, &["explain", "-o", "role", "shop/reader-list"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    insta::assert_snapshot!(role);
}

#[test]
fn json_has_exact_times_and_what_is_missing() {
    let (_, text, _) = run(
        &World::new(),
        &["scan", "-o", "json", "--report-scope", "all"],
    );
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap();
    let status = |name: &str| {
        let item = items.iter().find(|item| item["metadata"]["name"] == name);
        item.unwrap()["status"].clone()
    };
    let used = status("reader-list");
    assert_eq!(
        used["workloads"][0]["use"]["lastUsed"],
        time(2101).replace(".000000", "")
    );
    assert_eq!(used["use"]["requests"], 1);
    assert_eq!(
        used["permissions"]["direct"][0]["lastUsed"],
        time(2101).replace(".000000", "")
    );
    assert_eq!(
        used["use"]["window"],
        json!({ "from": time(0).replace(".000000", ""), "to": time(LENGTH).replace(".000000", ""), "grade": "Complete" })
    );
    let young = status("young");
    assert_eq!(
        young["workloads"][0]["use"]["holes"],
        json!(["the workload has run only for 10m"])
    );
}

#[test]
fn evidence_that_cannot_be_used_is_an_error_that_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let dump = path(
        "dump.yaml",
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: n}\n",
    );
    let none = path("none.log", "hello\n{}\n");
    let broken = path("broken.log", "hello\n{\"kind\":\n{\"kind\":\n");
    let policy = path("policy.yaml", "kind: Pod\n");
    let log = path("audit.log", &line(&World::new().events[0].value));
    for (args, expected) in [
        (
            &["scan", &dump, "--audit-log", &none][..],
            "`--audit-log` has no audit event",
        ),
        (
            &["scan", &dump, "--audit-log", &broken],
            "broken.log:2: is not a whole audit event; 2 such lines in all",
        ),
        (
            &["scan", &dump, "--audit-log", "missing"],
            "missing: cannot be read",
        ),
        (
            &[
                "scan",
                &dump,
                "--audit-log",
                &log,
                "--audit-policy",
                &policy,
            ],
            "is not an audit policy",
        ),
        (
            &[
                "scan",
                &dump,
                "--audit-log",
                &log,
                "--evidence-window",
                "30",
            ],
            "use a duration like",
        ),
        (
            &["scan", "-", "--audit-log", "-"],
            "standard input cannot have both",
        ),
        (
            &["explain", "n/a", &dump, "-o", "role"],
            "`-o role` needs to know what was used",
        ),
    ] {
        let output = program(args, "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}

#[test]
fn the_page_has_a_column_of_the_last_use_only_with_evidence() {
    let (_, html, _) = run(
        &World::new(),
        &["scan", "-o", "html", "--report-scope", "all"],
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.html");
    fs::write(&file, html).unwrap();
    let page = Browser::shared().open(&file, "");
    page.click("#columns [data-column=used] button");
    let names = page.texts(".account [data-column=name]");
    let used = page.texts(".account [data-column=used]");
    let of = |name: &str| used[names.iter().position(|found| found == name).unwrap()].clone();
    assert_eq!(of("idle"), "no use seen");
    let is_time = |text: &String| text.starts_with("2026-11-26T");
    assert!(is_time(&of("reader-list")), "{used:?}");
    assert!(used.is_sorted(), "{used:?}");
    assert!(is_time(&used[0]) && !is_time(used.last().unwrap()));
    page.press("/");
    page.write("no use seen");
    assert!(
        page.texts(".account [data-column=name]")
            .contains(&"idle".to_owned())
    );
    page.look("light", 400);
    let over = page.ask("document.documentElement.scrollWidth - innerWidth");
    assert!(over.as_i64().unwrap() <= 0, "{over} too wide");
    assert_eq!(page.noticed(), [""; 0]);

    let without = program(&["scan", "-o", "html", "tests/demo/sample.yaml"], "");
    fs::write(&file, without.stdout).unwrap();
    let page = Browser::shared().open(&file, "");
    assert_eq!(page.texts("[data-column=used]"), [""; 0]);
}

/// A legacy token that was used on this day, in a pod of another account.
fn legacy(day: &str) -> String {
    let labels = json!({ "kubernetes.io/legacy-token-last-used": day });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "robot", "namespace": "shop", "labels": labels,
            "annotations": { "kubernetes.io/service-account.name": "idle" },
        },
    });
    secret.to_string()
}

#[test]
fn the_label_of_a_secret_says_when_its_token_was_used_without_audit_logs() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let (dump, _) = world.write(dir.path());
    let secret = dir.path().join("secret.json");
    let files = [dump.to_str().unwrap(), secret.to_str().unwrap()];
    let used = |day: &str| {
        fs::write(&secret, legacy(day)).unwrap();
        let args = ["scan", "-o", "json", "--report-scope", "all"];
        let output = program(&[&args[..], &files].concat(), "");
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let items = list["items"].as_array().unwrap().clone();
        let of = |name: &str| {
            let report = items.iter().find(|item| item["metadata"]["name"] == name);
            report.unwrap()["status"]["use"].clone()
        };
        assert_eq!(of("reader-list"), Value::Null);
        of("idle")
    };
    let found = used("2026-11-20");
    assert_eq!(found["lastUsed"], "2026-11-20T00:00:00Z");
    assert_eq!(found["window"]["grade"], "Unproven");
    assert_eq!(found["requests"], Value::Null, "nobody counted them");
    assert_eq!(used("yesterday"), Value::Null);
    fs::write(&secret, legacy("2026-11-20")).unwrap();
    let chain = program(&[&["explain", "shop/idle"], &files[..]].concat(), "").stdout;
    let chain = String::from_utf8(chain).unwrap();
    assert!(
        chain.contains("a token in a Secret was last used on 2026-11-20"),
        "{chain}"
    );
}

#[test]
fn a_token_in_a_secret_that_was_used_in_the_window_forbids_never_used() {
    let mut world = World::new();
    // The day of the logs, and the one before.
    for (day, expected) in [
        ("2026-11-26", Reason::DirectGrant),
        ("2026-11-25", Reason::NeverUsed),
    ] {
        world
            .objects
            .push(serde_json::from_str(&legacy(day)).unwrap());
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["idle"], expected, "{day}");
        world.objects.pop();
    }
}

/// A world in which the scheduler, or somebody else, binds a pod at this second.
fn bind(world: &mut World, seconds: i64, user: &str, pod: &str, code: u16) {
    let object =
        json!({ "resource": "pods", "subresource": "binding", "namespace": "shop", "name": pod });
    let user = json!({ "username": user, "groups": ["system:authenticated"] });
    let id = format!("bind-{}", world.events.len());
    let value = event(&id, &user, "create", &object, code, "");
    world.log(0, seconds, value);
}

#[test]
fn use_by_a_pod_whose_workload_is_not_known_forbids_never_used() {
    let mut world = World::new();
    let user = token("idle", "other-3", &uid_of_gone());
    world.ask(1200, &user, "get", 200, &allowed_by("idle"));
    let found = world.reasons(&world.events, ALL);
    assert_ne!(found["idle"], Reason::NeverUsed);
    assert_eq!(found["certificate"], Reason::NeverUsed);
}

#[test]
fn only_the_scheduler_and_only_the_same_pod_make_a_workload_old() {
    let scheduler = "system:kube-scheduler";
    for (user, pod, code, reason) in [
        (scheduler, "young-0", 201, Reason::NeverUsed),
        (scheduler, "young-0", 403, Reason::DirectGrant),
        // It was bound already, or nobody knows.
        (scheduler, "young-0", 409, Reason::DirectGrant),
        (scheduler, "young-0", 500, Reason::DirectGrant),
        ("mallory", "young-0", 201, Reason::DirectGrant),
        // A pod of something else, whose name begins so.
        (scheduler, "young-2026", 201, Reason::DirectGrant),
        (scheduler, "young-bcdfg", 201, Reason::DirectGrant),
    ] {
        let mut world = World::new();
        bind(&mut world, 20, user, pod, code);
        let found = world.reasons(&world.events, ALL);
        assert_eq!(found["young"], reason, "{user} {pod} {code}");
    }
}
