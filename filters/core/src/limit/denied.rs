//! The refusal of a bucket.

use std::rc::Rc;

use headgate_dialect::Costs;

use super::{Charge, Denied};
use crate::compiled::Limit;
use crate::cost::Quote;
use crate::ledger::{Reason, Refused};
use crate::ratelimit_headers;
use crate::refusal::{Refusal, Shortfall};

/// An override suspends the key.
#[cold]
pub(super) fn suspended(limit: &Rc<Limit>, reason: Option<&str>) -> Box<Denied> {
    let refusal = Refusal::Suspended {
        bucket: limit.bucket.clone(),
        reason: reason.map(str::to_owned),
    };
    Box::new(Denied {
        limit: Some(limit.clone()),
        refusal: refusal.into(),
    })
}

/// The cost is above the capacity at scale 1.
#[cold]
pub(super) fn never(limit: &Rc<Limit>, quote: &Quote, costs: Costs) -> Box<Denied> {
    let per_milli = (quote.per_unit / 1000).max(1);
    let milli = |amount: u128| u64::try_from(amount / per_milli).unwrap_or(u64::MAX);
    let shortfall = Shortfall {
        bucket: limit.bucket.clone(),
        kind: limit.pricing.kind(),
        cost: milli(quote.cost),
        capacity: milli(quote.unscaled),
        remaining: 0,
        retry_after: 0,
        exceeds_client_wait: false,
        costs,
        headers: Vec::new(),
    };
    Box::new(Denied {
        limit: Some(limit.clone()),
        refusal: Refusal::CostExceedsCapacity(Box::new(shortfall)).into(),
    })
}

/// The ledger refused the cost.
#[cold]
pub(super) fn denied(charges: &[Charge], refused: &Refused, costs: Costs) -> Box<Denied> {
    let Some(charge) = charges.get(refused.which) else {
        return Box::new(Refusal::NotConfigured).into();
    };
    let per_milli = (charge.quote.per_unit / 1000).max(1);
    let status = charge.status(refused.remaining, refused.limit, refused.reset_ns);
    let wait_ns = match refused.reason {
        Reason::OverBudget { retry_after_ns }
        | Reason::ExceedsScaledCapacity { retry_after_ns } => retry_after_ns,
        Reason::ExceedsCapacity | Reason::Contention => 0,
    };
    let shortfall = Box::new(Shortfall {
        bucket: charge.limit.bucket.clone(),
        kind: charge.limit.pricing.kind(),
        cost: u64::try_from(charge.quote.cost / per_milli).unwrap_or(u64::MAX),
        capacity: status.limit,
        remaining: status.remaining,
        retry_after: ratelimit_headers::retry_after(wait_ns).max(1),
        exceeds_client_wait: wait_ns > charge.limit.max_client_wait,
        costs,
        headers: match refused.reason {
            Reason::OverBudget { .. } => ratelimit_headers::headers(std::slice::from_ref(&status)),
            _ => Vec::new(),
        },
    });
    let refusal = match refused.reason {
        Reason::OverBudget { .. } => Refusal::OverBudget(shortfall),
        Reason::ExceedsScaledCapacity { .. } => Refusal::CapacityReduced(shortfall),
        Reason::Contention => Refusal::Contended(shortfall),
        Reason::ExceedsCapacity => return never(&charge.limit, &charge.quote, costs),
    };
    Box::new(Denied {
        limit: Some(charge.limit.clone()),
        refusal: refusal.into(),
    })
}
