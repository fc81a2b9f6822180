//! Which API servers wrote the logs, and over which time without a break?

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Micros, SECOND};
use crate::model::usage::{Hole, MAX_SKEW};

/// How long an API server may show no sign of life: it renews its Lease every 10 seconds
/// (`IdentityLeaseRenewIntervalPeriod` of pkg/controlplane).
const SILENCE: Micros = 25 * SECOND;

/// How far the Leases of API servers that run differ at most: each is renewed every 10 seconds, by its own clock.
const ALIVE: Micros = (60 + MAX_SKEW) * SECOND;

/// How far the Leases of one moment differ at most: those that were not renewed for an hour are deleted, once an hour.
const COLLECTED: Micros = ALIVE + 2 * LONGEST;

/// How long an API server keeps a watch open that does not say how long: one to two times `--min-request-timeout`.
const LONGEST: Micros = 3600 * SECOND;

/// How events came from an API server to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// The API server wrote the file itself.
    File,
    /// In another way, which may lose events: a webhook, a log shipper, a cloud.
    Lossy(&'static str),
}

/// What the Lease of an API server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name, which stays when the server restarts.
    pub name: Box<str>,
    /// When it was last renewed: the server's log must reach this time.
    pub renewed: Option<Micros>,
}

/// Spans of time in which signs of life follow each other without a break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(BTreeMap<Micros, Micros>);

impl Spans {
    /// Adds a span, in any order; spans without a break between them become one.
    pub(super) fn add(&mut self, mut from: Micros, mut to: Micros) {
        let before = self.0.range(..=from).next_back();
        if let Some((begin, end)) = before.map(|(begin, end)| (*begin, *end))
            && from.saturating_sub(end) <= SILENCE
        {
            from = begin;
            to = to.max(end);
        }
        let near = |to: Micros| from..=to.saturating_add(SILENCE);
        while let Some((begin, end)) = self
            .0
            .range(near(to))
            .next()
            .map(|(begin, end)| (*begin, *end))
        {
            self.0.remove(&begin);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }

    /// The spans, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Micros, Micros)> + '_ {
        self.0.iter().map(|(from, to)| (*from, *to))
    }

    /// Forgets the first spans, until there are at most `max`.
    fn limit(&mut self, max: usize) {
        while self.0.len() > max {
            self.0.pop_first();
        }
    }

    fn first(&self) -> Option<Micros> {
        self.0.keys().next().copied()
    }

    fn last(&self) -> Option<Micros> {
        self.0.values().next_back().copied()
    }

    /// The parts of a time that no span covers.
    fn gaps(&self, from: Micros, to: Micros) -> impl Iterator<Item = (Micros, Micros)> + use<> {
        let mut gaps = Vec::new();
        let mut covered = from;
        for (begin, end) in &self.0 {
            if *begin - covered > SILENCE && covered < to {
                gaps.push((covered, (*begin).min(to)));
            }
            covered = covered.max(*end);
        }
        if to - covered > SILENCE {
            gaps.push((covered, to));
        }
        gaps.into_iter()
    }
}

/// What is known of the API servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Servers {
    /// The signs of life of each, by the name of its Lease.
    pub(super) beats: BTreeMap<Box<str>, Spans>,
    /// When the Lease of a server was seen to be deleted, last.
    pub(super) deleted: BTreeMap<Box<str>, Micros>,
    /// When an API server was last seen to start: then it reads the audit policy.
    pub(super) last_start: Option<Micros>,
    /// When each was seen to start, and its signs of life: also before the time since which events count.
    pub(super) starts: BTreeMap<Box<str>, BTreeSet<Micros>>,
    pub(super) all_beats: BTreeMap<Box<str>, Spans>,
    /// Files whose last line is cut: the API server that wrote the last sign of life in it, and when.
    pub(super) cuts: BTreeSet<Option<(Box<str>, Micros)>>,
    /// The Leases that exist; `None` if that is not known.
    pub(super) leases: Option<Vec<Lease>>,
    /// How events were delivered.
    pub(super) deliveries: BTreeSet<Delivery>,
    /// How many events and lines could not be read.
    pub(super) unreadable: u64,
}

