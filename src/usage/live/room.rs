//! Who gives way where there is no room: namespaces that take the most of it, so that nobody drives out what was learnt of
//! others.

use std::collections::{BinaryHeap, HashMap};

/// An account, as far as its room is concerned.
pub(super) struct Tenant<K> {
    pub(super) namespace: Box<str>,
    /// When a token of it was last used.
    pub(super) last: i64,
    /// How much room it takes.
    pub(super) entries: usize,
    pub(super) key: K,
}

/// The entries of a namespace, and its accounts: when a token of each was last used, the account, and its entries.
type Room<K> = (usize, Vec<(i64, K, usize)>);

/// The accounts to forget so that the others take at most `keep`: each time the one of the namespace with the most, whose
/// last use is the longest ago.
pub(super) fn to_forget<K: Ord>(all: impl Iterator<Item = Tenant<K>>, keep: usize) -> Vec<K> {
    let mut total = 0;
    let mut namespaces: HashMap<Box<str>, Room<K>> = HashMap::new();
    for tenant in all {
        total += tenant.entries;
        let (entries, accounts) = namespaces.entry(tenant.namespace).or_default();
        *entries += tenant.entries;
        accounts.push((tenant.last, tenant.key, tenant.entries));
    }
    let mut largest: BinaryHeap<_> = namespaces
        .into_values()
        .map(|(entries, mut accounts)| {
            // The oldest is taken first.
            accounts.sort_unstable_by(|one, other| other.cmp(one));
            (entries, accounts)
        })
        .collect();
    let mut forgotten = Vec::new();
    while total > keep {
        let Some((entries, mut accounts)) = largest.pop() else {
            break;
        };
        if let Some((_, key, freed)) = accounts.pop() {
            forgotten.push(key);
            total = total.saturating_sub(freed);
            largest.push((entries.saturating_sub(freed), accounts));
        }
    }
    forgotten
}
