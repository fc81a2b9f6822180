//! Writes reports and summaries: a queue, a bounded number of writes at a time and in a second, and metrics.
//!
//! The queue is kube-runtime's scheduler, keyed by the account or the namespace: it holds each once, runs one
//! earlier where asked, and delays it after a failure. The bounded runner around it does what
//! `kube::runtime::applier` does, without its store of ServiceAccounts: an account that no longer exists
//! can still be reconciled, and 70,000 keys at once take a tenth of the memory.
//!
//! Each account is assessed at once, which is cheap. Where its report differs, it waits until the
//! [`budget`] allows the next write: what changes again meanwhile is still one write. Where its answer is another one,
//! the summary of its namespace follows a moment later, or at once where names must be withdrawn from it; that does not
//! wait for the budget.

mod behind;
pub mod budget;
pub mod cure;
pub mod events;
mod failures;
pub mod lease;
pub mod metrics;
mod pending;
pub mod reconcile;
pub mod server;
mod summary;
pub mod switch;
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
    pending::{Pending, Rank},
    reconcile::{Context, assess, reconcile},
    summary::Due,
    write::Error,
};
use crate::model::{ServiceAccountRef, Target};

/// How many reports are written at a time.
const CONCURRENCY: usize = 16;
/// How long writes may still take after the controller was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// How many summaries more while names are withdrawn.
const WITHDRAWALS: usize = 4;
/// How many accounts are assessed until other tasks have their turn.
const TURN: u32 = 32;
/// How long a summary waits for the answers for other accounts of its namespace.
const GATHERING: Duration = Duration::from_millis(250);

/// Reconciles what the queue names, until it ends or `stop` resolves; writes under way are completed then.
pub async fn run(
    context: Arc<Context>,
    dirty: impl Stream<Item = Target>,
    stop: impl Future<Output = ()>,
) {
    let (retry, retries) = mpsc::unbounded();
    // When each waiting target was first queued: its latency counts from there.
    let queued: RefCell<HashMap<Target, Instant>> = RefCell::default();
    let now = |message: Target| {
        let mut queued = queued.borrow_mut();
        queued.entry(message.clone()).or_insert_with(Instant::now);
        if let Some(cure) = &context.cure {
            cure.named(&message);
        }
        run_at(message, Duration::ZERO)
    };
    let mut scheduler = pin!(scheduler(futures::stream::select(dirty.map(now), retries)));
    let mut stop = pin!(stop);
    let mut running = FuturesUnordered::new();
    let mut busy = HashSet::new();
    // The receiver lives as long as this function.
    let again = |target, pause| drop(retry.unbounded_send(run_at(target, pause)));
    let mut queue = Queue::new(context.clone(), &again);
    let mut turn = 0;
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some((target, result)) = running.next(), if !running.is_empty() => {
                busy.remove(&target);
                queue.wrote(target, result);
            }
            () = queue.may_write(), if queue.has_room(running.len()) => {
                let Some(target) = queue.pending.pop() else { continue };
                busy.insert(target.clone());
                let context = context.clone();
                let since = queued.borrow_mut().remove(&target).unwrap_or_else(Instant::now);
                running.push(async move {
                    let result = written(&context, &target, since).await;
                    (target, result)
                });
            }
            next = next(scheduler.as_mut(), &busy) => {
                let Some(target) = next else { break };
                if !queue.assess(&target) {
                    queued.borrow_mut().remove(&target);
                }
                turn += 1;
                if turn % TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        queue.settle(!running.is_empty(), &queued.borrow());
    }
    let finish = async { while running.next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, finish).await.is_err() {
        tracing::warn!("stopped while reports were being written; the next start writes them");
    }
}

/// Brings one target up to date, and returns whether that took a write.
async fn written(context: &Context, target: &Target, since: Instant) -> Result<bool, Error> {
    match target {
        Target::Report(account) => reconcile(context, account, since).await,
        Target::Summary(namespace) => summary::reconcile(context, namespace).await,
    }
}

/// What waits, and what failed.
struct Queue<'a> {
    pending: Pending,
    /// Those that wait for the end of a pause.
    later: HashSet<Target>,
    failures: Failures,
    /// Whether the first sync has ended.
    is_settled: bool,
    context: Arc<Context>,
    /// Names a target again after a pause.
    retry: &'a dyn Fn(Target, Duration),
}

impl<'a> Queue<'a> {
    fn new(context: Arc<Context>, retry: &'a dyn Fn(Target, Duration)) -> Self {
        Self {
            pending: Pending::default(),
            later: HashSet::new(),
            failures: Failures::new(context.log.clone()),
            is_settled: false,
            context,
            retry,
        }
    }

