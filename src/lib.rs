//! Which pods carry a Kubernetes API token that no permission lets them use, and why?
//!
//! The answer is a join: the tokens that pods carry × what RBAC grants to the ServiceAccount named in
//! them, minus the default permissions. This crate computes it from small facts, live or from files.
//!
//! # The house
//!
//! ```text
//!  main ─► cli ─┬──────────────┬──────────────────┬───────────────────────┐
//!               ▼              ▼                  ▼                       ▼
//!  RIM      cluster/        files/ ◄─ edit/   controller/             output/
//!           watch · list    manifests         queue · reconcile       table · objects
//!           probe              │ config       write · lease           html · sarif · …
//!               │              │  │           events · metrics           │
//!               │     audit · text/ ▼             │    └──► api ◄────────┘
//!  ═════════════╪══════════════╪══════════════════╪══════════│══════════════ below: no IO, no await,
//!  STATE        └───► index/ ◄─┘                  │          │               no logging, no clock
//!                       ▲  │ └────────────────────┘          │     object in → dirty accounts out
//!  ANSWER               │  assess/                           │     the decision table
//!                       │  │   │                             │
//!  RULES     facts/ ────┘ rbac/ token/ usage/                │     object → facts │ who is granted what │
//!               │          │     │     │                     │     which tokens are carried │ and used
//!  NOUNS        └────────► model/ ◄──────────────────────────┘     plain data
//! ```
//!
//! | room | question it answers | imports |
//! |---|---|---|
//! | `model` | which words do the other rooms share? | |
//! | `rbac` | who is granted what, and is it more than the default permissions? | `model` |
//! | `token` | which tokens does a pod carry? | `model` |
//! | `usage` | which tokens were used, for what, and how complete is the evidence? | `model` `rbac` `token` |
//! | `api` | what do a report and a summary look like? | `model` |
//! | `facts` | what of an API object do answers depend on? | `api` `model` |
//! | `assess` | why is this account flagged, and what is the remediation? | `model` `rbac` `token` `usage` |
//! | `index` | what is known, and which accounts does a watch event touch? | `assess` `facts` `model` `rbac` `token` `usage` |
//! | `text` | which files are there, what is in them, and where is it malformed? | |
//! | `render` | what do kustomize and helm make of a folder? | `text` |
//! | `baseline` | which findings are new since an earlier scan? | `model` `text` |
//! | `log` | which failures are logged, and how often? | |
//! | `client` | how is the API server asked, and what does its error mean? | |
//! | `cluster` | what does the API server have? | `client` `facts` `index` `log` `model` `rbac` `token` `usage` |
//! | `audit` | what do audit logs say, in which format? | `model` `text` `usage` |
//! | `listen` | what do API servers send of what they audit? | `audit` `client` `cluster` `index` `log` `model` `usage` |
//! | `files` | what do manifests and dumps have, and in which line? | `facts` `index` `model` `rbac` `text` |
//! | `edit` | how is a patch written into a manifest? | `files` `model` |
//! | `config` | what does the user's configuration add? | `facts` `model` `text` |
//! | `controller` | which reports are written, and when? | `api` `client` `facts` `index` `log` `model` |
//! | `output` | how does a person or a program read the answer? | `api` `baseline` `model` `text` |
//! | `cli` | which commands and flags are there? | `api` `audit` `baseline` `client` `cluster` `config` `controller` `edit` `files` `index` `listen` `log` `model` `output` `render` `text` `token` `usage` |
//! | `main` | which process is this? | `cli` |
//!
//! `tests/offline/layering.rs` reads this table: each room imports what its row says, no more and no less, and a
//! planned room does not exist yet. No room imports one that stands below it in the table, so there is
//! no circle. [`audit`] is a supplier like [`cluster`] and [`files`]: what it reads becomes a [`usage::Record`], which
//! [`index`] joins with the pods and [`assess`](mod@assess) with what they are granted. [`listen`] receives events from
//! the API servers themselves: each batch is such a record, and [`usage::Live`] what is remembered of all. The summary of
//! a namespace is computed in [`api`] from the last answers for its accounts, as a report is from one, and written by
//! [`controller`]; the admission policy that reads it is a template in `deploy/chart`.
//!
//! Two small rooms stand beside the rims: [`baseline`] compares a scan with an earlier one for [`output`], and [`render`]
//! runs kustomize and helm before [`files`] reads what they print.
//!
//! [`client`] stands under [`cluster`] and [`controller`], which both ask the API server: time limits, pauses,
//! errors. The facts of our own reports come from [`api`]; files ask [`rbac::aggregate`] for the rules that a
//! cluster would have stored, and [`cluster::probe`] asks [`token::claims`] what our own token says.
//!
//! # From a watch event to a written report: four hops
//!
//! ```text
//!  watch event ─(1) Kind::facts─► facts ─(2) Index::apply─► changed? ─no─► dropped: most events are noise
//!                                               │ yes: dirty accounts, those that the old facts reached too
//!                                               ▼
//!               (3) controller::run: kube-runtime's scheduler, each account once, back-off; assess ─► does
//!                   the report differ? ─► it waits for the budget of writes, the worst finding first
//!                                               ▼
//!               (4) reconcile: assess ─► report ─► server-side apply, and a JSON patch where fields of
//!                   other field managers remain
//! ```
//!
//! Where the answer of an account is another one, the summary of its namespace takes hops 3 and 4 a moment later. Names
//! that a summary must not have any more are withdrawn at once, before everything else and outside of the budget.
//!
//! A scan is hops 1 and 2, then [`assess`](mod@assess) and [`output`]: the same code, another rim.
//!
//! # Invariants
//!
//! * No API object is kept: only facts, each pod shape once. A relist is applied in place, never
//!   buffered, so that it needs no second copy.
//! * Every account that a change can touch is marked dirty, those that it *no longer* touches included.
//!   The index narrows candidates; [`rbac`] decides. A bug in the index can miss, but never misjudge.
//! * Nothing is written before every kind was read once, and then only what differs. Reports have no
//!   content that changes by itself; two writers write the same bytes.
//! * A report goes only when it is known that its namespace is left out, or that its account has no finding.
//! * Never a silent guess: where we may not read something, the verdict is `Unknown`, never `Unneeded`.
//! * What was known stays known: a failure that passes changes no report. Only time makes it a gap.
//! * Everything that others can make us do or keep has a limit; `deploy/sizing.md` lists them.
//! * The core cannot fail. Odd input becomes a fact, or a [`model::Gap`] that the answer names.
//! * Order is fixed at every exit: the same input gives the same bytes.
//! * There is one lock, around the index, and it is never held across an await.
//!
//! # Glossary
//!
//! The texts that users read, the names and the comments follow it: one term for one thing, the words of
//! Kubernetes' own documentation where it has one.
//!
//! | term | meaning |
//! |---|---|
//! | ServiceAccount, account | the identity that a pod runs as; *account* where the kind is clear |
//! | token | a ServiceAccount token: a JWT that the API server signed |
//! | auto-mounted token | the token that the ServiceAccount admission plugin mounts at `/var/run/secrets/kubernetes.io/serviceaccount` |
//! | projected token | a `serviceAccountToken` source that the pod spec itself has |
//! | legacy token | a token in a Secret of type `kubernetes.io/service-account-token`: it never expires |
//! | audience | the recipient that a token is issued for: the API server, or an external system |
//! | carrier | one token as the containers of a pod see it: its source, audience, lifetime and mount path |
//! | disable | set `automountServiceAccountToken: false`; a running pod keeps its token until it is recreated |
//! | recreate | delete a pod so that its controller creates a new one, for example with `kubectl rollout restart` |
//! | drift | automount is already disabled, and the running pod still has its token |
//! | workload | the outermost owner of pods, for example a Deployment; in files, the object with the pod template |
//! | consumer | a system that accepts the token as an identity without RBAC, such as Vault; *known* consumers are recognised by labels, annotations, variables, commands and files |
//! | binding | a RoleBinding or ClusterRoleBinding: it grants a role to its subjects |
//! | grant | what one binding gives to an account: the rules of its role, and the subject that matched |
//! | direct, inherited | granted to the account by name, or only through a group that it is in |
//! | default permissions | what every authenticated user and every ServiceAccount is granted |
//! | covered | said of a rule that grants nothing beyond the default permissions |
//! | needed | said of a token when its account has a permission beyond the default permissions |
//! | verdict, reason | the answer for an account or a workload, and why |
//! | finding | a verdict that asks for work: `Unneeded`, `Review`, `Unknown` |
//! | report | a TokenExposureReport: the answer for one account, as a custom resource |
//! | summary | a TokenExposureSummary: the answers for one namespace in short, which admission policies read |
//! | in sync | said of the controller when every kind is listed and watched, and no answer waits for longer than a second |
//! | withdraw | remove a name from a summary, or add an exception to it, so that policies no longer act by it |
//! | baseline | a file of earlier findings, which a later scan is compared with |
//! | near name | a subject that names no account that exists and may mean one that does: a misspelled name or username, or another namespace |
//! | stray | said of a subject that matches no account, whatever accounts there are |
//! | remediation | what to do about a finding, with ready patches |
//! | exemption | a written reason why a token stays, which may end on a date |
//! | use | a request to the API server with a token, denied ones included |
//! | withhold | what the cure's policy does to the token of a new pod: it leaves it out, or makes it useless (*neuters* it) |
//! | curable | said of a workload whose token may be withheld: unneeded without a break for the grace period |
//! | switch | the RoleBinding without which the policy does nothing; it exists only while the controller is in sync |
//! | window, hole | the time that audit logs cover; what they lack of it |
//! | grade | whether every request of the window would have been recorded: `Complete`, `Partial`, `Unproven` |
//! | heartbeat | an event that shows that an API server runs and its audit log is kept: it renews its Lease |
//! | doubt | why a token may be in use although the audit logs show none |
//! | gap | an input that the answer depends on and that is missing: it makes a verdict `Unknown` |
//! | message | an error, a warning or a note about the input of a scan; every format contains them |
//! | note | something to know about an account or a workload that no verdict depends on |
//! | custom kind | a kind that is not built into Kubernetes; an operator creates its pods |
//! | manifest, dump | an object as a person wrote it; objects as `kubectl get` printed them |
//! | facts | what this program keeps of an API object: the fields that an answer depends on |
//! | selected, left out | said of a namespace: whether its accounts are judged; its bindings count in any case |
//! | dirty | said of an account whose answer may have changed and is computed again |
//! | synced, stale | every object of a kind was read once; the last reading is older than it should be |
//! | leader, standby | the replica that writes reports because it holds the Lease; the others |
//!
//! # Where to look
//!
//! | question or change | place |
//! |---|---|
//! | why is this account flagged? | [`assess`](mod@assess): the decision table; then [`rbac::resolve`] for permissions, [`token::carriers`](mod@token::carriers) for tokens |
//! | what does a watch event touch? | [`index`]: one file for each kind |
//! | a default permission of a distribution | `config/default_permissions.yaml` |
//! | a ClusterRole that a distribution has in every cluster | `files/openshift.yaml` |
//! | a known consumer | `model/consumers.yaml`; how it is looked for: [`model::consumer`], `facts/consumers.rs` |
//! | a verdict or a reason | [`model::verdict`], a row in [`assess`](mod@assess), a case in `tests/vectors` |
//! | an output format | a file in [`output`], a variant in `cli/output.rs` |
//! | what is new since an earlier scan? | [`baseline`] |
//! | a folder that is rendered | [`text::folders`] finds it, [`render`] renders it |
//! | a control of a catalogue | [`output::catalogues`] |
//! | a kind with a pod template | a row in [`model::workload`]; a custom kind: `files/custom/kinds.rs`, and `facts/owner.rs` for its live pods |
//! | a kind that has whole objects of others | `files/custom/embedded.rs` |
//! | which namespaces are judged? | [`model::selection`]; `index/standing.rs`: when labels change; `cluster/list.rs`: what a person may read |
//! | how often may it write, and what may a pod cost? | `controller/budget.rs`, `controller/pending.rs`; `facts/limit.rs` |
//! | what does a failure of the API server do? | [`cluster::watch`], `tests/cluster/faults` |
//! | a watched kind | [`facts`], a file in [`index`], [`cluster::KINDS`], `deploy/chart/templates/rbac.yaml` |
//! | may a token count as never used? | [`usage`]: the rules; `assess/usage.rs`: the verdict |
//! | what is remembered of events that arrive? | [`usage::Live`]; [`listen::memory`]: across restarts |
//! | a format of audit logs | `audit/envelope.rs`, a case in `audit/tests.rs` |
//! | whose token may be withheld, and when? | `controller/cure.rs`, `controller/switch.rs`, `deploy/chart/templates/cure.yaml` |
//! | a metric | `controller/metrics.rs` |
//! | a report field, a summary field | [`api`], then `make generate` |

pub mod model;

pub mod rbac;
pub mod token;
pub mod usage;

pub mod api;
pub mod facts;

pub mod assess;

pub mod index;

pub mod client;
pub mod log;
pub mod text;

pub mod audit;
pub mod baseline;

pub mod cluster;
pub mod config;
pub mod edit;
pub mod files;
pub mod listen;
pub mod render;

pub mod controller;
pub mod output;

pub mod cli;
