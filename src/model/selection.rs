//! Which namespaces of a cluster are judged.

use std::collections::BTreeSet;

use glob::Pattern;

use super::LabelSelector;

/// The namespaces whose accounts get a verdict: all conditions hold. By default all namespaces do. Bindings count in
/// every namespace, whatever is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Their names; all where there are none.
    pub names: BTreeSet<Box<str>>,
    /// Patterns of names that are left out.
    pub except: Vec<Pattern>,
    /// Which labels they have.
    pub labels: LabelSelector,
}

/// Why a namespace is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// Others are named.
    Unnamed,
    /// A pattern leaves out its name.
    Excluded,
    /// It has other labels.
    Unlabelled,
}

impl LeftOut {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unnamed, Self::Excluded, Self::Unlabelled];

    /// The key of the configuration file that leaves it out.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Unnamed => "namespaces",
            Self::Excluded => "excludeNamespaces",
            Self::Unlabelled => "namespaceSelector",
        }
    }

    /// The condition that leaves it out, as the command line spells it.
    #[must_use]
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Unnamed => "namespace",
            Self::Excluded => "exclude-namespace",
            Self::Unlabelled => "namespace-selector",
        }
    }
}

impl Selection {
    /// These namespaces alone.
    pub fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            names: names.into_iter().map(Box::from).collect(),
            ..Self::default()
        }
    }

    /// Whether no namespace is left out.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        self.names.is_empty() && self.except.is_empty() && !self.depends_on_labels()
    }

    /// Whether the labels of a namespace decide.
    #[must_use]
    pub const fn depends_on_labels(&self) -> bool {
        !self.labels.selects_all()
    }

    /// The conditions that there are.
    pub fn conditions(&self) -> impl Iterator<Item = LeftOut> {
        [
            (!self.names.is_empty()).then_some(LeftOut::Unnamed),
            (!self.except.is_empty()).then_some(LeftOut::Excluded),
            self.depends_on_labels().then_some(LeftOut::Unlabelled),
        ]
        .into_iter()
        .flatten()
    }

    /// Why the name of a namespace alone leaves it out.
    #[must_use]
    pub fn leaves_out_name(&self, namespace: &str) -> Option<LeftOut> {
        if !self.names.is_empty() && !self.names.contains(namespace) {
            return Some(LeftOut::Unnamed);
        }
        let mut except = self.except.iter();
        except
            .any(|pattern| pattern.matches(namespace))
            .then_some(LeftOut::Excluded)
    }

    /// Why a namespace with these labels is left out.
    pub fn leaves_out<'a>(
        &self,
        namespace: &str,
        label: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<LeftOut> {
        let by_labels = || (!self.labels.matches(label)).then_some(LeftOut::Unlabelled);
        self.leaves_out_name(namespace).or_else(by_labels)
    }

    /// The names that are selected, without those that are left out again.
    pub fn selected_names(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(|name| &**name);
        names.filter(|name| self.leaves_out_name(name).is_none())
    }

    /// The patterns that match one name alone.
    pub fn excluded_names(&self) -> impl Iterator<Item = &str> {
        let patterns = self.except.iter().map(Pattern::as_str);
        patterns.filter(|pattern| is_name(pattern))
    }
}

/// Whether a namespace can have this name (RFC 1123).
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The name of a namespace.
///
/// # Errors
/// When no namespace can have it.
pub fn name(text: &str) -> Result<Box<str>, String> {
    if is_name(text) {
        return Ok(text.into());
    }
    Err(format!(
        "{text:?} is not the name of a namespace: use lower-case letters, digits and `-`; only what is excluded may be a pattern"
    ))
}

/// A pattern of names of namespaces.
///
/// # Errors
/// When it is empty or malformed.
pub fn pattern(text: &str) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("is empty: use a name, or a pattern such as kube-*".to_owned());
    }
    Pattern::new(text).map_err(|error| format!("is not a valid pattern: {}: {text:?}", error.msg))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn selection(names: &[&str], except: &[&str], labels: &str) -> Selection {
        Selection {
            except: except.iter().map(|text| pattern(text).unwrap()).collect(),
            labels: labels.parse().unwrap(),
            ..Selection::only(names.iter().copied())
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let team = |key: &str| (key == "team").then_some("a");
        for (selection, namespace, left_out) in [
            (selection(&[], &[], ""), "shop", None),
            (selection(&["shop"], &[], ""), "shop", None),
            (
                selection(&["shop"], &[], ""),
                "bank",
                Some(LeftOut::Unnamed),
            ),
            (
                selection(&[], &["kube-*"], ""),
                "kube-system",
                Some(LeftOut::Excluded),
            ),
            (selection(&[], &["kube-*", "default"], ""), "shop", None),
            (
                selection(&["shop"], &["sh*"], ""),
                "shop",
                Some(LeftOut::Excluded),
            ),
            (selection(&[], &[], "team=a"), "shop", None),
            (
                selection(&[], &[], "team!=a"),
                "shop",
                Some(LeftOut::Unlabelled),
            ),
            (
                selection(&["shop"], &[], "!team"),
                "shop",
                Some(LeftOut::Unlabelled),
            ),
            (
                selection(&["x"], &[], "!team"),
                "shop",
                Some(LeftOut::Unnamed),
            ),
        ] {
            assert_eq!(
                selection.leaves_out(namespace, team),
                left_out,
                "{selection:?}"
            );
        }
    }

    #[test]
    fn names_and_patterns_are_told_apart() {
        let selection = selection(&["a", "b"], &["b", "kube-*", "x?", "c"], "");
        assert_eq!(selection.selected_names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(selection.excluded_names().collect::<Vec<_>>(), ["b", "c"]);
        for text in ["", "Team", "team-*", "a.b", "-a", "a-", &*"a".repeat(64)] {
            assert!(
                name(text).unwrap_err().contains("is not the name"),
                "{text}"
            );
        }
        assert!(pattern("").is_err() && pattern("a[").is_err());
    }
}
