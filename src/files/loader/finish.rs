//! Adds what needs all of the input: the objects that every API server bootstraps, the rules of aggregated
//! ClusterRoles, and the templates of workloads without pods.

use std::sync::Arc;

use super::Loader;
use crate::{
    facts::{ClusterRoleBindings, ClusterRoles, Pods},
    files::Outcome,
    model::{KnownRoles, ObjectKey, Role},
    rbac::aggregate::aggregate,
};

/// The RBAC that every API server bootstraps, as tests/control-plane/bootstrap.sh prints it.
const BOOTSTRAP: &str = include_str!("../bootstrap.json");
/// The ClusterRole and the ClusterRoleBinding that every cluster has: input that holds both is the
/// dump of one, and lacks no role.
const DUMP_MARKER: &str = "cluster-admin";

impl Loader<'_> {
    pub(in crate::files) fn finish(mut self) -> Outcome {
        let marker = ObjectKey::cluster(DUMP_MARKER);
        let is_bound = self.index.contains::<ClusterRoleBindings>(&marker);
        let on_cluster = is_bound && self.index.contains::<ClusterRoles>(&marker);
        let is_dump = is_bound && self.cluster_roles.contains_key(DUMP_MARKER);
        if !on_cluster && !is_dump {
            self.bootstrap();
            self.index.set_known_roles(KnownRoles::Partial);
        }
        // The roles of a dump have their answer.
        if !is_dump {
            aggregate(&mut self.cluster_roles);
        }
        for (name, role) in std::mem::take(&mut self.cluster_roles) {
            self.index.apply::<ClusterRoles>(
                ObjectKey::cluster(name),
                Role {
                    rules: role.rules.into(),
                },
            );
        }
        for (key, facts) in std::mem::take(&mut self.templates).that_count() {
            self.index.apply::<Pods>(key, Arc::new(facts));
        }
        self.outcome
    }

    /// Adds what every API server bootstraps, where the input does not say otherwise.
    fn bootstrap(&mut self) {
        let given = (self.outcome.objects, self.outcome.has_rbac);
        self.filling = true;
        self.manifests("bootstrap.json", BOOTSTRAP);
        (self.outcome.objects, self.outcome.has_rbac) = given;
    }
}
