//! The plan of a model for proxies whose version routes are objects of a service mesh: a version is in it once its route exists.
//!
//! Invariant: the result is a plan that filters accept. It has no version that the whole plan lacks, and it is never empty where the
//! whole plan is not.

use std::collections::BTreeSet;

use headgate_contract::{CarrierShare, DarkCarrier, Decimal, ModelPlan, Version, VersionShare};

/// The parts per 1 000 000 of 100 percent.
const HUNDRED: u64 = 100 * Decimal::UNIT;

/// The plan with the versions that have a route.
///
/// The base stays as it is while none of its versions that have a route has a ready endpoint, and so does the whole plan while nothing
/// else is ready. Its versions without a route are `unrouted`: their requests are limited and go where the mesh sends them without Headgate,
/// which may be to any version, so they get none. A canary without a route takes no sessions, and its share goes to the base.
pub(crate) fn with_routes(plan: &ModelPlan, routed: &BTreeSet<Version>) -> ModelPlan {
    let base = shares(&plan.base, routed);
    let base = match (is_ready(&base), is_ready(&plan.base)) {
        (false, true) => plan.base.clone(),
        _ if base.is_empty() => plan.base.clone(),
        _ => base,
    };
    let canaries = shares(&plan.canaries, routed);
    let canaries = match (base.is_empty(), canaries.is_empty()) {
        (true, true) => plan.canaries.clone(),
        (true, false) => to_hundred(canaries),
        (false, _) => canaries,
    };
    let dark = plan.dark.iter().filter_map(|carrier| {
        let versions = versions(&carrier.versions, routed);
        (!versions.is_empty()).then(|| DarkCarrier {
            versions,
            ..carrier.clone()
        })
    });
    let gated = ModelPlan {
        base,
        canaries,
        dark: dark.collect(),
        ..plan.clone()
    };
    let mut gated = match plan.ready() && !gated.ready() {
        true => plan.clone(),
        false => gated,
    };
    gated.unrouted = waiting(&gated, routed).into_iter().collect();
    gated
}

/// The versions of a plan that have no route.
pub(crate) fn waiting(plan: &ModelPlan, routed: &BTreeSet<Version>) -> BTreeSet<Version> {
    let versions = plan.versions().map(|share| share.version.clone());
    versions
        .filter(|version| !routed.contains(version))
        .collect()
}

fn shares(carriers: &[CarrierShare], routed: &BTreeSet<Version>) -> Vec<CarrierShare> {
    let carriers = carriers.iter().filter_map(|carrier| {
        let versions = versions(&carrier.versions, routed);
        (!versions.is_empty()).then(|| CarrierShare {
            versions,
            ..carrier.clone()
        })
    });
    carriers.collect()
}

fn versions(shares: &[VersionShare], routed: &BTreeSet<Version>) -> Vec<VersionShare> {
    let shares = shares
        .iter()
        .filter(|share| routed.contains(&share.version));
    shares.cloned().collect()
}

fn is_ready(carriers: &[CarrierShare]) -> bool {
    let mut versions = carriers.iter().flat_map(|carrier| &carrier.versions);
    versions.any(|share| share.endpoints > 0)
}

