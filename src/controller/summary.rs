//! Brings the summary of one namespace up to date: gather, compare, write what differs.

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};

use super::{
    pending::Rank,
    reconcile::Context,
    write::{Error, FIELD_MANAGER, Operation, of_ours, within},
};
use crate::{
    api::{Curable, TokenExposureSummary, TokenExposureSummarySpec, TokenExposureSummaryStatus},
    facts::{Summaries, summary::SummaryFacts},
    index::{Shares, Standing},
    model::{Name, ObjectKey, summary::NAME},
};

const APPLY: Operation = of_ours("apply the summary");
const APPLY_STATUS: Operation = of_ours("apply the status of the summary");
const DELETE: Operation = of_ours("delete the summary");

/// When a summary is to be written.
pub(super) enum Due {
    /// It is as it should be, or it is not known how it should be: then its namespace is named again.
    Nothing,
    /// Accounts of its namespace are still assessed.
    Later,
    /// Now.
    Now(Rank),
}

/// What has to be done.
enum Plan {
    Keep,
    Delete {
        /// It has names.
        withdraws: bool,
    },
    Write(Box<Write>),
}

/// A summary to write.
struct Write {
    status: TokenExposureSummaryStatus,
    facts: SummaryFacts,
    /// There is none yet.
    is_new: bool,
    /// It has names that it must not have.
    withdraws: bool,
}

/// Whether the summary of a namespace differs from what is known. A standby writes nothing: the next leader looks at
/// all namespaces.
pub(super) fn due(context: &Context, namespace: &Name) -> Due {
    if !context.leadership.is_mine() {
        return Due::Nothing;
    }
    match plan(context, namespace) {
        None => Due::Later,
        Some(Plan::Keep) => Due::Nothing,
        Some(Plan::Delete { withdraws }) => Due::Now(rank(withdraws)),
        Some(Plan::Write(write)) => Due::Now(rank(write.withdraws)),
    }
}

const fn rank(withdraws: bool) -> Rank {
    if withdraws {
        Rank::Withdrawal
    } else {
        Rank::Summary
    }
}

/// Brings the summary of a namespace up to date, and returns whether that took a write.
///
/// # Errors
/// When the summary cannot be written; nothing is lost, since the index still says what is wanted.
pub(super) async fn reconcile(context: &Context, namespace: &Name) -> Result<bool, Error> {
    if !context.leadership.is_mine() {
        return Ok(false);
    }
    match plan(context, namespace) {
        None | Some(Plan::Keep) => Ok(false),
        Some(Plan::Delete { withdraws }) => delete(context, namespace, withdraws).await,
        Some(Plan::Write(write)) => apply(context, namespace, *write).await,
    }
}

/// What has to be done with the summary of a namespace; `None` while answers that it depends on are computed.
fn plan(context: &Context, namespace: &Name) -> Option<Plan> {
    let index = context.index.read();
    // Every namespace is named again when every kind was read, and when it is known whether it is selected.
    if !index.is_settled() || index.is_terminating(namespace) {
        return Some(Plan::Keep);
    }
    let stored = index.summary(namespace);
    match index.standing(namespace) {
        Standing::Selected => {
            let cure = context.cure.as_ref();
            let curable = cure.map(|cure| cure.listed(&index, namespace));
            let curable = curable.unwrap_or_default();
            let plan = wanted(&index.shares(namespace)?, &curable, stored);
            if let (Some(cure), None, Some(Plan::Keep)) = (cure, stored, &plan) {
                cure.forget_empty(namespace);
            }
            plan
        }
        Standing::LeftOut => Some(absent(stored)),
        Standing::Undecided => Some(Plan::Keep),
    }
}

/// The summary of a namespace without an account that counts, or that is left out.
fn absent(stored: Option<&SummaryFacts>) -> Plan {
    stored.map_or(Plan::Keep, |stored| Plan::Delete {
        withdraws: stored.allows_more_than(&SummaryFacts::from(&nothing())),
    })
}

