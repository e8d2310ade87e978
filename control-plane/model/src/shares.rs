//! Exact apportionment by largest remainder: percents of canaries, shares of versions.
//!
//! Invariant: parts sum exactly to the total, and a candidate with a positive weight never gets 0: Envoy drops a locality of weight 0,
//! and a session of that version would have no endpoint.

/// The sum of all shares of a model: its new sessions, in parts.
pub(crate) const WHOLE: u32 = 1_000_000;

/// One hundred percent, in millionths of a percent.
pub(crate) const HUNDRED: u64 = 100 * headgate_contract::Decimal::UNIT;

/// Splits `total` in proportion to `weights` by the largest remainder method. The parts are the rounded-down quotas, plus 1 for the
/// largest remainders; of equal remainders, the earlier comes first. Every positive weight gets at least 1 if `total` suffices, taken
/// from the largest part. Without a positive weight all parts are 0.
pub(crate) fn apportion(total: u64, weights: &[u128]) -> Vec<u64> {
    let sum: u128 = weights.iter().sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |w: u128| (u128::from(total) * w / sum, u128::from(total) * w % sum);
    let mut parts: Vec<u64> = weights
        .iter()
        .map(|w| u64::try_from(exact(*w).0).unwrap_or(total))
        .collect();
    let missing = total - parts.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(exact(weights[*i]).1), *i));
    for i in order
        .into_iter()
        .take(usize::try_from(missing).unwrap_or(0))
    {
        parts[i] += 1;
    }
    lift_zeros(&mut parts, weights);
    parts
}

fn lift_zeros(parts: &mut [u64], weights: &[u128]) {
    for i in 0..parts.len() {
        if weights[i] == 0 || parts[i] > 0 {
            continue;
        }
        let richest = (0..parts.len()).max_by_key(|j| (parts[*j], std::cmp::Reverse(*j)));
        if let Some(j) = richest.filter(|j| parts[*j] > 1) {
            parts[j] -= 1;
            parts[i] = 1;
        }
    }
}

/// The percents of canaries, in millionths of a percent: as wanted, unless they sum to more than 100 or there is no base to take the
/// rest. Then they are scaled in proportion to exactly 100.
pub(crate) fn percents(wanted: &[u8], has_base: bool) -> Vec<u64> {
    let sum: u32 = wanted.iter().map(|w| u32::from(*w)).sum();
    if sum <= 100 && has_base {
        return wanted
            .iter()
            .map(|w| u64::from(*w) * (HUNDRED / 100))
            .collect();
    }
    let weights: Vec<u128> = wanted.iter().map(|w| u128::from(*w)).collect();
    apportion(HUNDRED, &weights)
}

/// A carrier among which a model's sessions are split.
pub(crate) struct Candidate {
    /// The part of [`HUNDRED`] of a canary; `None` for a base carrier.
    pub(crate) canary: Option<u64>,
    /// The replicas with which a base carrier counts, at least 1.
    pub(crate) replicas: u32,
    /// Ready endpoints of each of its versions.
    pub(crate) ready: Vec<u32>,
}

/// The share of every version of every candidate, in parts of [`WHOLE`], in the order of the candidates. Canaries get their percent, the
/// base carriers get the rest in proportion to their replicas, and the versions of a carrier in proportion to ready endpoints.
pub(crate) fn version_shares(candidates: &[Candidate]) -> Vec<Vec<u32>> {
    let taken: u64 = candidates.iter().filter_map(|c| c.canary).sum();
    let rest = u128::from(HUNDRED.saturating_sub(taken));
    let base: u128 = candidates
        .iter()
        .filter(|c| c.canary.is_none())
        .map(|c| u128::from(c.replicas))
        .sum();
    let weights: Vec<u128> = candidates
        .iter()
        .flat_map(|c| {
            let carrier = match c.canary {
                Some(part) => u128::from(part) * base.max(1),
                None => rest * u128::from(c.replicas),
            };
            let all: u128 = c.ready.iter().map(|r| u128::from(*r)).sum();
            c.ready.iter().map(move |r| part_of(carrier, *r, all))
        })
        .collect();
    let mut shares = apportion(u64::from(WHOLE), &weights).into_iter();
    candidates
        .iter()
        .map(|c| {
            let own = shares.by_ref().take(c.ready.len());
            own.map(|s| u32::try_from(s).unwrap_or(WHOLE)).collect()
        })
        .collect()
}

/// `carrier · ready / all`, with 24 fractional bits, so the rounding error is far below one part of [`WHOLE`].
/// Bounds: carrier < 2^27 · 2^42 and ready < 2^32, so 125 bits suffice.
fn part_of(carrier: u128, ready: u32, all: u128) -> u128 {
    if carrier == 0 || ready == 0 {
        return 0;
    }
    ((carrier * u128::from(ready)) << 24) / all.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sum_exactly_and_the_largest_remainder_gets_the_rest() {
        assert_eq!(apportion(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(apportion(10, &[10, 11, 79]), [1, 1, 8]);
        assert_eq!(apportion(7, &[0, 0]), [0, 0]);
        assert_eq!(
            apportion(HUNDRED, &[60, 50]).iter().sum::<u64>(),
            100_000_000
        );
    }

    #[test]
    fn a_positive_weight_never_gets_0() {
        assert_eq!(
            apportion(1_000_000, &[1, 1_000_000_000, 0]),
            [1, 999_999, 0]
        );
    }

    #[test]
    fn canaries_keep_their_percent_and_the_base_takes_what_they_leave() {
        let candidate = |canary: Option<u64>, replicas, ready: &[u32]| Candidate {
            canary,
            replicas,
            ready: ready.to_vec(),
        };
        let shares = version_shares(&[
            candidate(Some(10_000_000), 9, &[1]),
            candidate(None, 2, &[3, 1]),
            candidate(None, 1, &[5]),
        ]);
        assert_eq!(
            shares,
            [vec![100_000], vec![450_000, 150_000], vec![300_000]]
        );
    }
}
