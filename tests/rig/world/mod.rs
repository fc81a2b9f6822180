//! Worlds of a known size, written straight into etcd before the API server starts: 150,000 pods are there within a
//! minute, where an API server would take an hour to create them.
//!
//! No controller manager runs: it would delete pods whose owners and nodes do not exist, and create a ConfigMap in each
//! namespace.

#![allow(
    clippy::unnecessary_wraps,
    reason = "every field of a message may be absent"
)]

pub mod etcd;
mod pods;
mod rbac;

use prost::Message;

use self::etcd::Etcd;
use super::ControlPlane;

/// How many of each kind a cluster has. Of the accounts, `bound` have a permission; each account has pods, so that
/// the tokens of all others are findings.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub name: &'static str,
    pub namespaces: usize,
    pub accounts: usize,
    pub pods: usize,
    pub roles: usize,
    pub cluster_roles: usize,
    pub role_bindings: usize,
    pub cluster_role_bindings: usize,
    pub bound: usize,
}

/// A cluster in production.
pub const K3: World = World {
    name: "K3",
    namespaces: 300,
    accounts: 3_000,
    pods: 10_000,
    roles: 1_200,
    cluster_roles: 50,
    role_bindings: 6_000,
    cluster_role_bindings: 100,
    bound: 1_500,
};

/// The largest cluster that Kubernetes promises to support.
pub const K5: World = World {
    name: "K5",
    namespaces: 10_000,
    accounts: 20_000,
    pods: 150_000,
    roles: 4_500,
    cluster_roles: 500,
    role_bindings: 97_000,
    cluster_role_bindings: 3_000,
    bound: 4_500,
};

impl World {
    /// Starts a control plane that has it, with `deploy/install.yaml` installed.
    pub fn start(self) -> ControlPlane {
        let plane = ControlPlane::seeded(|port| {
            let mut etcd = Etcd::connect(port);
            self.objects(&mut |object| etcd.put(&object));
            etcd.flush();
        });
        plane.install();
        plane
    }

    /// How many accounts have a finding.
    pub const fn findings(self) -> usize {
        self.accounts - self.bound
    }

    /// The namespace of the nth account.
    pub fn namespace(self, account: usize) -> String {
        format!("team-{}", account % self.namespaces)
    }

    /// The name of the nth account: each namespace has `default`, and then others.
    pub fn account(self, n: usize) -> String {
        match n % self.accounts / self.namespaces {
            0 => "default".to_owned(),
            number => format!("app-{number}"),
        }
    }

    /// The number of the nth account with a permission.
    const fn bound_account(self, n: usize) -> usize {
        self.namespaces + n % self.bound
    }

    /// Calls a function with each object.
    pub fn objects(self, each: &mut dyn FnMut(Object)) {
        rbac::objects(self, each);
        for n in 0..self.pods {
            let key = pods::key(self, n);
            each(Object::new(&key, "v1", "Pod", &pods::pod(self, n)));
        }
    }
}

/// An object as protobuf.
pub struct Object {
    /// Where it is in etcd.
    key: String,
    api_version: &'static str,
    pub kind: &'static str,
    pub message: Vec<u8>,
}

impl Object {
    fn new(
        key: &str,
        api_version: &'static str,
        kind: &'static str,
        message: &impl Message,
    ) -> Self {
        Self {
            key: key.to_owned(),
            api_version,
            kind,
            message: message.encode_to_vec(),
        }
    }
}