/// What is to be done so that a summary says what its accounts do; while some are dirty only names are withdrawn.
fn wanted(shares: &Shares<'_>, curable: &Curable, stored: Option<&SummaryFacts>) -> Option<Plan> {
    if shares.accounts.is_empty() && curable.is_empty() {
        return shares.is_current.then(|| absent(stored));
    }
    let status = TokenExposureSummaryStatus::new(shares.accounts.iter().copied(), curable);
    let facts = SummaryFacts::from(&status);
    if stored == Some(&facts) {
        return shares.is_current.then_some(Plan::Keep);
    }
    let withdraws = stored.is_some_and(|stored| stored.allows_more_than(&facts));
    (shares.is_current || withdraws).then(|| {
        Plan::Write(Box::new(Write {
            status,
            facts,
            is_new: stored.is_none(),
            withdraws,
        }))
    })
}

fn api(context: &Context, namespace: &str) -> Api<TokenExposureSummary> {
    Api::namespaced(context.connection.client.clone(), namespace)
}

/// Counts a request in the budget, unless it withdraws names.
fn spend(context: &Context, withdraws: bool) {
    if !withdraws {
        context.budget.spend();
    }
}

fn count(context: &Context, operation: &str) {
    let writes = &context.instruments.summary_writes;
    writes.with_label_values(&[operation]).inc();
}

async fn apply(context: &Context, namespace: &str, write: Write) -> Result<bool, Error> {
    let api = api(context, namespace);
    if write.is_new {
        let summary = summary(None);
        spend(context, write.withdraws);
        within(APPLY, api.patch(NAME, &params(), &Patch::Apply(&summary))).await?;
        count(context, "apply");
    }
    spend(context, write.withdraws);
    let live = apply_status(context, &api, write.status).await?;
    let version = live.metadata.resource_version;
    let facts = SummaryFacts {
        version: version.and_then(|version| version.parse().ok()),
        ..write.facts
    };
    let mut index = context.index.write();
    index.wrote::<Summaries>(&ObjectKey::new(namespace, NAME), &facts);
    Ok(true)
}

fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn summary(status: Option<TokenExposureSummaryStatus>) -> TokenExposureSummary {
    let mut summary = TokenExposureSummary::new(NAME, TokenExposureSummarySpec {});
    summary.status = status;
    summary
}

/// Replaces the status of a summary that exists; returns the summary.
async fn apply_status(
    context: &Context,
    api: &Api<TokenExposureSummary>,
    status: TokenExposureSummaryStatus,
) -> Result<TokenExposureSummary, Error> {
    let summary = summary(Some(status));
    let (params, status) = (params(), Patch::Apply(&summary));
    let live = within(APPLY_STATUS, api.patch_status(NAME, &params, &status)).await?;
    count(context, "apply_status");
    Ok(live)
}

/// Deletes a summary; one that is already gone is no error and no write. One that a finalizer keeps loses its names, since
/// policies go on reading it.
async fn delete(context: &Context, namespace: &str, withdraws: bool) -> Result<bool, Error> {
    let api = api(context, namespace);
    spend(context, withdraws);
    let before = context
        .index
        .read()
        .summary(namespace)
        .and_then(|summary| summary.version);
    let deleted = within(DELETE, api.delete(NAME, &DeleteParams::default())).await;
    let written = match deleted {
        Ok(answer) => {
            count(context, "delete");
            if answer.is_left() {
                empty(context, &api).await?;
            }
            true
        }
        Err(error) if error.code() == Some(404) => false,
        Err(error) => return Err(error),
    };
    let mut index = context.index.write();
    index.deleted::<Summaries>(&ObjectKey::new(namespace, NAME), before);
    Ok(written)
}

/// The status of a summary that names nothing.
fn nothing() -> TokenExposureSummaryStatus {
    TokenExposureSummaryStatus::new([], &Curable::default())
}

/// Takes all names out of a summary, unless it is gone.
async fn empty(context: &Context, api: &Api<TokenExposureSummary>) -> Result<(), Error> {
    match apply_status(context, api, nothing()).await {
        Err(error) if error.code() != Some(404) => Err(error),
        _ => Ok(()),
    }
}
