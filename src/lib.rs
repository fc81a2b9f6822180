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
//! Arrows say who may import whom; `tests/layering.rs` holds them. The facts of our own reports come
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
