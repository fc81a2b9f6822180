//! Which accounts does a change touch? Single cases first, then any order of events.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]
#![allow(
    clippy::option_option,
    reason = "an account may be gone, and its field unset"
)]

use proptest::prelude::*;

use super::*;
use crate::{
    facts::wire,
    model::{
        AccountSummary, Binding, Exposure, LeftOut, NamespaceFacts, Reason, Role, SecretFacts,
        Selection, ServiceAccountFacts, Verdict,
        pod::{Instance, Phase, TOKEN_MOUNT_PATH},
    },
};

fn account(name: &str) -> ServiceAccountRef {
    let (namespace, name) = name.split_once('/').unwrap();
    ServiceAccountRef::new(namespace, name)
}

fn key(name: &str) -> ObjectKey {
    name.split_once('/').map_or_else(
        || ObjectKey::cluster(name),
        |(namespace, name)| ObjectKey::new(namespace, name),
    )
}

/// A pod that runs as an account and has its token mounted.
fn pod(account: &str) -> <Pods as Kind>::Facts {
    holder(account, None)
}

/// The same, which may mount a Secret at the path of the token.
fn holder(account: &str, secret: Option<&str>) -> <Pods as Kind>::Facts {
    let volume = |secret: &str| wire::Volume {
        name: "v".to_owned(),
        secret: Some(wire::SecretVolume {
            secret_name: secret.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mount = wire::VolumeMount {
        name: "v".to_owned(),
        mount_path: TOKEN_MOUNT_PATH.to_owned(),
        ..Default::default()
    };
    let spec = wire::PodSpec {
        service_account_name: account.to_owned(),
        volumes: secret.map(volume).into_iter().collect(),
        containers: vec![
            wire::ContainerFields {
                name: "c".to_owned(),
                volume_mounts: secret.map(|_| mount).into_iter().collect(),
                ..Default::default()
            }
            .into(),
        ],
        ..Default::default()
    };
    Pods::facts(
        &wire::Pod {
            spec,
            ..Default::default()
        },
        &Config::default(),
    )
}

/// A Secret that holds a token of an account, or none.
fn secret(owner: Option<&str>) -> SecretFacts {
    SecretFacts {
        owner: owner.map(Box::from),
        ..Default::default()
    }
}

fn binding(namespace: &str, role_kind: &str, role: &str, subjects: &[&str]) -> Binding {
    let subject = |subject: &&str| {
        let account = subject.split_once('/');
        let other = || subject.split_once(' ').unwrap_or(("Group", subject));
        let kind_and_name = account.map_or_else(other, |(_, name)| ("ServiceAccount", name));
        wire::Subject {
            kind: kind_and_name.0.into(),
            name: kind_and_name.1.into(),
            namespace: account.map_or("", |(namespace, _)| namespace).into(),
            ..Default::default()
        }
    };
    RoleBindings::facts(
        &wire::Binding {
            metadata: wire::Metadata {
                namespace: namespace.into(),
                ..Default::default()
            },
            role_ref: wire::RoleRef {
                kind: role_kind.into(),
                name: role.into(),
                ..Default::default()
            },
            subjects: subjects.iter().map(subject).collect(),
        },
        &Config::default(),
    )
}

fn role(resources: &[&str]) -> Role {
    let rule = |resource: &&str| wire::PolicyRule {
        verbs: vec!["get".into()],
        api_groups: vec!["".into()],
        resources: vec![(*resource).into()],
        ..Default::default()
    };
    Roles::facts(
        &wire::Role {
            rules: resources.iter().map(rule).collect(),
            ..Default::default()
        },
        &Config::default(),
    )
}

/// Three accounts in two namespaces, each with a pod; every kind is read and no account is dirty.
fn settled() -> Index {
    let mut index = Index::new(&[]);
    for name in ["a/alice", "a/bob", "b/carol"] {
        index.apply::<ServiceAccounts>(key(name), ServiceAccountFacts::default());
        index.apply::<Pods>(key(&format!("{name}-pod")), pod(&account(name).name));
    }
    index.take_dirty();
    index
}

fn dirty(index: &mut Index) -> Vec<String> {
    let mut dirty: Vec<_> = index.take_dirty().iter().map(ToString::to_string).collect();
    dirty.sort_unstable();
    dirty
}

fn reason(index: &Index, name: &str) -> Reason {
    index.assess(&account(name)).reason
}

#[test]
fn a_subject_removed_from_a_binding_makes_its_account_dirty() {
    let mut index = settled();
    index.apply::<RoleBindings>(
        key("a/b1"),
        binding("a", "Role", "r", &["a/alice", "a/bob"]),
    );
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
    index.apply::<RoleBindings>(key("a/b1"), binding("a", "Role", "r", &["a/alice"]));
    assert_eq!(dirty(&mut index), ["a/bob"]);
    index.apply::<RoleBindings>(key("a/b1"), binding("a", "Role", "other", &["a/alice"]));
    assert_eq!(dirty(&mut index), ["a/alice"]);
}

#[test]
fn a_deletion_while_the_watch_was_down_makes_its_accounts_dirty() {
    let mut index = settled();
    index.apply::<RoleBindings>(key("a/b1"), binding("a", "Role", "r", &["a/alice"]));
    index.apply::<RoleBindings>(key("b/b2"), binding("b", "Role", "r", &["b/carol"]));
    assert_eq!(reason(&index, "b/carol"), Reason::LatentBinding);
    index.take_dirty();
    index.begin::<RoleBindings>();
    index.apply::<RoleBindings>(key("a/b1"), binding("a", "Role", "r", &["a/alice"]));
    index.commit::<RoleBindings>();
    assert_eq!(dirty(&mut index), ["b/carol"]);
    assert_eq!(reason(&index, "b/carol"), Reason::NoPermissions);
}

#[test]
fn a_new_role_makes_the_accounts_dirty_that_its_bindings_reach() {
    let mut index = settled();
    index.apply::<RoleBindings>(key("b/b1"), binding("b", "ClusterRole", "r", &["a/alice"]));
    index.apply::<RoleBindings>(key("a/b2"), binding("a", "Role", "r", &["a/bob"]));
    index.take_dirty();
    index.apply::<ClusterRoles>(key("r"), role(&["pods"]));
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(reason(&index, "a/alice"), Reason::DirectGrant);
    index.delete::<ClusterRoles>(&key("r"));
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(reason(&index, "a/alice"), Reason::LatentBinding);
}

#[test]
fn a_binding_to_a_group_makes_its_accounts_dirty() {
    let mut index = settled();
    index.apply::<ClusterRoleBindings>(
        key("b1"),
        binding("", "ClusterRole", "r", &["system:serviceaccounts:a"]),
    );
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
    index.apply::<ClusterRoleBindings>(
        key("b1"),
        binding("", "ClusterRole", "r", &["system:serviceaccounts"]),
    );
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob", "b/carol"]);
    index.apply::<ClusterRoleBindings>(
        key("b1"),
        binding("", "ClusterRole", "r", &["system:authenticated"]),
    );
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob", "b/carol"]);
}

#[test]
fn an_event_that_changes_no_fact_makes_no_account_dirty() {
    let mut index = settled();
    index.apply::<Pods>(key("a/alice-pod"), pod("alice"));
    index.begin::<Pods>();
    for name in ["a/alice", "a/bob", "b/carol"] {
        index.apply::<Pods>(key(&format!("{name}-pod")), pod(&account(name).name));
    }
    index.commit::<Pods>();
    // A binding to users concerns no account.
    index.apply::<ClusterRoleBindings>(
        key("people"),
        binding("", "ClusterRole", "r", &["developers"]),
    );
    assert_eq!(dirty(&mut index), Vec::<String>::new());
}

#[test]
fn a_pod_that_changes_its_account_makes_both_dirty() {
    let mut index = settled();
    index.apply::<Pods>(key("a/alice-pod"), pod("bob"));
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
    assert_eq!(
        (
            reason(&index, "a/alice"),
            index.assess(&account("a/bob")).pods
        ),
        (Reason::NoPods, 2)
    );
}

#[test]
fn a_secret_makes_the_accounts_dirty_whose_token_it_may_hold_or_whose_pods_expose_it() {
    let mut index = settled();
    index.apply::<Pods>(key("a/alice-pod"), holder("alice", Some("bob-token-abcde")));
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
    assert_eq!(reason(&index, "a/bob"), Reason::NoPermissions);
    assert_eq!(reason(&index, "a/alice"), Reason::AutomountDisabled);
    index.apply::<Secrets>(key("a/bob-token-abcde"), secret(Some("alice")));
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
    assert_eq!(reason(&index, "a/alice"), Reason::LegacyToken);
    index.apply::<Secrets>(key("a/bob-token-abcde"), secret(None));
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
    assert_eq!(reason(&index, "a/alice"), Reason::AutomountDisabled);
    // The Secret belongs to no known account: the account of the pod that mounts it may use it.
    index.delete::<Secrets>(&key("a/bob-token-abcde"));
    index.delete::<Pods>(&key("a/bob-pod"));
    index.take_dirty();
    index.delete::<ServiceAccounts>(&key("a/bob"));
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(reason(&index, "a/alice"), Reason::SuspectedLegacyToken);
}

/// A report with a verdict, of a version.
fn report(verdict: Option<Verdict>, version: u64) -> ReportFacts {
    let verdict = verdict.map(Verdict::name);
    let wire = serde_json::json!({
        "metadata": {"resourceVersion": version.to_string()}, "status": {"verdict": verdict},
    });
    Reports::facts(&serde_json::from_value(wire).unwrap(), &Config::default())
}

/// The answer to a write may arrive after the watch has told what became of the report since.
#[test]
fn a_report_that_was_deleted_since_it_was_written_is_not_taken_for_there() {
    let mut index = Index::new(&[InputKind::TokenExposureReport]);
    let account = ServiceAccountRef::new("a", "alice");
    let watched = |index: &mut Index, version| {
        index.read(InputKind::TokenExposureReport, |reading| {
            reading.version = Some(version);
        });
    };
    let wrote = |index: &mut Index, version| {
        let facts = report(Some(Verdict::Review), version);
        index.wrote::<Reports>(&key("a/alice"), &facts);
        index.report(&account).is_some()
    };
    index.begin::<Reports>();
    index.commit::<Reports>();
    watched(&mut index, 8);
    assert!(wrote(&mut index, 9), "the watch lags behind");
    watched(&mut index, 10);
    index.delete::<Reports>(&key("a/alice"));
    index.take_dirty();
    assert!(!wrote(&mut index, 9) && !wrote(&mut index, 10));
    assert!(index.take_dirty().is_empty());
    assert!(wrote(&mut index, 11));
    // A list that does not have it is the present.
    index.begin::<Reports>();
    assert!(wrote(&mut index, 12));
    index.commit::<Reports>();
    assert!(index.report(&account).is_none());
    // One that has it keeps it, whenever it was written.
    index.begin::<Reports>();
    index.apply::<Reports>(key("a/alice"), report(Some(Verdict::Review), 12));
    assert!(wrote(&mut index, 13));
    index.commit::<Reports>();
    assert_eq!(index.report(&account).unwrap().version, Some(13));
    index.begin::<Reports>();
    assert!(wrote(&mut index, 14));
    index.apply::<Reports>(key("a/alice"), report(None, 13));
    index.commit::<Reports>();
    assert_eq!(index.report(&account).unwrap().version, Some(14));
    // What admission made of it is what we wrote, whether the watch or the answer is first.
    watched(&mut index, 14);
    assert!(wrote(&mut index, 15));
    index.take_dirty();
    index.apply::<Reports>(key("a/alice"), report(None, 15));
    index.apply::<Reports>(key("a/alice"), report(None, 16));
    watched(&mut index, 16);
    assert_eq!(index.report(&account).unwrap().verdict, None);
    assert!(wrote(&mut index, 16));
    let verdict = index.report(&account).unwrap().verdict;
    assert_eq!(verdict, Some(Verdict::Review));
}

#[test]
fn an_event_older_than_our_own_write_is_ignored_until_all_reports_are_read() {
    let mut index = Index::new(&[]);
    let account = ServiceAccountRef::new("a", "alice");
    let verdict = |index: &Index| index.report(&account).unwrap().verdict;
    index.apply::<Reports>(key("a/alice"), report(Some(Verdict::Review), 20));
    index.take_dirty();
    index.apply::<Reports>(key("a/alice"), report(None, 19));
    assert_eq!(verdict(&index), Some(Verdict::Review));
    assert!(index.take_dirty().is_empty());
    index.apply::<Reports>(key("a/alice"), report(Some(Verdict::Unneeded), 21));
    assert_eq!(verdict(&index), Some(Verdict::Unneeded));
    index.begin::<Reports>();
    index.apply::<Reports>(key("a/alice"), report(None, 5));
    assert_eq!(verdict(&index), None);
}

/// The namespaces whose summary is dirty.
fn dirty_summaries(index: &mut Index) -> Vec<String> {
    let dirty = index.take_dirty_namespaces().into_iter();
    let mut dirty: Vec<_> = dirty.map(|name| name.to_string()).collect();
    dirty.sort_unstable();
    dirty
}

/// Assesses all dirty accounts, as the controller does.
fn assess_dirty(index: &mut Index) {
    for account in index.take_dirty() {
        let answer = AccountSummary::from(&index.assess(&account));
        index.set_verdict(&account, answer);
    }
}

/// The accounts of namespace `a` that its summary counts, and whether all answers are current.
fn shares(index: &Index) -> Option<(Vec<(&str, Verdict)>, bool)> {
    let shares = index.shares(&"a".into())?;
    let accounts = shares.accounts.iter();
    let verdicts = accounts.map(|(name, answer)| (*name, answer.verdict));
    Some((verdicts.collect(), shares.is_current))
}

#[test]
fn a_summary_is_dirty_when_the_answer_for_an_account_changes() {
    let mut index = settled();
    index.mark_all();
    assert_eq!(dirty_summaries(&mut index), ["a", "b"]);
    assert_eq!(shares(&index), None, "no account was assessed");
    assess_dirty(&mut index);
    assert_eq!(dirty_summaries(&mut index), ["a", "b"]);
    let unneeded = [("alice", Verdict::Unneeded), ("bob", Verdict::Unneeded)];
    assert_eq!(shares(&index), Some((unneeded.into(), true)));

    // What changes no answer changes no summary.
    index.mark(&account("a/alice"));
    assert_eq!(shares(&index), Some((unneeded.into(), false)));
    assess_dirty(&mut index);
    assert_eq!(dirty_summaries(&mut index), Vec::<String>::new());

    let grant = binding("a", "ClusterRole", "r", &["a/alice"]);
    index.apply::<ClusterRoles>(key("r"), role(&["pods"]));
    index.apply::<RoleBindings>(key("a/b1"), grant);
    assess_dirty(&mut index);
    assert_eq!(dirty_summaries(&mut index), ["a"]);
    let needed = [("alice", Verdict::Needed), ("bob", Verdict::Unneeded)];
    assert_eq!(shares(&index), Some((needed.into(), true)));

    // One that is gone is dirty no more, and its namespace is.
    index.delete::<ServiceAccounts>(&key("b/carol"));
    index.delete::<Pods>(&key("b/carol-pod"));
    assert_eq!(dirty_summaries(&mut index), ["b"]);
    index.apply::<Namespaces>(key("a"), NamespaceFacts::default());
    assert_eq!(dirty_summaries(&mut index), ["a"]);
}

#[test]
fn a_stored_summary_says_too_much_of_an_account_whose_answer_changed() {
    let mut index = settled();
    index.mark_all();
    assess_dirty(&mut index);
    let stored = |unneeded: &str| {
        let wire = serde_json::json!({ "status": { "unneeded": unneeded } });
        Summaries::facts(&serde_json::from_value(wire).unwrap(), &Config::default())
    };
    let overstated =
        |index: &Index| ["a/alice", "a/bob"].map(|name| index.is_overstated(&account(name)));
    assert_eq!(overstated(&index), [false, false]);
    index.take_dirty_namespaces();
    index.apply::<Summaries>(key("a/token-exposure"), stored("|alice|bob|"));
    assert_eq!(dirty_summaries(&mut index), ["a"], "somebody changed it");
    assert_eq!(overstated(&index), [false, false]);
    index.apply::<ClusterRoles>(key("r"), role(&["pods"]));
    index.apply::<RoleBindings>(key("a/b1"), binding("a", "ClusterRole", "r", &["a/bob"]));
    assess_dirty(&mut index);
    assert_eq!(overstated(&index), [false, true]);
    index.delete::<Summaries>(&key("a/token-exposure"));
    assert_eq!(overstated(&index), [false, false]);
}

#[test]
fn no_account_is_dirty_until_every_kind_was_read_and_then_all_are() {
    let mut index = Index::new(&[InputKind::Pod, InputKind::ServiceAccount]);
    index.begin::<Pods>();
    index.apply::<Pods>(key("a/p"), pod("alice"));
    index.commit::<Pods>();
    assert!(!index.is_settled() && index.take_dirty().is_empty());
    index.begin::<ServiceAccounts>();
    index.apply::<ServiceAccounts>(key("b/bob"), ServiceAccountFacts::default());
    index.commit::<ServiceAccounts>();
    assert_eq!(dirty(&mut index), ["a/alice", "b/bob"]);
}

#[test]
fn after_another_history_no_account_is_dirty_until_every_kind_was_read_again() {
    let mut index = Index::new(&[InputKind::Pod, InputKind::ServiceAccount]);
    let read = |index: &mut Index| {
        index.begin::<Pods>();
        index.apply::<Pods>(key("a/p"), pod("alice"));
        index.commit::<Pods>();
    };
    read(&mut index);
    index.begin::<ServiceAccounts>();
    index.commit::<ServiceAccounts>();
    assert_eq!(dirty(&mut index), ["a/alice"]);
    index.distrust();
    read(&mut index);
    index.apply::<Pods>(key("a/q"), pod("bob"));
    assert!(!index.is_settled() && index.take_dirty().is_empty());
    index.begin::<ServiceAccounts>();
    index.commit::<ServiceAccounts>();
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
}

#[test]
fn a_forbidden_kind_makes_all_accounts_dirty_and_unknown_until_it_is_read_again() {
    let mut index = Index::new(&[InputKind::RoleBinding]);
    index.apply::<Pods>(key("a/p"), pod("alice"));
    index.read(InputKind::RoleBinding, |reading| reading.forbidden = true);
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(reason(&index, "a/alice"), Reason::Forbidden);
    // A known grant still counts.
    index.apply::<ClusterRoleBindings>(key("b"), binding("", "ClusterRole", "r", &["a/alice"]));
    index.apply::<ClusterRoles>(key("r"), role(&["pods"]));
    assert_eq!(reason(&index, "a/alice"), Reason::DirectGrant);
    index.take_dirty();
    index.begin::<RoleBindings>();
    index.commit::<RoleBindings>();
    assert_eq!(dirty(&mut index), ["a/alice"]);
}

#[test]
fn pods_of_one_shape_share_it() {
    let mut index = settled();
    for pod_name in 0..1000 {
        index.apply::<Pods>(key(&format!("a/x{pod_name}")), pod("alice"));
    }
    let pods = &index.accounts[&account("a/alice")].pods;
    let counts: Vec<_> = pods
        .iter()
        .map(|(shape, count)| (count, Arc::strong_count(shape)))
        .collect();
    assert_eq!(counts, [(1001, 1002)]);
    for pod_name in 0..1000 {
        index.delete::<Pods>(&key(&format!("a/x{pod_name}")));
    }
    assert_eq!(index.assess(&account("a/alice")).pods, 1);
}

#[test]
fn what_identifies_a_pod_is_kept_only_for_audit_logs() {
    let facts = |uid: &str| {
        let mut pod = pod("alice");
        pod.instance = Instance::new(uid, 1000, Phase::Running, 1000).map(Box::new);
        pod
    };
    let first = facts("00000000-0000-4000-8000-000000000001");
    let second = facts("00000000-0000-4000-8000-000000000002");
    assert!(first.instance.is_some() && first != second);
    let mut index = settled();
    for facts in [&first, &second] {
        index.apply::<Pods>(key("a/x"), facts.clone());
        assert_eq!(index.pods.get(&key("a/x")), Some(facts));
    }
    let mut index = settled();
    index.expect_usage(false);
    index.apply::<Pods>(key("a/x"), first);
    assert_eq!(dirty(&mut index), ["a/alice"]);
    index.apply::<Pods>(key("a/x"), second);
    assert_eq!(dirty(&mut index), Vec::<String>::new());
    assert_eq!(index.pods.get(&key("a/x")), Some(&pod("alice")));
}

#[test]
fn a_verdict_needs_the_shapes_of_pods_alone() {
    let mut index = settled();
    index.apply::<Pods>(key("a/x"), pod("alice"));
    let before = index.assess(&account("a/alice"));
    index.forget_pods();
    assert_eq!(index.account_of("a", "Pod", "x"), None);
    assert_eq!(index.assess(&account("a/alice")), before);
}

#[test]
fn an_account_without_object_report_and_pods_is_removed() {
    let mut index = settled();
    index.delete::<Pods>(&key("b/carol-pod"));
    index.delete::<ServiceAccounts>(&key("b/carol"));
    assert_eq!(
        index
            .account(&account("b/carol"))
            .map(Account::exists_or_has_pods),
        None
    );
    assert_eq!(dirty(&mut index), Vec::<String>::new());
}

/// A namespace that is labelled again after its label was taken, with a pod that was created meanwhile.
#[test]
fn pods_of_a_namespace_that_enters_are_listed_before_its_accounts_are_judged() {
    let config = by_label();
    let mut index = Index::new(&[InputKind::Pod, InputKind::Namespace]);
    index.set_config(config.clone());
    let label = |index: &mut Index, labelled| {
        index.apply::<Namespaces>(key("a"), namespace("a", labelled, &config));
    };
    assert!(!index.knows_selection());
    index.begin::<Namespaces>();
    label(&mut index, true);
    index.commit::<Namespaces>();
    assert!(index.knows_selection());
    index.begin::<Pods>();
    index.apply::<Pods>(key("a/alice-pod"), pod("alice"));
    // Its namespace is not known yet.
    index.apply::<Pods>(key("b/bob-pod"), pod("bob"));
    index.commit::<Pods>();
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(index.standing("b"), Standing::Undecided);

    label(&mut index, false);
    index.apply::<Pods>(key("a/carol-pod"), pod("carol"));
    assert_eq!(index.pods.iter().count(), 1);
    assert_eq!(index.accounts().count(), 0);
    assert_eq!(index.left_out().unwrap()[&LeftOut::Unlabelled], 1);
    assert_eq!(dirty(&mut index), [""; 0]);

    label(&mut index, true);
    assert_eq!(
        (index.standing("a"), index.accounts().count()),
        (Standing::Undecided, 0)
    );
    let [(name, turn)] = &index.entering()[..] else {
        panic!("{:?}", index.entering());
    };
    // It leaves and enters while it is listed: the list says nothing about it any more.
    label(&mut index, false);
    label(&mut index, true);
    index.entered(name, *turn);
    assert_eq!(index.standing("a"), Standing::Undecided);
    let [(name, turn)] = &index.entering()[..] else {
        panic!("{:?}", index.entering());
    };
    for who in ["alice", "carol"] {
        index.apply::<Pods>(key(&format!("a/{who}-pod")), pod(who));
    }
    index.entered(name, *turn);
    assert_eq!(dirty(&mut index), ["a/alice", "a/carol"]);

    // A reading of all pods does the same.
    label(&mut index, false);
    label(&mut index, true);
    index.begin::<Pods>();
    index.apply::<Pods>(key("a/carol-pod"), pod("carol"));
    assert!(index.has_entering());
    index.commit::<Pods>();
    assert!(!index.has_entering());
    assert_eq!(dirty(&mut index), ["a/carol"]);
}

#[test]
fn an_account_of_a_namespace_that_is_left_out_is_dirty_only_while_it_has_a_report() {
    let mut index = settled();
    index.set_config(Config {
        namespaces: Selection::only(["a"]),
        ..Config::default()
    });
    assert_eq!(dirty(&mut index), ["a/alice", "a/bob"]);
    let report = || Reports::facts(&serde_json::from_str("{}").unwrap(), &Config::default());
    index.apply::<Reports>(key("b/carol"), report());
    assert_eq!(dirty(&mut index), ["b/carol"]);
    index.delete::<Reports>(&key("b/carol"));
    index.apply::<Pods>(key("b/new"), pod("carol"));
    index.apply::<ServiceAccounts>(key("b/new"), ServiceAccountFacts::default());
    assert_eq!(dirty(&mut index), [""; 0]);
    assert!(!index.contains::<Pods>(&key("b/new")));
    // What its bindings grant to others counts.
    index.apply::<Roles>(key("b/r"), role(&["pods"]));
    index.apply::<RoleBindings>(key("b/b1"), binding("b", "Role", "r", &["a/alice"]));
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(reason(&index, "a/alice"), Reason::DirectGrant);
}

#[test]
fn what_is_denied_in_one_namespace_is_a_gap_of_its_accounts_alone() {
    let mut index = Index::new(&[InputKind::Pod, InputKind::ServiceAccount]);
    for kind in ["a/alice", "b/carol"] {
        index.apply::<ServiceAccounts>(key(kind), ServiceAccountFacts::default());
    }
    index.begin::<Pods>();
    index.commit::<Pods>();
    index.begin::<ServiceAccounts>();
    index.apply::<ServiceAccounts>(key("a/alice"), ServiceAccountFacts::default());
    index.apply::<ServiceAccounts>(key("b/carol"), ServiceAccountFacts::default());
    index.commit::<ServiceAccounts>();
    index.take_dirty();
    index.deny(InputKind::Pod, "b");
    assert_eq!(dirty(&mut index), ["b/carol"]);
    assert_eq!(reason(&index, "a/alice"), Reason::NoPods);
    assert_eq!(reason(&index, "b/carol"), Reason::Forbidden);
}

/// An account whose name a binding misses by one letter hears of it until the account that is named exists.
#[test]
fn a_binding_that_nearly_names_an_account_makes_it_dirty() {
    let mut index = settled();
    let near = |index: &Index| {
        let notes = index.assess(&account("a/alice")).notes;
        notes.first().map(ToString::to_string)
    };
    index.apply::<RoleBindings>(key("a/b"), binding("a", "Role", "r", &["a/alicce"]));
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(
        near(&index).as_deref(),
        Some("RoleBinding a/b names alicce: did you mean alice?")
    );
    index.apply::<ServiceAccounts>(key("a/alicce"), ServiceAccountFacts::default());
    assert_eq!(dirty(&mut index), ["a/alicce", "a/alice"]);
    assert_eq!(near(&index), None);
    index.delete::<ServiceAccounts>(&key("a/alicce"));
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert!(near(&index).is_some());
    index.apply::<RoleBindings>(key("a/b"), binding("a", "Role", "r", &["a/alice"]));
    assert_eq!(dirty(&mut index), ["a/alice"]);
    assert_eq!(near(&index), None);
}

/// A ClusterRoleBinding may mean an account of any namespace while only one has the name.
#[test]
fn a_name_that_ceases_to_be_the_only_one_makes_its_account_dirty() {
    let mut index = settled();
    let notes = |index: &Index| index.assess(&account("a/alice")).notes.len();
    let bound = binding("", "ClusterRole", "r", &["b/alice"]);
    index.apply::<ClusterRoleBindings>(key("m"), bound);
    assert_eq!(
        (dirty(&mut index), notes(&index)),
        (vec!["a/alice".to_owned()], 1)
    );
    for other in ["b/alice", "c/alice"] {
        index.apply::<ServiceAccounts>(key(other), ServiceAccountFacts::default());
        assert_eq!(dirty(&mut index), ["a/alice", other]);
        assert_eq!(notes(&index), 0);
        index.delete::<ServiceAccounts>(&key(other));
        assert_eq!(dirty(&mut index), ["a/alice"]);
        assert_eq!(notes(&index), 1);
    }
}

/// Where only some accounts are listed, one that is not known may exist.
#[test]
fn an_account_that_was_not_listed_is_not_missing() {
    let near = |only: Option<&str>, subject: &str| {
        let mut index = settled();
        index.set_config(Config {
            namespaces: Selection::only(only),
            ..Config::default()
        });
        index.apply::<RoleBindings>(key("a/b"), binding("a", "Role", "r", &[subject]));
        !index.assess(&account("a/alice")).notes.is_empty()
    };
    assert!(near(None, "c/alice") && near(Some("a"), "a/alicce"));
    assert!(!near(Some("a"), "c/alice"));
    assert!(near(Some("a"), "User a:alice"));
}

/// What is read in any order is counted when the last kind was read.
#[test]
fn nothing_is_missing_before_every_kind_was_read() {
    let mut index = Index::new(&[InputKind::ServiceAccount, InputKind::RoleBinding]);
    index.begin::<RoleBindings>();
    index.apply::<RoleBindings>(key("a/b"), binding("a", "Role", "r", &["a/alicce"]));
    index.apply::<RoleBindings>(key("a/c"), binding("a", "Role", "r", &["User a:bob"]));
    index.commit::<RoleBindings>();
    index.apply::<Pods>(key("a/p"), pod("alice"));
    index.apply::<Pods>(key("a/q"), pod("bob"));
    let notes = |index: &Index, name: &str| index.assess(&account(name)).notes.len();
    assert_eq!(notes(&index, "a/alice"), 0);
    index.begin::<ServiceAccounts>();
    index.apply::<ServiceAccounts>(key("a/alice"), ServiceAccountFacts::default());
    index.commit::<ServiceAccounts>();
    assert_eq!((notes(&index, "a/alice"), notes(&index, "a/bob")), (1, 1));
}

// === any order of events ===

/// One event of a script; indices choose among a few names, so that events meet.
#[derive(Clone, Debug)]
enum Event {
    Pod {
        name: u8,
        account: Option<u8>,
        /// The Secret that it mounts.
        holds: Option<u8>,
    },
    Account {
        name: u8,
        automount: Option<Option<bool>>,
        /// The Secret that it names.
        names: Option<u8>,
    },
    Secret {
        name: u8,
        owner: Option<Option<u8>>,
    },
    Role {
        name: u8,
        rules: Option<u8>,
    },
    ClusterRole {
        name: u8,
        rules: Option<u8>,
    },
    RoleBinding {
        name: u8,
        content: Option<(u8, Vec<u8>)>,
    },
    ClusterRoleBinding {
        name: u8,
        content: Option<(u8, Vec<u8>)>,
    },
    /// A relist that finds only some of the objects.
    RelistPods {
        keep: u8,
    },
    RelistRoleBindings {
        keep: u8,
    },
    Namespace {
        name: u8,
        /// Whether it has the label that selects it.
        labelled: Option<bool>,
    },
    /// The pods of the namespaces that have entered are listed.
    Enter,
}

/// What selects namespaces by their label.
fn by_label() -> Config {
    Config {
        namespaces: Selection {
            labels: "judged".parse().unwrap(),
            ..Selection::default()
        },
        ..Config::default()
    }
}

fn namespace(name: &str, labelled: bool, config: &Config) -> NamespaceFacts {
    let mut metadata = wire::Metadata {
        name: name.into(),
        ..Default::default()
    };
    if labelled {
        metadata.labels = [("judged", "")].into();
    }
    Namespaces::facts(&wire::Namespace { metadata }, config)
}

const ACCOUNTS: [&str; 4] = ["a/sail", "a/sails", "b/sail", "b/sails"];
const SECRETS: [&str; 4] = ["sail-token-abcde", "sails-token-abcde", "copy", "robot"];
const ROLES: [&str; 3] = ["a/r", "a/s", "b/r"];
const CLUSTER_ROLES: [&str; 2] = ["r", "s"];
const BINDINGS: [&str; 4] = ["a/m", "a/n", "b/m", "b/n"];
const CLUSTER_BINDINGS: [&str; 2] = ["m", "n"];
const SUBJECTS: [&str; 18] = [
    "a/sail",
    "a/sails",
    "b/sail",
    "b/sails",
    "system:serviceaccounts:a",
    "system:serviceaccounts",
    "system:authenticated",
    "developers",
    // Nobody, but perhaps somebody is meant.
    "a/sial",
    "a/saill",
    "b/ssail",
    "c/sail",
    "c/sails",
    "d/sail",
    "User system:serviceaccount:c:sail",
    "User a:sail",
    "User sails",
    "ServiceAccount sail",
];

fn event() -> impl Strategy<Value = Event> {
    let content = || proptest::option::of((0..2_u8, proptest::collection::vec(0..18_u8, 0..3)));
    prop_oneof![
        (
            0..6_u8,
            proptest::option::of(0..4_u8),
            proptest::option::of(0..4_u8)
        )
            .prop_map(|(name, account, holds)| Event::Pod {
                name,
                account,
                holds
            }),
        (
            0..4_u8,
            proptest::option::of(any::<Option<bool>>()),
            proptest::option::of(0..4_u8)
        )
            .prop_map(|(name, automount, names)| Event::Account {
                name,
                automount,
                names
            }),
        (0..8_u8, proptest::option::of(proptest::option::of(0..2_u8)))
            .prop_map(|(name, owner)| Event::Secret { name, owner }),
        (0..3_u8, proptest::option::of(0..3_u8))
            .prop_map(|(name, rules)| Event::Role { name, rules }),
        (0..2_u8, proptest::option::of(0..3_u8))
            .prop_map(|(name, rules)| Event::ClusterRole { name, rules }),
        (0..4_u8, content()).prop_map(|(name, content)| Event::RoleBinding { name, content }),
        (0..2_u8, content())
            .prop_map(|(name, content)| Event::ClusterRoleBinding { name, content }),
        any::<u8>().prop_map(|keep| Event::RelistPods { keep }),
        any::<u8>().prop_map(|keep| Event::RelistRoleBindings { keep }),
        (0..2_u8, any::<Option<bool>>())
            .prop_map(|(name, labelled)| Event::Namespace { name, labelled }),
        Just(Event::Enter),
    ]
}

/// The objects that exist, without an index: an index must agree with them.
#[derive(Clone, Default)]
struct World {
    pods: BTreeMap<ObjectKey, <Pods as Kind>::Facts>,
    accounts: BTreeMap<ObjectKey, <ServiceAccounts as Kind>::Facts>,
    secrets: BTreeMap<ObjectKey, SecretFacts>,
    roles: BTreeMap<ObjectKey, Role>,
    cluster_roles: BTreeMap<ObjectKey, Role>,
    role_bindings: BTreeMap<ObjectKey, Binding>,
    cluster_role_bindings: BTreeMap<ObjectKey, Binding>,
    namespaces: BTreeMap<ObjectKey, NamespaceFacts>,
}

/// Applies one change to a map and to the index.
fn set<K: Kind>(
    map: &mut BTreeMap<ObjectKey, K::Facts>,
    index: &mut Index,
    key: ObjectKey,
    facts: Option<K::Facts>,
) where
    Index: Indexed<K>,
{
    if let Some(facts) = facts {
        map.insert(key.clone(), facts.clone());
        index.apply::<K>(key, facts);
    } else {
        map.remove(&key);
        index.delete::<K>(&key);
    }
}

/// Removes some rows of a map, and updates the index by a relist only.
fn relist<K: Kind>(map: &mut BTreeMap<ObjectKey, K::Facts>, index: &mut Index, keep: u8)
where
    Index: Indexed<K>,
{
    let mut place = 0;
    map.retain(|_, _| {
        place += 1;
        keep >> (place % 8) & 1 == 1
    });
    index.begin::<K>();
    for (key, facts) in map.iter() {
        index.apply::<K>(key.clone(), facts.clone());
    }
    index.commit::<K>();
}

impl World {
    fn apply_event(&mut self, event: &Event, index: &mut Index) {
        match event {
            Event::Pod {
                name,
                account: to,
                holds,
            } => {
                let key = ObjectKey::new(["a", "b"][usize::from(name % 2)], format!("pod-{name}"));
                let named = |index: u8| account(ACCOUNTS[usize::from(index)]).name;
                let secret = holds.map(|secret| SECRETS[usize::from(secret)]);
                let facts = to.map(|to| holder(&named(to), secret));
                set::<Pods>(&mut self.pods, index, key, facts);
            }
            Event::Account {
                name,
                automount,
                names,
            } => {
                let secrets = names.map(|secret| SECRETS[usize::from(secret)].into());
                let facts = automount.map(|automount| ServiceAccountFacts {
                    has_more_secrets: false,
                    automount,
                    secrets: secrets.into_iter().collect(),
                    ..Default::default()
                });
                set::<ServiceAccounts>(
                    &mut self.accounts,
                    index,
                    key(ACCOUNTS[usize::from(*name)]),
                    facts,
                );
            }
            Event::Secret { name, owner } => {
                let namespace = ["a", "b"][usize::from(name % 2)];
                let key = ObjectKey::new(namespace, SECRETS[usize::from(name / 2)]);
                let facts = owner
                    .map(|owner| secret(owner.map(|owner| ["sail", "sails"][usize::from(owner)])));
                set::<Secrets>(&mut self.secrets, index, key, facts);
            }
            Event::Role { .. }
            | Event::ClusterRole { .. }
            | Event::RoleBinding { .. }
            | Event::ClusterRoleBinding { .. } => self.rbac(event, index),
            Event::RelistPods { keep } => relist::<Pods>(&mut self.pods, index, *keep),
            Event::RelistRoleBindings { keep } => {
                relist::<RoleBindings>(&mut self.role_bindings, index, *keep);
            }
            Event::Namespace { name, labelled } => {
                let name = ["a", "b"][usize::from(*name)];
                let facts = labelled.map(|labelled| namespace(name, labelled, index.config()));
                set::<Namespaces>(&mut self.namespaces, index, key(name), facts);
            }
            Event::Enter => self.enter(index),
        }
    }

    /// Lists the pods of the namespaces that have entered, as the watch of pods does.
    fn enter(&self, index: &mut Index) {
        for (namespace, turn) in index.entering() {
            let pods = self.pods.iter();
            for (key, facts) in pods.filter(|(key, _)| key.namespace == namespace) {
                index.apply::<Pods>(key.clone(), facts.clone());
            }
            index.entered(&namespace, turn);
        }
    }

    fn rbac(&mut self, event: &Event, index: &mut Index) {
        let rules = |rules: u8| role(&["pods", "secrets"][..usize::from(rules)]);
        let bound = |name: &str, kind: &str, (to, subjects): &(u8, Vec<u8>)| {
            let subjects: Vec<_> = subjects
                .iter()
                .map(|subject| SUBJECTS[usize::from(*subject)])
                .collect();
            let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
            binding(namespace, kind, ["r", "s"][usize::from(*to)], &subjects)
        };
        match event {
            Event::Role { name, rules: count } => {
                set::<Roles>(
                    &mut self.roles,
                    index,
                    key(ROLES[usize::from(*name)]),
                    count.map(rules),
                );
            }
            Event::ClusterRole { name, rules: count } => {
                set::<ClusterRoles>(
                    &mut self.cluster_roles,
                    index,
                    key(CLUSTER_ROLES[usize::from(*name)]),
                    count.map(rules),
                );
            }
            Event::RoleBinding { name, content } => {
                let name = BINDINGS[usize::from(*name)];
                let facts = content.as_ref().map(|content| bound(name, "Role", content));
                set::<RoleBindings>(&mut self.role_bindings, index, key(name), facts);
            }
            Event::ClusterRoleBinding { name, content } => {
                let name = CLUSTER_BINDINGS[usize::from(*name)];
                let facts = content
                    .as_ref()
                    .map(|content| bound(name, "ClusterRole", content));
                set::<ClusterRoleBindings>(
                    &mut self.cluster_role_bindings,
                    index,
                    key(name),
                    facts,
                );
            }
            _ => {}
        }
    }

    /// An index of this world that has seen nothing else.
    fn fresh(&self, config: &Config) -> Index {
        let mut index = Index::new(&[]);
        index.set_config(config.clone());
        let world = self.clone();
        world
            .namespaces
            .into_iter()
            .for_each(|(key, facts)| index.apply::<Namespaces>(key, facts));
        world
            .cluster_role_bindings
            .into_iter()
            .for_each(|(key, facts)| index.apply::<ClusterRoleBindings>(key, facts));
        world
            .role_bindings
            .into_iter()
            .for_each(|(key, facts)| index.apply::<RoleBindings>(key, facts));
        world
            .cluster_roles
            .into_iter()
            .for_each(|(key, facts)| index.apply::<ClusterRoles>(key, facts));
        world
            .roles
            .into_iter()
            .for_each(|(key, facts)| index.apply::<Roles>(key, facts));
        world
            .accounts
            .into_iter()
            .for_each(|(key, facts)| index.apply::<ServiceAccounts>(key, facts));
        world
            .secrets
            .into_iter()
            .for_each(|(key, facts)| index.apply::<Secrets>(key, facts));
        world
            .pods
            .into_iter()
            .for_each(|(key, facts)| index.apply::<Pods>(key, facts));
        index
    }
}

fn answers(index: &Index) -> BTreeMap<ServiceAccountRef, Exposure> {
    index
        .accounts()
        .map(|(account, _)| (account.clone(), index.assess(account)))
        .collect()
}

/// A namespace is created, labelled or deleted, or what entered is listed.
fn label() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..2_u8, any::<Option<bool>>())
            .prop_map(|(name, labelled)| Event::Namespace { name, labelled }),
        1 => Just(Event::Enter),
    ]
}

