//! What is kept of a pod, or of a pod template: enough to say which tokens it carries.

mod instance;
mod rare;

use std::{fmt, ops::Deref, sync::Arc};

use jiff::civil::Date;

pub use self::{
    instance::{Instance, Phase},
    rare::{Rare, RareFacts},
};
use super::{Name, Workload};

/// Where admission mounts the token: `DefaultAPITokenMountPath` of the ServiceAccount admission plugin.
pub const TOKEN_MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The prefix of the name of the injected volume: `ServiceAccountVolumeName` of the same plugin.
pub const INJECTED_VOLUME_PREFIX: &str = "kube-api-access-";
/// What stands for the random rest of that name in facts.
pub const GENERATED: &str = "*";
/// The ConfigMap with the CA of the cluster, in each namespace: `RootCACertConfigMapName` upstream.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// The one with the CA of services, which OpenShift adds to each namespace.
pub const SERVICE_CA: &str = "openshift-service-ca.crt";
/// The lifetime that only the injected volume requests, in seconds: `WarnOnlyBoundTokenExpirationSeconds`.
pub const INJECTED_EXPIRATION_SECONDS: i64 = 3607;

/// The audience of a token that takes the place of an unneeded one: no API server accepts it.
pub const WITHHELD_AUDIENCE: &str = "tokenexposure.io/withheld";
/// The annotation of pods whose token a policy of this product leaves out or makes useless.
pub const WITHHELD_ANNOTATION: &str = "tokenexposure.io/withheld";

/// What a policy of this product did to the token of a live pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Withheld {
    /// The token is there, with an audience that no API server accepts.
    pub is_neutered: bool,
    /// The day on which the pod was created, in UTC, where it is known.
    pub since: Option<Date>,
}

/// A pod: its shape, which pods share, and what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its shape.
    pub shape: Arc<PodFacts>,
    /// What identifies it; `None` for a template, and where no audit logs are read.
    pub instance: Option<Box<Instance>>,
}

impl From<PodFacts> for Pod {
    fn from(template: PodFacts) -> Self {
        Self {
            shape: Arc::new(template),
            instance: None,
        }
    }
}

impl Deref for Pod {
    type Target = PodFacts;

    fn deref(&self) -> &PodFacts {
        &self.shape
    }
}

/// The uid of a pod as a number: it identifies the pod in audit logs. `None` without one.
#[must_use]
pub fn uid(text: &str) -> Option<u128> {
    let digits = text.chars().filter(|character| *character != '-');
    let is_uuid = digits.clone().count() == 32;
    let number = digits
        .map(|digit| digit.to_digit(16))
        .try_fold(0_u128, |number, digit| {
            Some((number << 4) | u128::from(digit?))
        });
    number.filter(|_| is_uuid)
}

/// The facts of a pod or of a pod template. Equal pods of one workload have equal facts: the
/// random parts of names are left out, so that the index keeps each shape once. Lists that pods of different workloads
/// have in common are kept once, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct PodFacts {
    /// `spec.serviceAccountName`, else `spec.serviceAccount`, else `default`; `None` for a mirror
    /// pod, which can carry no token.
    pub service_account: Option<Name>,
    /// Its workload: the outermost owner that can be determined, else the pod itself.
    pub workload: Workload,
    /// Whether admission has already changed it.
    pub origin: Origin,
    /// `spec.automountServiceAccountToken`; `None` when unset or null.
    pub automount: Option<bool>,
    /// Systems that may accept the token as the pod's identity, without RBAC; sorted.
    pub consumers: Box<[Box<str>]>,
    /// ConfigMaps and Secrets from which it takes variables or files; sorted.
    pub configs: Arc<[ConfigReference]>,
    /// Its commands or variables mention `ca.crt` or `namespace` where admission mounts them.
    pub reads_files: bool,
    /// Its commands or variables mention `service-ca.crt` where admission mounts it, which OpenShift does.
    pub reads_service_ca: bool,
    /// Its commands have a flag of Kubernetes clients, which open the token when they start.
    pub starts_client: bool,
    /// `spec.shareProcessNamespace`: a container can read what another one has mounted.
    pub shares_processes: bool,
    /// The volumes that matter for tokens, in the order of the pod.
    pub volumes: Arc<[Volume]>,
    /// All containers, init containers first, in the order of the pod.
    pub containers: Arc<[Container]>,
    /// What few pods have.
    pub rare: Rare,
}

/// A ConfigMap or a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

/// Variables or files that a pod takes from a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigReference {
    /// What it refers to.
    pub kind: ConfigKind,
    /// Its name.
    pub name: Box<str>,
    /// The key; `None` for all.
    pub key: Option<Box<str>>,
    /// The beginning of the names of the variables that all its keys become, or the name of the one that a key becomes
    /// if its value says something; else `None`.
    pub variable: Option<Box<str>>,
}

/// What a ConfigMap or a Secret says about the systems that its pods log in to, key by key; no value is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFacts(pub Box<[KeyFacts]>);

