//! What is wrong with a text, and where.

/// What is wrong with the template of a chart.
pub(crate) const UNRENDERED: &str =
    "looks like the template of a Helm chart: scan what `helm template` makes of it";

/// What a file turned out not to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The line, counted from 1; 0 when unknown.
    pub(crate) line: usize,
    /// The column, counted from 1; 0 when unknown.
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl Malformed {
    /// What the parser says, with the place apart.
    pub(crate) fn from_yaml(error: &serde_saphyr::Error) -> Self {
        let (line, column) = error
            .location()
            .map_or((0, 0), |location| (location.line(), location.column()));
        let mut message = strip_position(error.without_snippet());
        if message.starts_with("budget breached") || message.contains("replay") {
            "its aliases stand for more than is read: write out what they stand for"
                .clone_into(&mut message);
        }
        Self {
            line: usize::try_from(line).unwrap_or_default(),
            column: usize::try_from(column).unwrap_or_default(),
            message,
        }
    }

    /// The same, where so many lines of the file stand before what was parsed.
    pub(crate) fn in_document(mut self, before: usize, document: &str) -> Self {
        if self.line > 0 {
            self.line += before;
        }
        if document.contains("{{") {
            self.message = format!("{UNRENDERED} ({})", self.message);
        }
        self
    }
}

/// The message of an error without its position, which is told apart, or counts from the object and
/// not the file.
pub(crate) fn strip_position(error: &impl ToString) -> String {
    let message = error.to_string();
    let bare = message.split(" at line ").next();
    bare.unwrap_or_default().to_owned()
}
