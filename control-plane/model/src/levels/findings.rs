//! Findings on the states of a model's carriers.

use headgate_contract::names;

use super::{CarrierState, Levels, StandIn, is_older};
use crate::registry::{Member, Model, Weight};
use crate::{Address, CarrierKey, Finding, LabelKeys, Severity, reason};

/// The findings on the members of a model. `id` is the id of the model.
pub(crate) fn findings(id: &str, model: &Model, levels: &Levels, keys: &LabelKeys) -> Vec<Finding> {
    let mut findings = Vec::new();
    let members = model.members.iter().zip(&levels.states).enumerate();
    for (index, (member, state)) in members {
        let mut report = |severity, reason, message| {
            findings.push(finding(member, severity, reason, message));
        };
        let acts_as_base = levels.base.contains(&index);
        if let CarrierState::Held { beside } = state
            && !acts_as_base
        {
            let message = held(id, member, beside, keys);
            report(Severity::Info, reason::VERSION_HELD, message);
        }
        if levels.stand_in == Some(StandIn::Stable) && acts_as_base {
            let message = stands_in(id, model, levels, member, keys);
            report(Severity::Warning, reason::STANDS_IN, message);
        }
        if let Weight::Invalid(written) = &member.weight {
            let message = invalid(written, model, member, state, keys);
            report(Severity::Warning, reason::INVALID_WEIGHT, message);
        }
        if levels.stand_in == Some(StandIn::Dark) && acts_as_base {
            let message = format!(
                "weight 0, but no other version of model {id} is its base: it still acts as the base. To promote it: {}",
                member.key.label_command(&keys.weight, "100")
            );
            report(Severity::Warning, reason::DARK_SERVES, message);
        }
        if levels.shared && levels.weights[index] == Some(100) && member.accepts_sessions() {
            let message = format!(
                "weight 100, but {} of {} replicas are ready, which is below {} %: it takes new sessions in proportion to its ready replicas, and the previous base takes the rest until more are ready",
                member.ready_endpoints(),
                member.desired,
                model.min_ready_percent
            );
            report(Severity::Info, reason::PROMOTION_SHARED, message);
        }
        if member.flapping {
            let message = format!(
                "version {} became ready more than 3 times within a minute: it takes no new sessions until it has been ready for 60 s. To see why: kubectl describe {} -n {}",
                member.version_list(),
                member.key.identity(),
                member.key.namespace
            );
            report(Severity::Warning, reason::FLAPPING, message);
        }
        if member.not_started {
            let message = not_started(id, member, levels.weights[index]);
            report(Severity::Warning, reason::NOT_STARTED, message);
        }
    }
    if levels.left_to_canaries(model) {
        findings.extend(base_lost(id, model, levels, keys));
    }
    findings.extend(equal_age(id, model, levels, keys));
    findings.extend(same_endpoints(id, model));
    findings
}

fn finding(member: &Member, severity: Severity, reason: &'static str, message: String) -> Finding {
    Finding::on_carrier(&member.key, &member.origin, severity, reason, message)
}

/// The finding on a lost base whose share the canaries take. It is on the first canary.
fn base_lost(id: &str, model: &Model, levels: &Levels, keys: &LabelKeys) -> Option<Finding> {
    let first = &model.members[levels.canaries.first()?.0];
    let base = levels.base_key(model)?;
    let lost = LostBase::of(id, model, &base);
    let message = format!(
        "{}: the canaries take all new sessions until {}. {}. To make version {} the base: {}",
        lost.problem,
        lost.until,
        lost.see,
        first.version_list(),
        first.key.label_command(&keys.weight, "100")
    );
    Some(finding(
        first,
        Severity::Warning,
        reason::BASE_LOST,
        message,
    ))
}

/// The message on a version that acts as the base in place of a lost one. Versions of weight 0 have another finding.
fn stands_in(
    id: &str,
    model: &Model,
    levels: &Levels,
    member: &Member,
    keys: &LabelKeys,
) -> String {
    let base = levels.base_key(model).unwrap_or_else(|| member.key.clone());
    let lost = LostBase::of(id, model, &base);
    format!(
        "{}: version {} stands in and takes new sessions until {}. {}. To make it the base: {}",
        lost.problem,
        member.version_list(),
        lost.until,
        lost.see,
        member.key.label_command(&keys.weight, "100")
    )
}

/// The parts of a message about a lost base.
struct LostBase {
    problem: String,
    /// The event that ends it.
    until: &'static str,
    /// The command that shows more.
    see: String,
}

