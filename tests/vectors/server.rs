//! The same cases on the real API server: what admission makes of their pods, what their accounts are
//! allowed, and which objects it rejects. So a wrong case fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams},
};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use token_exposure::{
    facts::rbac,
    model::{Exposure, Level, Rule, rbac::Effect},
    rbac::{
        cover::{Atom, covers},
        defaults::is_default_account_rule,
        reachable::CLUSTER_SCOPED,
        resolve::applies_to,
    },
    token::automount::should_automount,
};

use super::{
    Asked, Case, account, equal,
    rig::{
        ControlPlane,
        feature::Feature,
        oracle::{allowed, carried, comparable, groups, level},
        runtime,
    },
};

/// How many control planes there are: each case has one to itself, and mostly waits.
pub(crate) const SERVERS: usize = 3;

/// The control planes that the cases share: those that no case uses now, started on demand.
pub(crate) struct Servers {
    idle: Mutex<Vec<Option<ControlPlane>>>,
    returned: Condvar,
}

/// A handle to the control planes.
pub(crate) type Server = Arc<Servers>;

impl Servers {
    pub(crate) fn new() -> Self {
        Self {
            idle: Mutex::new((0..SERVERS).map(|_| None).collect()),
            returned: Condvar::new(),
        }
    }

    /// Stops all of them.
    pub(crate) fn end(&self) {
        self.idle.lock().unwrap().clear();
    }
}

/// One of the control planes, until this value is dropped.
struct Lent<'a> {
    servers: &'a Servers,
    plane: Option<ControlPlane>,
}

impl<'a> Lent<'a> {
    fn from(servers: &'a Servers) -> Self {
        let idle = servers.idle.lock().unwrap();
        let none = |idle: &mut Vec<_>| idle.is_empty();
        let mut idle = servers.returned.wait_while(idle, none).unwrap();
        // Prefers one that is already running.
        let index = idle.iter().position(Option::is_some).unwrap_or_default();
        let plane = idle.swap_remove(index);
        Self { servers, plane }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.servers.idle.lock().unwrap().push(self.plane.take());
        self.servers.returned.notify_one();
    }
}

const GROUP: &str = "rbac.authorization.k8s.io";

/// The case as a question to the API server; `None` for cases with live objects.
pub(crate) fn trial(server: &Server, case: &Arc<Case>, common: &Arc<Vec<Value>>) -> Option<Trial> {
    let objects: Vec<_> = case.objects(common);
    let lived = |object: &Value| object["metadata"]["uid"].is_string();
    let asks = case.server == Asked::Refuses
        || objects.iter().any(|object| !template(object).is_null())
        || case
            .expect
            .values()
            .any(|expected| expected.level.is_some());
    if objects.iter().any(lived) || !asks {
        return None;
    }
    let (server, case, common) = (server.clone(), case.clone(), common.clone());
    let name = format!("server::{}", case.id);
    Some(Trial::test(name, move || {
        on(&server, |plane| {
            runtime().block_on(World::ask(plane, &case, &common))
        })
    }))
}

pub(crate) fn on(
    server: &Server,
    ask: impl FnOnce(&ControlPlane) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut lent = Lent::from(server);
    ask(lent.plane.get_or_insert_with(|| ControlPlane::bare(&[])))
}

/// The pod spec of an object; null where it has none.
fn template(object: &Value) -> &Value {
    let paths = [
        "/spec/containers",
        "/spec/template/spec/containers",
        "/spec/jobTemplate/spec/template/spec/containers",
        "/template/spec/containers",
    ];
    let found = paths.iter().find(|path| object.pointer(path).is_some());
    found.map_or(&Value::Null, |path| {
        let spec = path.trim_end_matches("/containers");
        object.pointer(spec).unwrap()
    })
}

/// What one case has created in the API server.
struct World {
    client: Client,
    created: Vec<(Api<DynamicObject>, String)>,
    namespaces: BTreeSet<String>,
}

impl World {
    async fn ask(plane: &ControlPlane, case: &Case, common: &[Value]) -> Result<(), Failed> {
        let mut world = Self {
            client: plane.client().await,
            created: Vec::new(),
            namespaces: BTreeSet::new(),
        };
        let result = world.case(case, common).await;
        for (api, name) in world.created {
            let _ = api.delete(&name, &DeleteParams::background()).await;
        }
        result
    }

