//! Order of carriers by age.

use std::cmp::Ordering;

use crate::CarrierKey;

/// Carriers created within this many seconds of each other have equal age, unless one of them served when the other was created.
const EQUAL_AGE: i64 = 10;

/// Whether a carrier created at `a` is older than one created at `b`, in Unix seconds. A missing time is the oldest.
pub(crate) fn is_older(a: Option<i64>, b: Option<i64>) -> bool {
    match (a, b) {
        (None, None) | (Some(_), None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a.saturating_add(EQUAL_AGE) <= b,
    }
}

/// Compares carriers, oldest first. The order is total: equal times, also two missing ones, are ordered by name.
pub(crate) fn by_age(a: (Option<i64>, &CarrierKey), b: (Option<i64>, &CarrierKey)) -> Ordering {
    // `None < Some`: a missing time is the oldest.
    a.0.cmp(&b.0)
        .then_with(|| a.1.name.cmp(&b.1.name))
        .then_with(|| a.1.cmp(b.1))
}
