//! Findings on the states of a model.

use headgate_contract::names;

use super::{CarrierState, Levels, StandIn, is_older};
use crate::registry::{Member, Model, Weight};
use crate::{Address, CarrierKey, Finding, LabelKeys, Severity, reason};

/// What is to be said of each member.
pub(crate) fn findings(model: &str, of: &Model, levels: &Levels, keys: &LabelKeys) -> Vec<Finding> {
    let mut findings = Vec::new();
    let members = of.members.iter().zip(&levels.states).enumerate();
    for (index, (member, state)) in members {
        let mut says = |severity, reason, message| {
            findings.push(Finding {
                object: member.key.clone().into(),
                reason,
                severity,
                origin: member.origin.clone(),
                message,
            });
        };
        if let CarrierState::Held { beside } = state
            && !levels.base.contains(&index)
        {
            let message = held(model, member, beside, keys);
            says(Severity::Info, reason::VERSION_HELD, message);
        }
        if levels.stands_in == Some(StandIn::Stable) && levels.base.contains(&index) {
            let message = stands_in(model, of, levels, member, keys);
            says(Severity::Warning, reason::STANDS_IN, message);
        }
        if let Weight::Invalid(written) = &member.weight {
            let message = invalid(written, of, member, state, keys);
            says(Severity::Warning, reason::INVALID_WEIGHT, message);
        }
        if levels.stands_in == Some(StandIn::Dark) && levels.base.contains(&index) {
            let message = format!(
                "weight 0, but no other version of model {model} is its base: it still acts as the base. To promote it: {}",
                member.key.label_command(&keys.weight, "100")
            );
            says(Severity::Warning, reason::DARK_SERVES, message);
        }
        if levels.shared && levels.weights[index] == Some(100) && member.takes() {
            let message = format!(
                "weight 100, but {} of {} replicas are ready, which is below {} %: it takes what they can carry, and the base of before takes the rest until more are ready",
                member.ready_endpoints(),
                member.desired,
                of.min_ready_percent
            );
            says(Severity::Info, reason::PROMOTION_SHARED, message);
        }
        if member.flapping {
            let message = format!(
                "version {} became ready more than 3 times within a minute: it takes no new sessions until it has been ready for 60 s. To see why: kubectl describe {} -n {}",
                member.version_list(),
                member.key.identity(),
                member.key.namespace
            );
            says(Severity::Warning, reason::FLAPPING, message);
        }
        if member.late {
            let message = not_started(model, member, levels.weights[index]);
            says(Severity::Warning, reason::NOT_STARTED, message);
        }
    }
    if levels.left_to_canaries(of) {
        findings.extend(base_lost(model, of, levels, keys));
    }
    findings.extend(as_old(model, of, levels, keys));
    findings.extend(same_endpoints(model, of));
    findings
}

/// Said of the first canary: it takes what was the base's.
fn base_lost(model: &str, of: &Model, levels: &Levels, keys: &LabelKeys) -> Option<Finding> {
    let first = &of.members[levels.canaries.first()?.0];
    let base = levels.base_key(of)?;
    let lost = Lost::of(model, of, &base);
    Some(Finding {
        object: first.key.clone().into(),
        reason: reason::BASE_LOST,
        severity: Severity::Warning,
        origin: first.origin.clone(),
        message: format!(
            "{}: the canaries take all new sessions until {}. {}. To make version {} the base: {}",
            lost.what,
            lost.ends,
            lost.see,
            first.version_list(),
            first.key.label_command(&keys.weight, "100")
        ),
    })
}

/// Describes a version that acts as the base in place of a lost one. A version of weight 0 has no such finding.
fn stands_in(
    model: &str,
    of: &Model,
    levels: &Levels,
    member: &Member,
    keys: &LabelKeys,
) -> String {
    let base = levels.base_key(of).unwrap_or_else(|| member.key.clone());
    let lost = Lost::of(model, of, &base);
    format!(
        "{}: version {} stands in and takes new sessions until {}. {}. To make it the base: {}",
        lost.what,
        member.version_list(),
        lost.ends,
        lost.see,
        member.key.label_command(&keys.weight, "100")
    )
}

/// The parts of a message about a lost base.
struct Lost {
    what: String,
    /// What brings it back.
    ends: &'static str,
    /// How to see more.
    see: String,
}

