//! Namespaces that begin to be selected while their pods are watched: their pods were turned away.

use std::time::Duration;

use kube::Api;

use super::{ANSWER, Failure, Watch, list};
use crate::{
    facts::Kind,
    index::{Index, Indexed},
    model::InputKind,
};

/// How often it is asked whether it is known which namespaces are selected.
const POLL: Duration = Duration::from_millis(100);

impl<K: Kind + Clone + Send + Sync + std::fmt::Debug> Watch<K>
where
    Index: Indexed<K>,
{
    /// Resolves when it is known which namespaces are selected: until then, the pods of all would be kept.
    pub(super) async fn await_selection(&self) {
        while K::INPUT == InputKind::Pod && !self.feed.index.read().knows_selection() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lists the pods of namespaces that have just been selected. The watch then goes on from where it was: what has
    /// happened since is repeated, so that no list can bring back an older state.
    pub(super) async fn enter(&mut self) -> Result<(), Failure> {
        if K::INPUT != InputKind::Pod {
            return Ok(());
        }
        let entering = self.feed.index.read().entering();
        for (namespace, turn) in entering {
            let api = Api::namespaced_with(self.connection.client.clone(), &namespace, &());
            let paging = list::Paging {
                connection: &self.connection,
                timeout: ANSWER,
                protobuf: self.protobuf,
            };
            let params = list::params(K::INPUT, &self.selection);
            list::pages(&api, &self.feed.index, &params, paging, &|_, _| {}).await?;
            self.load(|index| index.entered(&namespace, turn));
        }
        Ok(())
    }
}
