//! Lists objects once, page by page, into the index.

mod error;

use std::{marker::PhantomData, time::Duration};

use kube::{Api, api::ListParams, core::Status};

pub use self::error::{Error, Place, messages};
use super::{
    OptIns, Progress, each_kind,
    object::{Object, field_selector},
    protobuf,
};
use crate::{
    client::{Backoff, Connection, Failed, within},
    facts::{Kind, Namespaces, Wire, wire::ListMetadata},
    index::{Index, Indexed, SharedIndex},
    model::{InputKind, LabelSelector, Selection},
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

/// What is listed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which of the kinds.
    pub kinds: &'a [InputKind],
    /// Which pods.
    pub pods: &'a LabelSelector,
    /// How long the API server may take to answer one request.
    pub timeout: Duration,
}

/// Lists the wanted kinds that verdicts depend on, side by side, and returns what failed. Of the namespaces that the
/// configuration of the index does not select, only what can grant something to others is read.
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
    let mut kinds = wanted.kinds.to_vec();
    if index.read().config().namespaces.depends_on_labels() {
        // What is read of the others depends on it.
        let errors = list::<Namespaces>(connection, index, wanted, progress).await;
        if !errors.is_empty() {
            return errors.into_iter().map(Error::of_selection).collect();
        }
        kinds.retain(|kind| *kind != InputKind::Namespace);
    }
    let wanted = Wanted {
        kinds: &kinds,
        ..*wanted
    };
    each_kind!(opt_ins, list(connection, index, &wanted, progress))
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// Lists one kind once: where the user names namespaces, what only their accounts depend on in each of them.
async fn list<K: Kind + Clone + std::fmt::Debug>(
    connection: &Connection,
    index: &SharedIndex,
    wanted: &Wanted<'_>,
    progress: Progress<'_>,
) -> Vec<Error>
where
    Index: Indexed<K>,
{
    let kind = K::INPUT;
    if !wanted.kinds.contains(&kind) {
        return Vec::new();
    }
    let selection = index.read().config().namespaces.clone();
    let mut params = params(kind, &selection);
    if kind == InputKind::Pod && !wanted.pods.selects_all() {
        params = params.labels(&wanted.pods.to_string());
    }
    let listing = Listing::<K> {
        connection,
        index,
        params,
        timeout: wanted.timeout,
        progress,
        kind: PhantomData,
    };
    let names: Vec<&str> = selection.selected_names().collect();
    let result = if kind.is_of_accounts() && !selection.names.is_empty() {
        listing.in_namespaces(&names).await
    } else {
        listing.in_cluster(&names).await
    };
    result.err().into_iter().collect()
}

/// The lists of one kind.
struct Listing<'a, K> {
    connection: &'a Connection,
    index: &'a SharedIndex,
    params: ListParams,
    timeout: Duration,
    progress: Progress<'a>,
    kind: PhantomData<K>,
}

impl<K: Kind + Clone + std::fmt::Debug> Listing<'_, K>
where
    Index: Indexed<K>,
{
    /// Lists the objects of all namespaces. Where that is denied, those of the namespaces that the user names count.
    async fn in_cluster(&self, names: &[&str]) -> Result<(), Error> {
        let kind = K::INPUT;
        let api = Api::all(self.connection.client.clone());
        let Some(status) = self.read(&[("", api)]).await?.pop() else {
            return Ok(());
        };
        if kind == InputKind::Namespace && self.get(names).await {
            return Ok(());
        }
        let reads_some = kind.is_namespaced()
            && !names.is_empty()
            && self.read(&self.namespaced(names)).await?.len() < names.len();
        let place = if reads_some {
            Place::Elsewhere
        } else {
            Place::Cluster
        };
        self.index
            .write()
            .read(kind, |reading| reading.forbidden = true);
        Err(Error::denied(kind, place, status.1))
    }

    /// Lists the objects of some namespaces.
    async fn in_namespaces(&self, names: &[&str]) -> Result<(), Error> {
        let kind = K::INPUT;
        let denied = self.read(&self.namespaced(names)).await?;
        let Some((_, status)) = denied.first() else {
            return Ok(());
        };
        let mut index = self.index.write();
        let place = if denied.len() == names.len() {
            index.read(kind, |reading| reading.forbidden = true);
            Place::Cluster
        } else {
            for (name, _) in &denied {
                index.deny(kind, name);
            }
            Place::Namespaces(
                denied
                    .iter()
                    .map(|(name, _)| name.as_str().into())
                    .collect(),
            )
        };
        Err(Error::denied(kind, place, status.clone()))
    }

    fn namespaced<'n>(&self, names: &[&'n str]) -> Vec<(&'n str, Api<Object<K>>)> {
        let client = &self.connection.client;
        let api = |name: &&'n str| (*name, Api::namespaced_with(client.clone(), name, &()));
        names.iter().map(api).collect()
    }

    /// Reads lists one after the other as one reading, and returns which were denied, and why. An expired continue
    /// token restarts all of them, once.
    async fn read(&self, lists: &[(&str, Api<Object<K>>)]) -> Result<Vec<(String, String)>, Error> {
        match self.attempt(lists).await {
            Err(Error::Failed { source, .. }) if source.code() == Some(410) => {
                self.attempt(lists).await
            }
            result => result,
        }
    }

    async fn attempt(
        &self,
        lists: &[(&str, Api<Object<K>>)],
    ) -> Result<Vec<(String, String)>, Error> {
        let mut denied = Vec::new();
        self.index.write().begin::<K>();
        for (name, api) in lists {
            match self.pages(api).await {
                Ok(_) => {}
                Err(Failed::Api(kube::Error::Api(status))) if Status::is_forbidden(&status) => {
                    denied.push(((*name).to_owned(), status.message));
                }
                Err(source) => {
                    return Err(Error::Failed {
                        kind: K::INPUT,
                        source,
                    });
                }
            }
        }
        self.index.write().commit::<K>();
        Ok(denied)
    }

    /// Reads one list; as JSON from an API server without protobuf.
    async fn pages(&self, api: &Api<Object<K>>) -> Result<Option<String>, Failed> {
        let mut paging = Paging {
            connection: self.connection,
            timeout: self.timeout,
            protobuf: true,
        };
        match pages(api, self.index, &self.params, paging, self.progress).await {
            Err(failed) if protobuf::is_refused(&failed) => {
                protobuf::log_refusal(K::INPUT, &failed);
                paging.protobuf = false;
                pages(api, self.index, &self.params, paging, self.progress).await
            }
            result => result,
        }
    }

    /// Reads the objects of these names, and returns whether it was allowed to.
    async fn get(&self, names: &[&str]) -> bool {
        let api: Api<Object<K>> = Api::all(self.connection.client.clone());
        for name in names {
            match within(self.timeout, api.get_opt(name)).await {
                Ok(Some(object)) => object.apply_to(&mut self.index.write()),
                Ok(None) => {}
                Err(_) => return false,
            }
        }
        !names.is_empty()
    }
}

/// The parameters of a list of a kind.
pub(super) fn params(kind: InputKind, selection: &Selection) -> ListParams {
    let params = ListParams::default().limit(PAGE_SIZE);
    match field_selector(kind, selection) {
        Some(fields) => params.fields(&fields),
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

/// Reads the objects of a list in pages, as a part of a reading, and returns their resource version.
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
