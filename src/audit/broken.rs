//! What could not be read, in the words of a warning.

use std::path::PathBuf;

use super::place;
use crate::text::Problem;

/// Lines that could not be read: how many, and the first.
#[derive(Debug)]
pub(super) struct Broken {
    count: u64,
    file: PathBuf,
    line: usize,
}

impl Broken {
    /// One line of a file.
    pub(super) const fn one(file: PathBuf, line: usize) -> Self {
        Self {
            count: 1,
            file,
            line,
        }
    }

    /// Both together, with the first of them in the order of files.
    pub(super) fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => {
                let count = one.count + other.count;
                let is_first = (&one.file, one.line) <= (&other.file, other.line);
                let first = if is_first { one } else { other };
                Some(Self { count, ..first })
            }
            (one, other) => one.or(other),
        }
    }

    /// The warning for people.
    pub(super) fn problem(&self) -> Problem {
        let more = match self.count {
            1 => String::new(),
            count => format!("; {count} such lines in all"),
        };
        Problem {
            place: format!("{}:{}", place(&self.file), self.line),
            message: format!("is not a whole audit event{more}"),
        }
    }
}
