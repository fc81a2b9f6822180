//! Where logs go: standard error.

use std::{io, mem};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

/// How many lines wait to be written; further ones are lost.
const MAX_LINES: usize = 4_096;

/// The format of logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Plain text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs warnings of a command that runs once.
pub(super) fn once() {
    start(BoxMakeWriter::new(io::stderr), LogFormat::Text, "warn");
}

/// Logs of a command that keeps running. A thread of its own writes them: whoever reads them slowly, or not at
/// all, loses lines and delays nothing.
pub(super) fn keep(format: LogFormat) -> Logs {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_LINES)
        .finish(io::stderr());
    let lost = writer.error_counter();
    start(BoxMakeWriter::new(writer), format, "info");
    Logs {
        lost,
        guard: Some(guard),
    }
}

/// `RUST_LOG` sets the level. By default the client library's line for each failed request is not logged: this
/// program logs the failure once, with the fix. A standard error that cannot be written is no reason to stop.
fn start(writer: BoxMakeWriter, format: LogFormat, default: &str) {
    let default = || EnvFilter::new(format!("{default},kube_client=off,kube_runtime=off"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false)
        .with_target(false);
    match format {
        LogFormat::Text => logs
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// The thread that writes logs; lines that wait are written when this is dropped.
pub(super) struct Logs {
    /// Counts the lines that were lost.
    pub(super) lost: ErrorCounter,
    guard: Option<WorkerGuard>,
}

impl Drop for Logs {
    fn drop(&mut self) {
        // Nobody reads them: waiting for a reader would delay the exit.
        if self.lost.dropped_lines() > 0 {
            mem::forget(self.guard.take());
        }
    }
}
