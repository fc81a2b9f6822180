//! Reads the objects that embed pod templates: those of the built-in kinds, and those of any other kind.

use serde::Deserialize;
use serde_json::Value;

use super::Loader;
use crate::{
    facts::{self, wire},
    files::{
        custom,
        manifest::{Head, Manifest},
        places::{Form, workload_key},
        templates,
    },
    model::{
        Name, PodKind, ServiceAccountRef, Workload,
        exemption::EXEMPT,
        workload::{named, pod_spec_path},
    },
};

/// An object of which only the metadata is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Bare {
    metadata: wire::Metadata,
}

/// The namespace of a ClusterServiceVersion in a bundle: the operator lifecycle manager sets that in which it installs.
const PLACEHOLDER: &str = "placeholder";

impl Loader<'_> {
    /// Reads an object of a built-in kind with a pod template.
    pub(super) fn template(
        &mut self,
        head: &Head<'_>,
        manifest: &Manifest<'_>,
    ) -> Result<(), String> {
        let mut wire: wire::Templated = manifest.read()?;
        let is_guessed = self.place(&mut wire.metadata, true);
        let owner = wire.metadata.owner_references.iter();
        let owner = owner.filter(|_| matches!(head.kind.as_str(), "ReplicaSet" | "Job"));
        let owner = owner.into_iter().find(|owner| owner.controller);
        let Some((metadata, spec)) = wire.template(&head.kind) else {
            self.skip_without_containers(&head.kind, &wire.metadata.name);
            return Ok(());
        };
        if !self.selects(&metadata.labels) {
            return Ok(());
        }
        let (kind, name) = match owner {
            Some(owner) => (named(&owner.api_version, &owner.kind), &*owner.name),
            None => (head.kind.as_str().into(), &*wire.metadata.name),
        };
        // What a person wrote may have the labels of an operator too.
        let is_live = owner.is_some() || !wire.metadata.uid.is_empty();
        let outer = facts::owner::outer(&kind, &metadata.labels).filter(|_| is_live);
        let (kind, name) = outer.unwrap_or((&kind, name));
        let is_created = owner.is_some() || outer.is_some();
        let workload = Workload::new(kind, name);
        let namespace: Name = wire.metadata.namespace.as_str().into();
        let key = workload_key(&namespace, &workload);
        let config = self.index.config();
        let facts = facts::pod::template(metadata, spec, workload, config);
        self.namespaces.note_pod(&namespace, &facts, is_guessed);
        let account = facts.service_account.clone();
        if is_created {
            self.templates.created_by(key.clone(), vec![facts]);
        } else {
            self.add_templates(&key, vec![facts]);
        }
        let form = if is_created {
            Form::Copy
        } else {
            Form::of(&wire.metadata)
        };
        let pod_spec = format!("/{}", pod_spec_path(&head.kind).join("/"));
        self.note_place(key, manifest, (&pod_spec, account), form);
        self.check_template(&wire.metadata, metadata);
        Ok(())
    }

    /// Warns of a workload, or a pod that is not live, without containers: the API server accepts none.
    pub(super) fn skip_without_containers(&mut self, kind: &str, name: &str) {
        let what = if kind == "Pod" {
            ""
        } else {
            "pod template with "
        };
        self.warn(
            format!("have no {what}containers: they are skipped"),
            format!("{kind} {name} has no {what}containers: it is skipped"),
        );
    }

    /// Whether an object beside a kustomization that does not name it is only a patch: the API server would accept it
    /// neither without a `selector` nor without images (kubernetes: pkg/apis/apps/validation).
    pub(super) fn is_unused_patch(&mut self, head: &Head<'_>, manifest: &Manifest<'_>) -> bool {
        let kind = PodKind::named(&head.kind).filter(|_| PodKind::has_group(head.group()));
        let Some(kind) = kind.filter(|_| self.unlisted) else {
            return false;
        };
        let object: Value = manifest.read().unwrap_or_default();
        let spec = object.pointer(&format!("/{}", kind.pod_spec.join("/")));
        let containers = spec.and_then(|spec| spec["containers"].as_array());
        let has_image = |container: &Value| container["image"].is_string();
        let selects = head.api_version != "apps/v1" || !object["spec"]["selector"].is_null();
        if selects && containers.is_some_and(|containers| containers.iter().any(has_image)) {
            return false;
        }
        self.warnings.push(format!(
            "{} {} is a patch, without a `selector` or an image, and the kustomization beside it does not use it: it is skipped",
            head.kind,
            manifest.name()
        ));
        true
    }

    /// Records the errors in the exemption annotations of an object and of its pod template.
    fn check_template(&mut self, object: &wire::Metadata, template: &wire::Metadata) {
        self.check_exemption(&template.annotations);
        if facts::exemption::claim(&object.annotations).is_some() {
            self.faults.push(format!(
                "annotation {EXEMPT} is not on the pod template and is ignored: move it to the metadata of the template"
            ));
        }
    }

    /// Reads an object of any other kind, which may have pod templates anywhere; what cannot be read as one is none.
    pub(super) fn custom(&mut self, head: &Head<'_>, manifest: &Manifest<'_>) {
        let mut object = match manifest.read::<Value>() {
            Ok(object) => object,
            Err(why) => return self.faults.push(why),
        };
        let Ok(Bare { mut metadata }) = manifest.read() else {
            return;
        };
        if let Some(rbac) = custom::embedded::as_rbac(head.group(), &head.kind, &object) {
            return self.embedded(manifest.with(rbac), false);
        }
        if metadata.namespace == PLACEHOLDER && head.group() == "operators.coreos.com" {
            metadata.namespace.clear();
            object["metadata"]["namespace"] = Value::Null;
        }
        let namespace = match &*metadata.namespace {
            "" => self.default_namespace(),
            namespace => namespace,
        };
        let kind = (head.group(), &*head.kind);
        for object in custom::embedded::objects(kind, &object, namespace) {
            self.embedded(manifest.with(object), true);
        }
        let mut found = custom::templates(&head.api_version, &head.kind, &object);
        found.retain(|found| self.selects(&found.metadata.labels));
        let mut accounts = custom::accounts(&object);
        if found.is_empty() && accounts.is_empty() {
            return;
        }
        let is_guessed = self.place(&mut metadata, true);
        let kind = named(&head.api_version, &head.kind);
        let workload = Workload::new(&kind, &metadata.name);
        let namespace: Name = metadata.namespace.as_str().into();
        accounts.retain(|(_, name)| {
            let mut specs = found.iter().map(|found| &found.spec);
            !specs.any(|spec| [&spec.service_account_name, &spec.service_account].contains(&name))
        });
        let target: Name =
            custom::target_namespace(&object).map_or_else(|| namespace.clone(), Into::into);
        let accounts = accounts.into_iter().map(|(own, name)| {
            ServiceAccountRef::new(own.map_or_else(|| target.clone(), Into::into), name)
        });
        self.index.name_accounts(&workload, accounts);
        let Some(first) = found.first() else {
            return;
        };
        self.outcome.objects += 1;
        let key = workload_key(&namespace, &workload);
        let form = if first.template.is_guess {
            Form::Guess
        } else {
            Form::of(&metadata)
        };
        let at = first.at.clone();
        for found in &found {
            self.check_template(&metadata, &found.metadata);
        }
        let config = self.index.config();
        let facts = found.into_iter().map(|found| {
            let workload = workload.clone();
            let mut facts = facts::pod::template(&found.metadata, &found.spec, workload, config);
            let rare = facts.rare.to_mut();
            rare.template = Some(Box::new(found.template));
            if let Some(first) = found.first {
                let before = std::mem::take(&mut rare.before_removal).into_iter();
                rare.before_removal = before.chain([first.into()]).collect();
            }
            facts
        });
        let facts: Vec<_> = facts.collect();
        for facts in &facts {
            self.namespaces.note_pod(&namespace, facts, is_guessed);
        }
        let account = templates::account(&facts);
        self.note_place(key.clone(), manifest, (&at, account), form);
        self.add_templates(&key, facts);
    }

    /// Reads an object that another one stands for; `is_part` if that has it within itself.
    fn embedded(&mut self, mut manifest: Manifest<'_>, is_part: bool) {
        let before = self.is_part;
        self.is_part |= is_part;
        if let Ok(mut head) = manifest.head() {
            match head.items.take() {
                Some(items) => {
                    for item in items {
                        self.embedded(item, true);
                    }
                }
                None => {
                    if let Err(fault) = self.object(&head, &manifest) {
                        let fault = format!("{} {}: {fault}", head.kind, manifest.name());
                        self.faults.push(fault);
                    }
                }
            }
        }
        self.is_part = before;
    }
}
