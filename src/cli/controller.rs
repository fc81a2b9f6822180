//! `token-exposure controller`.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use futures::FutureExt;
use kube::{Api, Client, api::ListParams};
use parking_lot::{Mutex, RwLock};
use prometheus::{PullingGauge, Registry, core::Collector};
use tokio::sync::Notify;

use super::{
    cluster::{Cluster, ClusterArgs},
    config::ConfigArgs,
    cure::{CureArgs, MaybeSwitch},
    duration::duration,
    listen::{self, ListenArgs},
    logging::{self, LogFormat, Logs},
    namespaces::NamespaceArgs,
    scan::Scope,
    today,
};
use crate::{
    api::{TokenExposureReport, TokenExposureSummary},
    client::{Backoff, within},
    cluster::{self, OptIns, watch},
    controller::{
        self,
        budget::{Budget, Rates},
        events::Events,
        lease::{Election, Leadership},
        metrics::{IndexCollector, Instruments},
        reconcile::Context as Reconciling,
        server::Server,
    },
    index::{Index, SharedIndex},
    listen::Listener,
    log::LogLimiter,
    model::{ApiAudiences, Config, InputKind},
};

/// How long the API server may take to answer at the start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before the API server is asked again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before the API server is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The operator: watch, report, serve /metrics, /healthz and /readyz.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  token-exposure controller                                  in a pod, with the pod's own token
  token-exposure controller --bind-address 127.0.0.1:8080    with the current kubeconfig")]
