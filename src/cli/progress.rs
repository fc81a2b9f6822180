//! A progress bar on standard error: only on a terminal, and only for what takes long.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long something takes before a bar is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Something that may take long; the bar goes with it.
pub(super) struct Progress {
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    /// It begins; `what` is counted.
    pub(super) fn of(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let template = "{bar:40} {human_pos} of {human_len} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self {
            bar,
            since: Instant::now(),
        }
    }

    /// So much more was read, and there is so much more to read.
    pub(super) fn advance(&self, read: u64, more: u64) {
        self.bar.inc_length(more);
        self.bar.inc(read);
        if self.bar.is_hidden() && self.since.elapsed() > PATIENCE && is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
