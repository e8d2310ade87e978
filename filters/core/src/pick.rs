//! The version of a request, from its session key and the live plan.
//!
//! Three levels of weighted rendezvous: the canaries and the base with exact percents, the base's carriers
//! by desired replicas, a carrier's versions by ready endpoints. A pin names its version and bypasses them.
//! Pure: the same plan and key give the same pick on every proxy.
//!
//! Stability (tested as `monotone_stickiness`): a change of one canary's percent changes two scores of
//! the first level, its own and the base's, in opposite directions. So no session ever leaves a raised canary
//! or enters a lowered one, and no session changes between two canaries that were not touched; with several
//! canaries, a session that leaves the shrinking base may be won by any of them. (No pure function of the
//! weights can do better for every vector: percents are exact, so what one gains the base must lose.)
//!
//! Readiness is only none or some. A carrier without a ready endpoint leaves its level: a canary's share goes
//! to the base. The dark carriers that the plan names as stand-ins act as a base that is not ready; without any, the canaries
//! take its share in proportion.
//!
//! A version that the proxy cannot reach is passed over in the same way, but only its own sessions move: see
//! [`Picker::around`].
//!
//! With `onBaseLost: hold`, sessions of the base never leave it: while a base is listed and nothing of it is ready, nothing is
//! picked, and while it cannot be reached its sessions fail.

use std::rc::Rc;

use headgate_contract::{CarrierShare, Decimal, ModelPlan, OnBaseLost, VersionShare};

use crate::rendezvous::{Candidate, choose};

/// Most versions a refusal names.
const MAX_NEAR: usize = 20;
/// Name of the base among the canaries: carrier names contain a slash, so none equals it.
const BASE: &str = "base";

/// How a request got its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// By weight, to the base.
    Base,
    /// By weight, to a canary.
    Canary,
    /// The request named its version.
    Pin,
    /// The request continues a response of the version.
    Response,
    /// A tag rule named the version.
    Rule,
}

impl Lane {
    /// The value of the tag and of the metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Canary => "canary",
            Self::Pin => "pin",
            Self::Response => "response",
            Self::Rule => "rule",
        }
    }
}

/// The result of a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// The version has ready endpoints.
    Ready,
    /// The version is known and has no ready endpoint, or no route.
    NotReady,
    /// The version is unknown; these are the nearest, at most 20.
    Unknown {
        /// Nearest first.
        near: Vec<String>,
    },
}

/// The candidates of one model, hashed once per configuration.
#[derive(Debug)]
pub struct Picker {
    /// Canaries, then the base if it has a carrier.
    level_one: Vec<Candidate>,
    canaries: Vec<Carrier>,
    base: Vec<Carrier>,
    /// Dark carriers that act as the base while it cannot be reached.
    stand_ins: Vec<Carrier>,
    /// `onBaseLost: hold`: sessions of the base never leave it.
    holds: bool,
    versions: Vec<Rc<Version>>,
}

/// A version of the plan. A stream keeps its own until its end.
#[derive(Debug)]
pub(crate) struct Version {
    /// Index of its counters.
    pub(crate) number: usize,
    pub(crate) name: Rc<str>,
    /// Its ready endpoints, over all carriers.
    pub(crate) endpoints: u32,
    /// Whether the proxy has a route for it. Without one, its requests go on without a version.
    pub(crate) routed: bool,
    /// The name that its servers want for the model, if it was given.
    pub(crate) served_name: Option<Rc<str>>,
    /// Whether its sessions have an alternative: it may be picked, and another version as well.
    pub(crate) has_others: bool,
}

/// The label value of a version: its name, or empty.
pub(crate) fn label(version: Option<&Rc<Version>>) -> &str {
    version.map_or("", |v| &v.name)
}

#[derive(Debug)]
struct Carrier {
    candidate: Candidate,
    /// Each with its index in [`Picker::versions`].
    versions: Vec<(Candidate, usize)>,
}

impl Picker {
    /// Prepares a model's plan.
    #[must_use]
    pub fn new(plan: &ModelPlan) -> Self {
        Self::with_counter_numbers(plan, 0)
    }