    async fn case(&mut self, case: &Case, common: &[Value]) -> Result<(), Failed> {
        let mut objects = case.objects(common);
        if case.dump {
            // Every cluster has these.
            objects.retain(|object| object["metadata"]["name"] != "cluster-admin");
        }
        // The kinds of other API groups are not served here.
        objects.retain(|object| {
            let version = object["apiVersion"].as_str().unwrap_or("v1");
            !version.contains("example.com") && !version.contains("argoproj.io")
        });
        let of_cluster = ["ClusterRole", "ClusterRoleBinding", "CSIDriver"];
        for object in &mut objects {
            let kind = object["kind"].as_str().unwrap();
            let namespace = &object["metadata"]["namespace"];
            if namespace.is_null() && !of_cluster.contains(&kind) {
                object["metadata"]["namespace"] = json!("default");
            }
            if object["apiVersion"].is_null() {
                object["apiVersion"] = json!("v1");
            }
        }
        self.ground(case, &objects).await;
        let mut refusals = 0;
        let (pods, others): (Vec<_>, Vec<_>) = objects
            .iter()
            .partition(|object| !template(object).is_null());
        let wanted: Vec<&Value> = match case.server {
            Asked::All | Asked::Refuses => others,
            Asked::Pods => others
                .into_iter()
                .filter(|object| object["kind"] == "ServiceAccount")
                .collect(),
        };
        for object in wanted {
            refusals += usize::from(!self.create(object).await?);
        }
        if !pods.is_empty() {
            self.await_accounts().await?;
        }
        for pod in pods {
            refusals += usize::from(!self.pod(pod, &objects).await?);
        }
        let refuses = case.server == Asked::Refuses;
        equal(&(refusals > 0), &refuses, "refusal", &case.says)?;
        if case.server == Asked::All {
            self.permissions(case, common, &objects).await?;
        }
        Ok(())
    }

