//! Everything that is known, as small facts with reverse keys to find them: an object goes in, the
//! accounts that it can touch come out. Synchronous, without a clock and without a client.

mod accounts;
mod bindings;
mod configs;
mod dirty;
mod evidence;
mod namespaces;
mod near;
mod parts;
mod pods;
mod reading;
mod reports;
mod reverse;
mod roles;
mod secrets;
mod shapes;
mod standing;
mod summaries;
mod table;
mod usage;
mod written;

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashSet;
use jiff::civil::Date;

pub use self::{
    accounts::Account, reading::Reading, reports::ReportFacts, standing::Standing,
    summaries::Shares,
};
use self::{
    accounts::NamedBy,
    bindings::Subjects,
    namespaces::Elsewhere,
    near::Near,
    parts::Parts,
    reverse::Reverse,
    secrets::SecretLinks,
    standing::{Denied, Entering},
    table::Table,
    usage::Usage,
};
use crate::{
    facts::{
        ClusterRoleBindings, ClusterRoles, ConfigMaps, CsiDrivers, Kind, Namespaces, Pods, Reports,
        RoleBindings, Roles, Secrets, ServiceAccounts, Summaries,
    },
    model::{ApiAudiences, Config, InputKind, KnownRoles, Name, ObjectKey, ServiceAccountRef},
};

/// The index behind its one lock, which is never held across an await.
pub type SharedIndex = Arc<parking_lot::RwLock<Index>>;

/// A kind that the index keeps. Each kind says where its rows are and which accounts a change touches.
pub trait Indexed<K: Kind> {
    /// The rows of this kind.
    fn table(&mut self) -> &mut Table<K::Facts>;

    /// Updates the reverse keys of one row, and marks every account dirty that the change can touch:
    /// those that the old facts reached and those that the new facts reach.
    fn changed(&mut self, key: &ObjectKey, old: Option<&K::Facts>, new: Option<&K::Facts>);

    /// The `resourceVersion` of facts that have one: those that we write ourselves. A watch that lags behind our own write
    /// sends older ones, which change nothing.
    fn version(_facts: &K::Facts) -> Option<u64> {
        None
    }

    /// Facts without what nobody will ask for.
    fn needed(&self, facts: K::Facts) -> K::Facts {
        facts
    }

    /// Whether facts say something: others are not kept.
    fn keeps(&self, _facts: &K::Facts) -> bool {
        true
    }

    /// A complete reading begins.
    fn begins(&mut self) {}

    /// A complete reading has ended.
    fn ends(&mut self) {}

    /// Replaces facts by an equal value that is already kept, where rows repeat.
    fn shared(&mut self, _key: &ObjectKey, facts: K::Facts) -> K::Facts {
        facts
    }
}

/// The facts of a cluster, or of a set of files.
#[derive(Debug)]
pub struct Index {
    pods: Table<<Pods as Kind>::Facts>,
    parts: Parts,
    service_accounts: Table<<ServiceAccounts as Kind>::Facts>,
    namespaces: Table<<Namespaces as Kind>::Facts>,
    roles: Table<<Roles as Kind>::Facts>,
    cluster_roles: Table<<ClusterRoles as Kind>::Facts>,
    role_bindings: Table<<RoleBindings as Kind>::Facts>,
    cluster_role_bindings: Table<<ClusterRoleBindings as Kind>::Facts>,
    secrets: Table<<Secrets as Kind>::Facts>,
    csi_drivers: Table<<CsiDrivers as Kind>::Facts>,
    config_maps: Table<<ConfigMaps as Kind>::Facts>,
    /// What a ConfigMap says that does not exist.
    says_nothing: <ConfigMaps as Kind>::Facts,
    reports: Table<<Reports as Kind>::Facts>,
    summaries: Table<<Summaries as Kind>::Facts>,

    /// Every account that exists, that a pod names or that has a report.
    accounts: BTreeMap<ServiceAccountRef, Account>,
    namespace_names: HashSet<Name>,
    elsewhere: Elsewhere,
    named_by: NamedBy,
    subjects: Subjects,
    near: Near,
    bindings_of_role: Reverse<ObjectKey, ObjectKey>,
    secret_links: SecretLinks,

    readings: BTreeMap<InputKind, Reading>,
    denied: Denied,
    entering: Entering,
    rbac_enforced: bool,
    known_roles: KnownRoles,
    /// Whether the pods of the whole cluster, or of all files, are read.
    all_pods: bool,
    audiences: ApiAudiences,
    config: Config,
    today: Option<Date>,
    /// What audit logs say; `None` where none were given.
    usage: Option<Usage>,
    /// Whether audit logs may be read, which name pods by what identifies them.
    keeps_instances: bool,
    dirty: HashSet<ServiceAccountRef>,
    /// The namespaces whose summary may have changed.
    dirty_namespaces: HashSet<Name>,
}

impl Index {
    /// An empty index that waits for `expected` kinds.
    #[must_use]
    pub fn new(expected: &[InputKind]) -> Self {
        Self {
            pods: Table::default(),
            parts: Parts::default(),
            service_accounts: Table::default(),
            namespaces: Table::default(),
            roles: Table::default(),
            cluster_roles: Table::default(),
            role_bindings: Table::default(),
            cluster_role_bindings: Table::default(),
            secrets: Table::default(),
            csi_drivers: Table::default(),
            config_maps: Table::default(),
            says_nothing: <ConfigMaps as Kind>::Facts::default(),
            reports: Table::default(),
            summaries: Table::default(),
            accounts: BTreeMap::new(),
            namespace_names: HashSet::new(),
            elsewhere: Elsewhere::new(),
            named_by: NamedBy::default(),
            subjects: Subjects::default(),
            near: Near::default(),
            bindings_of_role: Reverse::default(),
            secret_links: SecretLinks::default(),
            readings: expected
                .iter()
                .map(|kind| (*kind, Reading::default()))
                .collect(),
            denied: Denied::new(),
            entering: Entering::default(),
            rbac_enforced: true,
            known_roles: KnownRoles::Complete,
            all_pods: true,
            audiences: ApiAudiences::default(),
            config: Config::default(),
            today: None,
            usage: None,
            keeps_instances: true,
            dirty: HashSet::new(),
            dirty_namespaces: HashSet::new(),
        }
    }

