//! The operator's side that writes: a queue of accounts, bounded runs, reports and metrics.
//!
//! The queue is kube-runtime's scheduler (each account once, pulled earlier, delayed after a
//! failure), keyed by the account; the bounded runner around it is what `kube::runtime::applier`
//! has, without its store of ServiceAccounts: an account that is gone can still be reconciled, and
//! 70,000 keys at once take a tenth of the memory.

mod complaints;
pub mod events;
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
    complaints::Complaints,
    reconcile::{Context, reconcile},
    write::Error,
};
use crate::model::ServiceAccountRef;

/// How many reports are written at a time.
const CONCURRENCY: usize = 16;
/// The first pause after a failed write; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long writes may still take once the end has come.
const FAREWELL: Duration = Duration::from_secs(3);
/// The longest pause after failed writes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Reconciles accounts as the queue names them, until it ends or `stop` resolves; what is being
/// written then is finished.
pub async fn run(
    context: Arc<Context>,
    dirty: impl Stream<Item = ServiceAccountRef>,
    stop: impl Future<Output = ()>,
) {
    let (retry, retries) = mpsc::unbounded();
    // When each waiting account was first named: what is measured begins there.
    let named: RefCell<HashMap<ServiceAccountRef, Instant>> = RefCell::default();
    let now = |message: ServiceAccountRef| {
        named
            .borrow_mut()
            .entry(message.clone())
            .or_insert_with(Instant::now);
        ScheduleRequest {
            message,
            run_at: tokio::time::Instant::now(),
        }
    };
    let mut scheduler = pin!(scheduler(futures::stream::select(dirty.map(now), retries)));
    let mut stop = pin!(stop);
    let mut running = FuturesUnordered::new();
    let mut busy = HashSet::new();
    let mut failures: HashMap<ServiceAccountRef, u32> = HashMap::new();
    let mut complaints = Complaints::default();
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some((account, result)) = running.next(), if !running.is_empty() => {
                busy.remove(&account);
                let result: Result<(), Error> = result;
                match result {
                    Ok(()) => {
                        if failures.remove(&account).is_some() && failures.is_empty() {
                            complaints.settled();
                        }
                    }
                    Err(error) => {
                        let failed = failures.entry(account.clone()).or_default();
                        let pause = pause_after(*failed);
                        *failed += 1;
                        let cause = error.cause();
                        context.instruments.report_errors.with_label_values(&[cause]).inc();
                        complaints.not_written(&account, &error, pause, failures.len());
                        let run_at = tokio::time::Instant::now() + pause;
                        // The receiver lives as long as this function.
                        let _ = retry.unbounded_send(ScheduleRequest { message: account, run_at });
                    }
                }
            }
            next = next(scheduler.as_mut(), &busy), if running.len() < CONCURRENCY => {
                let Some(account) = next else { break };
                busy.insert(account.clone());
                let context = context.clone();
                let queued = named.borrow_mut().remove(&account).unwrap_or_else(Instant::now);
                running.push(async move {
                    let result = reconcile(&context, &account, queued).await;
                    (account, result)
                });
            }
        }
    }
    let finish = async { while running.next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, finish).await.is_err() {
        tracing::warn!("reports were still being written; the next start writes them");
    }
}

/// The next account that is due and not being written.
async fn next<R: Stream<Item = ScheduleRequest<ServiceAccountRef>>>(
    scheduler: std::pin::Pin<&mut scheduler::Scheduler<ServiceAccountRef, R>>,
    busy: &HashSet<ServiceAccountRef>,
) -> Option<ServiceAccountRef> {
    scheduler
        .hold_unless(|account| !busy.contains(account))
        .next()
        .await
}

/// How long to wait after the nth failure in a row, counted from 0.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let pauses = [0, 1, 2, 6, 7, 40].map(|failures| pause_after(failures).as_millis());
        assert_eq!(pauses, [500, 1_000, 2_000, 32_000, 60_000, 60_000]);
    }
}
