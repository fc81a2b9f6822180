//! Adds what depends on all of the input: the RBAC objects that every API server creates, the rules of
//! aggregated ClusterRoles, and the templates of workloads without pods.

use super::Loader;
use crate::{
    facts::{ClusterRoleBindings, ClusterRoles, Pods},
    files::{Outcome, copies::SHOWN},
    model::{KnownRoles, ObjectKey, Role},
    rbac::aggregate::aggregate,
    text::Problem,
};

/// The RBAC objects that every API server creates, as printed by tests/control-plane/bootstrap.sh.
const BOOTSTRAP: &str = include_str!("../bootstrap.json");
/// The ClusterRoles that every cluster of OpenShift has.
const OPENSHIFT: &str = include_str!("../openshift.yaml");
/// The name of a ClusterRole and a ClusterRoleBinding that every cluster has: input with both is a dump of a
/// cluster, and contains every role.
const DUMP_MARKER: &str = "cluster-admin";
/// Every cluster has some.
const NO_ROLE_BINDINGS: &str = "the roles are those of a whole cluster, and there are no RoleBindings: what they grant is missing; add the output of `kubectl get roles,rolebindings -A -o yaml`";

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
        if is_dump && !self.has_role_bindings {
            self.outcome.lacks_rbac = true;
            self.outcome.warnings.push(Problem {
                place: "the input".to_owned(),
                message: NO_ROLE_BINDINGS.to_owned(),
            });
        }
        // The roles of a dump contain their aggregated rules.
        if !is_dump {
            aggregate(&mut self.cluster_roles);
        }
        for (name, mut role) in std::mem::take(&mut self.cluster_roles) {
            let key = ObjectKey::cluster(name);
            // What a cluster has aggregated stays.
            let stored = self.index.get::<ClusterRoles>(&key);
            let stored = stored.filter(|_| on_cluster && role.selectors.is_some());
            let stored = stored.into_iter().flat_map(|stored| stored.rules.to_vec());
            role.rules.extend(stored);
            if is_dump {
                role.rules.extend(std::mem::take(&mut role.plain));
            }
            let rules = role.rules.into();
            self.index.apply::<ClusterRoles>(key, Role { rules });
        }
        let templates = std::mem::take(&mut self.templates);
        self.outcome.places.differ(templates.differing());
        for (key, facts) in templates.without_pods() {
            self.index.apply::<Pods>(key, facts.into());
        }
        self.index.declare_owners();
        let guesses = std::mem::take(&mut self.namespaces);
        guesses.into_index(self.index);
        let more = self.topics.iter().filter(|(_, count)| **count > SHOWN);
        let more = more.map(|(topic, count)| Problem {
            place: format!("{} more objects", count - SHOWN),
            message: topic.clone(),
        });
        self.outcome.warnings.extend(more);
        self.outcome.warnings.extend(self.copies.warnings());
        self.outcome
    }

    /// Adds the RBAC objects that every API server creates, and the roles of OpenShift; the input's own objects of the same
    /// name win.
    fn bootstrap(&mut self) {
        let before = (self.outcome.objects, self.outcome.has_rbac);
        self.keeps_known = true;
        self.manifests("bootstrap.json", BOOTSTRAP);
        self.manifests("openshift.yaml", OPENSHIFT);
        (self.outcome.objects, self.outcome.has_rbac) = before;
    }
}