/// The time that the logs cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) from: Micros,
    pub(super) to: Micros,
    /// What is missing of it, sorted.
    pub(super) holes: Vec<Hole>,
}

impl Servers {
    pub(super) fn merge(&mut self, other: Self) {
        for (server, spans) in other.beats {
            let own = self.beats.entry(server).or_default();
            spans.0.iter().for_each(|(from, to)| own.add(*from, *to));
        }
        for (server, time) in other.deleted {
            let own = self.deleted.entry(server).or_insert(time);
            *own = (*own).max(time);
        }
        for (server, spans) in other.all_beats {
            let own = self.all_beats.entry(server).or_default();
            spans.0.iter().for_each(|(from, to)| own.add(*from, *to));
        }
        for (server, times) in other.starts {
            self.starts.entry(server).or_default().extend(times);
        }
        self.cuts.extend(other.cuts);
        self.last_start = self.last_start.max(other.last_start);
        if let Some(leases) = other.leases {
            self.leases.get_or_insert_default().extend(leases);
        }
        self.deliveries.extend(other.deliveries);
        self.unreadable += other.unreadable;
    }

    /// Forgets the API servers whose last sign of life is the longest ago, and the first spans of each. What is
    /// forgotten begins later, or leaves a hole.
    pub(super) fn limit(&mut self, max: usize) {
        self.beats.values_mut().for_each(|spans| spans.limit(max));
        while self.beats.len() > max {
            let oldest = self.beats.iter().min_by_key(|(_, spans)| spans.last());
            let Some(oldest) = oldest.map(|(server, _)| server.clone()) else {
                break;
            };
            self.beats.remove(&oldest);
        }
        while self.deleted.len() > max {
            self.deleted.pop_first();
        }
        // They matter to files only.
        self.starts.clear();
        self.all_beats.clear();
    }

    /// The coverage; `None` if no API server shows a sign of life.
    ///
    /// A use may lie in a break, wherever the break is: the logs are not cut there. Which API servers exist is known only
    /// until the Leases were read, by the clock that is the furthest behind: there the coverage ends.
    pub(super) fn coverage(&self) -> Option<Coverage> {
        let begin = self.beats.values().filter_map(Spans::first).min()?;
        let seen_until = self.beats.values().filter_map(Spans::last).max()?;
        let leases = self.newest_leases();
        let newest = leases.values().flatten().max().copied();
        let mut holes = Vec::new();
        let mut to = newest.map_or(seen_until, |newest| newest.min(seen_until));
        if newest.is_some_and(|newest| newest < begin) {
            holes.push(Hole::UnknownServers);
        }
        for (server, renewed) in &leases {
            let renewed = renewed.or(newest).unwrap_or(seen_until);
            let behind = newest.map_or(0, |newest| newest - renewed);
            let Some(spans) = self.beats.get(*server) else {
                // It ended before the logs begin, as far as the Leases say: one that is kept for long says nothing.
                let is_over = renewed < begin.saturating_sub(MAX_SKEW * SECOND);
                if !is_over || behind <= ALIVE || behind > COLLECTED {
                    holes.push(Hole::NoLog((*server).into()));
                }
                continue;
            };
            // NB: a server deletes and creates its Lease when it starts, so that the time of the Lease's creation
            // does not say whether the server existed before.
            let last = spans.last().unwrap_or(begin);
            if behind <= ALIVE {
                to = to.min(last).min(renewed);
            }
            let until = if behind > COLLECTED {
                seen_until
            } else {
                renewed.max(last)
            };
            holes.extend(spans.gaps(begin, until).map(|gap| silence(server, gap)));
        }
        for (server, spans) in self.unlisted() {
            let last = spans.last().unwrap_or(begin);
            // Another server deletes its Lease when it was not renewed for an hour; earlier, the server itself does, and
            // goes on.
            let deleted = self.deleted.get(server).copied();
            let deleted = deleted.filter(|deleted| deleted.saturating_sub(last) >= LONGEST - ALIVE);
            let until = deleted.unwrap_or(seen_until).max(last);
            holes.extend(spans.gaps(begin, until).map(|gap| silence(server, gap)));
        }
        let unseen = self
            .deleted
            .iter()
            .filter(|(server, _)| !self.beats.contains_key(*server));
        holes.extend(unseen.map(|(server, deleted)| silence(server, (begin, *deleted))));
        let to = to.max(begin);
        // What comes later is not covered anyway, whatever clock says so.
        let end = timestamp(to.saturating_add(MAX_SKEW * SECOND));
        holes.retain(|hole| !matches!(hole, Hole::Silence { from, .. } if *from >= end));
        holes.extend(self.flaws_until(to));
        holes.sort_unstable();
        holes.dedup();
        Some(Coverage {
            from: begin,
            to,
            holes,
        })
    }

