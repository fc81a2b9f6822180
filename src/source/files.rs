//! Reads files and folders into the index: every kind that embeds a pod template, the kinds of RBAC,
//! lists of them, and dumps of a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    LabelSelector, Progress,
    cluster_role::ClusterRole,
    manifest::{Head, Malformed, Manifest, UNRENDERED, manifests},
    paths,
    placed::{Named, Placed},
    places::{Place, Places, workload_key},
    text,
};
use crate::{
    facts::{
        self, ClusterRoleBindings, ClusterRoles, CsiDrivers, Kind, Namespaces, Pods, RoleBindings,
        Roles, Secrets, ServiceAccounts, refused, wire,
    },
    index::{Index, Indexed},
    model::{
        InputKind, KnownRoles, ObjectKey, PodFacts, Role,
        exemption::EXEMPT,
        pod::{Origin, Workload},
    },
    rbac::aggregate::{AggregatedRole, aggregate},
};

pub use super::paths::Problem;

/// The RBAC that every API server bootstraps, as tests/control-plane/bootstrap.sh prints it.
const BOOTSTRAP: &str = include_str!("bootstrap.json");
/// The ClusterRole and the ClusterRoleBinding that every cluster has: input that holds both is the
/// dump of one, and lacks no role.
const DUMP_MARKER: &str = "cluster-admin";

/// What came of reading files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What could not be read; the rest was.
    pub problems: Vec<Problem>,
    /// What the API server would refuse, and grants nothing therefore.
    pub warnings: Vec<Problem>,
    /// How many objects were understood.
    pub objects: usize,
    /// Whether the input has any RBAC object.
    pub has_rbac: bool,
    /// Where workloads and ServiceAccounts are written.
    pub places: Places,
}

/// What is read of files, and how.
pub struct Wanted<'a> {
    /// The namespace of objects that name none.
    pub namespace: &'a str,
    /// Which pods and templates.
    pub pods: &'a LabelSelector,
    /// Is told how many files were read.
    pub progress: Progress<'a>,
}

/// Reads files, folders, patterns of them and `-` (standard input) into an index, which may know a cluster already: then
/// nothing else is assumed.
pub fn load(paths: &[PathBuf], wanted: &Wanted<'_>, index: &mut Index) -> Outcome {
    let mut loader = Loader {
        index,
        wanted,
        outcome: Outcome::default(),
        templates: BTreeMap::new(),
        made: BTreeMap::new(),
        live: BTreeSet::new(),
        cluster_roles: BTreeMap::new(),
        filling: false,
        file: None,
        explicit: false,
        refused: Vec::new(),
        unjudged: None,
        faults: Vec::new(),
    };
    let found = paths.iter().map(|path| (paths::find(path), path.is_dir()));
    let found: Vec<_> = found
        .flat_map(|(found, is_dir)| found.into_iter().map(move |path| (path, is_dir)))
        .collect();
    (wanted.progress)(0, found.len() as u64);
    for (path, is_dir) in found {
        loader.explicit = !is_dir;
        match path {
            Ok(path) => loader.file(&path),
            Err(problem) => loader.outcome.problems.push(problem),
        }
        (wanted.progress)(1, 0);
    }
    loader.finish()
}

struct Loader<'a> {
    index: &'a mut Index,
    wanted: &'a Wanted<'a>,
    outcome: Outcome,
    /// Templates by namespace and workload: they count only where no pod of theirs is in the input.
    templates: BTreeMap<ObjectKey, PodFacts>,
    /// The templates of what a workload has made, by that workload: they count only where it is not in
    /// the input itself.
    made: BTreeMap<ObjectKey, PodFacts>,
    /// The workloads that pods of the input belong to.
    live: BTreeSet<ObjectKey>,
    cluster_roles: BTreeMap<String, AggregatedRole>,
    /// What the input has already is left as it is.
    filling: bool,
    /// The file that is being read; `None` for what is no file.
    file: Option<Arc<Path>>,
    /// Whether the user named the file, and not only its folder.
    explicit: bool,
    /// What the API server would refuse of the object that is being read.
    refused: Vec<String>,
    /// The name of a workload without anything to judge.
    unjudged: Option<String>,
    /// What is wrong with the exemption that the object claims.
    faults: Vec<String>,
}