    /// Creates the namespaces and accounts that the objects need.
    async fn ground(&mut self, case: &Case, objects: &[Value]) {
        let of_objects = objects.iter().filter_map(|object| {
            let namespace = object["metadata"]["namespace"].as_str();
            namespace.map(str::to_owned)
        });
        let of_accounts = case
            .expect
            .keys()
            .map(|name| name.split('/').next().unwrap());
        self.namespaces = of_objects.chain(of_accounts.map(str::to_owned)).collect();
        for namespace in &self.namespaces.clone() {
            let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            // It stays: deleting a namespace takes long.
            let _ = self
                .api(&object)
                .create(&PostParams::default(), &parse(&object))
                .await;
        }
        let named = objects
            .iter()
            .filter(|object| object["kind"] == "ServiceAccount");
        let named: BTreeSet<_> = named.map(name_of).collect();
        for pod in objects.iter().filter(|object| !template(object).is_null()) {
            let (_, account) = account_of(pod);
            let namespace = pod["metadata"]["namespace"].as_str().unwrap();
            let key = (namespace.to_owned(), account.to_owned());
            // The account that must be missing has this name.
            if !named.contains(&key) && account != "ghost" {
                let object = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": account, "namespace": namespace } });
                let _ = self.create(&object).await;
            }
        }
    }

    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let version = object["apiVersion"].as_str().unwrap();
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let kind = object["kind"].as_str().unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Creates an object, replacing one of another case or of the cluster; returns whether the API
    /// server accepted it.
    async fn create(&mut self, object: &Value) -> Result<bool, Failed> {
        let (api, name) = (self.api(object), name_of(object).1);
        let create = async || api.create(&PostParams::default(), &parse(object)).await;
        let mut result = create().await;
        for _ in 0..50 {
            if !matches!(&result, Err(kube::Error::Api(status)) if status.code == 409) {
                break;
            }
            if object["kind"] == "ServiceAccount" {
                // The `default` account is recreated at once when it is deleted.
                result = replace(&api, &name, object).await;
            } else {
                let _ = api.delete(&name, &DeleteParams::default()).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                result = create().await;
            }
        }
        match result {
            Ok(_) => {
                self.created.push((api, name));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => Ok(false),
            Err(error) => Err(format!("{error}: {object}").into()),
        }
    }

    /// Compares the pod after admission with the prediction; returns whether it was admitted.
    async fn pod(&self, object: &Value, objects: &[Value]) -> Result<bool, Failed> {
        let (own, account) = account_of(object);
        let namespace = object["metadata"]["namespace"].as_str().unwrap();
        let key = (namespace.to_owned(), account.to_owned());
        let mut accounts = objects
            .iter()
            .filter(|object| object["kind"] == "ServiceAccount");
        let object_of_account = accounts.find(|object| name_of(object) == key);
        let automount =
            object_of_account.and_then(|account| account["automountServiceAccountToken"].as_bool());
        let mut metadata = object["metadata"].clone();
        if object["kind"] != "Pod" {
            metadata = json!({ "name": "of-template", "namespace": namespace });
        }
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template(object) });
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
                container["image"] = json!("i");
                for word in container["args"].as_array_mut().into_iter().flatten() {
                    *word = word
                        .as_str()
                        .map_or_else(|| json!(word.to_string()), |word| json!(word));
                }
            }
        }
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let stored = match self.api(&pod).create(&dry_run, &parse(&pod)).await {
            Ok(stored) => serde_json::to_value(stored).unwrap(),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                return Ok(false);
            }
            Err(error) => return Err(format!("{error}: {pod}").into()),
        };
        let told_apart = own.is_some() || should_automount(own, automount);
        let carried = |pod: &Value| comparable(carried(pod, account, automount), told_apart);
        equal(
            &carried(&pod),
            &carried(&stored),
            "admission",
            &stored.to_string(),
        )?;
        Ok(true)
    }

    /// Compares levels and single requests with access reviews.
    async fn permissions(
        &mut self,
        case: &Case,
        common: &[Value],
        objects: &[Value],
    ) -> Result<(), Failed> {
        self.await_caches().await;
        let rules = self.rules(objects).await;
        let namespaces: Vec<_> = self.namespaces.iter().map(String::as_str).collect();
        let (index, _) = case.read(common);
        for (name, exposure) in case.assess(&index) {
            let account = account(&name);
            let ours = reviewed(&exposure, &rules);
            let mut theirs = Level::None;
            // A controller fills in an aggregated role.
            for _ in 0..50 {
                theirs = level(&self.client, &account, &rules, &namespaces).await;
                if theirs == ours {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            equal(&ours, &theirs, "level", &name)?;
        }
        for ask in &case.asks {
            let atom = Atom::Resource {
                verb: "get",
                group: &ask.group,
                resource: &ask.get,
                name: None,
            };
            let who = account("vb/s");
            let bindings = index.evidence(&who).bindings;
            let ours = bindings
                .iter()
                .filter(|bound| applies_to(&who, &bound.binding.subjects).is_some())
                .flat_map(|bound| &bound.role.unwrap().rules)
                .any(|rule| covers(rule, &atom) || covers(rule, &url(&ask.get)));
            equal(&ours, &ask.allowed, "request", &ask.get)?;
            let user = "system:serviceaccount:vb:s";
            let theirs = if ask.get.starts_with('/') {
                allowed(&self.client, user, &groups("vb"), &url(&ask.get), "").await
            } else {
                allowed(&self.client, user, &groups("vb"), &atom, "vb").await
            };
            equal(&theirs, &ask.allowed, "review", &ask.get)?;
        }
        Ok(())
    }

    /// The rules of the case: of its own roles, and of some cluster roles that it binds.
    async fn rules(&self, objects: &[Value]) -> Vec<Rule> {
        let own = objects.iter().filter(|object| object["rules"].is_array());
        let mut found_roles: Vec<Value> = own.cloned().collect();
        for binding in objects
            .iter()
            .filter(|object| object["roleRef"].is_object())
        {
            let role_ref = &binding["roleRef"];
            let key = json!({ "apiVersion": format!("{GROUP}/v1"), "kind": role_ref["kind"], "metadata": { "name": role_ref["name"], "namespace": match role_ref["kind"].as_str() {
                Some("Role") => binding["metadata"]["namespace"].clone(),
                _ => Value::Null,
            } } });
            let found = self.api(&key).get(role_ref["name"].as_str().unwrap()).await;
            let mut role = found.map_or(Value::Null, |role| role.data);
            // Two of them are enough.
            role["rules"]
                .as_array_mut()
                .into_iter()
                .for_each(|rules| rules.truncate(2));
            found_roles.push(role);
        }
        let rules = found_roles
            .iter()
            .filter_map(|role| role["rules"].as_array())
            .flatten();
        let rules = rules.map(|rule| rbac::rule(&serde_json::from_value(rule.clone()).unwrap()));
        // The default permissions of all accounts are not a level.
        rules
            .filter(|rule| !is_default_account_rule(rule))
            .collect()
    }

    /// Waits until admission has seen the accounts. It sees them in order: one more change is enough, the pull secret
    /// that a pod gets from its account.
    async fn await_accounts(&mut self) -> Result<(), Failed> {
        let metadata = json!({ "name": "sentinel", "namespace": "default" });
        let mark = unique();
        let secrets = json!([{ "name": mark }]);
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "imagePullSecrets": secrets });
        self.create(&account).await?;
        let spec = json!({ "serviceAccountName": "sentinel", "containers": [{ "name": "c", "image": "i" }] });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        loop {
            let stored = self.api(&pod).create(&dry_run, &parse(&pod)).await?;
            if stored.data["spec"]["imagePullSecrets"] == secrets {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the authorizer has seen the objects: it sees those of one kind in order, so one
    /// more of each kind is enough.
    async fn await_caches(&mut self) {
        let version = format!("{GROUP}/v1");
        let namespace = "default";
        let rules = json!([{ "apiGroups": ["case.invalid"], "resources": ["sentinels"], "verbs": ["get"] }]);
        let user = unique();
        let subjects = |name: &str| json!([{ "kind": "User", "apiGroup": GROUP, "name": format!("{user}-{name}") }]);
        for (kind, role, namespace) in [
            ("ClusterRoleBinding", "ClusterRole", Value::Null),
            ("RoleBinding", "Role", json!(namespace)),
        ] {
            let metadata = json!({ "name": user, "namespace": namespace });
            let object = json!({ "apiVersion": version, "kind": role, "metadata": metadata, "rules": rules });
            self.create(&object).await.unwrap();
            let role_ref = json!({ "apiGroup": GROUP, "kind": role, "name": user });
            let object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "roleRef": role_ref, "subjects": subjects(kind) });
            self.create(&object).await.unwrap();
        }
        let atom = Atom::Resource {
            verb: "get",
            group: "case.invalid",
            resource: "sentinels",
            name: None,
        };
        for kind in ["ClusterRoleBinding", "RoleBinding"] {
            while !allowed(
                &self.client,
                &format!("{user}-{kind}"),
                &[],
                &atom,
                namespace,
            )
            .await
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Replaces an object that exists.
async fn replace(
    api: &Api<DynamicObject>,
    name: &str,
    object: &Value,
) -> kube::Result<DynamicObject> {
    let mut wanted = parse(object);
    wanted.metadata.resource_version = api.get(name).await?.metadata.resource_version;
    api.replace(name, &PostParams::default(), &wanted).await
}

/// A unique name.
fn unique() -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    format!("sentinel-{}", now.as_nanos())
}

fn url(url: &str) -> Atom<'_> {
    Atom::Url { verb: "get", url }
}

fn parse(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).unwrap()
}

