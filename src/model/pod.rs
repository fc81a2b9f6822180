//! What is kept of a pod, or of a pod template: enough to say which tokens it carries.

use std::{fmt, sync::Arc};

/// Where admission mounts the token: `DefaultAPITokenMountPath` of the ServiceAccount admission plugin.
pub const TOKEN_MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the name of the injected volume begins with: `ServiceAccountVolumeName` of the same plugin.
pub const INJECTED_VOLUME_PREFIX: &str = "kube-api-access-";
/// The lifetime that only the injected volume asks for, in seconds: `WarnOnlyBoundTokenExpirationSeconds`.
pub const INJECTED_EXPIRATION_SECONDS: i64 = 3607;

/// The facts of a pod or of a pod template. Equal pods of one workload have equal facts: the
/// random parts of names are left out, so that the index keeps each shape once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodFacts {
    /// `spec.serviceAccountName`, else `spec.serviceAccount`, else `default`; `None` for a mirror
    /// pod, which can carry no token.
    pub service_account: Option<Arc<str>>,
    /// Who made it: the outermost owner that can be told, else the pod itself.
    pub workload: Workload,
    /// Read from the cluster, or to be predicted.
    pub origin: Origin,
    /// `spec.automountServiceAccountToken`; `None` when unset or null.
    pub automount: Option<bool>,
    /// Systems that may take the token for the pod's identity, without any RBAC; sorted.
    pub consumers: Box<[Box<str>]>,
    /// The volumes that matter for tokens, in the order of the pod.
    pub volumes: Box<[Volume]>,
    /// All containers, init containers first, in the order of the pod.
    pub containers: Box<[Container]>,
}

/// The outermost owner of a pod: what a person would edit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// For example `Deployment`.
    pub kind: Box<str>,
    /// Its name, in the namespace of the pod.
    pub name: Box<str>,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Whether admission has seen the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A pod that exists: its volumes are read, nothing is guessed.
    Live,
    /// A template, or a pod in a manifest: what admission would inject is predicted.
    Template,
}

/// A volume that carries tokens, or that decides where admission puts one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    /// Its name; the random end of an injected volume's name is replaced by `*`.
    pub name: Box<str>,
    /// The projected tokens in it.
    pub tokens: Box<[TokenProjection]>,
    /// The Secrets in it that may hold a token of a ServiceAccount.
    pub secrets: Box<[SecretToken]>,
}

/// A Secret in a volume that by its name holds a token of a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretToken {
    /// The name of the Secret.
    pub secret: Box<str>,
    /// Where in the volume its key `token` is.
    pub path: Box<str>,
}

/// The ServiceAccount whose token a Secret holds, by its name: before Kubernetes 1.24 one was made for
/// every account, called `<account>-token-` and five random characters
/// (`ensureReferencedToken` of the tokens controller).
#[must_use]
pub fn legacy_token_owner(secret: &str) -> Option<&str> {
    let (owner, random) = secret.rsplit_once("-token-")?;
    let generated = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (!owner.is_empty() && random.len() == 5 && random.bytes().all(generated)).then_some(owner)
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
    /// Which list of the pod it stands in.
    pub kind: ContainerKind,
    /// Mounts of the kept volumes, and any mount at the path that admission uses.
    pub mounts: Box<[Mount]>,
    /// Environment variables that hold such a Secret's token.
    pub variables: Box<[SecretVariable]>,
}

/// An environment variable that holds the token of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretVariable {
    /// The name of the Secret.
    pub secret: Box<str>,
}

impl PodFacts {
    /// The accounts whose legacy tokens the pod refers to, by the names of the Secrets.
    pub fn legacy_token_owners(&self) -> impl Iterator<Item = &str> {
        let volumes = self.volumes.iter().flat_map(|volume| &volume.secrets);
        let variables = self
            .containers
            .iter()
            .flat_map(|container| &container.variables);
        let secrets = volumes
            .map(|token| &token.secret)
            .chain(variables.map(|variable| &variable.secret));
        secrets.filter_map(|secret| legacy_token_owner(secret))
    }
}

/// Which list of the pod a container stands in.
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

/// Which part of a volume a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubPath {
    /// All of it.
    Whole,
    /// `subPath`.
    Path(Box<str>),
    /// `subPathExpr`, which is expanded when the container starts.
    Expression(Box<str>),
}
