//! `token-exposure controller`.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::{Context, anyhow};
use kube::{Api, api::ListParams};
use parking_lot::RwLock;
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};

use super::{LogFormat, cluster::ClusterArgs, scan::Scope};
use crate::{
    api::TokenExposureReport,
    controller::{
        self,
        metrics::{IndexCollector, Instruments},
        reconcile::{ClientHandle, Context as Reconciling},
        server::Server,
    },
    index::Index,
    model::InputKind,
    source::{probe, watch},
};

/// The operator: watch, report, serve /metrics, /healthz and /readyz.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where /metrics, /healthz and /readyz are served; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    bind_address: SocketAddr,
    /// Which ServiceAccounts get a report
    #[arg(long, value_enum, default_value_t)]
    report_scope: Scope,
    /// Whether each ServiceAccount with a finding has a series of its own
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    metrics_per_serviceaccount: bool,
    /// An audience that the API server accepts (repeatable) [default: those of the own token]
    #[arg(long, value_name = "AUDIENCE")]
    api_audience: Vec<String>,
    /// How logs are written; RUST_LOG says how much of them
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Runs until SIGTERM or SIGINT.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    super::start_logging(args.log_format, "info");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let cluster = args.cluster.connect().await?;
    let index = Arc::new(RwLock::new(Index::new(&InputKind::ALL)));
    let registry = Arc::new(Registry::new());
    let instruments = Arc::new(Instruments::register(&registry)?);
    registry.register(Box::new(IndexCollector::new(
        index.clone(),
        args.metrics_per_serviceaccount,
    )?))?;
    let server = Server::bind(args.bind_address, registry, index.clone()).await;
    let server = server
        .with_context(|| format!("cannot listen on {} (of --bind-address)", args.bind_address))?;
    tracing::info!(address = %server.address()?, version = env!("CARGO_PKG_VERSION"), "serving /metrics, /healthz and /readyz");

    let feed = watch::Feed::new(index.clone());
    let reconciling = Arc::new(Reconciling {
        index: index.clone(),
        client: ClientHandle(cluster.client.clone()),
        scope: args.report_scope.into(),
        instruments,
    });
    let operate = async {
        require_crd(&cluster.client).await?;
        cluster.learn(&index, &args.api_audience).await;
        let initial_list = probe::initial_list(&cluster.client).await;
        tracing::debug!(?initial_list, "watching");
        tokio::select! {
            () = watch::watch_all(&cluster.client, &feed, initial_list) => {}
            () = controller::run(reconciling, feed.dirty(), stop) => {}
        }
        anyhow::Ok(())
    };
    let operate = Box::pin(operate);
    tokio::select! {
        result = operate => result?,
        () = server.serve() => {}
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Fails with the fix when the CRD is not installed; anything else, the watches will tell.
async fn require_crd(client: &kube::Client) -> anyhow::Result<()> {
    let reports: Api<TokenExposureReport> = Api::all(client.clone());
    match reports.list_metadata(&ListParams::default().limit(1)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Err(anyhow!(
            "the CustomResourceDefinition tokenexposurereports.tokenexposure.io is not installed: \
             `token-exposure crd | kubectl apply --server-side -f -`"
        )),
        _ => Ok(()),
    }
}
