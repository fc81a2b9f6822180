//! `token-exposure controller`.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use futures::FutureExt;
use kube::{Api, Client, api::ListParams};
use parking_lot::RwLock;
use prometheus::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use super::{
    LogFormat,
    cluster::{Cluster, ClusterArgs},
    config::ConfigArgs,
    scan::Scope,
    today,
};
use crate::{
    api::TokenExposureReport,
    cluster::{self, explain, probe, watch},
    controller::{
        self,
        events::Events,
        lease::{Election, Leadership},
        metrics::{IndexCollector, Instruments},
        reconcile::{ClientHandle, Context as Reconciling},
        server::Server,
    },
    index::{Index, SharedIndex},
    model::{Config, InputKind},
};

/// How long the API server may take to answer at the start.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause before it is asked again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before it is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The operator: watch, report, serve /metrics, /healthz and /readyz.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  token-exposure controller                                  in a pod, with its own token
  token-exposure controller --bind-address 127.0.0.1:8080    with the current kubeconfig")]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    bind_address: SocketAddr,
    /// Which ServiceAccounts get a report
    #[arg(long, value_name = "SCOPE", value_enum, default_value_t)]
    report_scope: Scope,
    /// Whether each finding has a series of its own
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    metrics_per_serviceaccount: bool,
    #[command(flatten)]
    config: ConfigArgs,
    /// Share the work with other replicas: the one that holds a Lease writes reports
    #[arg(long)]
    leader_elect: bool,
    /// Write a Kubernetes event to a ServiceAccount when its verdict changes
    #[arg(long)]
    events: bool,
    /// How logs are written; RUST_LOG says how much of them
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Runs until SIGTERM or SIGINT.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    super::start_logging(args.log_format, "info");
    let stop = asked_to_stop()?.shared();
    let cluster = args.cluster.connect().await?;
    let legacy_tokens = args.config.legacy_tokens;
    let config = args.config.read()?;
    let audiences = args.config.audiences(&config);
    let index = empty_index(legacy_tokens, config);
    let registry = Arc::new(Registry::new());
    let instruments = Arc::new(Instruments::register(&registry)?);
    let mut election = args.leader_elect.then(|| election(&cluster));
    let leadership = election
        .as_ref()
        .map_or_else(Leadership::alone, Election::leadership);
    registry.register(Box::new(IndexCollector::new(
        index.clone(),
        leadership.clone(),
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
        leadership,
        events: args.events.then(|| events(&cluster, &instruments)),
        instruments,
    });
    let prepare = async {
        await_api_server(&cluster.client).await?;
        cluster.learn(&index, audiences).await;
        anyhow::Ok(probe::initial_list(&cluster.client).await)
    };
    let operate = async {
        let initial_list = tokio::select! {
            prepared = prepare => prepared?,
            () = stop.clone() => return anyhow::Ok(()),
        };
        tracing::debug!(?initial_list, "watching");
        let reread = Notify::new();
        let watching = async {
            loop {
                tokio::select! {
                    () = watch::watch_all(&cluster.client, &feed, initial_list, legacy_tokens) => {}
                    () = reread.notified() => tracing::info!("reading all objects again, as the configuration asks more of pods"),
                }
            }
        };
        let electing = async {
            match &mut election {
                Some(election) => election.run(|| feed.write(Index::revisit)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = watching => {}
            () = electing => {}
            () = args.config.follow(&cluster, &index, &feed, &reread) => {}
            () = controller::run(reconciling, feed.dirty(), stop.clone()) => {}
        }
        Ok(())
    };
    let operate = Box::pin(operate);
    tokio::select! {
        result = operate => result?,
        () = server.serve() => {}
    }
    if let Some(election) = election {
        election.release().await;
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Resolves when the program is asked to end.
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// An index that waits for all that is watched.
fn empty_index(legacy_tokens: bool, config: Config) -> SharedIndex {
    let mut kinds = cluster::kinds(legacy_tokens);
    kinds.push(InputKind::TokenExposureReport);
    let mut index = Index::new(&kinds);
    index.set_config(config);
    index.set_today(today());
    Arc::new(RwLock::new(index))
}

/// A candidate for the Lease in our namespace.
fn election(cluster: &Cluster) -> Election {
    const LEASE: &str = "token-exposure";
    Election::new(
        cluster.client.clone(),
        &cluster.namespace,
        LEASE,
        &identity(),
    )
}

/// Tells changes of verdicts on ServiceAccounts.
fn events(cluster: &Cluster, instruments: &Instruments) -> Events {
    let written = instruments.events.clone();
    Events::new(cluster.client.clone(), identity(), written)
}

/// A name that no other replica has: that of the pod, and of the process.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    format!("{host}_{}", std::process::id())
}

/// Waits for the API server, for as long as it takes: an outage is no reason to end. Fails with the
/// fix when the CRD is not installed.
async fn await_api_server(client: &Client) -> anyhow::Result<()> {
    let reports: Api<TokenExposureReport> = Api::all(client.clone());
    let mut pause = FIRST_PAUSE;
    loop {
        let one = ListParams::default().limit(1);
        let cause = match tokio::time::timeout(PATIENCE, reports.list_metadata(&one)).await {
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(anyhow!(
                    "the CustomResourceDefinition tokenexposurereports.tokenexposure.io is not installed: \
                     `token-exposure crd | kubectl apply --server-side -f -`"
                ));
            }
            // What is refused, the watch tells with the missing rule.
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => return Ok(()),
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => explain(&error),
            Err(_) => format!("no answer within {} seconds", PATIENCE.as_secs()),
        };
        if pause == FIRST_PAUSE {
            tracing::warn!(%cause, "the API server cannot be asked; trying again");
        } else {
            tracing::debug!(%cause, "the API server cannot be asked");
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}
