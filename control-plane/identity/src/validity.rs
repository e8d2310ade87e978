//! The validity of a certificate, and which of two certificates is in effect.
//!
//! Invariant: a certificate that is not valid now never takes the place of one that is.

use crate::certificate::{NoSpiffeId, parse};

/// The validity of a certificate, in Unix seconds. Both ends are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its begin.
    pub not_before: i64,
    /// Its end.
    pub not_after: i64,
}

/// What becomes of a certificate that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It takes the place of the one in effect.
    pub takes_effect: bool,
    /// Why it is not valid now.
    pub problem: Option<String>,
    /// When the verdict changes, in Unix seconds.
    pub until: Option<i64>,
}

impl Validity {
    /// The validity of a DER certificate.
    ///
    /// # Errors
    /// [`NoSpiffeId::Unreadable`].
    pub fn of(der: &[u8]) -> Result<Self, NoSpiffeId> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        Ok(Self {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    fn contains(self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Why a certificate is not valid at this time, and the fix.
    fn fault(self, now: i64) -> Option<String> {
        let at = |seconds| {
            jiff::Timestamp::from_second(seconds)
                .map_or_else(|_| seconds.to_string(), |at| at.to_string())
        };
        if now < self.not_before {
            let begin = at(self.not_before);
            return Some(format!(
                "the certificate is not valid before {begin}: check the clocks, or issue another one"
            ));
        }
        (now > self.not_after).then(|| {
            let end = at(self.not_after);
            format!("the certificate expired at {end}: renew it")
        })
    }

    /// What becomes of a certificate with this validity. `current`: that of the certificate in effect.
    pub(crate) fn verdict(self, current: Option<Self>, now: i64) -> Verdict {
        let stays = current.filter(|current| !self.contains(now) && current.contains(now));
        let changes = [
            Some(self.not_before),
            self.not_after.checked_add(1),
            stays.and_then(|current| current.not_after.checked_add(1)),
        ];
        Verdict {
            takes_effect: stays.is_none(),
            problem: self.fault(now),
            until: changes.into_iter().flatten().filter(|at| *at > now).min(),
        }
    }
}

/// The time now, in Unix seconds.
pub(crate) fn unix_now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn from_to(not_before: i64, not_after: i64) -> Validity {
        Validity {
            not_before,
            not_after,
        }
    }

    #[test]
    fn a_certificate_takes_effect_if_it_is_valid_or_the_one_in_effect_is_not() {
        let valid = from_to(0, 100);
        for (next, current, takes_effect, problem, until) in [
            (valid, None, true, None, Some(101)),
            (valid, Some(from_to(0, 60)), true, None, Some(101)),
            (
                from_to(0, 49),
                Some(valid),
                false,
                Some("expired"),
                Some(101),
            ),
            (
                from_to(80, 200),
                Some(valid),
                false,
                Some("not valid before"),
                Some(80),
            ),
            (
                from_to(150, 200),
                Some(valid),
                false,
                Some("not valid before"),
                Some(101),
            ),
            (
                from_to(80, 200),
                Some(from_to(0, 49)),
                true,
                Some("not valid before"),
                Some(80),
            ),
            (from_to(0, 49), None, true, Some("expired"), None),
            (
                from_to(0, 49),
                Some(from_to(0, 49)),
                true,
                Some("expired"),
                None,
            ),
        ] {
            let verdict = next.verdict(current, 50);
            assert_eq!(verdict.takes_effect, takes_effect, "{next:?} {current:?}");
            assert_eq!(verdict.until, until, "{next:?} {current:?}");
            let shown = verdict.problem.as_deref().unwrap_or_default();
            assert_eq!(shown.is_empty(), problem.is_none(), "{shown}");
            assert!(shown.contains(problem.unwrap_or_default()), "{shown}");
        }
    }

    #[test]
    fn both_ends_of_the_validity_are_valid() {
        let validity = from_to(10, 20);
        assert_eq!(
            [9, 10, 20, 21].map(|now| validity.contains(now)),
            [false, true, true, false]
        );
    }
}
