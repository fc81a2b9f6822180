//! Which pods carry a Kubernetes API token that no permission lets them use, and why?
//!
//! The answer is a join: the tokens that pods carry × what RBAC gives to the ServiceAccount named in
//! them, minus what every identity has. This crate computes it from small facts, live or from files.
//!
//! # The house
//!
//! ```text
//!  main ─► cli ─┬──────────────────────┬───────────────────────────┐
//!               ▼                      ▼                           ▼
//!  RIM      source/ (IO in)        controller/ (IO out: cluster)   output/ (IO out: terminal)
//!           watch · list · files   queue · reconcile · write       table · objects · html · …
//!           probe · edit           lease · events · metrics          │
//!               │                      │      └─► api (the CRD) ◄────┘
//!  ═════════════╪══════════════════════╪══════════════│═══════════════════ below: no IO, no await, no
//!  STATE        └────────► index/ ◄────┘              │                    logging, no clock
//!                            │                        │       object in → dirty accounts out
//!  ANSWER                  assess                     │       the decision table
//!                            │                        │
//!  RULES     facts/        rbac/   token/             │       wire → facts │ who is granted what │ which
//!               │            │       │                │       tokens are carried
//!  NOUNS        └──────────► model/ ◄─────────────────┘       plain data
//! ```
//!
//! Arrows say who may import whom; `tests/offline/layering.rs` holds them. The facts of our own reports come
//! from [`api`]; files ask [`rbac::aggregate`] for what a cluster would have stored, and whoever learns
//! of a cluster asks [`token::anatomy`] what our own token says.
//!
//! # From a watch event to a written report: four hops
//!
//! ```text
//!  watch event ─(1) Kind::facts─► facts ─(2) Index::apply─► changed? ─no─► dropped: most events are noise
//!                                               │ yes: dirty accounts, those that the old facts reached too
//!                                               ▼
//!               (3) controller::run: kube-runtime's scheduler, each account once, bounded runs, back-off
//!                                               ▼
//!               (4) reconcile: assess ─► report ─► differs from the live one? ─► server-side apply,
//!                   and a JSON patch where somebody else's fields are left
//! ```
//!
//! A scan is hops 1 and 2, then [`assess`](mod@assess) and [`output`]: the same code, another rim.
//!
//! # Invariants
//!
//! * No API object is kept: only facts, each pod shape once. A relist is applied in place, never
//!   buffered, so that it needs no second copy.
//! * Whoever a change can touch is marked dirty, and that includes whom it *no longer* touches. The
//!   index narrows candidates; [`rbac`] decides. A fault in the index can miss, but never misjudge.
//! * Nothing is written before every kind was read once, and then only what differs. Reports have no
//!   content that changes by itself; two writers write the same bytes.
//! * Never a silent guess: what may not be read makes verdicts `Unknown`, never `Unneeded`.
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
//! | consumer | a system that accepts the token as an identity without RBAC, such as Vault; *known* consumers are recognised by annotations and variables |
//! | binding | a RoleBinding or ClusterRoleBinding: it grants a role to its subjects |
//! | grant | what one binding gives to an account: the rules of its role, and the subject that matched |
//! | direct, inherited | granted to the account by name, or only through a group that it is in |
//! | default permissions | what every authenticated user and every ServiceAccount is granted |
//! | covered | said of a rule that grants nothing beyond the default permissions |
//! | needed | said of a token when its account has a permission beyond the default permissions |
//! | verdict, reason | the answer for an account or a workload, and why |
//! | finding | a verdict that asks for work: `Unneeded`, `Review`, `Unknown` |
//! | report | a TokenExposureReport: the answer for one account, as a custom resource |
//! | baseline | a file of earlier findings, which a later scan is compared with |
//! | remediation | what to do about a finding, with ready patches |
//! | exemption | a written reason why a token stays, which may end on a date |
//! | gap | an input that the answer depends on and that is missing: it makes a verdict `Unknown` |
//! | note | something to know about a workload that no verdict depends on |
//! | manifest, dump | an object as a person wrote it; objects as `kubectl get` printed them |
//! | facts | what this program keeps of an API object: the fields that an answer depends on |
//! | dirty | said of an account whose answer may have changed and is computed again |
//! | synced, stale | every object of a kind was read once; the last reading is older than it should be |
//! | leader, standby | the replica that writes reports because it holds the Lease; the others |
//!
//! # Where to look
//!
//! Why an account is flagged: [`assess`](mod@assess) (the table), [`rbac::resolve`] (its
//! permissions), [`token::carriers`](mod@token::carriers) (its tokens).

pub mod model;

pub mod rbac;
pub mod token;

pub mod api;
pub mod facts;

pub mod assess;

pub mod index;

pub mod controller;
pub mod output;
pub mod source;

pub mod cli;