fn name_of(object: &Value) -> (String, String) {
    let metadata = &object["metadata"];
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (string(&metadata["namespace"]), string(&metadata["name"]))
}

/// The `automountServiceAccountToken` of a pod, and its account.
fn account_of(object: &Value) -> (Option<bool>, &str) {
    let spec = template(object);
    let names = [&spec["serviceAccountName"], &spec["serviceAccount"]];
    let name = names.iter().find_map(|name| name.as_str());
    let automount = spec["automountServiceAccountToken"].as_bool();
    (automount, name.unwrap_or("default"))
}

/// The level as reviews see it: they do not know admission-only permissions, and only ask about the
/// rules of the case.
fn reviewed(exposure: &Exposure, rules: &[Rule]) -> Level {
    if rules.is_empty() {
        return Level::None;
    }
    let grants = exposure.permissions.grants.iter();
    let admission = grants.filter(|grant| grant.effect == Effect::AdmissionOnly);
    let levels = admission.map(|grant| {
        if grant.via.is_group() {
            Level::Inherited
        } else {
            Level::Direct
        }
    });
    levels.fold(exposure.permissions.level, Ord::max)
}

/// Every resource of the server that is not namespaced is known as such.
pub(crate) fn cluster_scoped(server: &Server) -> Trial {
    let server = server.clone();
    Trial::test("server::cluster_scoped", move || {
        on(&server, |plane| {
            let listed = plane.kubectl(&["api-resources", "--namespaced=false", "-o", "name"]);
            let unknown: Vec<_> = listed
                .lines()
                .filter(|name| !name.starts_with("tokenexposure"))
                .filter(|name| {
                    let (resource, group) = name.split_once('.').unwrap_or((name, ""));
                    !CLUSTER_SCOPED
                        .iter()
                        .any(|(known, resources)| *known == group && resources.contains(&resource))
                })
                .collect();
            equal(&unknown, &Vec::new(), "unknown", "resources of the cluster")
        })
    })
}

