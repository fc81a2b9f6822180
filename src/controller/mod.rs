//! Writes reports: a queue of accounts, a bounded number of writes at a time and in a second, and metrics.
//!
//! The queue is kube-runtime's scheduler, keyed by the account: it holds each account once, runs an
//! account earlier where asked, and delays it after a failure. The bounded runner around it does what
//! `kube::runtime::applier` does, without its store of ServiceAccounts: an account that no longer exists
//! can still be reconciled, and 70,000 keys at once take a tenth of the memory.
//!
//! Each account is assessed at once, which is cheap. Where its report differs, it waits until the
//! [`budget`] allows the next write: what changes again meanwhile is still one write.

pub mod budget;
pub mod events;
mod failures;
pub mod lease;
pub mod metrics;
mod pending;
pub mod reconcile;
pub mod server;
pub mod write;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, channel::mpsc, stream::FuturesUnordered};
use kube::runtime::{scheduler, scheduler::ScheduleRequest};

use self::{
    failures::Failures,
    pending::Pending,
    reconcile::{Context, assess, reconcile},
    write::Error,
};
use crate::model::ServiceAccountRef;

/// How many reports are written at a time.
const CONCURRENCY: usize = 16;
/// How long writes may still take after the controller was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// How many accounts are assessed until other tasks have their turn.
const TURN: u32 = 32;

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
    // The receiver lives as long as this function.
    let again = |account, pause| drop(retry.unbounded_send(run_at(account, pause)));
    let mut queue = Queue::new(context.clone(), &again);
    let mut turn = 0;
    loop {
        let may_write = queue.pending.len() > 0 && running.len() < CONCURRENCY;
        tokio::select! {
            () = &mut stop => break,
            Some((account, result)) = running.next(), if !running.is_empty() => {
                busy.remove(&account);
                queue.wrote(account, result);
            }
            () = context.may_write(), if may_write => {
                let Some(account) = queue.pending.pop() else { continue };
                busy.insert(account.clone());
                let context = context.clone();
                let since = queued.borrow_mut().remove(&account).unwrap_or_else(Instant::now);
                running.push(async move {
                    let result = reconcile(&context, &account, since).await;
                    (account, result)
                });
            }
            next = next(scheduler.as_mut(), &busy) => {
                let Some(account) = next else { break };
                if !queue.assess(&account) {
                    queued.borrow_mut().remove(&account);
                }
                turn += 1;
                if turn % TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        queue.settle(running.is_empty() && queued.borrow().is_empty());
    }
    let finish = async { while running.next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, finish).await.is_err() {
        tracing::warn!("stopped while reports were being written; the next start writes them");
    }
}

/// What waits, and what failed.
struct Queue<'a> {
    pending: Pending,
    /// Those that wait for the end of a pause.
    later: HashSet<ServiceAccountRef>,
    failures: Failures,
    context: Arc<Context>,
    /// Names an account again after a pause.
    retry: &'a dyn Fn(ServiceAccountRef, Duration),
}

impl<'a> Queue<'a> {
    fn new(context: Arc<Context>, retry: &'a dyn Fn(ServiceAccountRef, Duration)) -> Self {
        Self {
            pending: Pending::default(),
            later: HashSet::new(),
            failures: Failures::new(context.log.clone()),
            context,
            retry,
        }
    }

    /// Assesses an account, and returns whether its report waits to be written.
    fn assess(&mut self, account: &ServiceAccountRef) -> bool {
        self.later.remove(account);
        let Some(verdict) = assess(&self.context, account) else {
            self.pending.remove(account);
            self.failures.written(account);
            return false;
        };
        let pause = self.pending.pause(account, tokio::time::Instant::now());
        if pause.is_zero() {
            let is_new = self.pending.add(account, verdict);
            if is_new && self.context.connection.throttle.is_closed() {
                self.context.instruments.delayed("throttled");
            }
        } else {
            self.pending.remove(account);
            self.context.flapping(account, pause);
            self.again(account.clone(), pause);
        }
        true
    }

    /// Assesses an account again after a pause.
    fn again(&mut self, account: ServiceAccountRef, pause: Duration) {
        self.later.insert(account.clone());
        (self.retry)(account, pause);
    }

    /// Notes the end of a write.
    fn wrote(&mut self, account: ServiceAccountRef, result: Result<bool, Error>) {
        // What failed counts too: somebody who deletes the report between two requests makes us write as often.
        if !matches!(result, Ok(false)) {
            self.pending.wrote(&account, tokio::time::Instant::now());
        }
        match result {
            Ok(_) => self.failures.written(&account),
            Err(error) => {
                self.context.instruments.failed(error.cause());
                let pause = self.failures.failed(&account, &error);
                self.again(account, pause);
            }
        }
    }

    /// Publishes how much waits. The first sync ends when nothing does, nothing is being written, and no account
    /// is left to assess.
    fn settle(&self, is_idle: bool) {
        let waiting = self.pending.len() + self.later.len();
        let instruments = &self.context.instruments;
        instruments
            .pending_writes
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        if waiting == 0 && is_idle && self.context.index.read().is_settled() {
            self.context.budget.settle();
        }
    }
}

/// Asks the scheduler to run an account after a pause.
fn run_at(message: ServiceAccountRef, pause: Duration) -> ScheduleRequest<ServiceAccountRef> {
    let run_at = tokio::time::Instant::now() + pause;
    ScheduleRequest { message, run_at }
}

/// The next account that is due and is not being reconciled.
async fn next<R: Stream<Item = ScheduleRequest<ServiceAccountRef>>>(
    scheduler: Pin<&mut scheduler::Scheduler<ServiceAccountRef, R>>,
    busy: &HashSet<ServiceAccountRef>,
) -> Option<ServiceAccountRef> {
    scheduler
        .hold_unless(|account| !busy.contains(account))
        .next()
        .await
}
