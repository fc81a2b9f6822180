//! Where logs go: standard error.

use std::{
    io::{self, Write},
    mem,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, writer::BoxMakeWriter},
};

use crate::output::table::visible;

/// How many lines wait to be written; further ones are lost.
const MAX_LINES: usize = 4_096;
/// How long a line of text may be, in bytes. What others write, such as the names of RBAC objects, may be longer.
const MAX_BYTES: usize = 8_192;

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
            .map_writer(OneLine)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// Writes each event as one line, whatever is in the names that it has.
struct OneLine(BoxMakeWriter);

impl<'a> MakeWriter<'a> for OneLine {
    type Writer = Line<<BoxMakeWriter as MakeWriter<'a>>::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.make_writer())
    }
}

struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    /// Writes an event, which the subscriber passes as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(one_line(event).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An event as one line that shows what would be hidden. The colours of a terminal stay: in the text of others, the
/// subscriber has escaped them.
fn one_line(event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let shown = &text[..text.floor_char_boundary(MAX_BYTES)];
    let parts = shown.split('\u{1b}').map(visible);
    let line = parts.collect::<Vec<_>>().join("\u{1b}");
    if shown.len() < text.len() {
        // It may end within a colour.
        let reset = if line.contains('\u{1b}') {
            "\u{1b}[0m"
        } else {
            ""
        };
        format!("{line}{reset}… ({} bytes)\n", text.len())
    } else {
        line + "\n"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_limited_length() {
        for (event, expected) in [
            ("2026  INFO read\n", "2026  INFO read\n"),
            (
                "\u{1b}[33m WARN\u{1b}[0m a\n2026  INFO b\u{202e}c\n",
                "\u{1b}[33m WARN\u{1b}[0m a\\u{a}2026  INFO b\\u{202e}c\n",
            ),
        ] {
            assert_eq!(one_line(event.as_bytes()), expected);
        }
        let long = one_line("ä".repeat(MAX_BYTES).as_bytes());
        assert!(long.ends_with("… (16384 bytes)\n") && long.len() < MAX_BYTES + 30);
    }
}