fn incremental_equals_fresh(script: &[Event], config: &Config) -> Result<(), TestCaseError> {
    let (mut world, mut index) = (World::default(), Index::new(&[]));
    index.set_config(config.clone());
    let mut before = answers(&index);
    for event in script.iter().chain([&Event::Enter]) {
        world.apply_event(event, &mut index);
        let dirty = index.take_dirty();
        let after = answers(&index);
        for (account, answer) in &after {
            prop_assert!(
                before.get(account) == Some(answer) || dirty.contains(account),
                "{account} changed by {event:?} and was not dirty"
            );
        }
        for (key, _) in index.pods.iter() {
            let standing = index.standing(&key.namespace);
            prop_assert_ne!(standing, Standing::LeftOut, "{} is kept", key);
        }
        before = after;
    }
    prop_assert_eq!(before, answers(&world.fresh(config)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any script of events, the answers are those of a fresh index, and every account whose
    /// answer changed was dirty.
    #[test]
    fn any_order_of_events_gives_the_answers_of_a_fresh_index(script in proptest::collection::vec(event(), 1..40)) {
        incremental_equals_fresh(&script, &Config::default())?;
    }

    /// The same where the labels of namespaces select them: no pod of the others is kept.
    #[test]
    fn any_order_of_events_and_labels_gives_the_answers_of_a_fresh_index(
        script in proptest::collection::vec(prop_oneof![event(), label()], 1..60),
    ) {
        incremental_equals_fresh(&script, &by_label())?;
    }
}

#[test]
fn bindings_of_people_are_not_kept_of_a_cluster() {
    let names = |index: &mut Index| {
        let known = ["a/people", "a/account"].map(key);
        known.map(|key| index.contains::<RoleBindings>(&key))
    };
    for (mut index, expected) in [
        (Index::new(&[InputKind::RoleBinding]), [false, true]),
        // One may take the place of a binding that every API server creates.
        (Index::new(&[]), [true, true]),
    ] {
        index.begin::<RoleBindings>();
        let people = binding("a", "Role", "r", &["people"]);
        index.apply::<RoleBindings>(key("a/people"), people.clone());
        index.apply::<RoleBindings>(key("a/account"), binding("a", "Role", "r", &["a/alice"]));
        index.commit::<RoleBindings>();
        assert_eq!(names(&mut index), expected);
        // It no longer binds an account.
        index.apply::<RoleBindings>(key("a/account"), people);
        assert_eq!(names(&mut index), [expected[0], expected[0]]);
        assert_eq!(index.bindings_of(&account("a/alice")).count(), 0);
    }
}
