//! Lists objects once, page by page, into the index.

use std::time::Duration;

use kube::{Api, api::ListParams, core::Status};

use super::{
    OptIns, Progress, each_kind, missing_rule,
    object::{Object, field_selector},
    protobuf,
};
use crate::{
    client::{Backoff, Connection, Failed, within},
    facts::{Kind, Wire, wire::ListMetadata},
    index::{Index, Indexed, SharedIndex},
    model::{InputKind, LabelSelector},
};

/// How many objects a page of JSON has: while it is parsed, a page is in memory three times.
const PAGE_SIZE: u32 = 100;
/// How many objects a page of protobuf has, of which one is in memory at a time: fewer pages cost the API server less.
const PROTOBUF_PAGE_SIZE: u32 = 500;

/// How often a page is asked for until its failure is final: by an API server that is busy or restarts.
const ATTEMPTS: u32 = 4;
/// The first pause before a page is asked for again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a kind could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server denies it.
    #[error("cannot list {}: {status}: {}", kind.plural(), missing_rule(&[*kind]))]
    Forbidden {
        /// The kind.
        kind: InputKind,
        /// The message of the API server.
        status: String,
    },
    /// It failed for another reason.
    #[error("cannot list {}: {source}", kind.plural())]
    Failed {
        /// The kind.
        kind: InputKind,
        /// Why.
        source: Failed,
    },
}

impl Error {
    const fn kind(&self) -> InputKind {
        match self {
            Self::Forbidden { kind, .. } | Self::Failed { kind, .. } => *kind,
        }
    }

    /// Whether no answer is possible without it; a denied list is a gap in the answer instead.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// The messages of these errors; those of several denied kinds are one, with the rules for all of them.
#[must_use]
pub fn messages(errors: &[Error]) -> Vec<String> {
    let denied: Vec<_> = errors.iter().filter(|error| !error.is_fatal()).collect();
    let [Error::Forbidden { status, .. }, _, ..] = denied[..] else {
        return errors.iter().map(ToString::to_string).collect();
    };
    let kinds: Vec<_> = denied.iter().map(|error| error.kind()).collect();
    let plurals: Vec<_> = kinds.iter().map(|kind| kind.plural()).collect();
    let others = errors.iter().filter(|error| error.is_fatal());
    let one = format!(
        "cannot list {}: {status}: {}",
        plurals.join(", "),
        missing_rule(&kinds)
    );
    std::iter::once(one)
        .chain(others.map(ToString::to_string))
        .collect()
}

/// What is listed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which of the kinds.
    pub kinds: &'a [InputKind],
    /// The namespace of Pods, ServiceAccounts, ConfigMaps and Secrets; bindings of every namespace can grant them
    /// something.
    pub namespace: Option<&'a str>,
    /// Which pods.
    pub pods: &'a LabelSelector,
    /// How long the API server may take to answer one request.
    pub timeout: Duration,
}

/// Lists the wanted kinds that verdicts depend on, side by side, and returns what failed.
pub async fn list_all(
    connection: &Connection,
    index: &SharedIndex,
    wanted: &Wanted<'_>,
    progress: Progress<'_>,
) -> Vec<Error> {
    let opt_ins = OptIns {
        legacy_tokens: wanted.kinds.contains(&InputKind::Secret),
        config_maps: wanted.kinds.contains(&InputKind::ConfigMap),
    };
    each_kind!(opt_ins, list(connection, index, wanted, progress))
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

/// Lists one kind once. A denied list is noted in the index too; an expired continue token restarts the
/// list, once.
async fn list<K: Kind + Clone + std::fmt::Debug>(
    connection: &Connection,
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
                InputKind::Pod
                    | InputKind::ServiceAccount
                    | InputKind::ConfigMap
                    | InputKind::Secret
            ) =>
        {
            Api::namespaced_with(connection.client.clone(), namespace, &())
        }
        _ => Api::all(connection.client.clone()),
    };
    let mut params = params(kind);
    if kind == InputKind::Pod && !wanted.pods.selects_all() {
        params = params.labels(&wanted.pods.to_string());
    }
    let mut paging = Paging {
        connection,
        timeout: wanted.timeout,
        protobuf: true,
    };
    let mut result = pages(&api, index, &params, paging, progress).await;
    if let Err(failed) = &result
        && protobuf::is_refused(failed)
    {
        protobuf::log_refusal(kind, failed);
        paging.protobuf = false;
        result = pages(&api, index, &params, paging, progress).await;
    }
    if matches!(&result, Err(failed) if failed.code() == Some(410)) {
        result = pages(&api, index, &params, paging, progress).await;
    }
    match result {
        Ok(_) => Ok(()),
        Err(Failed::Api(kube::Error::Api(status))) if Status::is_forbidden(&status) => {
            index.write().read(kind, |reading| reading.forbidden = true);
            Err(Error::Forbidden {
                kind,
                status: status.message,
            })
        }
        Err(source) => Err(Error::Failed { kind, source }),
    }
}