impl Loader<'_> {
    // === paths ===

    fn file(&mut self, path: &Path) {
        if path == Path::new("-") {
            let text = text::read(io::stdin().lock());
            return self.text("standard input", text);
        }
        let place = path.display().to_string();
        let text = text::open(path).and_then(text::read);
        self.file = Some(path.into());
        self.text(&place, text);
        self.file = None;
    }

    fn text(&mut self, place: &str, text: io::Result<String>) {
        match text {
            Ok(text) => self.manifests(place, &text),
            Err(error) => self.problem(place.to_owned(), format!("cannot be read: {error}")),
        }
    }

    fn problem(&mut self, place: String, message: String) {
        self.outcome.problems.push(Problem { place, message });
    }

    fn malformed(&mut self, place: &str, malformed: Malformed) {
        let place = match (malformed.line, malformed.column) {
            (0, _) => place.to_owned(),
            (line, column) => format!("{place}:{line}:{column}"),
        };
        self.problem(place, malformed.message);
    }

    // === objects ===

    fn manifests(&mut self, place: &str, text: &str) {
        for manifest in manifests(text) {
            match manifest {
                Ok(manifest) => self.manifest(place, manifest, None),
                Err(malformed) => self.malformed(place, malformed),
            }
        }
    }

    /// `list` is the list that it is an item of: the items of one for a single kind need not say of
    /// which kind and version they are.
    fn manifest(&mut self, place: &str, mut manifest: Manifest<'_>, list: Option<&Head<'_>>) {
        let mut head = match manifest.head() {
            Ok(head) => head,
            Err(malformed) => return self.malformed(place, malformed),
        };
        if let Some(items) = head.items.take() {
            for item in items {
                self.manifest(place, item, Some(&head));
            }
            return;
        }
        if let Some(list) = list.filter(|_| head.kind.is_empty()) {
            list.kind
                .strip_suffix("List")
                .unwrap_or_default()
                .clone_into(&mut head.kind);
            list.api_version.clone_into(&mut head.api_version);
        }
        let result = self.object(&head, &manifest);
        let refused = std::mem::take(&mut self.refused);
        let faults = std::mem::take(&mut self.faults);
        let unjudged = self.unjudged.take();
        if result.is_ok() && refused.is_empty() && faults.is_empty() && unjudged.is_none() {
            return;
        }
        let place = format!("{place}:{}", manifest.line_to_tell());
        self.outcome
            .warnings
            .extend(refused.into_iter().map(|why| Problem {
                place: place.clone(),
                message: format!("the API server would refuse {} {why}", head.kind),
            }));
        self.outcome
            .warnings
            .extend(unjudged.into_iter().map(|name| Problem {
                place: place.clone(),
                message: format!(
                    "{} {name} has no pod template with containers: it is not judged",
                    head.kind
                ),
            }));
        let name = manifest.read::<Named>().unwrap_or_default().metadata.name;
        let subject = format!("{} {name}", head.kind);
        for message in result.err().into_iter().chain(faults) {
            self.problem(place.clone(), format!("{}: {message}", subject.trim()));
        }
    }

    fn object(&mut self, head: &Head<'_>, manifest: &Manifest<'_>) -> Result<(), String> {
        match (head.group(), head.kind.as_str()) {
            ("", "Pod") => self.pod(manifest)?,
            ("", "ServiceAccount") => self.apply::<ServiceAccounts>(manifest)?,
            ("", "Namespace") => self.apply::<Namespaces>(manifest)?,
            ("", "Secret") => self.apply::<Secrets>(manifest)?,
            ("storage.k8s.io", "CSIDriver") => self.apply::<CsiDrivers>(manifest)?,
            ("rbac.authorization.k8s.io", "Role") => self.rbac::<Roles>(manifest)?,
            ("rbac.authorization.k8s.io", "RoleBinding") => self.rbac::<RoleBindings>(manifest)?,
            ("rbac.authorization.k8s.io", "ClusterRoleBinding") => {
                self.rbac::<ClusterRoleBindings>(manifest)?;
            }
            ("rbac.authorization.k8s.io", "ClusterRole") => self.cluster_role(manifest)?,
            ("" | "apps" | "extensions" | "batch", kind) if TEMPLATE_KINDS.contains(&kind) => {
                self.template(head, manifest)?;
            }
            ("", "Status") => {
                return Err("is an answer of the API server, and no object".to_owned());
            }
            ("meta.k8s.io", "Table") => {
                return Err("is what kubectl prints: get it with -o json or -o yaml".to_owned());
            }
            (_, "") => return self.nameless(head, manifest),
            // Another kind may embed a pod template in the usual place, as Argo's Rollout does; if
            // it has something else there, it is none of ours.
            _ => {
                let _ = self.template(head, manifest);
                return Ok(());
            }
        }
        self.outcome.objects += 1;
        Ok(())
    }

    /// What does not say what it is. Files of other programs may well lie beside manifests; what looks
    /// like an object is one that kubectl would refuse.
    fn nameless(&self, head: &Head<'_>, manifest: &Manifest<'_>) -> Result<(), String> {
        let looks = manifest
            .read::<Named>()
            .is_ok_and(|named| !named.metadata.name.is_empty());
        if looks && !head.api_version.is_empty() {
            return Err("has no `kind`: say what it is".to_owned());
        }
        if !manifest.is_object() && self.explicit {
            return Err("is no object of Kubernetes: it has no fields".to_owned());
        }
        Ok(())
    }

    fn apply<K: Kind>(&mut self, manifest: &Manifest<'_>) -> Result<(), String>
    where
        Index: Indexed<K>,
        K::Wire: Placed,
    {
        let mut wire: K::Wire = manifest.read()?;
        self.place(wire.metadata_mut(), K::INPUT.is_namespaced());
        let key = K::key(&wire);
        self.refused.extend(
            wire.refused()
                .into_iter()
                .map(|why| format!("{}: {why}", key.name)),
        );
        if !(self.filling && self.index.contains::<K>(&key)) {
            if K::INPUT == InputKind::ServiceAccount {
                self.claim(&K::metadata(&wire).annotations);
                let account = Workload {
                    kind: K::INPUT.name().into(),
                    name: (&*key.name).into(),
                };
                let key = workload_key(&key.namespace, &account);
                let lasts = K::metadata(&wire).uid.is_empty();
                self.note_place(key, manifest, &account.kind, lasts);
            }
            let facts = K::facts(&wire, self.index.config());
            self.index.apply::<K>(key, facts);
        }
        Ok(())
    }

    /// Notes where an object is written, and whether a change of it would last.
    fn note_place(&mut self, key: ObjectKey, manifest: &Manifest<'_>, kind: &str, lasts: bool) {
        if let Some(file) = &self.file {
            let place = Place {
                file: file.clone(),
                line: manifest.line,
                items: manifest.items.clone(),
                kind: kind.into(),
                lasts,
            };
            self.outcome.places.note(key, place);
        }
    }

    /// Notes what is wrong with the exemption that annotations claim.
    fn claim(&mut self, annotations: &wire::Annotations) {
        let claim = facts::exemption::claim(annotations);
        self.faults.extend(claim.and_then(|claim| claim.fault()));
    }

    fn rbac<K: Kind>(&mut self, manifest: &Manifest<'_>) -> Result<(), String>
    where
        Index: Indexed<K>,
        K::Wire: Placed,
    {
        self.outcome.has_rbac = true;
        self.apply::<K>(manifest)
    }

    /// Gives an object its namespace: the default where it has none, none where it can have none; and
    /// its name, where the API server would generate one.
    fn place(&mut self, metadata: &mut wire::Metadata, namespaced: bool) {
        if metadata.name.is_empty() {
            metadata.name = format!("{}*", metadata.generate_name);
        }
        if metadata.name.contains("{{") || metadata.namespace.contains("{{") {
            self.faults.push(UNRENDERED.to_owned());
        }
        if !namespaced {
            metadata.namespace.clear();
        } else if metadata.namespace.is_empty() {
            self.wanted.namespace.clone_into(&mut metadata.namespace);
        }
    }

    fn pod(&mut self, manifest: &Manifest<'_>) -> Result<(), String> {
        let mut wire: wire::Pod = manifest.read()?;
        self.place(&mut wire.metadata, true);
        self.claim(&wire.metadata.annotations);
        if !self.wanted.pods.matches(&wire.metadata.labels) {
            return Ok(());
        }
        let facts = Pods::facts(&wire, self.index.config());
        let key = Pods::key(&wire);
        let workload = workload_key(&key.namespace, &facts.workload);
        let is_manifest = facts.origin == Origin::Template;
        let is_made = !wire.metadata.owner_references.is_empty() || !wire.metadata.uid.is_empty();
        let lasts = is_manifest && !is_made;
        self.note_place(workload.clone(), manifest, "Pod", lasts);
        if !is_manifest {
            self.live.insert(workload);
        }
        self.index.apply::<Pods>(key, facts);
        Ok(())
    }

    fn template(&mut self, head: &Head<'_>, manifest: &Manifest<'_>) -> Result<(), String> {
        let mut wire: wire::Templated = manifest.read()?;
        self.place(&mut wire.metadata, true);
        let owner = wire.metadata.owner_references.iter();
        let owner = owner.filter(|_| matches!(head.kind.as_str(), "ReplicaSet" | "Job"));
        let owner = owner.into_iter().find(|owner| owner.controller);
        let (kind, name) = owner.map_or((&head.kind, &wire.metadata.name), |owner| {
            (&owner.kind, &owner.name)
        });
        let workload = Workload {
            kind: kind.as_str().into(),
            name: name.as_str().into(),
        };
        let templates = if owner.is_some() {
            &mut self.made
        } else {
            &mut self.templates
        };
        let namespace: Arc<str> = wire.metadata.namespace.as_str().into();
        if let Some((metadata, spec)) = wire.template()
            && self.wanted.pods.matches(&metadata.labels)
        {
            let key = workload_key(&namespace, &workload);
            let config = self.index.config();
            let facts = facts::pod::template(metadata, spec, workload, config);
            templates.insert(key.clone(), facts);
            let lasts = owner.is_none() && wire.metadata.uid.is_empty();
            self.note_place(key, manifest, &head.kind, lasts);
            self.claim(&metadata.annotations);
            if facts::exemption::claim(&wire.metadata.annotations).is_some() {
                self.faults.push(format!(
                    "annotation {EXEMPT} is not on the pod template and does not count: move it to the metadata of the template"
                ));
            }
            if !TEMPLATE_KINDS.contains(&head.kind.as_str()) {
                self.outcome.objects += 1;
            }
        } else if wire.template().is_none() && TEMPLATE_KINDS.contains(&head.kind.as_str()) {
            self.unjudged = Some(wire.metadata.name);
        }
        Ok(())
    }

    fn cluster_role(&mut self, manifest: &Manifest<'_>) -> Result<(), String> {
        self.outcome.has_rbac = true;
        let wire: ClusterRole = manifest.read()?;
        let name = wire.metadata.name.clone();
        let refused = refused::in_rules(wire.rules(), false);
        self.refused
            .extend(refused.into_iter().map(|why| format!("{name}: {why}")));
        if !(self.filling && self.cluster_roles.contains_key(&name)) {
            self.cluster_roles.insert(name, wire.into());
        }
        Ok(())
    }

    // === what needs all of the input ===

    fn finish(mut self) -> Outcome {
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
        let mut templates = std::mem::take(&mut self.made);
        templates.append(&mut self.templates);
        for (key, facts) in templates {
            if !self.live.contains(&key) {
                self.index.apply::<Pods>(key, Arc::new(facts));
            }
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

/// The kinds of Kubernetes itself that embed a pod template.
const TEMPLATE_KINDS: [&str; 8] = [
    "PodTemplate",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
];
