//! Which namespaces of a cluster are judged, and what is said of the others.

use glob::Pattern;

use crate::{
    index::Index,
    model::{LabelSelector, LeftOut, Selection, selection},
};

/// The flags that select namespaces; each replaces the key of the configuration file that means the same.
#[derive(Debug, clap::Args)]
pub(super) struct NamespaceArgs {
    /// Namespace; repeatable; in files, that of objects without one
    #[arg(short, long, value_name = "NAME", value_parser = selection::name)]
    namespace: Vec<Box<str>>,
    /// Leave out namespaces whose name matches, as kube-*; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    exclude_namespace: Vec<Pattern>,
    /// Judge only namespaces with these labels
    #[arg(long, value_name = "LABELS")]
    namespace_selector: Option<LabelSelector>,
}

fn pattern(text: &str) -> Result<Pattern, String> {
    selection::pattern(text).map_err(|why| format!("the pattern {why}"))
}

impl NamespaceArgs {
    /// What the flags select, and the configuration file where they say nothing.
    pub(super) fn over(&self, mut config: Selection) -> Selection {
        if !self.namespace.is_empty() {
            config.names = self.namespace.iter().cloned().collect();
        }
        if !self.exclude_namespace.is_empty() {
            config.except.clone_from(&self.exclude_namespace);
        }
        if let Some(labels) = &self.namespace_selector {
            config.labels.clone_from(labels);
        }
        config
    }

    /// The same for a scan: the current namespace, where nothing names one and no flag chooses among all.
    pub(super) fn over_in(&self, config: Selection, all: bool, current: &str) -> Selection {
        let mut selection = self.over(config);
        if all {
            selection.names.clear();
        } else if selection.names.is_empty() && !self.selects() {
            selection.names.insert(current.into());
        }
        selection
    }

    /// Whether a flag chooses among all namespaces.
    fn selects(&self) -> bool {
        !self.exclude_namespace.is_empty() || self.namespace_selector.is_some()
    }

    /// The namespace of objects in files that name none.
    pub(super) fn of_files(&self) -> anyhow::Result<Option<&str>> {
        if self.selects() {
            anyhow::bail!(
                "--exclude-namespace and --namespace-selector select namespaces of a cluster: name the files to scan instead"
            );
        }
        match &self.namespace[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [..] => anyhow::bail!(
                "with files, --namespace is the namespace of objects that name none: give one"
            ),
        }
    }

    /// How many namespaces are left out, and by what; `None` where there is none. That others are named with
    /// --namespace is said only where `unnamed` asks for it.
    pub(super) fn left_out(&self, index: &Index, unnamed: bool) -> Option<String> {
        let conditions = index.config().namespaces.conditions();
        let said: Vec<_> = conditions
            .filter(|by| unnamed || *by != LeftOut::Unnamed)
            .collect();
        let Some(counts) = index.left_out() else {
            let by: Vec<_> = said.iter().map(|by| self.spelled(*by)).collect();
            return (!by.is_empty()).then(|| {
                format!(
                    "namespaces are left out by {}; how many is not known",
                    by.join(" and ")
                )
            });
        };
        let counts = said.into_iter().filter_map(|by| {
            let count = counts.get(&by).copied().filter(|count| *count > 0)?;
            Some((count, self.spelled(by)))
        });
        let mut text = String::new();
        for (count, by) in counts {
            if text.is_empty() {
                let are = if count == 1 {
                    "namespace is"
                } else {
                    "namespaces are"
                };
                text = format!("{count} {are} left out by {by}");
            } else {
                text = format!("{text}, {count} by {by}");
            }
        }
        (!text.is_empty()).then(|| text + "; what their RoleBindings grant to others counts")
    }

    /// A condition, as the user wrote it.
    fn spelled(&self, by: LeftOut) -> String {
        let is_flag = match by {
            LeftOut::Unnamed => !self.namespace.is_empty(),
            LeftOut::Excluded => !self.exclude_namespace.is_empty(),
            LeftOut::Unlabelled => self.namespace_selector.is_some(),
        };
        if is_flag {
            format!("--{}", by.condition())
        } else {
            format!("`{}` of the configuration", by.key())
        }
    }
}
