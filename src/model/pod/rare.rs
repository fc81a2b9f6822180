//! What few pods have: it stands apart, so that a pod without it is small.

use std::{ops::Deref, sync::LazyLock};

use super::{Delegation, HostAccess, Withheld};
use crate::model::{Claim, workload::CustomTemplate};

/// What few pods have; most have none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rare(Option<Box<RareFacts>>);

/// See [`Rare`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RareFacts {
    /// Where it is in an object of a custom kind; `None` for a pod and for built-in kinds.
    pub template: Option<Box<CustomTemplate>>,
    /// The exemption that its annotations state.
    pub exemption: Option<Box<Claim>>,
    /// Its labels that exemptions of the configuration match; sorted.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Systems that its labels or annotations keep away, whatever its namespace says; sorted.
    pub refuses: Box<[Box<str>]>,
    /// Systems whose clients use another token than the auto-mounted one here; sorted.
    pub own_tokens: Box<[Box<str>]>,
    /// What to do before the auto-mounted token is removed.
    pub before_removal: Box<[Box<str>]>,
    /// How its containers can read tokens of other pods on the node; sorted.
    pub host_access: Box<[HostAccess]>,
    /// Credentials for the pod's account other than the tokens in its volumes; sorted.
    pub delegations: Box<[Delegation]>,
    /// That a policy of this product withholds its token, as its annotation says and its volume shows.
    pub withheld: Option<Withheld>,
    /// The field that has more than is kept: then nothing is known of volumes and containers.
    pub exceeded: Option<&'static str>,
}

impl Rare {
    /// What it has, to change it.
    pub fn to_mut(&mut self) -> &mut RareFacts {
        self.0.get_or_insert_default()
    }

    /// What it has.
    #[must_use]
    pub fn into_facts(self) -> RareFacts {
        self.0.map(|facts| *facts).unwrap_or_default()
    }
}

impl From<RareFacts> for Rare {
    fn from(facts: RareFacts) -> Self {
        Self((facts != RareFacts::default()).then(|| Box::new(facts)))
    }
}

impl Deref for Rare {
    type Target = RareFacts;

    fn deref(&self) -> &RareFacts {
        static NONE: LazyLock<RareFacts> = LazyLock::new(RareFacts::default);
        self.0.as_deref().unwrap_or(&NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PodFacts;

    #[test]
    fn a_pod_with_nothing_rare_is_small() {
        assert_eq!(size_of::<PodFacts>(), 112);
        assert_eq!(Rare::from(RareFacts::default()), Rare::default());
        let mut rare = Rare::default();
        assert_eq!(rare.exceeded, None);
        rare.to_mut().exceeded = Some("spec.volumes");
        assert_eq!(rare, Rare::from(rare.clone().into_facts()));
        assert_eq!(rare.exceeded, Some("spec.volumes"));
    }
}
