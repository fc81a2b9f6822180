//! Lists objects once, page by page, into the index.

use kube::{Api, Client, api::ListParams, core::Status};

use super::{
    Progress, each_kind, explain, missing_rule,
    object::{Object, field_selector},
};
use crate::{
    facts::Kind,
    index::{Index, Indexed, SharedIndex},
    model::{InputKind, LabelSelector},
};

/// How many objects a page has: while it is parsed, a page is in memory three times.
const PAGE_SIZE: u32 = 100;

/// Why a kind could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server denies it.
    #[error("cannot list {}: {status}: {}", kind.plural(), missing_rule(*kind))]
    Forbidden {
        /// The kind.
        kind: InputKind,
        /// The message of the API server.
        status: String,
    },
    /// It failed for another reason.
    #[error("cannot list {}: {}", kind.plural(), explain(source))]
    Failed {
        /// The kind.
        kind: InputKind,
        /// Why.
        source: kube::Error,
    },
}

impl Error {
    /// Whether no answer is possible without it; a denied list is a gap in the answer instead.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// What is listed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which of the kinds.
    pub kinds: &'a [InputKind],
    /// The namespace of Pods, ServiceAccounts and Secrets; bindings of every namespace can grant them
    /// something.
    pub namespace: Option<&'a str>,
    /// Which pods.
    pub pods: &'a LabelSelector,
}

/// Lists the wanted kinds that verdicts depend on, side by side, and returns what failed.
pub async fn list_all(
    client: &Client,
    index: &SharedIndex,
    wanted: &Wanted<'_>,
    progress: Progress<'_>,
) -> Vec<Error> {
    let legacy_tokens = wanted.kinds.contains(&InputKind::Secret);
    each_kind!(legacy_tokens, list(client, index, wanted, progress))
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

/// Lists one kind once. A denied list is noted in the index too; an expired continue token restarts the
/// list, once.
async fn list<K: Kind + Clone + std::fmt::Debug>(
    client: &Client,
    index: &SharedIndex,
    wanted: &Wanted<'_>,
    progress: Progress<'_>,
) -> Result<(), Error>
where
    Index: Indexed<K>,
{
    let kind = K::INPUT;
    if !wanted.kinds.contains(&kind) {
        return Ok(());
    }
    let api: Api<Object<K>> = match wanted.namespace {
        Some(namespace)
            if matches!(
                kind,
                InputKind::Pod | InputKind::ServiceAccount | InputKind::Secret
            ) =>
        {
            Api::namespaced_with(client.clone(), namespace, &())
        }
        _ => Api::all(client.clone()),
    };
    let expired =
        |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 410);
    let mut params = ListParams::default().limit(PAGE_SIZE);
    if let Some(fields) = field_selector(kind) {
        params = params.fields(fields);
    }
    if kind == InputKind::Pod && !wanted.pods.selects_all() {
        params = params.labels(&wanted.pods.to_string());
    }
    let mut result = pages(&api, index, &params, progress).await;
    if result.as_ref().is_err_and(expired) {
        result = pages(&api, index, &params, progress).await;
    }
    result.map_err(|source| match source {
        kube::Error::Api(status) if Status::is_forbidden(&status) => {
            index.write().read(kind, |reading| reading.forbidden = true);
            Error::Forbidden {
                kind,
                status: status.message,
            }
        }
        source => Error::Failed { kind, source },
    })
}

async fn pages<K: Kind + Clone + std::fmt::Debug>(
    api: &Api<Object<K>>,
    index: &SharedIndex,
    first: &ListParams,
    progress: Progress<'_>,
) -> kube::Result<()>
where
    Index: Indexed<K>,
{
    index.write().begin::<K>();
    let mut params = first.clone();
    let mut announced = 0;
    loop {
        let page = api.list(&params).await?;
        let items = page.items.len() as u64;
        let remaining = page.metadata.remaining_item_count.unwrap_or_default();
        // The remaining count is an estimate, which only grows here.
        let expected = items + u64::try_from(remaining).unwrap_or_default();
        progress(items, expected.saturating_sub(announced));
        announced = announced.max(expected) - items;
        let mut index = index.write();
        for object in page.items {
            object.apply_to(&mut index);
        }
        let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
            index.commit::<K>();
            return Ok(());
        };
        params = params.continue_token(&token);
    }
}
