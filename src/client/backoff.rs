//! Pauses after failures: each twice as long as the one before, up to a limit.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// The pauses of one series of requests.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `first`, doubled after each further failure, up to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// How long to wait after another failure. It is random between half and the whole of the pause: what fails
    /// at the same time is not tried again at the same time.
    pub fn next_pause(&mut self) -> Duration {
        let pause = doubled(self.first, self.failures, self.longest);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(f64::midpoint(1.0, random()))
    }

    /// What failed works again: the next pause is the first.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The pause after the nth failure in a row, counted from 0.
#[must_use]
pub fn doubled(first: Duration, failures: u32, longest: Duration) -> Duration {
    first
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(longest)
}

/// A number from 0 to 1. Each hasher of the standard library has random keys.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    u32::try_from(bits).map_or(0.0, f64::from) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_begins_anew() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(30));
        for whole in [1, 2, 4, 8, 16, 30, 30] {
            let pause = backoff.next_pause();
            let range = seconds(whole) / 2..=seconds(whole);
            assert!(range.contains(&pause), "{pause:?} of {whole}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= seconds(1));
        assert_eq!(doubled(seconds(1), 200, seconds(30)), seconds(30));
    }

    #[test]
    fn pauses_differ() {
        let mut pauses: Vec<_> = (0..50)
            .map(|_| Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).next_pause())
            .collect();
        pauses.sort_unstable();
        pauses.dedup();
        assert!(pauses.len() > 10, "{pauses:?}");
    }
}
