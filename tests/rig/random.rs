//! Random numbers for tests, which can be had again.

use std::collections::BTreeSet;

/// A small random number generator that repeats its numbers for a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    /// Seeded by `SEED` in the environment, which is printed: the same seed gives the same test.
    #[expect(
        clippy::print_stdout,
        reason = "it is needed to run a failed test again"
    )]
    pub fn from_env() -> Self {
        let seed = std::env::var("SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("SEED={seed}");
        Self(seed)
    }

    /// Another one for each number, seeded by this one.
    pub fn fork(&self, number: usize) -> Self {
        Self(self.0 ^ (u64::try_from(number).unwrap() << 32))
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// At least one and up to `most` different items.
    pub fn some<'a>(&mut self, from: &[&'a str], most: usize) -> Vec<&'a str> {
        let picked: BTreeSet<_> = (0..=self.below(most)).map(|_| *self.pick(from)).collect();
        picked.into_iter().collect()
    }
}

/// How many cases a test tries: `CASES` in the environment.
pub fn cases(default: usize) -> usize {
    std::env::var("CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(default)
}
