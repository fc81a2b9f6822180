//! Which API servers does the cluster have? Each renews a Lease of its own.

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::ListParams};

use crate::usage;

/// The label of their Leases (`IdentityLeaseComponentLabelKey` of pkg/controlplane).
const IDENTITY: &str = "apiserver.kubernetes.io/identity=kube-apiserver";

/// The Leases of the API servers.
///
/// # Errors
/// When listing Leases in kube-system is denied or fails.
pub async fn leases(client: &Client) -> kube::Result<Vec<usage::Lease>> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-system");
    let list = leases.list(&ListParams::default().labels(IDENTITY)).await?;
    let lease = |lease: Lease| {
        let renewed = lease.spec.and_then(|spec| spec.renew_time);
        usage::Lease {
            name: lease.metadata.name.unwrap_or_default().into(),
            renewed: renewed.map(|time| time.0.as_microsecond()),
        }
    };
    Ok(list.items.into_iter().map(lease).collect())
}
