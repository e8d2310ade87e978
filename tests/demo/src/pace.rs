//! How long the story takes.

use std::time::Duration;

use crate::claim::{Claim, Claimed};

/// What [`in_time`] claims.
pub const CLAIM: Claim = Claim("the whole story takes less than two minutes, once it is built");
const TWO_MINUTES: Duration = Duration::from_secs(120);

/// Whether a story that took so long was short enough.
///
/// # Errors
/// The claim does not hold.
pub fn in_time(took: Duration) -> Claimed<Duration> {
    let shorter = took < TWO_MINUTES;
    CLAIM.ensure(shorter, || format!("it took {:.1} s", took.as_secs_f64()))?;
    Ok(took)
}
