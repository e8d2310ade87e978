//! Numbers of open things, such as connections or streams, by their origin.
//!
//! Invariant: a thing counts for exactly as long as its [`Counted`] lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of open things, by origin.
#[derive(Debug, Default)]
pub struct OpenCounts(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// The sum of `by_origin`.
    total: usize,
    by_origin: BTreeMap<String, usize>,
}

/// One of [`OpenCounts`]. Dropping it removes it.
#[derive(Debug)]
pub struct Counted {
    open: Arc<OpenCounts>,
    origin: String,
}

impl OpenCounts {
    /// Counts one more of this origin, unless `check` refuses it. It gets the number of all, and of this origin.
    ///
    /// # Errors
    /// That of `check`.
    pub fn add<E>(
        self: &Arc<Self>,
        origin: String,
        check: impl FnOnce(usize, usize) -> Result<(), E>,
    ) -> Result<Counted, E> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_origin = counts.by_origin.get(&origin).copied().unwrap_or(0);
        check(counts.total, of_origin)?;
        counts.total += 1;
        counts.by_origin.insert(origin.clone(), of_origin + 1);
        let open = self.clone();
        Ok(Counted { open, origin })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.by_origin.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                open.by_origin.remove(&self.origin);
            }
            open.total -= 1;
        }
    }
}
