//! What audit logs say about the tokens of the pods that are known: logs that were read once, or a stream of events.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use super::{Index, Table};
use crate::{
    model::{
        ObjectKey, ServiceAccountRef, Workload,
        pod::{Instance, Pod},
    },
    usage::{AccountUsage, Kept, Live, LivePod, Malformed, Micros, Record, Touched},
};

/// What audit logs say.
#[derive(Debug)]
pub(super) enum Usage {
    /// Logs that were read.
    Read(Read),
    /// Events that arrive.
    Live(Box<Live>),
}

/// Logs that were read, joined with the pods of that time.
#[derive(Debug)]
pub(super) struct Read {
    record: Arc<Record>,
    /// How many seconds they should cover.
    required: i64,
    /// The pods of each account when the logs were read.
    pods: HashMap<ServiceAccountRef, Vec<LivePod>>,
}

/// The workload of the living pod with this name and uid.
fn owner(
    pods: &Table<Pod>,
    account: &ServiceAccountRef,
    name: &str,
    uid: u128,
) -> Option<Workload> {
    let pod = pods.get(&ObjectKey::new(account.namespace.clone(), name))?;
    let is_it = pod.instance.as_deref().map(Instance::uid) == Some(uid);
    is_it.then(|| pod.workload.clone())
}

impl Index {
    /// What audit logs say, to be joined with the pods that are known now; `required` is how many seconds they should
    /// cover for a token that counts as not used.
    pub fn set_usage(&mut self, record: Arc<Record>, required: i64) {
        let mut pods: HashMap<_, Vec<LivePod>> = HashMap::new();
        let is_attended = self.pods.iter().any(|(_, pod)| {
            let instance = pod.instance.as_deref();
            instance.is_some_and(Instance::is_attended)
        });
        for (key, pod) in self.pods.iter() {
            let Some(account) = &pod.service_account else {
                continue;
            };
            let instance = pod.instance.as_deref();
            let micros = |seconds: i64| seconds * 1_000_000;
            let account = ServiceAccountRef::new(key.namespace.clone(), account.clone());
            pods.entry(account).or_default().push(LivePod {
                workload: pod.workload.clone(),
                name: (&*key.name).into(),
                uid: instance.map(Instance::uid),
                created: instance.and_then(Instance::created).map(micros),
                started: instance
                    .and_then(|instance| instance.started(is_attended))
                    .map(micros),
                is_running: instance.is_some_and(|instance| instance.is_running(is_attended)),
            });
        }
        self.usage = Some(Usage::Read(Read {
            record,
            required,
            pods,
        }));
        self.mark_all();
    }

    /// Whether audit logs will be read: else what identifies a pod is not kept.
    pub fn expect_usage(&mut self, is_expected: bool) {
        self.keeps_instances = is_expected;
    }

    /// Begins to learn from events that arrive; a use counts for `required` seconds.
    pub fn listen(&mut self, required: i64) {
        self.usage = Some(Usage::Live(Box::new(Live::new(required))));
    }

    fn live(&self) -> Option<&Live> {
        match &self.usage {
            Some(Usage::Live(live)) => Some(live),
            _ => None,
        }
    }

    fn live_mut(&mut self) -> Option<(&mut Live, &Table<Pod>)> {
        match &mut self.usage {
            Some(Usage::Live(live)) => Some((live, &self.pods)),
            _ => None,
        }
    }

    /// Adds what a batch of events says.
    pub fn learn(&mut self, batch: Record) {
        let Some((live, pods)) = self.live_mut() else {
            return;
        };
        let touched = live.add(batch, &|account, name, uid| owner(pods, account, name, uid));
        self.mark_touched(&touched);
    }

    /// A batch of events was refused: it is a hole.
    pub fn refuse_events(&mut self) {
        if let Some((live, _)) = self.live_mut() {
            live.refuse();
        }
    }

    /// A request of ours came back as an event of this time.
    pub fn hear(&mut self, canary: Micros) {
        let is_news = self.live_mut().is_some_and(|(live, _)| live.hear(canary));
        if is_news {
            self.mark_all();
        }
    }

    /// When a request of ours last came back.
    #[must_use]
    pub fn heard(&self) -> Option<Micros> {
        self.live()?.heard()
    }

    /// A request of ours did not come back.
    pub fn miss(&mut self) {
        if let Some((live, _)) = self.live_mut() {
            live.miss();
        }
    }

    /// Adds what was learnt by an earlier run or by another replica.
    ///
    /// # Errors
    /// When another version wrote it.
    pub fn restore(&mut self, kept: Kept) -> Result<(), Malformed> {
        let Some((live, _)) = self.live_mut() else {
            return Ok(());
        };
        let touched = live.restore(kept)?;
        self.mark_touched(&touched);
        Ok(())
    }

    /// What an earlier run may restore, with times as coarse as `grain` seconds; `None` while nothing was learnt.
    #[must_use]
    pub fn kept(&self, grain: i64) -> Option<Kept> {
        let live = self.live().filter(|live| !live.is_empty())?;
        Some(live.kept(grain))
    }

    /// Forgets which pods used a token where only their workload matters, and what no longer counts.
    pub fn tidy_usage(&mut self) {
        if !self.is_settled() {
            return;
        }
        let accounts = &self.accounts;
        let workloads = |account: &ServiceAccountRef| {
            let known = accounts.get(account)?;
            let workloads = known.pods.keys().map(|shape| shape.workload.clone());
            Some(workloads.collect::<BTreeSet<_>>())
        };
        let pods = &self.pods;
        if let Some(Usage::Live(live)) = &mut self.usage {
            live.tidy(
                &|account, name, uid| owner(pods, account, name, uid),
                &workloads,
            );
        }
    }

    /// When a token of an account was last seen to be used, by events that arrive.
    #[must_use]
    pub fn last_used(&self, account: &ServiceAccountRef) -> Option<Micros> {
        self.live()?.last_used(account)
    }

    fn mark_touched(&mut self, touched: &Touched) {
        if touched.all {
            self.mark_all();
        }
        for account in &touched.accounts {
            self.mark(account);
        }
    }

    /// What audit logs say about an account.
    pub(super) fn usage(&self, account: &ServiceAccountRef) -> Option<AccountUsage> {
        match self.usage.as_ref()? {
            Usage::Read(read) => {
                let pods = read.pods.get(account).map_or(&[][..], Vec::as_slice);
                Some(read.record.of(account, pods, read.required))
            }
            Usage::Live(live) => {
                let known = self.accounts.get(account).into_iter();
                let shapes = known.flat_map(|known| known.pods.keys());
                let workloads = shapes.map(|shape| &shape.workload);
                live.of(account, workloads, &|account, name, uid| {
                    owner(&self.pods, account, name, uid)
                })
            }
        }
    }
}
