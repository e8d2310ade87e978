//! Where each carrier of a model stands: canary, base, standby, held or dark. The label rules 1–4 and 6.
//!
//! Invariant: if any carrier of a model is ready, [`Levels`] lets some ready carrier take new sessions.

use crate::objects::older;
use crate::registry::{Member, Model, Weight};
use crate::{CarrierKey, Finding, LabelKeys, Readiness, Severity, reason};

/// Where a carrier stands among those of its model, ready or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Takes exactly this percent (1–99) of new sessions.
    Canary(u8),
    /// Shares what the canaries leave.
    Base,
    /// Stable beside a ready promoted carrier: takes nothing until no promoted one is ready.
    Standby,
    /// Unlabelled and younger than this ready base carrier: takes nothing until it is weighted.
    Held {
        /// The oldest such base carrier.
        beside: CarrierKey,
    },
    /// Weight 0, or an invalid weight that counts as 0: reachable by pin only.
    Dark,
}

/// The standings of a model's members, in their order, and who takes new sessions.
pub(crate) struct Levels {
    pub(crate) standings: Vec<Standing>,
    /// Nothing but dark carriers is ready: those act as the base.
    pub(crate) dark_serves: bool,
}

impl Levels {
    /// `members` come oldest first.
    pub(crate) fn of(members: &[Member]) -> Self {
        let weights = effective(members);
        let promoted = |m: &Member, w: Option<u8>| w == Some(100) && m.ready();
        let any_promoted = members.iter().zip(&weights).any(|(m, w)| promoted(m, *w));
        let standings: Vec<Standing> = members
            .iter()
            .zip(&weights)
            .map(|(member, weight)| match weight {
                Some(0) => Standing::Dark,
                Some(100) => Standing::Base,
                Some(percent) => Standing::Canary(*percent),
                None => stable(member, members, &weights, any_promoted),
            })
            .collect();
        let live = |wanted: fn(&Standing) -> bool| {
            let mut both = members.iter().zip(&standings);
            both.any(|(m, s)| wanted(s) && m.ready())
        };
        let dark_serves = live(|s| *s == Standing::Dark)
            && !live(|s| matches!(s, Standing::Base | Standing::Canary(_)));
        Self {
            standings,
            dark_serves,
        }
    }

    /// Whether the carrier is meant to take new sessions (it does once it is ready).
    pub(crate) fn serves(&self, index: usize) -> bool {
        match self.standings[index] {
            Standing::Canary(_) | Standing::Base => true,
            Standing::Dark => self.dark_serves,
            Standing::Standby | Standing::Held { .. } => false,
        }
    }
}

/// The percent each weight label counts as; `None` is stable. Rule 6: an invalid one counts as 0 only while a
/// promoted or older stable carrier is ready, otherwise as absent.
fn effective(members: &[Member]) -> Vec<Option<u8>> {
    let promoted = members
        .iter()
        .any(|m| m.weight == Weight::Percent(100) && m.ready());
    let mut weights: Vec<Option<u8>> = Vec::with_capacity(members.len());
    for member in members {
        let older_stable = members
            .iter()
            .zip(&weights)
            .any(|(other, weight)| weight.is_none() && other.ready() && is_older(other, member));
        weights.push(match member.weight {
            Weight::Absent => None,
            Weight::Percent(percent) => Some(percent),
            Weight::Invalid(_) => (promoted || older_stable).then_some(0),
        });
    }
    weights
}

/// Rules 2 and 3 for a carrier without weight.
fn stable(
    member: &Member,
    members: &[Member],
    weights: &[Option<u8>],
    any_promoted: bool,
) -> Standing {
    let base = if any_promoted { Some(100) } else { None };
    let mut level = members.iter().zip(weights).filter(|(_, w)| **w == base);
    let beside = level.find(|(other, _)| other.ready() && is_older(other, member));
    match beside {
        Some((other, _)) if !member.joins => Standing::Held {
            beside: other.key.clone(),
        },
        _ if any_promoted => Standing::Standby,
        _ => Standing::Base,
    }
}

fn is_older(a: &Member, b: &Member) -> bool {
    older((a.created, &a.key), (b.created, &b.key))
}

impl Model {
    /// Ready and desired replicas of the carriers that are meant to take new sessions. A carrier that is held,
    /// dark or standing by neither lends capacity nor is missed.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let levels = Levels::of(&self.members);
        let serving = self.members.iter().enumerate();
        let serving = serving.filter(|(i, _)| levels.serves(*i));
        serving.fold(Readiness::default(), |sum, (_, m)| Readiness {
            ready: sum.ready.saturating_add(m.ready_endpoints()),
            desired: sum.desired.saturating_add(m.desired),
        })
    }
}

/// What the operator should know of these standings.
pub(crate) fn findings(
    model: &str,
    members: &[Member],
    levels: &Levels,
    keys: &LabelKeys,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, standing) in members.iter().zip(&levels.standings) {
        if let Standing::Held { beside } = standing {
            findings.push(about(
                member,
                Severity::Info,
                reason::VERSION_HELD,
                held(model, member, beside, keys),
            ));
        }
        if let Weight::Invalid(written) = &member.weight {
            let message = invalid(written, member, standing, keys);
            findings.push(about(
                member,
                Severity::Warning,
                reason::INVALID_WEIGHT,
                message,
            ));
        }
        if levels.dark_serves && *standing == Standing::Dark && member.ready() {
            let message = format!(
                "weight 0, but nothing else of model {model} is ready: it acts as the base. To promote it: {}",
                member.key.label_command(&keys.weight, "100")
            );
            findings.push(about(
                member,
                Severity::Warning,
                reason::DARK_SERVES,
                message,
            ));
        }
    }
    findings
}

fn held(model: &str, member: &Member, beside: &CarrierKey, keys: &LabelKeys) -> String {
    let versions: Vec<&str> = member
        .versions
        .keys()
        .map(headgate_contract::Version::as_str)
        .collect();
    format!(
        "version {} of model {model} is held at 0 beside {beside}, which is older and ready: it is reachable by pin only. \
         To give it 10 % of new sessions: {}. To let it join the base: annotation `{}: share`",
        versions.join(", "),
        member.key.label_command(&keys.weight, "10"),
        headgate_contract::names::ANNOTATION_JOIN
    )
}

fn invalid(written: &str, member: &Member, standing: &Standing, keys: &LabelKeys) -> String {
    let shown: String = written.chars().take(40).collect();
    let counts = match standing {
        Standing::Dark => {
            "0, because a promoted or older stable carrier of the model is ready to serve"
        }
        _ => "absent, because no promoted or older stable carrier of the model is ready to serve",
    };
    format!(
        "label `{}: {shown:?}` is not a weight; it counts as {counts}. Write a whole number from 0 to 100: {}",
        keys.weight,
        member.key.label_command(&keys.weight, "10")
    )
}

fn about(member: &Member, severity: Severity, reason: &'static str, message: String) -> Finding {
    Finding {
        object: member.key.clone().into(),
        reason,
        severity,
        origin: member.origin.clone(),
        message,
    }
}
