//! A limit for log lines that a loop could repeat.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line pass in each period and counts the others.
#[derive(Debug)]
pub struct LogLimit {
    period: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl LogLimit {
    /// One line in each `period`.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            state: Mutex::default(),
        }
    }

    /// The number of lines that were held back since the last one; `None` if this line must be held back, too.
    pub fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, suppressed) = &mut *state;
        let now = Instant::now();
        if last.is_some_and(|last| now.duration_since(last) < self.period) {
            *suppressed += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_in_each_period_and_the_others_are_counted() {
        let limit = LogLimit::new(Duration::from_secs(3600));
        assert_eq!(limit.pass(), Some(0));
        assert_eq!((limit.pass(), limit.pass()), (None, None));
        let unlimited = LogLimit::new(Duration::ZERO);
        assert_eq!((unlimited.pass(), unlimited.pass()), (Some(0), Some(0)));
    }
}
