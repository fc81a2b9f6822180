//! How many requests may write, and when: a limit for the API server, which is everybody's.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many write requests a second are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Until the first reports are complete.
    pub first: f64,
    /// From then on.
    pub sustained: f64,
}

/// A token bucket. Every request that writes a report takes a token; the Lease has none to take, and events
/// have a limit of their own.
#[derive(Debug)]
pub struct Budget {
    rates: Rates,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: f64,
    /// Below zero where requests went out that were not foreseen; at most what comes in within a second.
    tokens: f64,
    filled: Instant,
}

impl Budget {
    /// A full bucket.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            state: Mutex::new(State {
                rate: rates.first,
                tokens: rates.first.max(1.0),
                filled: Instant::now(),
            }),
        }
    }

    /// How many requests a second may write now.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.state.lock().rate
    }

    /// The first reports are complete: the sustained rate holds.
    pub(super) fn settle(&self) {
        self.state.lock().rate = self.rates.sustained;
    }

    /// Takes a token.
    pub(super) fn spend(&self) {
        let mut state = self.state.lock();
        state.fill(Instant::now());
        state.tokens -= 1.0;
    }

    /// Resolves when a request may write.
    pub(super) async fn ready(&self) {
        loop {
            let wait = {
                let mut state = self.state.lock();
                state.fill(Instant::now());
                state.wait()
            };
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }
}

impl State {
    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(self.rate.max(1.0));
        self.filled = now;
    }

    /// How long until there is a whole token.
    fn wait(&self) -> Duration {
        if self.tokens >= 1.0 {
            return Duration::ZERO;
        }
        let seconds = (1.0 - self.tokens) / self.rate;
        // A rounded pause must not end too early.
        Duration::from_secs_f64(seconds) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as many requests as allowed for this time, and returns how many.
    fn sent(state: &mut State, seconds: u64) -> u32 {
        let until = state.filled + Duration::from_secs(seconds);
        let mut sent = 0;
        loop {
            let next = state.filled + state.wait();
            if next > until {
                state.fill(until);
                return sent;
            }
            state.fill(next);
            state.tokens -= 1.0;
            sent += 1;
        }
    }

    #[test]
    fn no_more_requests_than_the_rate_and_one_second_of_it_at_once() {
        let rates = Rates {
            first: 200.0,
            sustained: 50.0,
        };
        let budget = Budget::new(rates);
        let first = sent(&mut budget.state.lock(), 10);
        assert!((1_800..=2_201).contains(&first), "{first}");
        budget.settle();
        assert!((budget.rate() - 50.0).abs() < 1e-9);
        let sustained = sent(&mut budget.state.lock(), 10);
        assert!((450..=551).contains(&sustained), "{sustained}");
        // Requests that were not foreseen are paid back.
        budget.state.lock().tokens -= 100.0;
        let after = sent(&mut budget.state.lock(), 4);
        assert!((80..=101).contains(&after), "{after}");
    }
}