impl Lost {
    fn of(model: &str, of: &Model, base: &CarrierKey) -> Self {
        let (identity, namespace) = (base.identity(), &base.namespace);
        if of.carriers.contains(base) {
            return Self {
                what: format!("no endpoint of {base}, the base of model {model}, is ready"),
                ends: "one is",
                see: format!("To see why: kubectl describe {identity} -n {namespace}"),
            };
        }
        let see = match &of.object {
            Some(object) => format!("kubectl describe servedmodel {object} -n {namespace}"),
            None => format!("headgate status {model}"),
        };
        Self {
            what: format!(
                "{base}, the base of model {model}, does not exist or has lost its labels"
            ),
            ends: "it is back, or is forgotten after `spec.baseGrace`",
            see: format!("To see the stored base: {see}"),
        }
    }
}

/// Services of two versions that select the same pods, as those of an Argo canary do while none is under way.
fn same_endpoints(model: &str, of: &Model) -> Vec<Finding> {
    fn endpoints(member: &Member) -> Vec<&Address> {
        let versions = member.versions.values();
        versions.flat_map(|version| &version.all).collect()
    }
    let services = of.members.iter().filter(|m| m.key.kind == "service");
    let services: Vec<&Member> = services.collect();
    let mut findings = Vec::new();
    for (index, member) in services.iter().enumerate() {
        let own = endpoints(member);
        let same = services[..index]
            .iter()
            .find(|other| !own.is_empty() && endpoints(other) == own);
        if let Some(other) = same {
            findings.push(Finding {
                object: member.key.clone().into(),
                reason: reason::ENDPOINTS_SHARED,
                severity: Severity::Info,
                origin: member.origin.clone(),
                message: format!(
                    "it selects the same pods as {}, so version {} of model {model} is answered by those of version {}. To see what each selects: kubectl get {} {} -n {} -o wide",
                    other.key.identity(),
                    member.version_list(),
                    other.version_list(),
                    member.key.identity(),
                    other.key.identity(),
                    member.key.namespace
                ),
            });
        }
    }
    findings
}

fn held(model: &str, member: &Member, beside: &CarrierKey, keys: &LabelKeys) -> String {
    format!(
        "version {} of model {model} is held at 0 beside {beside}, which is the base: it is reachable by pin only. \
         To give it 10 % of new sessions: {}. To let it join the base: annotation `{}: share`",
        member.version_list(),
        member.key.label_command(&keys.weight, "10"),
        names::ANNOTATION_JOIN
    )
}

fn invalid(
    written: &str,
    of: &Model,
    member: &Member,
    state: &CarrierState,
    keys: &LabelKeys,
) -> String {
    let shown: String = written.chars().take(40).collect();
    let counts = match state {
        CarrierState::Dark => {
            "0, because a promoted or older stable carrier of the model is ready to serve"
        }
        _ if of.is_of_stored_base(member) => "absent, because this is the base, which stays",
        _ => "absent, because no promoted or older stable carrier of the model is ready to serve",
    };
    format!(
        "label `{}: {shown:?}` is not a weight; it counts as {counts}. Write a whole number from 0 to 100: {}",
        keys.weight,
        member.key.label_command(&keys.weight, "10")
    )
}

fn not_started(model: &str, member: &Member, weight: Option<u8>) -> String {
    let (identity, namespace) = (member.key.identity(), &member.key.namespace);
    let why = match member.unready_reasons.is_empty() {
        true => String::new(),
        false => format!(" ({})", member.unready_reasons.join("; ")),
    };
    format!(
        "no pod of version {} of model {model} has become ready within 2 minutes{why}: its {} % of new sessions stay with the other versions. To see why: kubectl describe {identity} -n {namespace}",
        member.version_list(),
        weight.unwrap_or(0)
    )
}

/// Stable carriers that nobody can order by age.
fn as_old(model: &str, of: &Model, levels: &Levels, keys: &LabelKeys) -> Option<Finding> {
    let states = of.members.iter().zip(&levels.states).zip(&levels.weights);
    let shares = |((m, s), w): &((&Member, &CarrierState), &Option<u8>)| {
        w.is_none() && **s == CarrierState::Base && !m.joins && m.ready() && m.created.is_some()
    };
    let base: Vec<&Member> = states.filter(shares).map(|((m, _), _)| m).collect();
    let (first, last) = (base.first()?, base.last()?);
    let ordered = is_older(first, last) || is_older(last, first);
    if base.len() < 2 || ordered || first.versions.keys().eq(last.versions.keys()) {
        return None;
    }
    Some(Finding {
        object: last.key.clone().into(),
        reason: reason::EQUAL_AGE,
        severity: Severity::Info,
        origin: last.origin.clone(),
        message: format!(
            "it was created within 10 s of {}, and neither served when the other was created, so nothing says which version of model {model} came first: they share the base. To serve one of them alone: {}",
            first.key,
            last.key.label_command(&keys.weight, "0")
        ),
    })
}
