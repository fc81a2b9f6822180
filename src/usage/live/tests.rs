use super::*;
use crate::{
    model::ObjectKey,
    usage::{Caller, Object, PodName, Request, Stage},
};

const NOW: Micros = 1_795_730_509 * SECOND;
const DAYS_30: i64 = 30 * 86_400;

fn account(name: &str) -> ServiceAccountRef {
    ServiceAccountRef::new("shop", name)
}

fn workload(kind: &str, name: &str) -> Workload {
    Workload::new(kind, name)
}

/// A list of ConfigMaps with the token of a pod.
fn request<'a>(name: &'a str, pod: PodName<'a>, time: Micros) -> Request<'a> {
    Request {
        id: "1",
        stage: Stage::Complete,
        caller: Caller::Token {
            namespace: "shop",
            name,
            pod,
        },
        impersonates: false,
        verb: "list",
        object: Object {
            resource: "configmaps",
            namespace: "shop",
            ..Object::default()
        },
        path: "",
        is_denied: false,
        code: 200,
        reason: r#"RBAC: allowed by RoleBinding "reader/shop" of Role "reader" to ServiceAccount "mail/shop""#,
        reviewed: None,
        time,
    }
}

fn heartbeat(time: Micros) -> Request<'static> {
    Request {
        caller: Caller::ApiServer,
        verb: "update",
        object: Object {
            group: "coordination.k8s.io",
            resource: "leases",
            namespace: "kube-system",
            name: "apiserver-a",
            subresource: "",
        },
        ..request("", PodName::Unbound, time)
    }
}

fn bound(uid: u128, name: &str) -> PodName<'_> {
    PodName::Bound { uid, name }
}

/// Pods 1 to 9 are those of the Deployment `mail`, 10 to 19 are alone, and others are gone.
fn owner_of(_: &ServiceAccountRef, name: &str, uid: u128) -> Option<Workload> {
    match uid {
        1..=9 => Some(workload("Deployment", "mail")),
        10..=19 => Some(workload("Pod", name)),
        _ => None,
    }
}