    /// Assesses a target, and returns whether it waits to be written.
    fn assess(&mut self, target: &Target) -> bool {
        self.later.remove(target);
        let rank = match target {
            Target::Report(account) => {
                let verdict = assess(&self.context, account);
                self.name_summaries(account);
                self.assessed(target);
                verdict.map(Rank::Report)
            }
            Target::Summary(namespace) => match summary::due(&self.context, namespace) {
                Due::Nothing => None,
                Due::Later => {
                    self.withdraws(target, false);
                    self.again(target.clone(), GATHERING);
                    return true;
                }
                Due::Now(rank) => Some(rank),
            },
        };
        self.withdraws(target, rank == Some(Rank::Withdrawal));
        self.await_listing(target);
        let Some(rank) = rank else {
            self.pending.remove(target);
            self.failures.written(target);
            return false;
        };
        let pause = self
            .pending
            .pause(target, rank, tokio::time::Instant::now());
        if pause.is_zero() {
            let is_new = self.pending.add(target, rank);
            if is_new && self.context.connection.throttle.is_closed() {
                self.context.instruments.delayed("throttled");
            }
        } else {
            self.pending.remove(target);
            self.context.flapping(target, pause);
            self.again(target.clone(), pause);
        }
        true
    }

    /// Names the summaries that the answer for an account changes: at once where it must be withdrawn from one.
    fn name_summaries(&mut self, account: &ServiceAccountRef) {
        let (mut namespaces, mut is_overstated) = {
            let mut index = self.context.index.write();
            let namespaces = index.take_dirty_namespaces();
            let is_overstated =
                namespaces.contains(&account.namespace) && index.is_overstated(account);
            (namespaces, is_overstated)
        };
        if let Some(cure) = &self.context.cure {
            is_overstated |= cure.take_withdrawn(&account.namespace);
            // The time alone changes what it lists.
            namespaces.insert(account.namespace.clone());
        }
        for namespace in namespaces {
            let at_once = is_overstated && namespace == account.namespace;
            let pause = if at_once { Duration::ZERO } else { GATHERING };
            let target = Target::Summary(namespace);
            if at_once {
                self.withdraws(&target, true);
            }
            self.again(target, pause);
        }
    }

    /// Names the summary of a namespace again when the time alone changes what it lists.
    fn await_listing(&self, target: &Target) {
        if let (Some(cure), Target::Summary(namespace)) = (&self.context.cure, target)
            && self.context.index.read().is_summarised(namespace)
            && let Some(pause) = cure.pause(namespace)
        {
            (self.retry)(target.clone(), pause);
        }
    }

    /// An account was assessed.
    fn assessed(&self, target: &Target) {
        if let Some(cure) = &self.context.cure {
            cure.assessed(target);
        }
    }

    /// Notes whether names wait to be withdrawn from a summary.
    fn withdraws(&self, target: &Target, withdraws: bool) {
        if let Some(cure) = &self.context.cure {
            cure.withdraws(target, withdraws);
        }
    }

    /// Resolves when the first that waits may be written.
    async fn may_write(&self) {
        if self.pending.withdraws() {
            self.context.connection.throttle.passed().await;
        } else {
            self.context.may_write().await;
        }
    }

    /// Whether one more may be written while this many are.
    fn has_room(&self, running: usize) -> bool {
        let more = if self.pending.withdraws() {
            WITHDRAWALS
        } else {
            0
        };
        self.pending.len() > 0 && running < CONCURRENCY + more
    }

    /// Assesses a target again after a pause.
    fn again(&mut self, target: Target, pause: Duration) {
        self.later.insert(target.clone());
        (self.retry)(target, pause);
    }

    /// Notes the end of a write.
    fn wrote(&mut self, target: Target, result: Result<bool, Error>) {
        // What failed counts too: somebody who deletes the report between two requests makes us write as often.
        if !matches!(result, Ok(false)) {
            self.pending.wrote(&target, tokio::time::Instant::now());
        }
        match result {
            Ok(_) => {
                self.withdraws(&target, false);
                self.failures.written(&target);
            }
            Err(error) => {
                self.context.instruments.failed(error.cause());
                let pause = self.failures.failed(&target, &error);
                self.again(target, pause);
            }
        }
    }

    /// Publishes how much waits. The first sync ends when all that waits does so for the end of a pause: nothing is being
    /// written, and no account is left to assess.
    fn settle(&mut self, is_writing: bool, queued: &HashMap<Target, Instant>) {
        let waiting = self.pending.len() + self.later.len();
        let instruments = &self.context.instruments;
        instruments
            .pending_writes
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        if !self.is_settled
            && self.pending.len() == 0
            && !is_writing
            && queued.keys().all(|target| self.later.contains(target))
            && self.context.index.read().is_settled()
        {
            self.is_settled = true;
            self.context.budget.settle();
        }
    }
}

/// Asks the scheduler to run a target after a pause.
fn run_at(message: Target, pause: Duration) -> ScheduleRequest<Target> {
    let run_at = tokio::time::Instant::now() + pause;
    ScheduleRequest { message, run_at }
}

/// The next target that is due and is not being reconciled.
async fn next<R: Stream<Item = ScheduleRequest<Target>>>(
    scheduler: Pin<&mut scheduler::Scheduler<Target, R>>,
    busy: &HashSet<Target>,
) -> Option<Target> {
    scheduler
        .hold_unless(|target| !busy.contains(target))
        .next()
        .await
}
