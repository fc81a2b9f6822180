//! The namespaces, accounts, roles and bindings of a world.

use k8s_pb::{
    api::{
        core::v1::{Namespace, NamespaceSpec, NamespaceStatus, ServiceAccount},
        rbac::v1::{
            ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
        },
    },
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta, Time},
};

use super::{Object, World};

const GROUP: &str = "rbac.authorization.k8s.io";
const VERSION: &str = "rbac.authorization.k8s.io/v1";
/// 2026-11-20.
const CREATED: i64 = 1_795_132_800;
const FIELDS: &str = r#"{"f:metadata":{"f:labels":{".":{},"f:app.kubernetes.io/managed-by":{}}}}"#;

pub(super) fn created() -> Option<Time> {
    Some(Time {
        seconds: Some(CREATED),
        nanos: Some(0),
    })
}

/// Metadata with a uid that no other object of the world has.
pub(super) fn metadata(kind: u16, n: usize, namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: text(name),
        namespace: text(namespace),
        uid: Some(format!("{n:08x}-{kind:04x}-4000-8000-000000000000")),
        creation_timestamp: created(),
        labels: [(
            "app.kubernetes.io/managed-by".to_owned(),
            "platform".to_owned(),
        )]
        .into(),
        managed_fields: vec![managed("kubectl", FIELDS)],
        ..ObjectMeta::default()
    }
}

/// Which fields somebody manages.
pub(super) fn managed(manager: &str, fields: &str) -> ManagedFieldsEntry {
    ManagedFieldsEntry {
        manager: text(manager),
        operation: text("Update"),
        api_version: text("v1"),
        time: created(),
        fields_type: text("FieldsV1"),
        fields_v1: Some(FieldsV1 {
            raw: Some(fields.as_bytes().to_vec()),
        }),
        subresource: text(""),
    }
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn subject(kind: &str, namespace: &str, name: &str) -> Subject {
    let of_group = if kind == "ServiceAccount" { "" } else { GROUP };
    Subject {
        kind: text(kind),
        api_group: text(of_group),
        name: text(name),
        namespace: text(namespace),
    }
}

fn role_ref(kind: &str, name: &str) -> Option<RoleRef> {
    Some(RoleRef {
        api_group: text(GROUP),
        kind: text(kind),
        name: text(name),
    })
}

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> PolicyRule {
    PolicyRule {
        verbs: texts(verbs),
        api_groups: texts(&[group]),
        resources: texts(resources),
        ..PolicyRule::default()
    }
}

pub(super) fn objects(world: World, each: &mut dyn FnMut(Object)) {
    for n in 0..world.namespaces {
        let name = world.namespace(n);
        let object = Namespace {
            metadata: Some(metadata(1, n, "", &name)),
            spec: Some(NamespaceSpec {
                finalizers: texts(&["kubernetes"]),
            }),
            status: Some(NamespaceStatus {
                phase: text("Active"),
                ..NamespaceStatus::default()
            }),
        };
        each(Object::new(
            &format!("/registry/namespaces/{name}"),
            "v1",
            "Namespace",
            &object,
        ));
    }
    for n in 0..world.accounts {
        let (namespace, name) = (world.namespace(n), world.account(n));
        let object = ServiceAccount {
            metadata: Some(metadata(2, n, &namespace, &name)),
            ..ServiceAccount::default()
        };
        let key = format!("/registry/serviceaccounts/{namespace}/{name}");
        each(Object::new(&key, "v1", "ServiceAccount", &object));
    }
    roles(world, each);
    role_bindings(world, each);
    cluster_role_bindings(world, each);
}

fn roles(world: World, each: &mut dyn FnMut(Object)) {
    for n in 0..world.roles {
        let (namespace, name) = (world.namespace(n), format!("app-{}", n / world.namespaces));
        let object = Role {
            metadata: Some(metadata(3, n, &namespace, &name)),
            rules: vec![
                rule(&["get", "list", "watch"], "", &["configmaps", "services"]),
                rule(&["create", "patch"], "", &["events"]),
            ],
        };
        each(Object::new(
            &format!("/registry/roles/{namespace}/{name}"),
            VERSION,
            "Role",
            &object,
        ));
    }
    for n in 0..world.cluster_roles {
        let name = format!("custom-{n}");
        let object = ClusterRole {
            metadata: Some(metadata(4, n, "", &name)),
            rules: vec![
                rule(&["get", "list"], "apps", &["deployments", "statefulsets"]),
                rule(&["get"], &format!("group-{n}.example.com"), &["things"]),
            ],
            aggregation_rule: None,
        };
        each(Object::new(
            &format!("/registry/clusterroles/{name}"),
            VERSION,
            "ClusterRole",
            &object,
        ));
    }
}

/// The first ones bind an account to a Role; of the others, some bind an account of another namespace once more, and
/// most bind people.
fn role_bindings(world: World, each: &mut dyn FnMut(Object)) {
    for n in 0..world.role_bindings {
        let (namespace, name) = (
            world.namespace(n),
            format!("binding-{}", n / world.namespaces),
        );
        let account = |n: usize| {
            let account = world.bound_account(n);
            subject(
                "ServiceAccount",
                &world.namespace(account),
                &world.account(account),
            )
        };
        let (role, subjects) = if n < world.bound {
            let role = format!("app-{}", n % world.roles / world.namespaces);
            (role_ref("Role", &role), vec![account(n)])
        } else if n >= 9 * world.namespaces {
            (role_ref("ClusterRole", "edit"), vec![account(n % 50)])
        } else {
            let person = format!("user-{}@example.com", n % 5_000);
            let people = vec![
                subject("User", "", &person),
                subject("Group", "", &namespace),
            ];
            (
                role_ref("ClusterRole", ["view", "edit", "admin"][n % 3]),
                people,
            )
        };
        let object = RoleBinding {
            metadata: Some(metadata(5, n, &namespace, &name)),
            subjects,
            role_ref: role,
        };
        let key = format!("/registry/rolebindings/{namespace}/{name}");
        each(Object::new(&key, VERSION, "RoleBinding", &object));
    }
}

fn cluster_role_bindings(world: World, each: &mut dyn FnMut(Object)) {
    for n in 0..world.cluster_role_bindings {
        let name = format!("binding-{n}");
        let account = world.bound_account(n);
        let subjects = if n % 30 == 0 {
            vec![subject(
                "ServiceAccount",
                &world.namespace(account),
                &world.account(account),
            )]
        } else {
            let person = format!("user-{n}@example.com");
            vec![
                subject("User", "", &person),
                subject("Group", "", &format!("org-{n}")),
            ]
        };
        let object = ClusterRoleBinding {
            metadata: Some(metadata(6, n, "", &name)),
            subjects,
            role_ref: role_ref(
                "ClusterRole",
                &format!("custom-{}", n % world.cluster_roles),
            ),
        };
        let key = format!("/registry/clusterrolebindings/{name}");
        each(Object::new(&key, VERSION, "ClusterRoleBinding", &object));
    }
}
