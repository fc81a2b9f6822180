//! Writes reports: a queue of accounts, a bounded number of reconciles at a time, and metrics.
//!
//! The queue is kube-runtime's scheduler, keyed by the account: it holds each account once, runs an
//! account earlier where asked, and delays it after a failure. The bounded runner around it does what
//! `kube::runtime::applier` does, without its store of ServiceAccounts: an account that no longer exists
//! can still be reconciled, and 70,000 keys at once take a tenth of the memory.

pub mod events;
mod failures;
pub mod lease;
pub mod metrics;
pub mod reconcile;
pub mod server;
pub mod write;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, channel::mpsc, stream::FuturesUnordered};
use kube::runtime::{scheduler, scheduler::ScheduleRequest};

use self::{
    failures::Failures,
    reconcile::{Context, reconcile},
    write::Error,
};
use crate::model::ServiceAccountRef;

/// How many accounts are reconciled at a time.
const CONCURRENCY: usize = 16;
/// How long writes may still take after the controller was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Reconciles accounts as the queue names them, until it ends or `stop` resolves; writes under way are
/// completed then.
pub async fn run(
    context: Arc<Context>,
    dirty: impl Stream<Item = ServiceAccountRef>,
    stop: impl Future<Output = ()>,
) {
    let (retry, retries) = mpsc::unbounded();
    // When each waiting account was first queued: its latency counts from there.
    let queued: RefCell<HashMap<ServiceAccountRef, Instant>> = RefCell::default();
    let now = |message: ServiceAccountRef| {
        let mut queued = queued.borrow_mut();
        queued.entry(message.clone()).or_insert_with(Instant::now);
        run_at(message, Duration::ZERO)
    };
    let mut scheduler = pin!(scheduler(futures::stream::select(dirty.map(now), retries)));
    let mut stop = pin!(stop);
    let mut running = FuturesUnordered::new();
    let mut busy = HashSet::new();
    let mut failures = Failures::new(context.log.clone());
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some((account, result)) = running.next(), if !running.is_empty() => {
                busy.remove(&account);
                let result: Result<(), Error> = result;
                match result {
                    Ok(()) => failures.written(&account),
                    Err(error) => {
                        context.instruments.failed(error.cause());
                        let pause = failures.failed(&account, &error);
                        // The receiver lives as long as this function.
                        let _ = retry.unbounded_send(run_at(account, pause));
                    }
                }
            }
            next = next(scheduler.as_mut(), &busy), if running.len() < CONCURRENCY => {
                let Some(account) = next else { break };
                busy.insert(account.clone());
                let context = context.clone();
                let since = queued.borrow_mut().remove(&account).unwrap_or_else(Instant::now);
                running.push(async move {
                    let result = reconcile(&context, &account, since).await;
                    (account, result)
                });
            }
        }
    }
    let finish = async { while running.next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, finish).await.is_err() {
        tracing::warn!("stopped while reports were being written; the next start writes them");
    }
}

/// Asks the scheduler to run an account after a pause.
fn run_at(message: ServiceAccountRef, pause: Duration) -> ScheduleRequest<ServiceAccountRef> {
    let run_at = tokio::time::Instant::now() + pause;
    ScheduleRequest { message, run_at }
}

/// The next account that is due and is not being reconciled.
async fn next<R: Stream<Item = ScheduleRequest<ServiceAccountRef>>>(
    scheduler: std::pin::Pin<&mut scheduler::Scheduler<ServiceAccountRef, R>>,
    busy: &HashSet<ServiceAccountRef>,
) -> Option<ServiceAccountRef> {
    scheduler
        .hold_unless(|account| !busy.contains(account))
        .next()
        .await
}
