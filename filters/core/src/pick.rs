//! Session key and live plan → the version a request goes to.
//!
//! Three levels of weighted rendezvous: the canaries and the base with exact percents, the base's carriers
//! by desired replicas, a carrier's versions by ready endpoints. A pin names its version and bypasses them.
//! Pure: the same plan and key give the same pick on every proxy.
//!
//! What stays put (tested as `monotone_stickiness`): a change of one canary's percent changes two scores of
//! the first level, its own and the base's, in opposite directions. So no session ever leaves a raised canary
//! or enters a lowered one, and no session changes between two canaries that were not touched; with several
//! canaries, a session that leaves the shrinking base may be won by any of them. (No pure function of the
//! weights can do better for every vector: percents are exact, so what one gains the base must lose.)
//!
//! Readiness is only none or some. A carrier without a ready endpoint leaves its level: a canary's share goes
//! to the base, a dead base leaves it to the canaries in proportion, and where nothing but dark carriers is
//! left, they act as the base. The planner says the same; deciding it here too means that a plan which is a
//! moment old never routes to nothing.

use headgate_contract::{CarrierShare, Decimal, ModelPlan, VersionShare};

use crate::rendezvous::{Candidate, choose};

/// Most versions a refusal names.
const MAX_NEAR: usize = 20;
/// Name of the base among the canaries: no carrier is called so (`kind/name`).
const BASE: &str = "base";

/// By which way a request got its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// By weight, to the base.
    Base,
    /// By weight, to a canary.
    Canary,
    /// It named its version.
    Pin,
}

impl Lane {
    /// As tags and metrics say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Canary => "canary",
            Self::Pin => "pin",
        }
    }
}

/// What came of a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// Goes there.
    Ready,
    /// Known, and nothing of it is ready.
    NotReady,
    /// Unknown; these are the nearest, at most 20.
    Unknown {
        /// Nearest first.
        near: Vec<String>,
    },
}

/// The candidates of one model, hashed once per configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Picker {
    /// Canaries, then the base if it has a carrier.
    first: Vec<Candidate>,
    canaries: Vec<Carrier>,
    base: Vec<Carrier>,
    versions: Vec<VersionShare>,
}

#[derive(Debug, Clone, PartialEq)]
struct Carrier {
    candidate: Candidate,
    versions: Vec<(Candidate, String)>,
}

impl Picker {
    /// Prepares a model's plan.
    #[must_use]
    pub fn new(plan: &ModelPlan) -> Self {
        let canaries: Vec<_> = plan.canaries.iter().filter_map(|c| carrier(1, c)).collect();
        let mut base: Vec<_> = plan.base.iter().filter_map(|c| carrier(2, c)).collect();
        if canaries.is_empty() && base.is_empty() {
            base = dark(plan);
        }
        let mut first: Vec<_> = canaries.iter().map(|c| c.candidate).collect();
        if !base.is_empty() {
            let taken: u64 = plan
                .canaries
                .iter()
                .filter(|c| c.versions.iter().any(|v| v.endpoints > 0))
                .map(|c| c.weight.millionths())
                .sum();
            let left = (100 * Decimal::UNIT).saturating_sub(taken);
            first.push(Candidate::new(
                1,
                BASE,
                Decimal::from_millionths(left).as_f64(),
            ));
        }
        Self {
            first,
            canaries,
            base,
            versions: plan.versions().cloned().collect(),
        }
    }

    /// Whether anything can serve the model at all.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.versions.iter().any(|v| v.endpoints > 0)
    }

    /// The version of this name in the plan, ready or not.
    #[must_use]
    pub fn known(&self, version: &str) -> Option<&str> {
        let mut names = self.versions.iter().map(|v| v.version.as_str());
        names.find(|name| *name == version)
    }

    /// The session's version; `None` if nothing can serve the model.
    #[must_use]
    pub fn pick(&self, session: u64) -> Option<(&str, Lane)> {
        let first = choose(session, self.first.iter().copied())?;
        let (carrier, lane) = match self.canaries.get(first) {
            Some(canary) => (canary, Lane::Canary),
            None => {
                let index = choose(session, self.base.iter().map(|c| c.candidate))?;
                (self.base.get(index)?, Lane::Base)
            }
        };
        let index = choose(session, carrier.versions.iter().map(|v| v.0))?;
        let (_, version) = carrier.versions.get(index)?;
        Some((version, lane))
    }

    /// What a pin to `version` comes to.
    #[must_use]
    pub fn pin(&self, version: &str) -> Pinned {
        let mut known = self
            .versions
            .iter()
            .filter(|v| v.version.as_str() == version)
            .peekable();
        if known.peek().is_none() {
            return Pinned::Unknown {
                near: self.near(version),
            };
        }
        if known.any(|v| v.endpoints > 0) {
            Pinned::Ready
        } else {
            Pinned::NotReady
        }
    }

    /// The nearest versions by edit distance, then by name. At most 20 of them, so each is looked for: a sort would be
    /// more code in every VM.
    fn near(&self, version: &str) -> Vec<String> {
        let known: Vec<_> = self
            .versions
            .iter()
            .map(|v| (distance(version, v.version.as_str()), v.version.as_str()))
            .collect();
        let mut near: Vec<String> = Vec::new();
        let mut last = None;
        while near.len() < MAX_NEAR {
            let further = known.iter().filter(|v| last.is_none_or(|last| *v > last));
            let Some(next) = further.min() else {
                break;
            };
            near.push(next.1.to_owned());
            last = Some(next);
        }
        near
    }
}

/// A carrier with its ready versions; `None` if there are none.
fn carrier(level: u8, share: &CarrierShare) -> Option<Carrier> {
    let candidate = Candidate::new(level, &share.carrier, share.weight.as_f64());
    with_versions(candidate, &share.versions)
}

fn dark(plan: &ModelPlan) -> Vec<Carrier> {
    let weight = |versions: &[VersionShare]| versions.iter().map(|v| f64::from(v.endpoints)).sum();
    plan.dark
        .iter()
        .filter_map(|c| {
            let candidate = Candidate::new(2, &c.carrier, weight(&c.versions));
            with_versions(candidate, &c.versions)
        })
        .collect()
}

fn with_versions(candidate: Candidate, versions: &[VersionShare]) -> Option<Carrier> {
    let versions: Vec<_> = versions
        .iter()
        .filter(|v| v.endpoints > 0)
        .map(|v| {
            let name = v.version.as_str();
            (
                Candidate::new(3, name, f64::from(v.endpoints)),
                name.to_owned(),
            )
        })
        .collect();
    (!versions.is_empty()).then_some(Carrier {
        candidate,
        versions,
    })
}

/// Edit distance between a version as written, of which the first 64 characters count, and a known one.
fn distance(given: &str, known: &str) -> usize {
    let given: Vec<char> = given.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=given.len()).collect();
    for (i, k) in known.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, g) in given.iter().enumerate() {
            let substitute = diagonal + usize::from(*g != k);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[given.len()]
}
