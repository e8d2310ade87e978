//! The duration of the demo.

use std::time::Duration;

use crate::claim::{Claim, ClaimResult};

/// The claim of [`in_time`].
pub const CLAIM: Claim = Claim("the whole demo takes less than two minutes, without the build");
const TWO_MINUTES: Duration = Duration::from_secs(120);

/// Checks the duration of the demo.
///
/// # Errors
/// The claim does not hold.
pub fn in_time(took: Duration) -> ClaimResult<Duration> {
    let shorter = took < TWO_MINUTES;
    CLAIM.ensure(shorter, || format!("it took {:.1} s", took.as_secs_f64()))?;
    Ok(took)
}
