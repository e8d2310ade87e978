//! The time that an empty bucket takes to fill.

use crate::Decimal;

const MILLISECOND: u128 = Decimal::UNIT as u128 / 1000;
const YEAR: u128 = 366 * 86_400;

/// `capacity / refill`, compared without dividing.
pub(super) fn check(capacity: Decimal, refill: Decimal) -> Result<(), &'static str> {
    let (capacity, refill) = (
        u128::from(capacity.millionths()),
        u128::from(refill.millionths()),
    );
    if capacity * u128::from(Decimal::UNIT) < refill * MILLISECOND || capacity > refill * YEAR {
        return Err("is the time an empty bucket takes to fill: keep it between 1 ms and 366 days");
    }
    Ok(())
}
