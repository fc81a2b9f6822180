//! The flags with which the controller receives audit events.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use prometheus::Registry;
use tokio::sync::Notify;

use super::{cluster::Cluster, duration::window};
use crate::{
    cluster::watch::Feed,
    index::Index,
    listen::{Canary, Counters, Files, Listener, Tls, memory::Memory},
    log::LogLimiter,
};

/// How long the end may wait until what was learnt is kept.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// The flags for evidence of use, live.
#[derive(Debug, clap::Args)]
pub(super) struct ListenArgs {
    /// Receive audit events of the API servers at this address, by mutual TLS
    #[arg(long, value_name = "ADDRESS", requires_all = ["audit_tls_cert", "audit_tls_key", "audit_client_ca"])]
    audit_listen: Option<SocketAddr>,
    /// The certificate for this address
    // Hidden where help must fit a screen; the manual page has it.
    #[arg(
        long,
        value_name = "FILE",
        requires = "audit_listen",
        hide_short_help = true
    )]
    audit_tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(
        long,
        value_name = "FILE",
        requires = "audit_listen",
        hide_short_help = true
    )]
    audit_tls_key: Option<PathBuf>,
    /// The authority whose clients may send events: one of its own, as they could make any token look used
    #[arg(
        long,
        value_name = "FILE",
        requires = "audit_listen",
        hide_short_help = true
    )]
    audit_client_ca: Option<PathBuf>,
    /// How long a use of a token that audit events show counts for its verdict, such as 30d or 12h
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = window, requires = "audit_listen", hide_short_help = true)]
    evidence_window: i64,
}

impl ListenArgs {
    /// Reads the certificates and binds the address, if there is one.
    pub(super) async fn bind(
        &self,
        registry: &Registry,
        log: &LogLimiter,
    ) -> anyhow::Result<Option<Listener>> {
        let given = (
            self.audit_listen,
            &self.audit_tls_cert,
            &self.audit_tls_key,
            &self.audit_client_ca,
        );
        let (Some(address), Some(certificate), Some(key), Some(client_ca)) = given else {
            return Ok(None);
        };
        let files = Files {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: client_ca.clone(),
        };
        let tls = Tls::read(files).context("cannot use the certificates of --audit-listen")?;
        let counters = Counters::register(registry)?;
        let listener = Listener::bind(address, tls, counters, log.clone()).await;
        let listener =
            listener.with_context(|| format!("cannot listen on {address} (of --audit-listen)"))?;
        tracing::info!(audit = %listener.address()?, "receiving audit events");
        Ok(Some(listener))
    }

    /// Prepares the index for events, if any arrive.
    pub(super) fn prepare(&self, index: &mut Index) {
        if self.audit_listen.is_some() {
            index.listen(self.evidence_window);
        } else {
            index.expect_usage(false);
        }
    }

    /// This replica writes reports from now on: all accounts are visited, once it is known what the others learnt.
    pub(super) fn gained(&self, leads: &Notify, feed: &Feed) {
        if self.audit_listen.is_some() {
            leads.notify_one();
        } else {
            feed.write(Index::revisit);
        }
    }

    /// What is kept across restarts, if events arrive.
    pub(super) fn memory(
        &self,
        cluster: &Cluster,
        is_shared: bool,
        log: &LogLimiter,
    ) -> Option<Memory> {
        self.audit_listen?;
        let (connection, namespace) = (&cluster.connection, &cluster.namespace);
        Some(Memory::new(connection, namespace, is_shared, log.clone()))
    }
}

/// Reads what an earlier run learnt, if events arrive.
pub(super) async fn restore(memory: Option<&mut Memory>, feed: &Feed) {
    if let Some(memory) = memory {
        memory.restore(feed).await;
    }
}

/// Keeps what was learnt, for a limited time.
pub(super) async fn end(memory: Option<&mut Memory>, feed: &Feed) {
    if let Some(memory) = memory
        && tokio::time::timeout(END_TIMEOUT, memory.end(feed))
            .await
            .is_err()
    {
        tracing::warn!("stopped before what was learnt from audit events was kept");
    }
}

/// Receives events, and keeps what was learnt, until it is dropped.
pub(super) async fn receive(
    cluster: &Cluster,
    listener: Option<Listener>,
    memory: Option<&mut Memory>,
    feed: &Feed,
    leads: &Notify,
) {
    match (listener, memory) {
        (Some(listener), Some(memory)) => {
            let canary = Canary {
                own: cluster.own_account(),
                connection: cluster.connection.clone(),
                log: listener.log(),
            };
            let serve = listener.serve(feed, &canary);
            futures::future::join(serve, memory.keep(feed, leads)).await;
        }
        _ => std::future::pending().await,
    }
}
