//! Adds the objects of manifests to the index, one by one.

mod add;
mod finish;
mod input;
mod namespaces;
mod template;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use self::namespaces::Guesses;
use super::{
    Outcome, Wanted,
    copies::{Copies, SHOWN},
    manifest::{Head, Manifest, manifests},
    places::{Form, Place, workload_key},
    rendered::Renderings,
    templates::Templates,
};
use crate::{
    facts::{
        self, ClusterRoleBindings, ConfigMaps, CsiDrivers, Kind, Namespaces, Pods, RoleBindings,
        Roles, Secrets, ServiceAccounts, wire,
    },
    index::Index,
    model::{
        InputKind, Name, ObjectKey, PodKind, Workload,
        pod::{Origin, Phase},
    },
    rbac::aggregate::AggregatedRole,
    text::{Malformed, Problem, UNRENDERED},
};

/// The API group of roles and bindings.
const RBAC: &str = InputKind::Role.group();
/// The namespace of objects that name none, where the user names none either.
const DEFAULT_NAMESPACE: &str = "default";

#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
pub(super) struct Loader<'a> {
    index: &'a mut Index,
    wanted: &'a Wanted<'a>,
    outcome: Outcome,
    templates: Templates,
    cluster_roles: BTreeMap<String, AggregatedRole>,
    /// Whether the input has RoleBindings.
    has_role_bindings: bool,
    namespaces: Guesses,
    /// Whether an object that is already known is kept: the bootstrap objects replace none.
    keeps_known: bool,
    /// The file that is being read; `None` for standard input.
    file: Option<Arc<Path>>,
    /// Whether it is read piece by piece.
    is_large: bool,
    /// Whether the object that is being read is a part of another one: patches of it cannot be written.
    is_part: bool,
    /// How many items have no kind there, nor has what was read of their list.
    without_kind: usize,
    /// The folders that were rendered.
    renderings: Renderings<'a>,
    /// The objects that the input has several times.
    copies: Copies,
    /// Whether the user named the file itself, not only its folder.
    explicit: bool,
    /// Whether the kustomization in its folder does not name it.
    unlisted: bool,
    /// What the API server would reject in the object that is being read, or why it is not assessed.
    warnings: Vec<String>,
    /// How many warnings there are of each topic.
    topics: BTreeMap<String, usize>,
    /// Other errors in that object.
    faults: Vec<String>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(index: &'a mut Index, wanted: &'a Wanted<'a>) -> Self {
        Self {
            index,
            wanted,
            outcome: Outcome::default(),
            templates: Templates::default(),
            cluster_roles: BTreeMap::new(),
            has_role_bindings: false,
            namespaces: Guesses::default(),
            keeps_known: false,
            file: None,
            is_large: false,
            is_part: false,
            without_kind: 0,
            renderings: Renderings::default(),
            copies: Copies::default(),
            explicit: false,
            unlisted: false,
            warnings: Vec::new(),
            topics: BTreeMap::new(),
            faults: Vec::new(),
        }
    }
}

