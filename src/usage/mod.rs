//! Which tokens were used, for what, and how complete is the evidence? From the events of audit logs, one by
//! one and in any order. What is kept grows with pods and accounts, not with events.
//!
//! # When a token counts as not used
//!
//! `NeverUsed` needs proof that every request of the account would have been seen. Each rule is written with the
//! way in which it can be wrong:
//!
//! | rule | it is wrong if |
//! |---|---|
//! | each API server renews its Lease every 10 s; a pause of more than 25 s is a hole, in which any token may have been used, but those of single pods only since they exist | single events are lost, not all: then nothing shows |
//! | the API servers that exist are those with a Lease, and the logs reach the last renewal of each; the window ends when the Leases were read, by the clock that is the furthest behind | a server was replaced, its Lease was collected (after an hour), and no log names it |
//! | clocks of API servers differ by at most 5 minutes: a Lease that is so much older than others may be that of a server that runs | they differ by more |
//! | a watch leaves an event when it begins and when it ends; API servers end it within an hour, so that a shorter window needs the start of each in its log | `--min-request-timeout` is longer, or a client asks for longer (`timeoutSeconds`, `exec`, `logs -f`), and the request is open over the whole window |
//! | the log was written by the API server itself, to a file; other deliveries are `Partial` at best | `--audit-log-mode` is not `blocking`, its default |
//! | the given audit policy has been in force since the last start of an API server in the logs | the file was edited, and no server restarted since |
//! | the policy records every request of the account, and the logs show others that use its verbs | |
//! | a request whose token is rejected (401) has no user, and is no use | a client holds an expired token, never reads the file again, and would need it after a restart |
//! | events, lines and files that cannot be read may be of any account; only at the end of the newest file of a server a cut line comes after the window | a line is damaged, and still looks like a whole event of somebody else, or like text |
//! | a token is used where its pod's uid is; without one, or where no workload of that pod is known, the account alone is known, and no workload of it is `NeverUsed` | |
//! | a workload has run since the oldest of its pods that run (phase `Running`) has: since the kubelet took it on, its init containers have ended and its containers that never restarted have started; a pod that waits, has ended, or has a container that does not run shows nothing | a container crashed ever since and does so no more, the node of the pod is gone, or its clock is behind |
//! | or since the scheduler bound an earlier pod: of a StatefulSet one of the same name as one that runs; of a Deployment or Rollout one of the same ReplicaSet, or of another one that the Deployment controller is seen to make | that pod belonged to something else, ran as another account, or the workload was scaled to zero meanwhile |
//! | a CronJob ran whenever a pod of it began to run in the window, and runs or has succeeded, or the scheduler bound a pod of a Job that the CronJob controller is seen to make | such a pod did not start |
//! | a TokenReview may concern any account, but one of a kubelet concerns those that are granted `nodes/*` | a pod without that permission asks a kubelet, in vain |
//! | a token that only verifiers without the API server see (OIDC) is not seen | the pod names no known consumer |

mod attribution;
mod coverage;
mod live;
mod policy;
mod record;
mod request;

pub use self::{
    attribution::{AccountUsage, LivePod, WorkloadUsage},
    coverage::{Delivery, Lease},
    live::{Kept, Live, MAX_ENTRIES, Malformed, OwnerOf, Touched, WEBHOOK},
    policy::{Policy, PolicyRule, Resources},
    record::{Record, is_default, is_lease_of_server},
    request::{Binding, Caller, NO_VERB, Object, PodName, Request, Stage},
};

/// A time in microseconds since 1970.
pub type Micros = i64;

/// One second.
const SECOND: Micros = 1_000_000;
