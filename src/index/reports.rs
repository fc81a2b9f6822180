//! Our own reports: an edit or a deletion by another client makes the account dirty. What was written
//! is read from the cluster after a restart.

use super::{Index, Indexed, Table};
pub use crate::facts::report::ReportFacts;
use crate::{
    facts::Reports,
    model::{ObjectKey, ServiceAccountRef},
};

impl Index {
    /// The report of an account, as last seen or written.
    #[must_use]
    pub fn report(&self, account: &ServiceAccountRef) -> Option<&ReportFacts> {
        self.reports.get(&account.clone().into())
    }
}

impl Indexed<Reports> for Index {
    fn table(&mut self) -> &mut Table<ReportFacts> {
        &mut self.reports
    }

    fn changed(&mut self, key: &ObjectKey, _old: Option<&ReportFacts>, new: Option<&ReportFacts>) {
        let reported = new.is_some();
        self.touch(&key.clone().into(), |account| account.reported = reported);
    }

    fn version(facts: &ReportFacts) -> Option<u64> {
        facts.version
    }

    /// A list is the present, even where its versions are older: etcd may have been restored.
    fn begins(&mut self) {
        self.reports.for_each(|facts| facts.version = None);
    }
}