impl LostBase {
    fn of(id: &str, model: &Model, base: &CarrierKey) -> Self {
        let (identity, namespace) = (base.identity(), &base.namespace);
        if model.carriers.contains(base) {
            return Self {
                problem: format!("no endpoint of {base}, the base of model {id}, is ready"),
                until: "one is",
                see: format!("To see why: kubectl describe {identity} -n {namespace}"),
            };
        }
        let see = match &model.object {
            Some(object) => format!("kubectl describe servedmodel {object} -n {namespace}"),
            None => format!("headgate status {id}"),
        };
        Self {
            problem: format!(
                "{base}, the base of model {id}, does not exist or has lost its labels"
            ),
            until: "it is back, or `spec.baseGrace` ends",
            see: format!("To see the stored base: {see}"),
        }
    }
}

/// Findings on Services of two versions that select the same pods, like those of an Argo Rollout while no canary runs.
fn same_endpoints(id: &str, model: &Model) -> Vec<Finding> {
    fn endpoints(member: &Member) -> Vec<&Address> {
        let versions = member.versions.values();
        versions.flat_map(|version| &version.all).collect()
    }
    let services = model.members.iter().filter(|m| m.key.kind == "service");
    let services: Vec<&Member> = services.collect();
    let mut findings = Vec::new();
    for (index, member) in services.iter().enumerate() {
        let own = endpoints(member);
        let same = services[..index]
            .iter()
            .find(|other| !own.is_empty() && endpoints(other) == own);
        if let Some(other) = same {
            let message = format!(
                "it selects the same pods as {}, so pods of version {} answer requests for version {} of model {id}. To see what each selects: kubectl get {} {} -n {} -o wide",
                other.key.identity(),
                other.version_list(),
                member.version_list(),
                member.key.identity(),
                other.key.identity(),
                member.key.namespace
            );
            findings.push(finding(
                member,
                Severity::Info,
                reason::ENDPOINTS_SHARED,
                message,
            ));
        }
    }
    findings
}

fn held(id: &str, member: &Member, beside: &CarrierKey, keys: &LabelKeys) -> String {
    format!(
        "version {} of model {id} takes no new sessions, because it has no weight and {beside} is the base. \
         To give it 10 % of new sessions: {}. To let it share the base: {}",
        member.version_list(),
        member.key.label_command(&keys.weight, "10"),
        member.key.annotate_command(names::ANNOTATION_JOIN, "share")
    )
}

fn invalid(
    written: &str,
    model: &Model,
    member: &Member,
    state: &CarrierState,
    keys: &LabelKeys,
) -> String {
    let shown: String = written.chars().take(40).collect();
    let counts_as = match state {
        CarrierState::Dark => {
            "0, because a promoted or older stable carrier of the model is ready to serve"
        }
        _ if model.is_of_stored_base(member) => {
            "absent, because this is the base, which stays the base"
        }
        _ => "absent, because no promoted or older stable carrier of the model is ready to serve",
    };
    format!(
        "label `{}: {shown:?}` is not a weight; it counts as {counts_as}. Write a whole number from 0 to 100: {}",
        keys.weight,
        member.key.label_command(&keys.weight, "10")
    )
}

fn not_started(id: &str, member: &Member, weight: Option<u8>) -> String {
    let (identity, namespace) = (member.key.identity(), &member.key.namespace);
    let reasons = match member.unready_reasons.is_empty() {
        true => String::new(),
        false => format!(" ({})", member.unready_reasons.join("; ")),
    };
    format!(
        "no pod of version {} of model {id} has become ready within 2 minutes{reasons}: its {} % of new sessions stay with the other versions. To see why: kubectl describe {identity} -n {namespace}",
        member.version_list(),
        weight.unwrap_or(0)
    )
}

/// The finding on stable carriers of equal age, which share the base.
fn equal_age(id: &str, model: &Model, levels: &Levels, keys: &LabelKeys) -> Option<Finding> {
    let members = model.members.iter();
    let members = members.zip(&levels.states).zip(&levels.weights);
    let shares = |((m, s), w): &((&Member, &CarrierState), &Option<u8>)| {
        let stable = w.is_none() && **s == CarrierState::Base && !m.joins;
        stable && m.is_ready() && m.created.is_some()
    };
    let base: Vec<&Member> = members.filter(shares).map(|((m, _), _)| m).collect();
    let (first, last) = (base.first()?, base.last()?);
    let ordered = is_older(first, last) || is_older(last, first);
    if base.len() < 2 || ordered || first.versions.keys().eq(last.versions.keys()) {
        return None;
    }
    let message = format!(
        "it was created within 10 s of {}, and neither served when the other was created, so it is unknown which version of model {id} came first: they share the base. To take this one out: {}",
        first.key,
        last.key.label_command(&keys.weight, "0")
    );
    Some(finding(last, Severity::Info, reason::EQUAL_AGE, message))
}