/// The default objects for scans of files are those that the newest version of the server creates. Older versions create
/// no default permission that is not among them.
pub(crate) fn bootstrap(server: &Server) -> Trial {
    let server = server.clone();
    Trial::test("server::bootstrap", move || {
        on(&server, |plane| {
            let printed = std::process::Command::new("tests/control-plane/bootstrap.sh")
                .env("KUBECONFIG", plane.kubeconfig())
                .output()?;
            let printed = String::from_utf8(printed.stdout)?;
            let kept = std::fs::read_to_string("src/files/bootstrap.json")?;
            let is_older = plane.lacks(Feature::DefaultRoles, "part of server::bootstrap");
            let missing = default_permissions(&printed)
                .find(|object| !kept.lines().any(|line| line == *object));
            match missing {
                Some(object) => Err(format!("src/files/bootstrap.json lacks {object}").into()),
                None if is_older || printed == kept => Ok(()),
                None => Err("src/files/bootstrap.json is stale: run `make bootstrap`".into()),
            }
        })
    })
}

/// The objects, of one line each, that grant something to all users or all accounts.
fn default_permissions(objects: &str) -> impl Iterator<Item = &str> {
    const GROUPS: [&str; 3] = [
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
    ];
    let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let is_default = move |binding: &Value| {
        let mut subjects = binding["subjects"].as_array().into_iter().flatten();
        subjects.any(|subject| {
            subject["name"]
                .as_str()
                .is_some_and(|name| GROUPS.contains(&name))
        })
    };
    let bindings = objects.lines().map(parsed).filter(is_default);
    let roles = bindings.map(|binding| binding["roleRef"]["name"].as_str().unwrap().to_owned());
    let roles: BTreeSet<String> = roles.collect();
    assert!(!roles.is_empty());
    objects.lines().filter(move |line| {
        let object = parsed(line);
        is_default(&object) || roles.contains(object["metadata"]["name"].as_str().unwrap())
    })
}

/// A sidecar that a mutation adds after the ServiceAccount plugin has run gets the mount as well: the
/// plugin runs again.
pub(crate) fn reinvocation(server: &Server) -> Trial {
    let server = server.clone();
    Trial::test("server::A29", move || {
        on(&server, |plane| {
            if plane.lacks(Feature::MutatingAdmissionPolicy, "server::A29") {
                return Ok(());
            }
            let mutation = "Object{spec: Object.spec{containers: [Object.spec.containers{name: \"sidecar\", image: \"i\"}]}}";
            let policy = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": { "name": "sidecar" },
                "spec": {
                    "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }] },
                    "matchConditions": [{ "name": "named", "expression": "object.metadata.name == 'with-sidecar'" }],
                    "failurePolicy": "Fail",
                    "reinvocationPolicy": "Never",
                    "mutations": [{ "patchType": "ApplyConfiguration", "applyConfiguration": { "expression": mutation } }],
                },
            });
            let binding = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": { "name": "sidecar" },
                "spec": { "policyName": "sidecar" },
            });
            plane.apply(&policy.to_string());
            plane.apply(&binding.to_string());
            let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "sidecars", "namespace": "default" } });
            plane.apply(&account.to_string());
            let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "with-sidecar" }, "spec": { "serviceAccountName": "sidecars", "containers": [{ "name": "c", "image": "i" }] } });
            let mut containers = BTreeMap::new();
            // The policy takes a moment to take effect.
            for _ in 0..100 {
                let out = plane.try_kubectl(
                    &["create", "--dry-run=server", "-o", "json", "-f", "-"],
                    &pod.to_string(),
                );
                let stored: Value = serde_json::from_slice(&out.stdout).unwrap();
                let carriers = carried(&stored, "sidecars", None);
                containers = carriers
                    .into_iter()
                    .map(|carrier| (carrier.mount_path, carrier.containers))
                    .collect();
                if stored["spec"]["containers"].as_array().unwrap().len() == 2 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let path = "/var/run/secrets/kubernetes.io/serviceaccount";
            let expected = [(path.into(), vec!["c".into(), "sidecar".into()])].into();
            equal(&containers, &expected, "containers", "a pod with a sidecar")
        })
    })
}
