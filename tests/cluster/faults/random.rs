//! Random faults of random requests while the cluster changes.

use std::time::{Duration, Instant};

use super::{DENIED, EXPIRED, UNNEEDED, World, kinds, owned, stale_seconds, unneeded_in};
use crate::rig::{
    oracle::reports_equal_to_scans,
    proxy::{Answer, Cut},
    random::{Random, cases},
};

impl World {
    /// Sleeps; the finding that is true all the time never disappears in between.
    fn sample(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            assert!(
                self.plane.report("shop", "default") == owned(UNNEEDED),
                "{}",
                self.controller.log()
            );
            std::thread::sleep(Duration::from_millis(200).min(time));
        }
    }

    /// Somebody changes the cluster.
    fn change(&self, random: &mut Random) {
        let name = format!("random-{}", random.below(6));
        let account = format!("shop:{name}");
        match random.below(5) {
            0 | 1 => self.plane.apply(&unneeded_in("shop", &name)),
            2 => drop(self.plane.try_kubectl(
                &[
                    "-n",
                    "shop",
                    "delete",
                    "pod",
                    &name,
                    "--ignore-not-found",
                    "--now",
                ],
                "",
            )),
            3 => drop(self.plane.try_kubectl(
                &[
                    "-n",
                    "shop",
                    "create",
                    "rolebinding",
                    &name,
                    "--clusterrole=view",
                    "--serviceaccount",
                    &account,
                ],
                "",
            )),
            _ => drop(self.plane.try_kubectl(
                &[
                    "-n",
                    "shop",
                    "delete",
                    "rolebinding",
                    &name,
                    "--ignore-not-found",
                ],
                "",
            )),
        }
    }

    /// Waits until the API server has confirmed every kind again.
    fn await_news(&self) {
        let since = Instant::now();
        let is_fresh =
            |kind: &str| stale_seconds(&self.controller, kind) < since.elapsed().as_secs_f64();
        while !kinds().all(is_fresh) {
            assert!(
                since.elapsed() < Duration::from_secs(130),
                "{}",
                self.controller.log()
            );
            self.sample(Duration::from_millis(500));
        }
    }
}

/// Random faults of random requests while the cluster changes: afterwards the reports equal a scan, and nothing is
/// written any more. `SEED` replays a run, `CASES` says how many.
#[test]
#[ignore = "takes minutes: `make faults`"]
fn random_faults_leave_the_right_reports() {
    const WORLDS: usize = 4;
    let random = Random::from_env();
    std::thread::scope(|scope| {
        for number in 0..WORLDS {
            let mut random = random.fork(number);
            scope.spawn(move || random_faults(cases(20).div_ceil(WORLDS), &mut random));
        }
    });
}

/// Waiting takes most of the time: each world of several has a part of the cases.
#[expect(clippy::print_stdout, reason = "how far a run of hours is")]
fn random_faults(cases: usize, random: &mut Random) {
    let answers = [
        Answer::Status(403, &[], DENIED),
        Answer::Status(401, &[], ""),
        Answer::Status(429, &[("Retry-After", "1")], ""),
        Answer::Status(429, &[("Retry-After", "3")], "slow down"),
        Answer::Status(500, &[], "etcdserver: request timed out"),
        Answer::Status(503, &[], ""),
        Answer::Status(504, &[], "timeout"),
        Answer::Status(409, &[], "conflict"),
        Answer::Status(200, &[], "<html>"),
        Answer::Nothing,
        Answer::Late(Duration::from_millis(700)),
    ];
    let cuts = [
        Cut::End,
        Cut::Break,
        Cut::Line(EXPIRED),
        Cut::Line("{\"type\":\"MOD"),
        Cut::Line("garbage\n"),
        Cut::Silence,
        Cut::Slow,
    ];
    let requests = [
        "",
        "/pods",
        "/rolebindings",
        "watch=true",
        "limit=1",
        "tokenexposurereports",
        "/serviceaccounts",
    ];
    let world = World::start(&["--forbidden-after=90s"]);
    for case in 0..cases {
        for _ in 0..=random.below(3) {
            world.proxy.fail(
                random.pick::<&'static str>(&requests),
                *random.pick(&answers),
            );
            if random.below(3) > 0 {
                world.proxy.cut(*random.pick(&cuts));
            }
            world.change(random);
            world.sample(Duration::from_millis(
                u64::try_from(random.below(2_000)).unwrap(),
            ));
        }
        world.proxy.pass();
        world.change(random);
        world.await_news();
        world.controller.settle();
        reports_equal_to_scans(&world.plane, "findings");
        let writes = world.controller.writes();
        world.sample(Duration::from_secs(2));
        assert_eq!(
            world.controller.writes().to_bits(),
            writes.to_bits(),
            "{}",
            world.controller.log()
        );
        println!("case {case} held");
    }
    assert!(
        !world.controller.log().contains("are Unknown"),
        "{}",
        world.controller.log()
    );
}
