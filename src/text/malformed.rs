//! An error in a text, with its position.

use std::fmt;

/// The message for a template of a Helm chart.
pub(crate) const UNRENDERED: &str =
    "looks like a template of a Helm chart: scan the output of `helm template` instead";

/// An error in a text, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The line, counted from 1; 0 when unknown.
    pub(crate) line: usize,
    /// The column, counted from 1; 0 when unknown.
    pub(crate) column: usize,
    pub(crate) message: String,
    /// Whether what could not be read may be a role or a binding.
    pub(crate) may_be_rbac: bool,
}

impl Malformed {
    /// An error at a position, which is no role and no binding as far as it is known.
    pub(crate) fn at(line: usize, column: usize, message: impl Into<String>) -> Self {
        Self {
            line,
            column,
            message: message.into(),
            may_be_rbac: false,
        }
    }

    /// The place in a file, as compilers print it, with what is known of the position.
    pub(crate) fn place(&self, file: &impl fmt::Display) -> String {
        match (self.line, self.column) {
            (0, _) => file.to_string(),
            (line, 0) => format!("{file}:{line}"),
            (line, column) => format!("{file}:{line}:{column}"),
        }
    }

    /// The error of a parser of JSON, with its position taken out of the message.
    pub(crate) fn from_json(error: &serde_json::Error) -> Self {
        Self::at(error.line(), error.column(), strip_position(error))
    }

    /// The error of a parser, with its position taken out of the message.
    pub(crate) fn from_yaml(error: &serde_saphyr::Error) -> Self {
        let (line, column) = error
            .location()
            .map_or((0, 0), |location| (location.line(), location.column()));
        let mut message = strip_position(error.without_snippet());
        if message.starts_with("budget breached") || message.contains("replay") {
            "the aliases expand to more than can be read: replace them with their content"
                .clone_into(&mut message);
        } else if message.starts_with("recursive references") {
            "an anchor contains an alias of itself".clone_into(&mut message);
        } else if message.starts_with("cannot deserialize null into string") {
            "a key is empty (null): write the text that it stands for, in quotes"
                .clone_into(&mut message);
        }
        let number = |number| usize::try_from(number).unwrap_or_default();
        Self::at(number(line), number(column), message)
    }

    /// The same error, if `before` lines of the file precede the parsed document.
    pub(crate) fn in_document(mut self, before: usize, document: &str) -> Self {
        if self.line > 0 {
            self.line += before;
        }
        if document.contains("{{") {
            self.message = format!("{UNRENDERED} ({})", self.message);
        }
        self.may_be_rbac = document.lines().any(names_rbac);
        self
    }
}

/// Whether a line has the kind or the API group of a role or a binding.
fn names_rbac(line: &str) -> bool {
    let after_kind = line.split_once("kind").map_or("", |(_, rest)| rest);
    line.contains("rbac.authorization.k8s.io")
        || after_kind.contains("Role")
        || after_kind.contains("Binding")
}

/// The message of an error without its position, which is printed separately, or counts from the object
/// instead of the file.
pub(crate) fn strip_position(error: &impl ToString) -> String {
    let message = error.to_string();
    let bare = message.split(" at line ").next();
    bare.unwrap_or_default().to_owned()
}
