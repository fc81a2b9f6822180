//! The switch of the policy that withholds tokens: a RoleBinding that exists only while this controller is in sync.
//!
//! A mutating policy has no clock, so it cannot see that a summary is old. It asks whether the controller has a
//! permission that exists for nothing else, and that this binding alone grants. The binding is owned by the pod of the
//! controller: when that goes, the garbage collector takes it away.

use std::time::Duration;

use k8s_openapi::{
    api::rbac::v1::{RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};
use tokio::time::{Instant, sleep};

use super::reconcile::Context;
use crate::client::{Failed, uptime, within};

/// How often it is looked whether the controller is in sync.
const PERIOD: Duration = Duration::from_millis(250);
/// How often the binding is created again, in case somebody deleted it.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long the API server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// For how many seconds the watch of a kind may fail.
const FAILING: f64 = 3.0;
/// How long names may wait to be withdrawn.
const WAITING: Duration = Duration::from_secs(1);

/// What the switch is called, and whose it is.
#[derive(Clone, Debug)]
pub struct Names {
    /// The namespace of the controller.
    pub namespace: String,
    /// The Role, and the RoleBinding.
    pub role: String,
    /// The ServiceAccount of the controller.
    pub service_account: String,
    /// The pod of the controller.
    pub pod: String,
    /// Its uid.
    pub pod_uid: String,
}

/// The switch.
pub struct Switch {
    api: Api<RoleBinding>,
    names: Names,
    /// `uid` of the binding that this replica created.
    ours: Option<String>,
    renewed: Option<Instant>,
}

impl Switch {
    /// A switch that is not known to be off.
    #[must_use]
    pub fn new(client: Client, names: Names) -> Self {
        Self {
            api: Api::namespaced(client, &names.namespace),
            names,
            ours: None,
            renewed: None,
        }
    }

    /// Switches off whatever an earlier process, or another leader, left on; tries until that is done.
    pub async fn begin(&mut self, context: &Context) {
        loop {
            match self.delete(None).await {
                Ok(()) => break,
                Err(failed) => log_failure(context, &failed),
            }
            sleep(PERIOD * 4).await;
        }
    }

    /// Keeps the binding while this replica leads and is in sync, and deletes it otherwise; until it is dropped.
    pub async fn run(&mut self, context: &Context) {
        let mut led = false;
        loop {
            let leads = context.leadership.is_mine();
            if leads && !led {
                // Another leader may have left it on.
                self.begin(context).await;
            }
            if !leads && let Some(cure) = &context.cure {
                cure.forget();
            }
            led = leads;
            let result = if leads && is_in_sync(context) {
                self.keep().await
            } else {
                self.off().await
            };
            if let Err(failed) = result {
                log_failure(context, &failed);
            }
            sleep(PERIOD).await;
        }
    }

    /// Switches off.
    ///
    /// # Errors
    /// When the API server does not delete the binding.
    pub async fn off(&mut self) -> Result<(), Failed> {
        if let Some(uid) = self.ours.clone() {
            self.delete(Some(uid)).await?;
            tracing::info!("tokens stay in pods: the switch is off");
        }
        (self.ours, self.renewed) = (None, None);
        Ok(())
    }

    async fn keep(&mut self) -> Result<(), Failed> {
        if self
            .renewed
            .is_some_and(|renewed| renewed.elapsed() < RENEWAL)
        {
            return Ok(());
        }
        let params = PostParams::default();
        let created = within(TIMEOUT, self.api.create(&params, &self.binding())).await;
        match created {
            Ok(binding) => {
                self.ours = binding.metadata.uid;
                tracing::info!("unneeded tokens are withheld: the switch is on");
            }
            Err(failed) if failed.code() == Some(409) => {}
            Err(failed) => return Err(failed),
        }
        self.renewed = Some(Instant::now());
        Ok(())
    }

    async fn delete(&self, uid: Option<String>) -> Result<(), Failed> {
        let params = DeleteParams {
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match within(TIMEOUT, self.api.delete(&self.names.role, &params)).await {
            Err(failed) if !matches!(failed.code(), Some(404 | 409)) => Err(failed),
            _ => Ok(()),
        }
    }

    fn binding(&self) -> RoleBinding {
        let names = &self.names;
        RoleBinding {
            metadata: ObjectMeta {
                name: Some(names.role.clone()),
                namespace: Some(names.namespace.clone()),
                owner_references: Some(vec![OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    name: names.pod.clone(),
                    uid: names.pod_uid.clone(),
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".to_owned(),
                kind: "Role".to_owned(),
                name: names.role.clone(),
            },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".to_owned(),
                name: names.service_account.clone(),
                namespace: Some(names.namespace.clone()),
                ..Subject::default()
            }]),
        }
    }
}

/// Whether everything is known, every kind is watched, and no name waits to be withdrawn. Otherwise the grace period of
/// what is not listed yet starts anew.
fn is_in_sync(context: &Context) -> bool {
    let now = uptime().as_secs_f64();
    let index = context.index.read();
    let fails = index.readings().any(|(_, reading)| {
        let since = reading.failing_since;
        reading.forbidden || since.is_some_and(|since| now - since > FAILING)
    });
    let Some(cure) = &context.cure else {
        return false;
    };
    if !index.is_settled() || fails {
        cure.restart();
        return false;
    }
    cure.waiting() <= WAITING
}

fn log_failure(context: &Context, failed: &Failed) {
    if context.log.failed("switch", "") {
        let fix = "grant `create` on `rolebindings`, `delete` on the one of the switch and `bind` on its Role, as the chart does with cure.mode";
        tracing::warn!(%failed, fix, "the switch of the policy that withholds tokens cannot be set");
    } else {
        tracing::debug!(%failed, "the switch cannot be set");
    }
}