/// Canaries without a base: their percents grow in proportion to exactly 100.
fn to_hundred(mut canaries: Vec<CarrierShare>) -> Vec<CarrierShare> {
    let percents = canaries.iter().map(|canary| canary.weight.millionths());
    let sum: u64 = percents.sum();
    let Some(count) = u64::try_from(canaries.len())
        .ok()
        .filter(|count| *count > 0)
    else {
        return canaries;
    };
    let mut left = HUNDRED;
    for canary in &mut canaries {
        let own = canary.weight.millionths();
        let grown = match sum {
            0 => HUNDRED / count,
            sum => own.saturating_mul(HUNDRED) / sum,
        };
        canary.weight = Decimal::from_millionths(grown);
        left -= grown;
    }
    if let Some(last) = canaries.last_mut() {
        last.weight = Decimal::from_millionths(last.weight.millionths() + left);
    }
    canaries
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(i: usize) -> Version {
        Version::try_from(format!("v{i}").as_str()).unwrap()
    }

    /// Carriers with one version each and these weights and endpoints.
    fn carriers(first: usize, list: &[(u64, u32)]) -> Vec<CarrierShare> {
        let carriers = list
            .iter()
            .enumerate()
            .map(|(i, (weight, endpoints))| CarrierShare {
                carrier: format!("deployment/d{}", first + i),
                weight: Decimal::from_millionths(*weight),
                versions: vec![VersionShare {
                    version: version(first + i),
                    endpoints: *endpoints,
                }],
            });
        carriers.collect()
    }

    fn routed(list: impl IntoIterator<Item = usize>) -> BTreeSet<Version> {
        list.into_iter().map(version).collect()
    }

    #[test]
    fn a_canary_without_a_route_leaves_its_share_to_the_base() {
        let plan = ModelPlan {
            base: carriers(0, &[(Decimal::UNIT, 1)]),
            canaries: carriers(1, &[(20 * Decimal::UNIT, 1)]),
            ..ModelPlan::default()
        };
        let gated = with_routes(&plan, &routed([0]));
        assert_eq!(gated.base, plan.base);
        assert!(gated.canaries.is_empty());
        assert_eq!(waiting(&plan, &routed([0])), routed([1]));
    }

    #[test]
    fn a_base_without_any_route_stays_and_so_does_one_whose_routed_versions_are_not_ready() {
        let plan = ModelPlan {
            base: carriers(0, &[(Decimal::UNIT, 0), (Decimal::UNIT, 2)]),
            ..ModelPlan::default()
        };
        let without = |list: &[usize]| ModelPlan {
            unrouted: routed(list.iter().copied()).into_iter().collect(),
            ..plan.clone()
        };
        assert_eq!(with_routes(&plan, &routed([])), without(&[0, 1]));
        assert_eq!(with_routes(&plan, &routed([0])), without(&[1]));
        assert_eq!(
            with_routes(&plan, &routed([1])).base,
            carriers(1, &[(Decimal::UNIT, 2)])
        );
    }

    proptest! {
        #[test]
        fn filters_accept_the_plan_and_no_version_is_added(
            base in prop::collection::vec((1_u64..5, 0_u32..2), 0..3),
            percents in prop::collection::vec((0_u64..=100_000_000, 0_u32..2), 0..4),
            known in prop::collection::btree_set(0_usize..8, 0..8),
        ) {
            let base: Vec<_> = base.iter().map(|(w, e)| (w * Decimal::UNIT, *e)).collect();
            let base = carriers(0, &base);
            let mut canaries = carriers(base.len(), &percents);
            let sum: u64 = percents.iter().map(|(p, _)| p).sum();
            if base.is_empty() || sum > HUNDRED {
                canaries = to_hundred(canaries);
            }
            let plan = ModelPlan { base, canaries, ..ModelPlan::default() };
            let gated = with_routes(&plan, &routed(known.iter().copied()));
            let json = serde_json::to_string(&gated).unwrap();
            prop_assert_eq!(serde_json::from_str::<ModelPlan>(&json).unwrap(), gated.clone());
            let all: BTreeSet<&Version> = plan.versions().map(|share| &share.version).collect();
            prop_assert!(gated.versions().all(|share| all.contains(&share.version)));
            prop_assert_eq!(gated.ready(), plan.ready());
            let tagged = gated.versions().filter(|share| !gated.unrouted.contains(&share.version));
            prop_assert!(tagged.into_iter().all(|share| routed(known.iter().copied()).contains(&share.version)));
            prop_assert_eq!(gated.versions().count() > 0, plan.versions().count() > 0);
            let whole = with_routes(&plan, &routed(0..8));
            prop_assert_eq!(whole, plan);
        }
    }
}