/// The parameters of a list of a whole kind.
pub(super) fn params(kind: InputKind) -> ListParams {
    let params = ListParams::default().limit(PAGE_SIZE);
    match field_selector(kind) {
        Some(fields) => params.fields(fields),
        None => params,
    }
}

/// How pages are asked for.
#[derive(Clone, Copy)]
pub(super) struct Paging<'a> {
    pub(super) connection: &'a Connection,
    /// How long the API server may take for one page.
    pub(super) timeout: Duration,
    /// Whether to ask for protobuf, of kinds that are read so.
    pub(super) protobuf: bool,
}

/// Reads all objects of a kind in pages, and returns their resource version.
pub(super) async fn pages<K: Kind + Clone + std::fmt::Debug>(
    api: &Api<Object<K>>,
    index: &SharedIndex,
    first: &ListParams,
    paging: Paging<'_>,
    progress: Progress<'_>,
) -> Result<Option<String>, Failed>
where
    Index: Indexed<K>,
{
    index.write().begin::<K>();
    let mut params = first.clone();
    let mut announced = 0;
    loop {
        let (items, metadata) = page(api, index, &params, paging).await?;
        let remaining = metadata.remaining_item_count.unwrap_or_default();
        // The remaining count is an estimate, which only grows here.
        let expected = items + u64::try_from(remaining).unwrap_or_default();
        progress(items, expected.saturating_sub(announced));
        announced = announced.max(expected) - items;
        if metadata.continue_.is_empty() {
            index.write().commit::<K>();
            return Ok(Some(metadata.resource_version).filter(|version| !version.is_empty()));
        }
        params = params.continue_token(&metadata.continue_);
    }
}

/// Reads one page into the index, and returns how many objects it had and what it says of the list; asks again where
/// the API server is busy.
async fn page<K: Kind + Clone + std::fmt::Debug>(
    api: &Api<Object<K>>,
    index: &SharedIndex,
    params: &ListParams,
    paging: Paging<'_>,
) -> Result<(u64, ListMetadata), Failed>
where
    Index: Indexed<K>,
{
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut attempts = 1;
    loop {
        paging.connection.throttle.passed().await;
        let failed = match within(paging.timeout, ask(api, index, params, paging)).await {
            Ok(page) => return Ok(page),
            Err(failed) => failed,
        };
        let is_passing = matches!(failed.code(), Some(429 | 500 | 503 | 504));
        if !is_passing || attempts == ATTEMPTS {
            return Err(failed);
        }
        attempts += 1;
        tracing::debug!(%failed, "a page is asked for again");
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

/// Asks for one page once. The objects before a failure are in the index: with those of the next attempt, they are
/// the same.
async fn ask<K: Kind + Clone + std::fmt::Debug>(
    api: &Api<Object<K>>,
    index: &SharedIndex,
    params: &ListParams,
    paging: Paging<'_>,
) -> kube::Result<(u64, ListMetadata)>
where
    Index: Indexed<K>,
{
    if let Some(decode) = K::Wire::DECODE.filter(|_| paging.protobuf) {
        let params = params.clone().limit(PROTOBUF_PAGE_SIZE);
        let request = kube::core::Request::new(api.resource_url()).list(&params);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let mut items = 0;
        let apply = |object: Object<K>| {
            items += 1;
            object.apply_to(&mut index.write());
        };
        let client = &paging.connection.client;
        let metadata = protobuf::page(client, request, decode, apply).await?;
        return Ok((items, metadata));
    }
    let page = api.list(params).await?;
    let items = page.items.len() as u64;
    let mut index = index.write();
    for object in page.items {
        object.apply_to(&mut index);
    }
    let metadata = ListMetadata {
        resource_version: page.metadata.resource_version.unwrap_or_default(),
        continue_: page.metadata.continue_.unwrap_or_default(),
        remaining_item_count: page.metadata.remaining_item_count,
    };
    Ok((items, metadata))
}