    /// When the Lease of each API server was last renewed.
    fn newest_leases(&self) -> BTreeMap<&str, Option<Micros>> {
        let mut newest: BTreeMap<&str, Option<Micros>> = BTreeMap::new();
        for lease in self.leases.iter().flatten() {
            let renewed = newest.entry(&lease.name).or_default();
            *renewed = (*renewed).max(lease.renewed);
        }
        newest
    }

    /// Whether a request that began before `from`, and left no event since, may be open at `to`.
    pub(super) fn may_have_open(&self, from: Micros, to: Micros) -> bool {
        let is_known = |server: &str, spans: &Spans| {
            let starts = self.starts.get(server);
            let all = self.all_beats.get(server);
            let first = spans.first().unwrap_or(from);
            // Its log is whole from a start on. What was open before one within the window ended without an event.
            starts.zip(all).is_some_and(|(starts, all)| {
                let mut before = starts.range(..=first);
                before.any(|start| all.gaps(*start, first).next().is_none())
            })
        };
        to.saturating_sub(from) < LONGEST
            && !self
                .beats
                .iter()
                .all(|(server, spans)| is_known(server, spans))
    }

    /// The API servers with signs of life that have no Lease any more, if it is known which have one.
    fn unlisted(&self) -> impl Iterator<Item = (&Box<str>, &Spans)> {
        let listed = |name: &str| {
            let mut leases = self.leases.iter().flatten();
            leases.any(|lease| *lease.name == *name)
        };
        self.beats.iter().filter(move |(server, _)| !listed(server))
    }

    /// What makes nothing complete.
    pub(super) fn flaws(&self) -> impl Iterator<Item = Hole> {
        self.flaws_until(Micros::MAX)
    }

    /// The same for logs that cover the time until `to`. A server that goes on writes its last line in parts: that is no
    /// flaw at the end of its newest file, when everything that is covered comes before.
    fn flaws_until(&self, to: Micros) -> impl Iterator<Item = Hole> {
        let mut renewals = self.leases.iter().flatten();
        let is_unknown = !renewals.any(|lease| lease.renewed.is_some());
        let lossy = self
            .deliveries
            .iter()
            .filter_map(|delivery| match delivery {
                Delivery::File => None,
                Delivery::Lossy(how) => Some(Hole::Lossy(how)),
            });
        let is_newest = |(server, time): &(Box<str>, Micros)| {
            let last = self.beats.get(server).and_then(Spans::last);
            last.is_none_or(|last| last <= *time) && to <= *time
        };
        let cuts = self.cuts.iter();
        let cuts = cuts
            .filter(|cut| !cut.as_ref().is_some_and(is_newest))
            .count();
        let unreadable = self.unreadable + u64::try_from(cuts).unwrap_or(u64::MAX);
        let unreadable = (unreadable > 0).then_some(Hole::Unreadable(unreadable));
        is_unknown
            .then_some(Hole::UnknownServers)
            .into_iter()
            .chain(lossy)
            .chain(unreadable)
    }
}

fn silence(server: &str, (from, to): (Micros, Micros)) -> Hole {
    Hole::Silence {
        server: server.into(),
        from: timestamp(from),
        to: timestamp(to),
    }
}