    /// The same; the counters of its versions have numbers from `first_number` on.
    pub(crate) fn with_counter_numbers(plan: &ModelPlan, first_number: usize) -> Self {
        let mut versions = versions(plan, first_number);
        let carriers = |level, shares: &[CarrierShare]| -> Vec<_> {
            let carriers = shares.iter().filter_map(|c| {
                let candidate = Candidate::new(level, &c.carrier, c.weight.as_f64());
                carrier(candidate, &c.versions, &versions)
            });
            carriers.collect()
        };
        let holds = plan.on_base_lost == OnBaseLost::Hold;
        let mut canaries = carriers(1, &plan.canaries);
        let mut base = carriers(2, &plan.base);
        let mut stand_ins = dark(plan, &versions);
        if holds {
            stand_ins.clear();
            if base.is_empty() && !plan.base.is_empty() {
                canaries.clear();
            }
        }
        if base.is_empty() {
            base = std::mem::take(&mut stand_ins);
        }
        if holds {
            mark_alternatives(&mut versions, &base, [&base, &[], &[]]);
            for canary in canaries.chunks(1) {
                mark_alternatives(&mut versions, canary, [canary, &base, &[]]);
            }
        } else {
            for level in [&canaries, &base, &stand_ins] {
                mark_alternatives(&mut versions, level, [&canaries, &base, &stand_ins]);
            }
        }
        let mut level_one: Vec<_> = canaries.iter().map(|c| c.candidate).collect();
        if !base.is_empty() {
            let taken: u64 = plan
                .canaries
                .iter()
                .filter(|c| c.versions.iter().any(|v| v.endpoints > 0))
                .map(|c| c.weight.millionths())
                .sum();
            let left = (100 * Decimal::UNIT).saturating_sub(taken);
            level_one.push(Candidate::new(
                1,
                BASE,
                Decimal::from_millionths(left).as_f64(),
            ));
        }
        Self {
            level_one,
            canaries,
            base,
            stand_ins,
            holds,
            versions: versions.into_iter().map(Rc::new).collect(),
        }
    }

    /// How many versions there are.
    pub(crate) fn versions(&self) -> usize {
        self.versions.len()
    }