fn add(live: &mut Live, requests: &[Request<'_>]) -> Touched {
    let mut record = Record::default();
    for request in requests {
        record.add(request);
    }
    live.add(record, &owner_of)
}

fn of(live: &Live, name: &str, workloads: &[Workload]) -> AccountUsage {
    live.of(&account(name), workloads.iter(), &owner_of)
        .unwrap()
}

#[test]
fn the_use_of_pods_is_that_of_their_workloads_and_arrives_in_any_order_and_twice() {
    let events = [
        request("mail", bound(1, "mail-7d4b9c5f6-x7k2p"), NOW),
        request("mail", bound(2, "mail-7d4b9c5f6-x7k2q"), NOW + SECOND),
        request("mail", bound(10, "alone"), NOW + 2 * SECOND),
        heartbeat(NOW),
    ];
    let mut live = Live::new(DAYS_30);
    assert!(add(&mut live, &events).all, "the first evidence");
    assert_eq!(add(&mut live, &events), Touched::default());
    let mut backward = Live::new(DAYS_30);
    for event in events.iter().rev() {
        add(&mut backward, &[*event]);
    }
    assert_eq!(live.kept(1), backward.kept(1));
    let mail = workload("Deployment", "mail");
    let usage = of(&live, "mail", &[mail.clone(), workload("Pod", "alone")]);
    assert_eq!(usage.workloads[&mail].last, Some(NOW + SECOND));
    let alone = &usage.workloads[&workload("Pod", "alone")];
    assert_eq!(alone.last_beyond_defaults, Some(NOW + 2 * SECOND));
    assert_eq!(
        usage.bindings,
        [(ObjectKey::new("shop", "reader"), NOW + 2 * SECOND)].into()
    );
    assert_eq!(live.last_used(&account("mail")), Some(NOW + 2 * SECOND));
    assert_eq!(usage.window.grade, Grade::Partial);
}

#[test]
fn a_use_touches_an_account_once_a_day_unless_it_is_of_another_kind() {
    let mut live = Live::new(DAYS_30);
    add(&mut live, &[heartbeat(NOW)]);
    let used = |time| request("mail", bound(1, "mail-1"), time);
    let denied = Request {
        is_denied: true,
        ..used(NOW)
    };
    let midnight = (day(NOW) + 1) * DAY;
    for (event, is_touched) in [
        (used(NOW), true),
        (used(NOW + 60 * SECOND), false),
        (denied, true),
        (denied, false),
        (used(midnight), true),
        (used(midnight + SECOND), false),
        (used(NOW), false),
    ] {
        let touched = add(&mut live, &[event]);
        assert_eq!(
            touched.accounts.contains(&account("mail")),
            is_touched,
            "{event:?}"
        );
        assert!(!touched.all);
    }
}

#[test]
fn nothing_that_arrives_live_is_complete_and_what_was_refused_is_a_hole() {
    let mut live = Live::new(1);
    assert_eq!(live.of(&account("mail"), [].iter(), &owner_of), None);
    for second in 0..1_000 {
        add(&mut live, &[heartbeat(NOW + second * 10 * SECOND)]);
    }
    let window = of(&live, "mail", &[]).window;
    assert_eq!(window.grade, Grade::Partial);
    assert!(window.holes.contains(&Hole::Lossy(WEBHOOK)));
    assert_eq!(window.clone().since(window.from).grade, Grade::Partial);
    live.refuse();
    let holes = of(&live, "mail", &[]).window.holes;
    assert!(holes.contains(&Hole::Refused(1)), "{holes:?}");
    // A pause in which no API server shows a sign of life.
    add(&mut live, &[heartbeat(NOW + 20_000 * SECOND)]);
    let holes = of(&live, "mail", &[]).window.holes;
    assert!(
        holes
            .iter()
            .any(|hole| matches!(hole, Hole::Silence { .. }))
    );
}

#[test]
fn a_request_of_ours_that_comes_back_shows_that_events_arrive() {
    let mut live = Live::new(DAYS_30);
    add(&mut live, &[request("mail", bound(1, "mail-1"), NOW)]);
    assert_eq!(live.window().grade, Grade::Unproven);
    assert!(live.hear(NOW));
    assert!(!live.hear(NOW - SECOND), "no news");
    assert_eq!(
        (live.heard(), live.window().grade),
        (Some(NOW), Grade::Partial)
    );
    live.miss();
    assert!(live.window().holes.contains(&Hole::Unreported(1)));
    let mut restarted = Live::new(DAYS_30);
    restarted.restore(live.kept(1)).unwrap();
    assert_eq!(restarted.window().holes, live.window().holes);
    assert_eq!(restarted.heard(), Some(NOW));
}

#[test]
fn a_restart_and_another_replica_know_what_was_kept() {
    let mut live = Live::new(DAYS_30);
    let denied = Request {
        is_denied: true,
        ..request("mail", PodName::Unbound, NOW + 7 * SECOND)
    };
    let events = [
        heartbeat(NOW),
        request("mail", bound(1, "mail-1"), NOW + 700 * SECOND),
        request("mail", bound(10, "alone"), NOW),
        denied,
    ];
    add(&mut live, &events);
    live.refuse();
    let text = serde_json::to_string(&live.kept(600)).unwrap();
    let mut restarted = Live::new(DAYS_30);
    let kept: Kept = serde_json::from_str(&text).unwrap();
    assert!(restarted.restore(kept.clone()).unwrap().all);
    assert_eq!(restarted.restore(kept.clone()).unwrap(), Touched::default());
    assert_eq!(restarted.kept(600), kept, "nothing to write");
    let mail = workload("Deployment", "mail");
    let (before, after) = (
        of(&live, "mail", std::slice::from_ref(&mail)),
        of(&restarted, "mail", std::slice::from_ref(&mail)),
    );
    let days = |usage: &AccountUsage| {
        let of_mail = &usage.workloads[&mail];
        [
            of_mail.last,
            of_mail.last_beyond_defaults,
            usage.others.last_denied,
        ]
        .map(|time| time.map(day))
    };
    assert_eq!(days(&before), days(&after));
    assert_eq!(
        before.window.from.as_second(),
        after.window.from.as_second()
    );
    // The other one learns what only this one received, and the reverse.
    add(
        &mut restarted,
        &[request("web", bound(11, "web"), NOW + 60 * SECOND)],
    );
    live.restore(restarted.kept(1)).unwrap();
    restarted.restore(live.kept(1)).unwrap();
    assert_eq!(live.kept(1), restarted.kept(1));
    let other: Kept = serde_json::from_str("{\"version\":2}").unwrap();
    assert!(live.restore(other).is_err());
}

#[test]
fn what_is_remembered_is_bounded_and_the_window_begins_after_what_was_forgotten() {
    let mut live = Live::new(DAYS_30);
    add(&mut live, &[heartbeat(NOW)]);
    for number in 0..1_000_u32 {
        let time = NOW + i64::from(number) * SECOND;
        let name = format!("account-{number}");
        add(&mut live, &[request(&name, bound(1, "mail-1"), time)]);
        live.limit(300, &mut Touched::default());
        assert!(live.entries <= 300);
    }
    assert_eq!(live.last_used(&account("account-0")), None);
    assert!(live.last_used(&account("account-999")).is_some());
    let oldest = live.accounts.values().filter_map(Seen::last).min().unwrap();
    let from = live.window().from.as_microsecond();
    assert!(from <= oldest && live.forgotten.unwrap() < oldest);
    let counted: usize = live.accounts.values().map(Seen::entries).sum();
    assert_eq!(live.entries, counted);
    let mut kept = live.kept(1);
    while kept.forget() {}
    let mut restarted = Live::new(DAYS_30);
    restarted.restore(kept).unwrap();
    assert!(restarted.forgotten >= Some(NOW + 999 * SECOND));
}

/// Whoever has many accounts, pods or bindings drives out what was learnt of their own, and nobody else's.
#[test]
fn a_namespace_drives_out_its_own_use_only() {
    let times = |last| Times {
        last,
        ..Times::default()
    };
    let mut live = Live::new(DAYS_30);
    let mut touched = Touched::default();
    let victim = ServiceAccountRef::new("victim", "web");
    let mut seen = Seen::default();
    seen.add_workload(workload("Deployment", "web"), times(NOW));
    live.join(victim.clone(), seen, &mut touched);
    for number in 1..500_u32 {
        let mut seen = Seen {
            unbound: Some(times(NOW + i64::from(number))),
            ..Seen::default()
        };
        for binding in 0..200 {
            let binding = ObjectKey::new("attacker", format!("binding-{number}-{binding}"));
            seen.bindings.insert(binding, NOW);
        }
        let account = ServiceAccountRef::new("attacker", format!("account-{number}"));
        live.join(account, seen, &mut touched);
    }
    assert!(live.entries < 500 * 67, "{}", live.entries);
    let mut kept = live.kept(1);
    let mut forgotten = Touched::default();
    live.limit(300, &mut forgotten);
    assert!(live.entries <= 300 && live.last_used(&victim).is_some());
    assert!(forgotten.accounts.len() > 490 && !forgotten.accounts.contains(&victim));
    // The same where it is kept across restarts.
    while kept.accounts_of("attacker") > 2 {
        assert!(kept.forget());
    }
    let mut restarted = Live::new(DAYS_30);
    restarted.restore(kept).unwrap();
    assert!(restarted.last_used(&victim).is_some());
}

#[test]
fn pods_become_known_or_are_gone_later() {
    let mut live = Live::new(DAYS_30);
    add(
        &mut live,
        &[
            heartbeat(NOW),
            request("mail", bound(50, "mail-7d4b9c5f6-x7k2p"), NOW),
            request("mail", bound(51, "web-7d4b9c5f6-x7k2p"), NOW),
            request("gone", bound(52, "gone"), NOW),
        ],
    );
    let mail = workload("Deployment", "mail");
    let existing =
        |account: &ServiceAccountRef| (&*account.name == "mail").then(|| [mail.clone()].into());
    live.tidy(&owner_of, &existing);
    assert_eq!(
        live.accounts[&account("mail")].pods.len(),
        2,
        "they may become known"
    );
    add(
        &mut live,
        &[request("mail", bound(1, "mail-1"), NOW + 2 * UNKNOWN_FOR)],
    );
    live.tidy(&owner_of, &existing);
    let seen = &live.accounts[&account("mail")];
    assert!(seen.pods.is_empty());
    assert_eq!(seen.workloads[&mail].last, NOW + 2 * UNKNOWN_FOR);
    assert_eq!(seen.others.unwrap().last, NOW);
    // An account that is gone is forgotten when its use no longer counts, and so is its workload.
    let later = NOW + (DAYS_30 + 1) * SECOND + 2 * UNKNOWN_FOR;
    add(&mut live, &[request("other", bound(12, "other"), later)]);
    live.tidy(&owner_of, &|_| None);
    let left: Vec<_> = live.accounts.keys().map(|account| &*account.name).collect();
    assert_eq!(left, ["other"]);
}