/// A time as others know it.
pub(super) fn timestamp(time: Micros) -> Timestamp {
    Timestamp::from_microsecond(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = SECOND;

    fn servers(beats: &[(&str, std::ops::Range<i64>)], leases: &[(&str, i64)]) -> Servers {
        let mut servers = Servers::default();
        servers.deliveries.insert(Delivery::File);
        for (name, range) in beats {
            let spans = servers.beats.entry((*name).into()).or_default();
            for beat in range.clone().step_by(10) {
                spans.add(beat * S, beat * S);
            }
        }
        let lease = |(name, renewed): &(&str, i64)| Lease {
            name: (*name).into(),
            renewed: Some(renewed * S),
        };
        servers.leases = Some(leases.iter().map(lease).collect());
        servers
    }

    fn window(servers: &Servers) -> (i64, i64, Vec<String>) {
        let coverage = servers.coverage().expect("heartbeats were seen");
        let hole = |hole: &Hole| match hole {
            Hole::Silence { server, from, to } => {
                format!("{server} {}-{}", from.as_second(), to.as_second())
            }
            other => format!("{other:?}"),
        };
        let holes = coverage.holes.iter().map(hole).collect();
        (coverage.from / S, coverage.to / S, holes)
    }

    fn is(found: &(i64, i64, Vec<String>), from: i64, to: i64, holes: &[&str]) {
        assert_eq!(
            *found,
            (
                from,
                to,
                holes.iter().map(|hole| (*hole).to_owned()).collect()
            )
        );
    }

    #[test]
    fn spans_are_the_same_in_any_order() {
        let times: Vec<Micros> = (0..100)
            .map(|n| n * 10 * S)
            .filter(|t| *t / S != 500)
            .collect();
        let mut forward = Spans::default();
        let (mut backward, mut mixed) = (Spans::default(), Spans::default());
        for n in 0..times.len() {
            let add = |spans: &mut Spans, t: Micros| spans.add(t, t);
            add(&mut forward, times[n]);
            add(&mut backward, times[times.len() - 1 - n]);
            add(&mut mixed, times[n * 37 % times.len()]);
        }
        assert_eq!(forward, backward);
        assert_eq!(forward, mixed);
        assert_eq!(forward.0, [(0, 990 * S)].into());
        let gaps: Vec<_> = forward.gaps(-100 * S, 1000 * S).collect();
        assert_eq!(gaps, [(-100 * S, 0)]);
    }

    #[test]
    fn a_pause_of_more_than_25_seconds_is_a_hole() {
        let both = servers(&[("a", 0..1000), ("b", 0..1000)], &[("a", 990), ("b", 990)]);
        is(&window(&both), 0, 990, &[]);
        let short = servers(&[("a", 0..400), ("a", 415..1000)], &[("a", 1000)]);
        is(&window(&short), 0, 995, &[]);
        let paused = servers(
            &[("a", 0..1000), ("b", 0..400), ("b", 420..1000)],
            &[("a", 990), ("b", 990)],
        );
        is(&window(&paused), 0, 990, &["b 390-420"]);
    }

    #[test]
    fn a_log_that_is_missing_or_ends_early_is_a_hole() {
        let missing = servers(&[("a", 0..1000)], &[("a", 990), ("b", 990)]);
        is(&window(&missing), 0, 990, &["NoLog(\"b\")"]);
        let early = servers(&[("a", 0..1000), ("b", 0..500)], &[("a", 990), ("b", 990)]);
        is(&window(&early), 0, 490, &["b 490-990"]);
        let cut = servers(&[("a", 0..900)], &[("a", 990)]);
        is(&window(&cut), 0, 890, &["a 890-990"]);
    }

    #[test]
    fn a_server_that_comes_or_goes_leaves_a_hole() {
        let mut gone = servers(&[("a", 0..10_000), ("b", 0..500)], &[("a", 9_990)]);
        is(&window(&gone), 0, 9_990, &["b 490-9990"]);
        gone.deleted.insert("b".into(), 4_200 * S);
        gone.deleted.insert("c".into(), 100 * S);
        is(&window(&gone), 0, 9_990, &["b 490-4200", "c 0-100"]);
        let new = servers(
            &[("a", 0..1000), ("b", 500..1000)],
            &[("a", 990), ("b", 990)],
        );
        is(&window(&new), 0, 990, &["b 0-500"]);
        let before = servers(&[("a", 5_000..6_000)], &[("a", 5_990), ("b", 100)]);
        is(&window(&before), 5_000, 5_990, &[]);
    }

    #[test]
    fn nothing_is_known_after_the_leases_were_read() {
        let longer = servers(
            &[("a", 0..2000), ("b", 0..1990), ("b", 2080..2100)],
            &[("a", 990), ("b", 985)],
        );
        is(&window(&longer), 0, 985, &[]);
        let new = servers(&[("a", 0..3600)], &[("a", 600)]);
        is(&window(&new), 0, 600, &[]);
        let before = servers(&[("a", 0..3600)], &[("a", -60), ("b", -60)]);
        is(&window(&before), 0, 0, &["NoLog(\"b\")", "UnknownServers"]);
    }

    #[test]
    fn a_lease_that_is_a_little_older_may_be_that_of_a_clock_behind() {
        // Its log ends, or has a pause: both matter until the older Lease at least.
        let lost = servers(
            &[("a", 0..3600), ("b", -300..701)],
            &[("a", 1000), ("b", 699)],
        );
        is(&window(&lost), -300, 699, &["a -300-0"]);
        let paused = servers(
            &[("a", 0..3600), ("b", 0..601), ("b", 2000..3600)],
            &[("a", 700), ("b", 599)],
        );
        is(&window(&paused), 0, 599, &["b 600-2000"]);
        let no_log = servers(&[("a", 0..1501)], &[("a", 1500), ("b", 1200)]);
        is(&window(&no_log), 0, 1500, &["NoLog(\"b\")"]);
    }

    #[test]
    fn leases_of_two_moments_do_not_show_when_a_server_ended() {
        let old = servers(
            &[("a", 0..90_001), ("b", 0..40_001)],
            &[("a", 90_000), ("b", 20_000)],
        );
        is(&window(&old), 0, 90_000, &["b 40000-90000"]);
    }

    #[test]
    fn a_server_that_deletes_its_own_lease_goes_on() {
        for deleted in [200, 495, 600] {
            let mut restarted = servers(&[("a", 0..3601), ("c", 0..501)], &[("a", 3600)]);
            restarted.deleted.insert("c".into(), deleted * S);
            is(&window(&restarted), 0, 3600, &["c 500-3600"]);
        }
    }

    #[test]
    fn a_cut_line_is_a_flaw_but_at_the_end_of_the_newest_file() {
        let mut cut = servers(&[("a", 0..1001)], &[("a", 1000)]);
        cut.cuts.insert(Some(("a".into(), 1000 * S)));
        is(&window(&cut), 0, 1000, &[]);
        for place in [
            None,
            Some(("a".into(), 500 * S)),
            Some(("b".into(), 900 * S)),
        ] {
            let mut cut = cut.clone();
            cut.cuts.insert(place);
            is(&window(&cut), 0, 1000, &["Unreadable(1)"]);
        }
    }

    #[test]
    fn a_watch_from_before_a_short_log_may_be_open_unless_the_start_of_the_server_is_in_it() {
        let mut short = servers(&[("a", 100..1500)], &[("a", 1490)]);
        assert!(short.may_have_open(100 * S, 1490 * S));
        assert!(!short.may_have_open(100 * S, 3700 * S));
        short.all_beats = short.beats.clone();
        short.starts.insert("a".into(), [100 * S].into());
        assert!(!short.may_have_open(100 * S, 1490 * S));
        // What was open when it started again has left no event, unless it began after an earlier start.
        short.starts.insert("a".into(), [700 * S].into());
        assert!(short.may_have_open(100 * S, 1490 * S));
        short.starts.insert("a".into(), [100 * S, 700 * S].into());
        assert!(!short.may_have_open(100 * S, 1490 * S));
        // What came before is left out, and has a hole.
        short.starts.insert("a".into(), [0].into());
        assert!(short.may_have_open(100 * S, 1490 * S));
    }

    #[test]
    fn without_leases_it_is_not_known_which_servers_exist() {
        let mut unknown = servers(&[("a", 0..1000)], &[]);
        is(&window(&unknown), 0, 990, &["UnknownServers"]);
        unknown.leases = None;
        is(&window(&unknown), 0, 990, &["UnknownServers"]);
    }
}
