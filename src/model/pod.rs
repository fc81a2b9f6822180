//! What is kept of a pod, or of a pod template: enough to say which tokens it carries.

use std::sync::Arc;

use super::{Claim, Workload};

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
    /// Why its tokens stay, as its annotations say.
    pub exemption: Option<Box<Claim>>,
    /// Those of its labels that the configuration asks for; sorted.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Systems that may take the token for the pod's identity, without any RBAC; sorted.
    pub consumers: Box<[Box<str>]>,
    /// Its commands or variables speak of `ca.crt` or `namespace` where admission mounts them.
    pub reads_files: bool,
    /// `spec.shareProcessNamespace`: a container reads what another one has mounted.
    pub shares_processes: bool,
    /// Ways from its containers to tokens of other pods on the node; sorted.
    pub host_access: Box<[HostAccess]>,
    /// Credentials of the pod's account that others are given for it; sorted.
    pub delegations: Box<[Delegation]>,
    /// The volumes that matter for tokens, in the order of the pod.
    pub volumes: Box<[Volume]>,
    /// All containers, init containers first, in the order of the pod.
    pub containers: Box<[Container]>,
}

/// A way from a container to the tokens of other pods on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostAccess {
    /// A mounted `hostPath` that holds, or lies in, the folder where the kubelet keeps volumes.
    Path(Box<str>),
    /// `hostPID`: the files of every process on the node.
    Processes,
    /// A privileged container.
    Privileged,
}

/// A credential for the pod's account that is no file of the pod's making.
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
    /// The Secrets in it whose key `token` it shows.
    pub secrets: Box<[SecretToken]>,
}

/// A Secret in a volume whose key `token` the volume shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretToken {
    /// The name of the Secret.
    pub secret: Box<str>,
    /// Where in the volume its key `token` is.
    pub path: Box<str>,
    /// What the volume takes of it.
    pub keys: SecretKeys,
}

/// What a pod takes of a Secret: that tells something of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKeys {
    /// All there is.
    All,
    /// The key `token`, by its name.
    Token,
    /// The key `token`, and `ca.crt` or `namespace` besides, as only the Secret of an account has them.
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
    /// Which list of the pod it stands in.
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
    /// What the container's environment takes of it.
    pub keys: SecretKeys,
}

impl PodFacts {
    /// The Secrets whose key `token` the pod shows to its containers; some may repeat.
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
        self.delegations
            .iter()
            .filter_map(|delegation| match delegation {
                Delegation::CsiDriver(driver) => Some(&**driver),
                Delegation::PodCertificate { .. } => None,
            })
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
