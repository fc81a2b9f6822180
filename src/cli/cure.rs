//! The flags with which a policy withholds unneeded tokens.

use std::{env, time::Duration};

use anyhow::Context;

use super::{cluster::Cluster, duration::duration};
use crate::{
    cluster::watch::Feed,
    controller::{
        cure::Cure,
        reconcile::Context as Reconciling,
        switch::{self, Names, Switch},
    },
    index::Index,
    log::LogLimiter,
};

/// The flags of the cure.
#[derive(Debug, clap::Args)]
pub(super) struct CureArgs {
    /// Let the admission policy of the chart withhold unneeded tokens: the Role of its switch
    #[arg(long, value_name = "ROLE")]
    cure: Option<String>,
    /// How long a token must be unneeded without a break until it is withheld from new pods
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, requires = "cure", hide_short_help = true)]
    cure_grace_period: Duration,
}

impl CureArgs {
    /// The list of workloads.
    pub(super) fn list(&self) -> Option<Cure> {
        self.cure
            .as_ref()
            .map(|_| Cure::new(self.cure_grace_period))
    }

    /// How long a watch lasts, in seconds. Where tokens are left out by what is known, it is found out sooner that a
    /// watch has died without an error.
    pub(super) const fn watch_seconds(&self) -> u32 {
        match self.cure {
            Some(_) => switch::WATCH_SECONDS,
            None => 60,
        }
    }

    /// The switch.
    pub(super) fn switch(&self, cluster: &Cluster) -> anyhow::Result<MaybeSwitch> {
        let Some(role) = &self.cure else {
            return Ok(MaybeSwitch(None));
        };
        let variable = |name| {
            env::var(name).with_context(|| {
                format!(
                    "--cure needs the variable {name}, which the chart sets by the downward API"
                )
            })
        };
        let names = Names {
            namespace: variable("POD_NAMESPACE")?,
            role: role.clone(),
            service_account: variable("POD_SERVICE_ACCOUNT")?,
            pod: variable("POD_NAME")?,
            pod_uid: variable("POD_UID")?,
        };
        let client = cluster.connection.client.clone();
        Ok(MaybeSwitch(Some(Switch::new(client, names))))
    }
}

/// The switch, where the user asks for the cure.
pub(super) struct MaybeSwitch(Option<Switch>);

impl MaybeSwitch {
    /// Switches off first.
    pub(super) async fn begin(&mut self, cure: Option<&Cure>, log: &LogLimiter) {
        if let (Some(switch), Some(cure)) = (&mut self.0, cure) {
            switch.begin(cure, log).await;
        }
    }

    /// Keeps it until `stop` resolves, and switches off then.
    pub(super) async fn run(
        &mut self,
        context: &Reconciling,
        feed: &Feed,
        stop: impl Future<Output = ()>,
    ) {
        if let (Some(switch), Some(cure)) = (&mut self.0, &context.cure) {
            let revisit = || feed.write(Index::revisit);
            switch.run(context, cure, revisit, stop).await;
        }
    }

    /// Switches off, however the process ends.
    pub(super) async fn end(&mut self) {
        if let Some(switch) = &mut self.0 {
            switch.end().await;
        }
    }
}