    // === what goes in ===

    /// An object exists with these facts. Equal facts change nothing, and those of a namespace that is not judged are
    /// not kept.
    pub fn apply<K: Kind>(&mut self, key: ObjectKey, facts: K::Facts)
    where
        Self: Indexed<K>,
    {
        if !self.admits(K::INPUT, &key.namespace) {
            return;
        }
        let facts = self.needed(facts);
        if self.is_outdated::<K>(&key, &facts) {
            return self.table().see(&key);
        }
        if self.table().is_current(&key, &facts) {
            return;
        }
        if !self.keeps(&facts) {
            return self.delete::<K>(&key);
        }
        let key = ObjectKey {
            namespace: self.shared_namespace(&key.namespace),
            name: key.name,
        };
        let facts = self.shared(&key, facts);
        let old = self.table().put(key.clone(), facts.clone());
        self.changed(&key, old.as_ref(), Some(&facts));
    }

    /// An object was deleted.
    pub fn delete<K: Kind>(&mut self, key: &ObjectKey)
    where
        Self: Indexed<K>,
    {
        if let Some(old) = self.table().take(key) {
            self.changed(key, Some(&old), None);
        }
    }

    /// A complete reading of a kind begins: rows that it does not contain are removed at its end.
    pub fn begin<K: Kind>(&mut self)
    where
        Self: Indexed<K>,
    {
        self.begins();
        self.table().begin();
    }

    /// A complete reading of a kind has ended.
    pub fn commit<K: Kind>(&mut self)
    where
        Self: Indexed<K>,
    {
        for (key, old) in self.table().sweep() {
            self.changed(&key, Some(&old), None);
        }
        self.ends();
        self.read(K::INPUT, |reading| {
            reading.synced = true;
            reading.outdated = false;
            reading.forbidden = false;
        });
    }

    /// The API server has another history, or what was read is not what is wanted now: no account is named until every
    /// kind was read again.
    pub fn distrust(&mut self) {
        let readings = self.readings.values_mut();
        readings.for_each(|reading| reading.outdated = true);
    }

    /// Updates the state of reading a kind. Every account is touched when listing becomes forbidden or
    /// allowed, and when the last kind was read.
    pub fn read(&mut self, kind: InputKind, note: impl FnOnce(&mut Reading)) {
        let was_settled = self.is_settled();
        let Some(reading) = self.readings.get_mut(&kind) else {
            return;
        };
        let before = *reading;
        note(reading);
        let forbidden_changed = reading.forbidden != before.forbidden;
        let settles = !was_settled && self.is_settled();
        if settles {
            self.find_near();
        }
        if forbidden_changed || settles {
            self.mark_all();
        }
    }

    /// Whether the API server enforces RBAC.
    pub fn set_rbac_enforced(&mut self, enforced: bool) {
        if self.rbac_enforced != enforced {
            self.rbac_enforced = enforced;
            self.mark_all();
        }
    }

    /// Which audiences the API server accepts.
    pub fn set_audiences(&mut self, audiences: ApiAudiences) {
        if self.audiences != audiences {
            self.audiences = audiences;
            self.mark_all();
        }
    }

    /// What the user's configuration adds. Where it changes the facts of objects
    /// ([`Config::reads_objects_as`]), they must be read again.
    pub fn set_config(&mut self, config: Config) {
        if self.config != config {
            if !self.config.reads_objects_as(&config) {
                self.distrust();
            }
            self.config = config;
            self.mark_all();
        }
    }

    /// Today, in UTC: exemptions expire after their last day, and none expires before this is known.
    pub fn set_today(&mut self, today: Date) {
        if self.today.replace(today) != Some(today) {
            self.mark_all();
        }
    }

    /// Whether all roles were read.
    pub fn set_known_roles(&mut self, known: KnownRoles) {
        self.known_roles = known;
    }

    // === what comes out ===

    /// Whether every expected kind was read, in one history, or is forbidden to list.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.readings
            .values()
            .all(|reading| reading.is_current() || reading.forbidden)
    }

    /// What the user's configuration adds.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Whether an object is known.
    #[must_use]
    pub fn contains<K: Kind>(&mut self, key: &ObjectKey) -> bool
    where
        Self: Indexed<K>,
    {
        self.get::<K>(key).is_some()
    }

    /// What is known of an object.
    #[must_use]
    pub fn get<K: Kind>(&mut self, key: &ObjectKey) -> Option<&K::Facts>
    where
        Self: Indexed<K>,
    {
        self.table().get(key)
    }

    /// What is known about an account.
    #[must_use]
    pub fn account(&self, account: &ServiceAccountRef) -> Option<&Account> {
        self.accounts.get(account)
    }

    /// Whether the accounts of a namespace are listed.
    fn lists_accounts_of(&self, namespace: &str) -> bool {
        self.admits(InputKind::ServiceAccount, namespace)
    }

    /// The one copy of a namespace's name that all keys share.
    fn shared_namespace(&mut self, namespace: &Name) -> Name {
        if let Some(known) = self.namespace_names.get(namespace) {
            return known.clone();
        }
        self.namespace_names.insert(namespace.clone());
        namespace.clone()
    }
}

#[cfg(test)]
mod tests;