impl Loader<'_> {
    fn problem(&mut self, place: String, message: String) {
        self.outcome.problems.push(Problem { place, message });
    }

    fn malformed(&mut self, place: &str, malformed: Malformed) {
        self.outcome.lacks_rbac |= malformed.may_be_rbac;
        self.problem(malformed.place(&place), malformed.message);
    }

    /// Whether the selector of the user matches these labels.
    fn selects(&self, labels: &wire::Labels) -> bool {
        self.wanted.pods.matches(|key| labels.get(key))
    }

    fn manifests(&mut self, place: &str, text: &str) {
        for manifest in manifests(text) {
            self.manifest_or_error(place, manifest);
        }
    }

    fn manifest_or_error(&mut self, place: &str, manifest: Result<Manifest<'_>, Malformed>) {
        match manifest {
            Ok(manifest) => self.manifest(place, manifest, None),
            Err(malformed) => self.malformed(place, malformed),
        }
    }

    /// `list` is the list that contains the manifest: the items of a typed list, such as a PodList, may omit
    /// `kind` and `apiVersion`.
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
            self.without_kind += usize::from(self.is_large && list.kind.is_empty());
            list.kind
                .strip_suffix("List")
                .unwrap_or_default()
                .clone_into(&mut head.kind);
            list.api_version.clone_into(&mut head.api_version);
        }
        let result = self.object(&head, &manifest);
        let warnings = std::mem::take(&mut self.warnings);
        let faults = std::mem::take(&mut self.faults);
        if result.is_ok() && warnings.is_empty() && faults.is_empty() {
            return;
        }
        let place = format!("{place}:{}", manifest.own_line());
        let warning = |message| Problem {
            place: place.clone(),
            message,
        };
        self.outcome
            .warnings
            .extend(warnings.into_iter().map(warning));
        let has_errors = result.is_err() || !faults.is_empty();
        self.outcome.lacks_rbac |= has_errors && head.group() == RBAC;
        let name = manifest.name();
        let subject = format!("{} {name}", head.kind);
        for message in result.err().into_iter().chain(faults) {
            let message = match subject.trim() {
                "" => message,
                subject => format!("{subject}: {message}"),
            };
            self.problem(place.clone(), message);
        }
    }

    fn object(&mut self, head: &Head<'_>, manifest: &Manifest<'_>) -> Result<(), String> {
        if self.is_unused_patch(head, manifest) {
            return Ok(());
        }
        match (head.group(), head.kind.as_str()) {
            ("", "Pod") => self.pod(manifest)?,
            ("", "ServiceAccount") => self.apply::<ServiceAccounts>(manifest)?,
            ("", "Namespace") => self.apply::<Namespaces>(manifest)?,
            ("", "Secret") => self.apply::<Secrets>(manifest)?,
            ("", "ConfigMap") => {
                self.config_map(manifest);
                return Ok(());
            }
            ("storage.k8s.io", "CSIDriver") => self.apply::<CsiDrivers>(manifest)?,
            (RBAC, "Role") => self.rbac::<Roles>(manifest)?,
            (RBAC, "RoleBinding") => self.rbac::<RoleBindings>(manifest)?,
            (RBAC, "ClusterRoleBinding") => {
                self.rbac::<ClusterRoleBindings>(manifest)?;
            }
            (RBAC, "ClusterRole") => self.cluster_role(manifest)?,
            (group, kind) if PodKind::has_group(group) && PodKind::embeds_template(kind) => {
                self.template(head, manifest)?;
            }
            ("", "Status") => {
                return Err("is an error response of the API server, not an object".to_owned());
            }
            ("meta.k8s.io", "Table") => {
                return Err(
                    "is a printed table: get the objects with -o json or -o yaml".to_owned(),
                );
            }
            (_, "") => return self.without_kind(head, manifest),
            _ => {
                self.custom(head, manifest);
                return Ok(());
            }
        }
        self.outcome.objects += 1;
        Ok(())
    }

    /// A document without a `kind`. Files of other programs may lie beside manifests, and are ignored; an
    /// object without a `kind` is an error, as it is for kubectl.
    fn without_kind(&self, head: &Head<'_>, manifest: &Manifest<'_>) -> Result<(), String> {
        if !manifest.name().is_empty() && !head.api_version.is_empty() {
            return Err("has no `kind`: add it".to_owned());
        }
        if !manifest.is_object() && self.explicit {
            return Err("is not a Kubernetes object: it has no fields".to_owned());
        }
        Ok(())
    }

    /// Adds a warning for each reason why the API server would reject an object.
    fn warn_rejected(&mut self, kind: InputKind, name: &str, rejections: Vec<String>) {
        let kind = kind.name();
        for why in rejections {
            self.warn(
                format!("would be rejected by the API server too: {why}"),
                format!("the API server would reject {kind} {name}: {why}"),
            );
        }
    }

    /// Adds a warning about the object that is being read, unless many others have the same `topic`: those are counted.
    fn warn(&mut self, topic: String, message: String) {
        let count = self.topics.entry(topic).or_insert(0);
        *count += 1;
        if *count <= SHOWN {
            self.warnings.push(message);
        }
    }

    /// Records the position of an object with its pod spec.
    fn note_place(
        &mut self,
        key: ObjectKey,
        manifest: &Manifest<'_>,
        (pod_spec, account): (&str, Option<Name>),
        form: Form,
    ) {
        let place = if let Some(file) = &self.file {
            Some(Place {
                file: file.clone(),
                line: if self.is_large {
                    manifest.own_line()
                } else {
                    manifest.line
                },
                items: manifest.items.clone(),
                pod_spec: pod_spec.into(),
                account,
                form: if self.is_part { Form::Part } else { form },
                is_large: self.is_large,
            })
        } else {
            // The name of a workload begins with its kind.
            let (kind, _) = key.name.split_once('/').unwrap_or_default();
            self.renderings.place(manifest, kind, pod_spec, account)
        };
        if let Some(place) = place {
            self.outcome.places.note(key, place);
        }
    }

    /// Records the error in the exemption annotations, if there is one.
    fn check_exemption(&mut self, annotations: &wire::Annotations) {
        let claim = facts::exemption::claim(annotations);
        self.faults.extend(claim.and_then(|claim| claim.fault()));
    }

    /// The namespace of objects that name none.
    fn default_namespace(&self) -> &str {
        self.wanted.namespace.unwrap_or(DEFAULT_NAMESPACE)
    }

    /// Sets the namespace of an object: the default if it has none, none if it is cluster-scoped. An object
    /// with a generated name gets the pattern of such names. Returns whether the namespace is a guess.
    fn place(&mut self, metadata: &mut wire::Metadata, namespaced: bool) -> bool {
        if metadata.name.is_empty() {
            metadata.name = format!("{}*", metadata.generate_name);
        }
        if metadata.name.contains("{{") || metadata.namespace.contains("{{") {
            self.faults.push(UNRENDERED.to_owned());
        }
        if !namespaced {
            metadata.namespace.clear();
        } else if metadata.namespace.is_empty() {
            self.default_namespace().clone_into(&mut metadata.namespace);
            return self.wanted.namespace.is_none();
        }
        false
    }

    fn pod(&mut self, manifest: &Manifest<'_>) -> Result<(), String> {
        let mut wire: wire::Pod = manifest.read()?;
        let is_guessed = self.place(&mut wire.metadata, true);
        self.check_exemption(&wire.metadata.annotations);
        if !self.selects(&wire.metadata.labels) {
            return Ok(());
        }
        let facts = Pods::facts(&wire, self.index.config());
        if facts.origin == Origin::Template && wire.spec.containers.is_empty() {
            self.skip_without_containers(Pods::INPUT.name(), &wire.metadata.name);
            return Ok(());
        }
        let key = Pods::key(&wire);
        let workload = workload_key(&key.namespace, &facts.workload);
        let is_manifest = facts.origin == Origin::Template;
        let form = match wire.metadata.owner_references[..] {
            [] => Form::of(&wire.metadata),
            _ => Form::Copy,
        };
        let spec = ("/spec", facts.service_account.clone());
        self.note_place(workload.clone(), manifest, spec, form);
        self.namespaces.note_pod(&key.namespace, &facts, is_guessed);
        if is_manifest {
            let pod = Workload::new(Pods::INPUT.name(), &key.name);
            let pod = workload_key(&key.namespace, &pod);
            let facts = Arc::unwrap_or_clone(facts.shape);
            self.add_templates(&pod, vec![facts]);
        } else {
            // The next run of a CronJob has what its template says today.
            let is_of_schedule = &*facts.workload.kind == "CronJob";
            if is_of_schedule && wire.status.phase() == Phase::Succeeded {
                self.templates.had_pods(workload, &facts);
            } else {
                self.templates.has_pods(workload);
            }
            let key = self.beside_known(key, &facts, &wire.metadata.uid);
            self.index.apply::<Pods>(key, facts);
        }
        Ok(())
    }

    /// Reads a ConfigMap for what it says about pods; one that cannot be read says nothing.
    fn config_map(&mut self, manifest: &Manifest<'_>) {
        let Ok(mut wire) = manifest.read::<wire::ConfigMap>() else {
            return;
        };
        if wire.metadata.namespace.is_empty() {
            self.default_namespace()
                .clone_into(&mut wire.metadata.namespace);
        }
        let facts = ConfigMaps::facts(&wire, self.index.config());
        self.index
            .apply::<ConfigMaps>(ConfigMaps::key(&wire), facts);
    }
}
