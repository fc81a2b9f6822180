//! Work on several threads whose results arrive in order.

use std::{sync::mpsc::sync_channel, thread};

/// The most threads: further ones would wait for whoever takes the results.
const MAX_THREADS: usize = 8;
/// How many results of each thread wait to be taken.
const WAITING: usize = 2;

/// Works on inputs, and takes the results in the order of the inputs.
pub(crate) fn in_order<I: Sync, O: Send>(
    inputs: &[I],
    work: impl Fn(&I) -> O + Sync,
    mut take: impl FnMut(&I, O),
) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(inputs.len()).min(MAX_THREADS);
    if threads < 2 {
        for input in inputs {
            take(input, work(input));
        }
        return;
    }
    let work = &work;
    thread::scope(|scope| {
        let results: Vec<_> = (0..threads)
            .map(|first| {
                let (sender, results) = sync_channel(WAITING);
                scope.spawn(move || {
                    let own = inputs.iter().skip(first).step_by(threads);
                    // Nobody takes results any more only after a panic.
                    own.map(work).try_for_each(|result| sender.send(result))
                });
                results
            })
            .collect();
        for (number, input) in inputs.iter().enumerate() {
            if let Ok(result) = results[number % threads].recv() {
                take(input, result);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_arrive_in_the_order_of_the_inputs() {
        for count in [0, 1, 2, 3, 100] {
            let inputs: Vec<usize> = (0..count).collect();
            let mut taken = Vec::new();
            let slow_first = |number: &usize| {
                if number.is_multiple_of(10) {
                    thread::yield_now();
                }
                number * 2
            };
            in_order(&inputs, slow_first, |input, result| {
                taken.push((*input, result));
            });
            let expected: Vec<_> = (0..count).map(|number| (number, number * 2)).collect();
            assert_eq!(taken, expected);
        }
    }
}
