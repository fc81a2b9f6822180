//! Which failures are logged? The first of a cause at once, ever fewer while it lasts, and the end.
//!
//! An API server that fails concerns every account and every watch: thousands of lines would hide that
//! it is one failure. What is not logged as a warning is logged at level `debug`, and counted.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How long a cause is not logged again after its first line; this doubles with each further line.
const FIRST_SILENCE: Duration = Duration::from_mins(1);
/// The longest time without a line about a cause that lasts.
const LONGEST_SILENCE: Duration = Duration::from_hours(1);
/// How many causes are remembered; the causes of a subject beyond them share one line.
const MOST_CAUSES: usize = 256;

/// How much of a text that others write is logged and remembered, in bytes: names of RBAC objects have no limit of their own.
const MOST_BYTES: usize = 512;

/// The begin of a text that others write.
#[must_use]
pub fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_BYTES)]
}

/// Limits how often failures are logged: clones share what they remember.
#[derive(Clone, Debug, Default)]
pub struct LogLimiter(Arc<Mutex<BTreeMap<Cause, Failing>>>);

/// What fails, and why.
type Cause = (&'static str, Box<str>);

/// A failure that lasts.
#[derive(Debug)]
struct Failing {
    /// How often it failed since it began.
    failures: u64,
    logged: Instant,
    silence: Duration,
}

impl Failing {
    /// Whether it was not seen for so long that a line about it would have been due twice.
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.logged) >= 2 * self.silence
    }
}

impl LogLimiter {
    /// Counts a failure of a subject, for example `reports`, and returns whether to log it.
    #[must_use]
    pub fn failed(&self, subject: &'static str, cause: &str) -> bool {
        self.failed_at(subject, cause, Instant::now())
    }

    fn failed_at(&self, subject: &'static str, cause: &str, now: Instant) -> bool {
        let mut known = self.0.lock();
        let mut key = (subject, Box::from(clipped(cause)));
        if known.len() >= MOST_CAUSES && !known.contains_key(&key) {
            known.retain(|_, failing| !failing.is_over(now));
            if known.len() >= MOST_CAUSES {
                key.1 = Box::default();
            }
        }
        let Some(failing) = known.get_mut(&key) else {
            let failing = Failing {
                failures: 1,
                logged: now,
                silence: FIRST_SILENCE,
            };
            known.insert(key, failing);
            return true;
        };
        failing.failures += 1;
        let due = now.saturating_duration_since(failing.logged) >= failing.silence;
        if due {
            failing.logged = now;
            failing.silence = (2 * failing.silence).min(LONGEST_SILENCE);
        }
        due
    }

    /// Forgets the failures of a subject that works again, and returns how many there were; `None` if
    /// there were none.
    #[must_use]
    pub fn recovered(&self, subject: &'static str) -> Option<u64> {
        let mut known = self.0.lock();
        let mut failures = 0;
        known.retain(|(failed, _), failing| {
            let keep = *failed != subject;
            failures += if keep { 0 } else { failing.failures };
            keep
        });
        (failures > 0).then_some(failures)
    }
}

/// How much is told within a minute, whatever happens: what is beyond is only counted.
#[derive(Debug, Default)]
pub struct Window {
    began: Option<Instant>,
    told: u32,
    /// How much was not told since the last time that something was.
    untold: u64,
}

impl Window {
    /// How many admissions a minute has.
    const MOST: u32 = 100;
    const LASTS: Duration = Duration::from_mins(1);

    /// Whether there is room for one more: then how many were turned away before it.
    pub fn admits(&mut self, now: Instant) -> Option<u64> {
        let is_over = |began: Instant| now.saturating_duration_since(began) >= Self::LASTS;
        if self.began.is_none_or(is_over) {
            (self.began, self.told) = (Some(now), 0);
        }
        if self.told < Self::MOST {
            self.told += 1;
            return Some(std::mem::take(&mut self.untold));
        }
        self.untold += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_in_a_minute_are_admitted_and_the_others_counted() {
        let (mut window, began) = (Window::default(), Instant::now());
        let mut admitted = |seconds: u64| {
            let now = began + Duration::from_secs(seconds);
            let answers = (0..300).map(|_| window.admits(now));
            let admitted: Vec<u64> = answers.flatten().collect();
            (admitted.len(), admitted.iter().sum::<u64>())
        };
        let expected = [(100, 0), (0, 0), (100, 500), (100, 200)];
        assert_eq!([0, 59, 60, 120].map(&mut admitted), expected);
    }

    #[test]
    fn a_cause_that_lasts_is_logged_ever_more_rarely() {
        let limiter = LogLimiter::default();
        let began = Instant::now();
        let logged = |cause, seconds| {
            limiter.failed_at("reports", cause, began + Duration::from_secs(seconds))
        };
        assert!(logged("server", 0) && logged("timeout", 1));
        assert!(!logged("server", 1) && !logged("timeout", 59));
        assert!(logged("server", 60) && !logged("server", 179) && logged("server", 180));
        let hours = (0..48).filter(|hour| logged("timeout", 3_600 * hour + 61));
        assert_eq!(hours.count(), 48);
    }

    #[test]
    fn what_recovered_is_logged_at_once_when_it_fails_again() {
        let limiter = LogLimiter::default();
        assert!(limiter.failed("reports", "server") && !limiter.failed("reports", "server"));
        assert!(limiter.failed("pods", "server"));
        assert_eq!(limiter.recovered("reports"), Some(2));
        assert_eq!(limiter.recovered("reports"), None);
        assert!(limiter.failed("reports", "server") && !limiter.failed("pods", "server"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_other_subjects_are_still_logged() {
        let full = || {
            let limiter = LogLimiter::default();
            let causes = (0..10_000).map(|number| number.to_string());
            let logged = causes.filter(|cause| limiter.failed("report content", cause));
            assert_eq!(logged.count(), MOST_CAUSES + 1);
            limiter
        };
        let limiter = full();
        assert!(limiter.failed("pods", "server"));
        assert_eq!(limiter.0.lock().len(), MOST_CAUSES + 2);
        assert_eq!(limiter.recovered("report content"), Some(10_000));
        // The causes that are over make room for new ones.
        let (limiter, later) = (full(), Instant::now() + 2 * FIRST_SILENCE);
        assert!(limiter.failed_at("report content", "new", later));
        assert!(limiter.failed_at("report content", "newer", later));
        assert_eq!(limiter.0.lock().len(), 2);
    }
}
