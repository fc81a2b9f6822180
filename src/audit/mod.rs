//! What do audit logs say, in which format? Reads the files of an API server, webhook batches, and the envelopes of
//! clouds and log shippers, in a stream and several files at a time. Nothing of a request's body is kept.

mod batch;
mod broken;
mod elements;
mod envelope;
mod event;
mod gke;
mod policy;
mod reader;
mod split;
mod time;
mod whole;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

pub use self::{
    batch::{Batch, CANARY, batch},
    policy::policy,
    time::instant,
};
use self::{broken::Broken, reader::Reader};
use crate::{
    model::identity::USERNAME_PREFIX,
    text::{Problem, paths},
    usage::{Micros, Record},
};

/// How the name of an account begins.
const ACCOUNT: &str = USERNAME_PREFIX;
/// How an event of the API server begins.
const OWN_KIND: &[u8] = br#"{"kind":"Event""#;

/// What each event has once, in one of its forms.
const MARKS: [&[u8]; 3] = [b"auditID", b"AuditId", b"protoPayload"];

/// The result of reading audit logs.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was learnt.
    pub record: Record,
    /// Files that could not be read.
    pub problems: Vec<Problem>,
    /// Lines that could not be read; everything else was.
    pub warnings: Vec<Problem>,
    /// How many events were read.
    pub events: u64,
}

/// Reads files, folders, patterns of them and `-` (standard input). Events before `since` are left out. `done` is told
/// how many files were just read, and how many were just found.
pub fn read(paths: &[PathBuf], since: Option<Micros>, done: &(dyn Fn(u64, u64) + Sync)) -> Outcome {
    let found = paths.iter().flat_map(|path| paths::find_logs(path));
    let (files, problems): (Vec<_>, Vec<_>) = found.partition(Result::is_ok);
    let mut files: Vec<PathBuf> = files.into_iter().filter_map(Result::ok).collect();
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
    let mut outcome = Outcome {
        problems: problems.into_iter().filter_map(Result::err).collect(),
        ..Outcome::default()
    };
    done(0, files.len() as u64);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut reader = Reader::since(since);
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            reader.file(file);
            done(1, 0);
        }
        reader
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let readers: Vec<Reader> = if workers.min(files.len()) < 2 {
        vec![work()]
    } else {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers.min(files.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
            joined.filter_map(Result::ok).collect()
        })
    };
    // What is in there is not known.
    for _ in &outcome.problems {
        outcome.record.unreadable();
    }
    let mut broken: Option<Broken> = None;
    for reader in readers {
        outcome.events += reader.events;
        outcome.record.merge(reader.record);
        outcome.problems.extend(reader.problems);
        broken = Broken::both(broken, reader.broken);
    }
    outcome
        .problems
        .sort_by(|one, other| one.place.cmp(&other.place));
    outcome
        .warnings
        .extend(broken.map(|broken| broken.problem()));
    outcome
}

/// The name of a file in messages.
fn place(file: &Path) -> String {
    if file.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// Whether a text names an account.
fn names_account(text: &[u8]) -> bool {
    memchr::memmem::find(text, ACCOUNT.as_bytes()).is_some()
}

/// Whether a text may have an event in it, or a part of one that matters.
fn may_have_event(text: &[u8]) -> bool {
    let is_in = |mark: &&[u8]| memchr::memmem::find(text, mark).is_some();
    names_account(text) || MARKS.iter().any(is_in)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]
mod tests;