    /// Whether any version has a ready endpoint.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.versions.iter().any(|v| v.endpoints > 0)
    }

    /// The version of this name in the plan, ready or not.
    pub(crate) fn known(&self, version: &str) -> Option<&Rc<Version>> {
        self.known_where(|name| name == version)
    }

    /// The first version in the plan whose name fits, ready or not.
    pub(crate) fn known_where(&self, fits: impl Fn(&str) -> bool) -> Option<&Rc<Version>> {
        self.versions.iter().find(|v| fits(&v.name))
    }

    /// The session's version; `None` if nothing can serve the model.
    #[must_use]
    pub fn pick(&self, session: u64) -> Option<(&str, Lane)> {
        let (version, lane) = self.version(session)?;
        Some((&version.name, lane))
    }

    /// The same, as the entry of the plan.
    pub(crate) fn version(&self, session: u64) -> Option<(&Rc<Version>, Lane)> {
        let first = choose(session, self.level_one.iter().copied())?;
        let (carrier, lane) = match self.canaries.get(first) {
            Some(canary) => (canary, Lane::Canary),
            None => {
                let index = choose(session, self.base.iter().map(|c| c.candidate))?;
                (self.base.get(index)?, Lane::Base)
            }
        };
        let index = choose(session, carrier.versions.iter().map(|v| v.0))?;
        let (_, version) = carrier.versions.get(index)?;
        Some((self.versions.get(*version)?, lane))
    }

    /// The version for a session whose own is passed over: another one of the same carrier, else the base, else the stand-ins,
    /// else the canaries in proportion, else its own. With `onBaseLost: hold` nothing comes after the base.
    ///
    /// Sessions of other versions stay where they are. All sessions of a canary go to the base, so that the percents of other
    /// canaries stay exact.
    #[cold]
    pub(crate) fn pick_reachable(
        &self,
        session: u64,
        passed: &dyn Fn(&str) -> bool,
    ) -> Option<(&Rc<Version>, Lane)> {
        let first = choose(session, self.level_one.iter().copied())?;
        let own = self.canaries.get(first..=first).unwrap_or_default();
        let levels = [
            (own, Lane::Canary),
            (&self.base[..], Lane::Base),
            (&self.stand_ins[..], Lane::Base),
            (&self.canaries[..], Lane::Canary),
        ];
        let reach = if self.holds { 2 } else { levels.len() };
        let left = levels.into_iter().take(reach).find_map(|(carriers, lane)| {
            let version = self.pick_among(session, carriers, passed)?;
            Some((version, lane))
        });
        left.or_else(|| self.version(session))
    }

    /// The result of a pin to `version`.
    #[must_use]
    pub fn pin(&self, version: &str) -> Pinned {
        match self.known(version) {
            Some(known) if known.endpoints > 0 && known.routed => Pinned::Ready,
            Some(_) => Pinned::NotReady,
            None => Pinned::Unknown {
                near: self.near(version),
            },
        }
    }

    /// The session's pick among the versions that are not passed over.
    fn pick_among(
        &self,
        session: u64,
        carriers: &[Carrier],
        passed: &dyn Fn(&str) -> bool,
    ) -> Option<&Rc<Version>> {
        let open = |index: usize| self.versions.get(index).filter(|v| !passed(&v.name));
        let some: Vec<&Carrier> = carriers
            .iter()
            .filter(|carrier| carrier.versions.iter().any(|v| open(v.1).is_some()))
            .collect();
        let carrier = some.get(choose(session, some.iter().map(|c| c.candidate))?)?;
        let versions: Vec<_> = carrier
            .versions
            .iter()
            .filter_map(|(candidate, index)| Some((*candidate, open(*index)?)))
            .collect();
        let (_, version) = versions.get(choose(session, versions.iter().map(|v| v.0))?)?;
        Some(version)
    }

    /// The nearest versions by edit distance, then by name. At most 20 of them, so each is searched for: a sort would be
    /// more code in every VM.
    fn near(&self, version: &str) -> Vec<String> {
        // A client may write any length.
        let given: String = version.chars().take(64).collect();
        let known: Vec<_> = self
            .versions
            .iter()
            .map(|v| (strsim::levenshtein(&given, &v.name), &*v.name))
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

/// Every version once, with its ready endpoints.
fn versions(plan: &ModelPlan, first_number: usize) -> Vec<Version> {
    let mut known: Vec<(&str, u32)> = Vec::new();
    for share in plan.versions() {
        let name = share.version.as_str();
        match known.iter_mut().find(|(n, _)| *n == name) {
            Some((_, sum)) => *sum = sum.saturating_add(share.endpoints),
            None => known.push((name, share.endpoints)),
        }
    }
    let version = |(number, (name, endpoints)): (usize, (&str, u32))| Version {
        number,
        name: name.into(),
        endpoints,
        routed: !plan
            .unrouted
            .iter()
            .any(|unrouted| unrouted.as_str() == name),
        served_name: plan.served_names.iter().find_map(|(version, served)| {
            (version.as_str() == name).then(|| served.as_str().into())
        }),
        has_others: false,
    };
    (first_number..).zip(known).map(version).collect()
}

/// Records for each version of these carriers whether its sessions have an alternative.
fn mark_alternatives(versions: &mut [Version], carriers: &[Carrier], others: [&[Carrier]; 3]) {
    for (_, index) in carriers.iter().flat_map(|carrier| &carrier.versions) {
        let mut others = others.into_iter().flatten().flat_map(|c| &c.versions);
        if let Some(version) = versions.get_mut(*index)
            && others.any(|(_, other)| other != index)
        {
            version.has_others = true;
        }
    }
}

fn dark(plan: &ModelPlan, known: &[Version]) -> Vec<Carrier> {
    let weight = |versions: &[VersionShare]| versions.iter().map(|v| f64::from(v.endpoints)).sum();
    let stand_ins = plan.dark.iter().filter(|c| c.stands_in);
    stand_ins
        .filter_map(|c| {
            let candidate = Candidate::new(2, &c.carrier, weight(&c.versions));
            carrier(candidate, &c.versions, known)
        })
        .collect()
}

/// A carrier with its ready versions; `None` if there are none.
fn carrier(candidate: Candidate, shares: &[VersionShare], known: &[Version]) -> Option<Carrier> {
    let ready = shares.iter().filter(|v| v.endpoints > 0);
    let versions: Vec<_> = ready
        .filter_map(|share| {
            let name = share.version.as_str();
            let version = known.iter().position(|v| *v.name == *name)?;
            let candidate = Candidate::new(3, name, f64::from(share.endpoints));
            Some((candidate, version))
        })
        .collect();
    (!versions.is_empty()).then_some(Carrier {
        candidate,
        versions,
    })
}
