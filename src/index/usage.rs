//! What audit logs say about the tokens of the pods that are known.

use std::{collections::HashMap, sync::Arc};

use super::Index;
use crate::{
    model::{ServiceAccountRef, pod::Instance},
    usage::{AccountUsage, LivePod, Record},
};

/// What audit logs say.
#[derive(Debug)]
pub(super) struct Usage {
    record: Arc<Record>,
    /// How many seconds they should cover.
    required: i64,
    /// The pods of each account when the logs were read.
    pods: HashMap<ServiceAccountRef, Vec<LivePod>>,
}

impl Index {
    /// What audit logs say, to be joined with the pods that are known now; `required` is how many seconds they should
    /// cover for a token that counts as not used.
    pub fn set_usage(&mut self, record: Arc<Record>, required: i64) {
        let mut pods: HashMap<_, Vec<LivePod>> = HashMap::new();
        for (key, pod) in self.pods.iter() {
            let Some(account) = &pod.service_account else {
                continue;
            };
            let instance = pod.instance.as_ref();
            let created = instance.and_then(Instance::created);
            let account = ServiceAccountRef::new(key.namespace.clone(), account.clone());
            pods.entry(account).or_default().push(LivePod {
                workload: pod.workload.clone(),
                name: (&*key.name).into(),
                uid: instance.map(Instance::uid),
                created: created.map(|seconds| seconds * 1_000_000),
            });
        }
        self.usage = Some(Usage {
            record,
            required,
            pods,
        });
        self.mark_all();
    }

    /// What audit logs say about an account.
    pub(super) fn usage(&self, account: &ServiceAccountRef) -> Option<AccountUsage> {
        let usage = self.usage.as_ref()?;
        let pods = usage.pods.get(account).map_or(&[][..], Vec::as_slice);
        Some(usage.record.of(account, pods, usage.required))
    }
}
