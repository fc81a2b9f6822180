//! What only newer versions of Kubernetes have. A test that needs it asks here, and is skipped where the API server is too
//! old for it.

use std::io::Write;

use super::ControlPlane;

/// What a test needs of the API server.
#[derive(Clone, Copy)]
pub enum Feature {
    /// `kubectl get --field-selector` for fields of a custom resource.
    SelectableFields,
    /// `patches` of `kubectl kustomize` that name a file of several patches.
    PatchesInOneFile,
    /// Lists that are streamed, beyond the alpha that waits for the next event of a quiet kind.
    StreamedLists,
    /// An id of client certificates in audit events: without it, one with the name of an account looks like a token.
    CertificateIds,
    /// Policies that change objects, in `admissionregistration.k8s.io/v1`.
    MutatingAdmissionPolicy,
    /// The roles of `src/files/bootstrap.json`, which are those of the newest version.
    DefaultRoles,
}

impl Feature {
    const fn since(self) -> (u32, &'static str) {
        match self {
            Self::SelectableFields => (31, "selectable fields of custom resources"),
            Self::PatchesInOneFile => (
                31,
                "a `kubectl kustomize` that takes several patches from a file",
            ),
            Self::StreamedLists => (32, "streamed lists beyond alpha"),
            Self::CertificateIds => (32, "ids of client certificates in audit events"),
            Self::MutatingAdmissionPolicy => (36, "MutatingAdmissionPolicy"),
            Self::DefaultRoles => (37, "some roles of src/files/bootstrap.json"),
        }
    }
}

impl ControlPlane {
    /// The version of Kubernetes, for example 37 for 1.37.2.
    pub fn minor(&self) -> u32 {
        let version = self.ask("/version").unwrap().unwrap();
        let minor = version["minor"].as_str().unwrap();
        minor.parse().unwrap()
    }

    /// Whether the API server is too old for what a test, or a part of it, needs. Then standard error says what is skipped.
    pub fn lacks(&self, feature: Feature, test: &str) -> bool {
        let (minor, (since, name)) = (self.minor(), feature.since());
        let lacks = minor < since;
        if lacks {
            // Not `eprintln!`, which is only shown when the test fails.
            let line =
                format!("skipped: {test}: Kubernetes 1.{minor} lacks {name} (since 1.{since})\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        lacks
    }
}
