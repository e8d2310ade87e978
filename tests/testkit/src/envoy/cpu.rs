//! CPU time of a process by thread, from `/proc`.
//!
//! `schedstat` counts nanoseconds, up to the thread's last context switch or scheduler tick (at most 4 ms ago). Where the kernel
//! has no `schedstat`, `stat` counts ticks of 10 ms.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// `USER_HZ` is 100 on every architecture Envoy runs on.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of each Envoy worker thread (`wrk:worker_N`) of a process so far.
///
/// # Errors
/// When `/proc` cannot be read, because the process has ended.
pub fn worker_cpu(pid: u32) -> io::Result<BTreeMap<String, Duration>> {
    let mut threads = thread_cpu(pid)?;
    threads.retain(|name, _| name.starts_with("wrk:worker_"));
    Ok(threads)
}

/// CPU time of each thread of a process so far, by thread name; threads of the same name are summed.
///
/// # Errors
/// When `/proc` cannot be read, because the process has ended.
pub fn thread_cpu(pid: u32) -> io::Result<BTreeMap<String, Duration>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // A thread may end between the listing and the reading.
        if let (Ok(name), Some(spent)) = (fs::read_to_string(task.join("comm")), cpu_of(&task)) {
            *threads.entry(name.trim_end().to_owned()).or_default() += spent;
        }
    }
    Ok(threads)
}

fn cpu_of(task: &Path) -> Option<Duration> {
    let schedstat = fs::read_to_string(task.join("schedstat")).ok();
    schedstat
        .and_then(|text| parse_schedstat(&text))
        .or_else(|| parse_stat(&fs::read_to_string(task.join("stat")).ok()?))
}

fn parse_schedstat(text: &str) -> Option<Duration> {
    let nanos: u64 = text.split_whitespace().next()?.parse().ok()?;
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// Fields 14 and 15 (utime, stime). Field 2, the name, is in parentheses and may contain spaces.
fn parse_stat(text: &str) -> Option<Duration> {
    let after_name = &text[text.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_sources_of_cpu_time_are_read() {
        assert_eq!(
            parse_schedstat("1500 7940568 3\n"),
            Some(Duration::from_nanos(1500))
        );
        let stat = "7 (wrk: x) y) S 1 2 3 4 5 6 7 8 9 10 42 8 0 0 20 0";
        assert_eq!(parse_stat(stat), Some(Duration::from_millis(500)));
    }

    #[test]
    fn cpu_time_of_this_process_grows_with_work() {
        let pid = std::process::id();
        let total = || thread_cpu(pid).unwrap().values().sum::<Duration>();
        let before = total();
        let began = std::time::Instant::now();
        while total() < before + Duration::from_millis(20) {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "no CPU time seen"
            );
        }
    }
}