/// What one key of a ConfigMap or a Secret says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// The key.
    pub key: Box<str>,
    /// Systems that its value names; sorted.
    pub consumers: Box<[Box<str>]>,
    /// Its value mentions `ca.crt` or `namespace` where admission mounts them.
    pub reads_files: bool,
    /// Its value mentions `service-ca.crt` where admission mounts it.
    pub reads_service_ca: bool,
    /// The variables of systems that it may become with its value, each with its system; sorted.
    pub as_variable: Box<[(Box<str>, Box<str>)]>,
}

/// How a container can read the tokens of other pods on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostAccess {
    /// A mounted `hostPath` that contains, or lies in, the directory where the kubelet keeps volumes.
    Path(Box<str>),
    /// `hostPID`: the files of every process on the node.
    Processes,
    /// A privileged container.
    Privileged,
}

/// A credential for the pod's account other than the tokens in its volumes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delegation {
    /// The kubelet may hand tokens to this CSI driver (`CSIDriver.spec.tokenRequests`).
    CsiDriver(Box<str>),
    /// A projected `podCertificate` of this signer.
    PodCertificate {
        /// `signerName`.
        signer: Box<str>,
        /// `maxExpirationSeconds`, with the API's default of a day filled in.
        expiration_seconds: i64,
    },
}

/// Whether admission has already changed the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A live pod: its volumes are read as they are.
    Live,
    /// A template, or a pod in a manifest: what admission would inject is predicted.
    Template,
}

/// A volume that carries tokens, or that decides where admission mounts one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    /// Its name; the random suffix of an injected volume's name is replaced by `*`.
    pub name: Box<str>,
    /// Whether it has all the sources of an injected volume: a token, the CA of the cluster and the namespace.
    pub is_complete: bool,
    /// The projected tokens in it.
    pub tokens: Box<[TokenProjection]>,
    /// The Secrets in it whose key `token` it exposes.
    pub secrets: Box<[SecretToken]>,
}

/// A Secret in a volume that exposes its key `token`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretToken {
    /// The name of the Secret.
    pub secret: Box<str>,
    /// Where in the volume its key `token` is.
    pub path: Box<str>,
    /// Which of its keys the volume uses.
    pub keys: SecretKeys,
}

/// Which keys of a Secret a pod uses: a hint at what the Secret holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKeys {
    /// All of them.
    All,
    /// The key `token` alone.
    Token,
    /// The key `token`, and `ca.crt` or `namespace`: only the Secret of an account has both.
    TokenAndFiles,
}

/// One `serviceAccountToken` source of a projected volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenProjection {
    /// Empty for the audiences of the API server itself.
    pub audience: Box<str>,
    /// `expirationSeconds`, with the API's default of 3600 filled in.
    pub expiration_seconds: i64,
    /// Where in the volume the token is.
    pub path: Box<str>,
}

/// A container with the mounts that matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// Which list of the pod it is in.
    pub kind: ContainerKind,
    /// Mounts of the kept volumes, and any mount at the path that admission uses.
    pub mounts: Box<[Mount]>,
    /// Environment variables that hold the key `token` of a Secret.
    pub variables: Box<[SecretVariable]>,
}

/// An environment variable that holds the key `token` of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretVariable {
    /// The name of the Secret.
    pub secret: Box<str>,
    /// Which of its keys the container's environment uses.
    pub keys: SecretKeys,
}

impl PodFacts {
    /// The Secrets whose key `token` the pod exposes to its containers, perhaps with duplicates.
    pub fn token_secrets(&self) -> impl Iterator<Item = &str> {
        let volumes = self.volumes.iter().flat_map(|volume| &volume.secrets);
        let variables = self
            .containers
            .iter()
            .flat_map(|container| &container.variables);
        volumes
            .map(|token| &*token.secret)
            .chain(variables.map(|variable| &*variable.secret))
    }

    /// The CSI drivers that provide volumes of the pod.
    pub fn csi_drivers(&self) -> impl Iterator<Item = &str> {
        self.rare
            .delegations
            .iter()
            .filter_map(|delegation| match delegation {
                Delegation::CsiDriver(driver) => Some(&**driver),
                Delegation::PodCertificate { .. } => None,
            })
    }
}

/// Which list of the pod a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerKind {
    /// `initContainers`, sidecars among them.
    Init,
    /// `containers`.
    Regular,
    /// `ephemeralContainers`: admission injects nothing there.
    Ephemeral,
}

/// One `volumeMounts` entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mount {
    /// The name of the volume, spelled as in [`Volume::name`].
    pub volume: Box<str>,
    /// `mountPath`, as written.
    pub path: Box<str>,
    /// Which part of the volume is mounted.
    pub sub_path: SubPath,
}

/// Which part of a volume a mount exposes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubPath {
    /// All of it.
    Whole,
    /// `subPath`.
    Path(Box<str>),
    /// `subPathExpr`, which is expanded when the container starts.
    Expression(Box<str>),
}