pub(super) struct Args {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The address that serves /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    bind_address: SocketAddr,
    /// Which ServiceAccounts get a report
    #[arg(long, value_name = "SCOPE", value_enum, default_value_t)]
    report_scope: Scope,
    /// Whether each finding has a metric series of its own
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    metrics_per_serviceaccount: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    /// How many requests a second may write reports and summaries
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    writes_per_second: u32,
    /// The same until the first reports are complete
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    first_writes_per_second: u32,
    /// How long the API server must deny reading a kind until verdicts become Unknown: an API server that
    /// starts denies everything
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    forbidden_after: Duration,
    /// Elect a leader among several replicas: only the one that holds the Lease writes reports
    #[arg(long)]
    leader_elect: bool,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    cure: CureArgs,
    /// Write a Kubernetes event to a ServiceAccount when its verdict changes
    #[arg(long)]
    events: bool,
    /// Format of logs; RUST_LOG sets their level
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Runs until SIGTERM or SIGINT.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let logs = logging::keep(args.log_format);
    let stop = asked_to_stop()?.shared();
    let cluster = args.cluster.connect("").await?;
    let log = LogLimiter::default();
    // Before anything can fail.
    let cure = args.cure.list();
    let mut switch = args.cure.switch(&cluster)?;
    switch.begin(cure.as_ref(), &log).await;
    let config = args.config.read(&args.namespaces)?;
    let audiences = args.config.audiences(&config);
    let index = empty_index(args.config.opt_ins(), config);
    args.listen.prepare(&mut index.write());
    let mut election = args.leader_elect.then(|| election(&cluster, &log));
    let leadership = election
        .as_ref()
        .map_or_else(Leadership::alone, Election::leadership);
    let (server, instruments, listener) = serve(&args, &index, &leadership, &log, &logs).await?;
    let budget = Budget::new(Rates {
        first: args.first_writes_per_second.into(),
        sustained: args.writes_per_second.into(),
    });
    let context = Arc::new(Reconciling {
        index,
        connection: cluster.connection.clone(),
        budget,
        scope: args.report_scope.into(),
        leadership,
        events: args.events.then(|| events(&cluster, &instruments, &log)),
        cure,
        log,
        changes: Mutex::default(),
        instruments: Arc::new(instruments),
    });
    let parts = (&mut election, &mut switch, listener);
    let operate = operate(&args, &cluster, audiences, context, parts, stop);
    tokio::select! {
        result = Box::pin(operate) => result?,
        () = server.serve() => {}
    }
    if let Some(election) = election {
        election.release().await;
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Logs a warning, if there is one.
pub(super) fn warn(warning: Option<String>) {
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
}

/// Registers the metrics, and binds the address that serves them.
async fn serve(
    args: &Args,
    index: &SharedIndex,
    leadership: &Leadership,
    log: &LogLimiter,
    logs: &Logs,
) -> anyhow::Result<(Server, Instruments, Option<Listener>)> {
    let registry = Arc::new(Registry::new());
    registry.register(Box::new(lost_lines(logs)?))?;
    let instruments = Instruments::register(&registry)?;
    registry.register(Box::new(IndexCollector::new(
        index.clone(),
        leadership.clone(),
        args.metrics_per_serviceaccount,
    )?))?;
    let listener = args.listen.bind(&registry, log).await?;
    let server = Server::bind(args.bind_address, registry, index.clone(), log.clone()).await;
    let server = server
        .with_context(|| format!("cannot listen on {} (of --bind-address)", args.bind_address))?;
    tracing::info!(address = %server.address()?, version = env!("CARGO_PKG_VERSION"), "serving /metrics, /healthz and /readyz");
    Ok((server, instruments, listener))
}

/// Counts the lines of logs that were lost.
fn lost_lines(logs: &Logs) -> prometheus::Result<impl Collector + use<>> {
    let lost = logs.lost.clone();
    PullingGauge::new(
        "token_exposure_log_lines_lost",
        "Lines of logs that were lost since the start, because nobody read standard error.",
        #[expect(clippy::cast_precision_loss, reason = "there will not be 2^53 lines")]
        Box::new(move || lost.dropped_lines() as f64),
    )
}

/// Waits for the API server, then watches and reconciles until `stop` resolves.
async fn operate(
    args: &Args,
    cluster: &Cluster,
    audiences: Option<ApiAudiences>,
    context: Arc<Reconciling>,
    (election, switch, listener): (&mut Option<Election>, &mut MaybeSwitch, Option<Listener>),
    stop: impl Future<Output = ()> + Clone,
) -> anyhow::Result<()> {
    let (client, index) = (&cluster.connection.client, &context.index);
    let feed = watch::Feed::new(index.clone(), context.log.clone());
    let mut memory = args.listen.memory(cluster, args.leader_elect, &context.log);
    let prepare = async {
        await_api_server(client, &context.log).await?;
        switch.begin(context.cure.as_ref(), &context.log).await;
        warn(cluster.learn(index, audiences, false).await);
        listen::restore(memory.as_mut(), &feed).await;
        anyhow::Ok(())
    };
    tokio::select! {
        prepared = prepare => prepared?,
        () = stop.clone() => return Ok(()),
    };
    let options = watch::Options {
        opt_ins: args.config.opt_ins(),
        watch_seconds: args.cure.watch_seconds(),
        forbidden_after: args.forbidden_after,
    };
    let (reread, leads) = (Notify::new(), Notify::new());
    let watching = async {
        loop {
            tokio::select! {
                // First: what is being read may not be what is wanted now.
                biased;
                () = reread.notified() => tracing::info!("reading all objects again: the configuration depends on more of them"),
                () = watch::watch_all(&cluster.connection, &feed, options) => {}
            }
        }
    };
    let electing = async {
        match election {
            Some(election) => election.run(|| args.listen.gained(&leads, &feed)).await,
            None => std::future::pending().await,
        }
    };
    let working = async {
        let switching = switch.run(&context, &feed, stop.clone());
        let reconciling = controller::run(context.clone(), feed.dirty(), stop.clone());
        tokio::join!(reconciling, switching);
    };
    tokio::select! {
        () = watching => {}
        () = electing => {}
        () = args.config.follow(cluster, &feed, &reread, &args.namespaces) => {}
        () = listen::receive(cluster, listener, memory.as_mut(), &feed, &leads) => {}
        () = working => {}
    }
    switch.end().await;
    listen::end(memory.as_mut(), &feed).await;
    Ok(())
}

/// Resolves on SIGTERM or SIGINT.
#[cfg(unix)]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves on Ctrl+C.
#[cfg(not(unix))]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// An index that is settled once every watched kind was read.
fn empty_index(opt_ins: OptIns, config: Config) -> SharedIndex {
    let mut kinds = cluster::kinds(opt_ins);
    kinds.extend([
        InputKind::TokenExposureReport,
        InputKind::TokenExposureSummary,
    ]);
    let mut index = Index::new(&kinds);
    index.set_config(config);
    index.set_today(today());
    Arc::new(RwLock::new(index))
}

/// A candidate for the Lease in our namespace.
fn election(cluster: &Cluster, log: &LogLimiter) -> Election {
    const LEASE: &str = "token-exposure";
    Election::new(
        cluster.connection.client.clone(),
        &cluster.namespace,
        LEASE,
        &identity(),
        log.clone(),
    )
}

/// The publisher of events about changed verdicts.
fn events(cluster: &Cluster, instruments: &Instruments, log: &LogLimiter) -> Events {
    let written = instruments.events.clone();
    Events::new(
        cluster.connection.client.clone(),
        identity(),
        written,
        log.clone(),
    )
}

/// The name of this replica: its pod and its process.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    format!("{host}_{}", std::process::id())
}

/// Waits until the API server answers: an outage is no reason to exit. Fails with the fix when the
/// CustomResourceDefinition is not installed.
async fn await_api_server(client: &Client, log: &LogLimiter) -> anyhow::Result<()> {
    const API_SERVER: &str = "API server";
    let reports: Api<TokenExposureReport> = Api::all(client.clone());
    let summaries: Api<TokenExposureSummary> = Api::all(client.clone());
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let one = ListParams::default().limit(1);
        let mut missing = "tokenexposurereports";
        let reports = within(START_TIMEOUT, reports.list_metadata(&one)).await;
        let mut answer = reports.map(drop);
        if answer.is_ok() {
            missing = "tokenexposuresummaries";
            let summaries = within(START_TIMEOUT, summaries.list_metadata(&one)).await;
            answer = summaries.map(drop);
        }
        let cause = match answer {
            Err(failed) if failed.code() == Some(404) => {
                return Err(anyhow!(
                    "the CustomResourceDefinition {missing}.tokenexposure.io is not installed: \
                     `token-exposure crd | kubectl apply --server-side -f -`"
                ));
            }
            // The watch logs a denied request with the missing rule.
            Err(failed) if failed.code() == Some(403) => return Ok(()),
            Ok(()) => {
                if log.recovered(API_SERVER).is_some() {
                    tracing::info!("the API server answers");
                }
                return Ok(());
            }
            Err(failed) => failed,
        };
        if log.failed(API_SERVER, "") {
            tracing::warn!(%cause, "the API server does not answer; retrying");
        } else {
            tracing::debug!(%cause, "the API server does not answer");
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}
