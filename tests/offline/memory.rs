//! What the objects of a cluster cost: allocations and bytes, which are counted, so that it does not matter how busy the
//! machine is. `make generate` writes what was counted into `deploy/sizing.md`; a test fails when it grows.

use std::fmt::Write;

use allocation_counter::measure;
use token_exposure::{
    cluster::KINDS,
    facts::{
        ClusterRoleBindings, ClusterRoles, Kind, Namespaces, Pods, RoleBindings, Roles,
        ServiceAccounts, Wire,
    },
    index::{Index, Indexed},
};

use crate::rig::world::{K5, World};

/// A hundredth of the largest cluster, with the same shares of each kind.
const SMALL: World = World {
    name: "small",
    namespaces: K5.namespaces / 100,
    accounts: K5.accounts / 100,
    pods: K5.pods / 100,
    roles: K5.roles / 100,
    cluster_roles: K5.cluster_roles / 100,
    role_bindings: K5.role_bindings / 100,
    cluster_role_bindings: K5.cluster_role_bindings / 100,
    bound: K5.bound / 100,
};
const FILE: &str = "deploy/sizing.md";
const BEGIN: &str = "<!-- counted: written by `make generate` -->\n";
const END: &str = "<!-- end of counted -->";
/// By how much a figure may grow, in percent.
const GROWTH: f64 = 5.0;

/// What one object of a kind costs, on average.
struct Cost {
    kind: &'static str,
    /// Bytes that are kept.
    kept: f64,
    /// Bytes that are allocated while it is read.
    allocated: f64,
    allocations: f64,
    /// Bytes that are kept after it was read a second time.
    kept_again: f64,
}

fn messages(kind: &str) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    SMALL.objects(&mut |object| {
        if object.kind == kind {
            messages.push(object.message);
        }
    });
    messages
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn cost<K: Kind>(index: &mut Index) -> Cost
where
    Index: Indexed<K>,
{
    let kind = K::INPUT.name();
    let messages = messages(kind);
    let count = messages.len() as f64;
    let mut read = || {
        measure(|| {
            index.begin::<K>();
            for message in &messages {
                let wire = (K::Wire::DECODE.unwrap())(message).unwrap();
                let facts = K::facts(&wire, index.config());
                index.apply::<K>(K::key(&wire), facts);
            }
            index.commit::<K>();
            // The controller takes them at once.
            index.take_dirty();
            index.take_dirty_namespaces();
        })
    };
    let (first, second) = (read(), read());
    Cost {
        kind,
        kept: first.bytes_current as f64 / count,
        allocated: first.bytes_total as f64 / count,
        allocations: first.count_total as f64 / count,
        kept_again: second.bytes_current as f64 / count,
    }
}

/// As a controller reads them.
fn costs() -> Vec<Cost> {
    let mut index = Index::new(&KINDS);
    index.expect_usage(false);
    vec![
        cost::<Pods>(&mut index),
        cost::<ServiceAccounts>(&mut index),
        cost::<Namespaces>(&mut index),
        cost::<Roles>(&mut index),
        cost::<ClusterRoles>(&mut index),
        cost::<RoleBindings>(&mut index),
        cost::<ClusterRoleBindings>(&mut index),
    ]
}

fn table(costs: &[Cost]) -> String {
    let mut table = String::from(
        "| each | bytes kept | bytes allocated to read it | allocations |\n|---|---|---|---|\n",
    );
    for cost in costs {
        let (kind, kept) = (cost.kind, cost.kept);
        let (allocated, allocations) = (cost.allocated, cost.allocations);
        writeln!(
            table,
            "| {kind} | {kept:.0} | {allocated:.0} | {allocations:.1} |"
        )
        .unwrap();
    }
    table
}

#[test]
fn what_objects_cost_is_counted_and_does_not_grow() {
    // What is made once is not counted.
    costs();
    let costs = costs();
    let text = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (known, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let text = [before, BEGIN, &table(&costs), END, after].concat();
        return std::fs::write(FILE, text).unwrap();
    }
    let rows = known.lines().skip(2).map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let number = |cell: usize| cells[cell].parse::<f64>().unwrap();
        (cells[1], [number(2), number(3), number(4)])
    });
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), costs.len());
    for ((kind, known), cost) in rows.into_iter().zip(&costs) {
        assert_eq!(kind, cost.kind);
        for (known, now) in known
            .into_iter()
            .zip([cost.kept, cost.allocated, cost.allocations])
        {
            // What is rounded may be one more.
            let most = known * (1.0 + GROWTH / 100.0) + 1.0;
            assert!(
                now <= most,
                "{kind}: {known} became {now}: reduce it, or run `make generate`"
            );
            let least = known * (1.0 - GROWTH / 100.0) - 1.0;
            assert!(
                now >= least,
                "{kind}: {known} became {now}: run `make generate`"
            );
        }
        // A relist keeps nothing twice.
        assert!(cost.kept_again < 1.0, "{kind}: {}", cost.kept_again);
    }
}
