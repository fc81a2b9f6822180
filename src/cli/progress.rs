//! A progress bar on standard error, shown only on a terminal and only when the work takes longer than a
//! second.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long the work takes before the bar is shown.
const DELAY: Duration = Duration::from_secs(1);

/// Progress of some work; the bar is removed on drop.
pub(super) struct Progress {
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    /// Starts to count; `unit` is shown after the counts.
    pub(super) fn of(unit: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let template = "{bar:40} {human_pos} of {human_len} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(unit);
        Self {
            bar,
            since: Instant::now(),
        }
    }

    /// Adds to what was read, and to what there is to read.
    pub(super) fn advance(&self, read: u64, found: u64) {
        self.bar.inc_length(found);
        self.bar.inc(read);
        if self.bar.is_hidden() && self.since.elapsed() > DELAY && is_terminal() {
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
