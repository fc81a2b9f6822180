//! What processes use.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A value from `/proc/PID/status`, in KiB.
pub(crate) fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// The CPU seconds that a process has used.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2);
    // On every Linux, user space sees hundredths of a second.
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}

/// Runs a command; returns its CPU seconds and peak memory in MiB.
pub(crate) fn measure(command: &mut Command) -> (f64, f64) {
    let mut child: Child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut cpu, mut peak) = (0.0, 0);
    while child.try_wait().unwrap().is_none() {
        cpu = cpu_seconds(child.id()).max(cpu);
        peak = status_kib(child.id(), "VmHWM").max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    (cpu, mib(peak))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The value that this share of the samples does not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
