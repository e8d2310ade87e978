//! Merge of the status documents of several replicas.
//!
//! Pure. All replicas make the same plan from the same objects, so the merged document has the plan of the replica that published
//! last, and the proxies of all replicas. A different plan of another replica becomes the problem `ReplicasDiffer`. Invariant: the
//! merged document contains every proxy, model, policy and problem of every replica.

use std::collections::BTreeMap;

use super::model;
use crate::{Count, ModelReport, ProblemReport, ReplicaReport, Report, UnreachableReport, reason};

/// Merges the answers of the replicas, each with its address.
///
/// # Errors
/// No replica answered: every address and its error.
pub fn merge(answers: Vec<(String, Result<Report, String>)>) -> Result<Report, String> {
    let replicas: Vec<ReplicaReport> = answers.iter().map(replica).collect();
    let mut answered: Vec<(String, Report)> = Vec::new();
    let mut failed = Vec::new();
    for (address, answer) in answers {
        match answer {
            Ok(report) => answered.push((address, report)),
            Err(error) => failed.push(format!("{address}: {error}")),
        }
    }
    if answered.is_empty() {
        return Err(failed.join("; "));
    }
    let many = replicas.len() > 1;
    let problems = problems(&mut answered);
    // The newest publication first. A replica without a publication has the time 0.
    answered.sort_by(|(_, a), (_, b)| b.head.published_at.total_cmp(&a.head.published_at));
    let mut rest = answered.into_iter();
    let Some((lead, mut report)) = rest.next() else {
        return Err(failed.join("; "));
    };
    name_proxies(&mut report, &lead, many);
    report.replicas = replicas;
    report.peers.clear();
    report.problems = problems;
    let mut differing = BTreeMap::new();
    for (address, mut further) in rest {
        name_proxies(&mut further, &address, many);
        if further.head.synced {
            compare(&report, &lead, &further, &address, &mut differing);
        }
        add(&mut report, further);
    }
    report.problems.extend(differing.into_values());
    Ok(report)
}

fn replica((address, answer): &(String, Result<Report, String>)) -> ReplicaReport {
    ReplicaReport {
        address: address.clone(),
        error: answer.as_ref().err().cloned(),
        head: answer.as_ref().ok().map(|report| report.head.clone()),
    }
}

fn name_proxies(report: &mut Report, address: &str, many: bool) {
    for proxy in &mut report.proxies {
        proxy.replica = many.then(|| address.to_owned());
    }
}

/// The problems of all replicas without duplicates. A problem that not all replicas report names those that do.
fn problems(answered: &mut [(String, Report)]) -> Vec<ProblemReport> {
    let all = answered.len();
    let mut problems: Vec<ProblemReport> = Vec::new();
    for (address, report) in answered {
        for mut problem in std::mem::take(&mut report.problems) {
            let same = problems.iter_mut().find(|p| {
                (&p.reason, &p.object, &p.message)
                    == (&problem.reason, &problem.object, &problem.message)
            });
            match same {
                Some(same) => {
                    same.replicas.push(address.clone());
                    same.since = earliest(same.since, problem.since);
                }
                None => {
                    problem.replicas = vec![address.clone()];
                    problems.push(problem);
                }
            }
        }
    }
    for problem in &mut problems {
        if problem.replicas.len() == all {
            problem.replicas.clear();
        }
    }
    problems
}

fn earliest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Adds the document of another replica.
fn add(report: &mut Report, further: Report) {
    for model in further.models {
        let known = report.models.iter_mut().find(|m| m.id() == model.id());
        match known {
            Some(known) => join(known, model),
            None => report.models.push(model),
        }
    }
    for policy in further.policies {
        if report.policies.iter().all(|p| p.policy != policy.policy) {
            report.policies.push(policy);
        }
    }
    report.proxies.extend(further.proxies);
    if let (Some(ours), Some(theirs)) = (&mut report.api, &further.api) {
        for unread in &theirs.unread {
            if ours.unread.iter().all(|known| known.kind != unread.kind) {
                ours.unread.push(unread.clone());
            }
        }
    }
    let since = |report: &Report| report.api.as_ref().and_then(|api| api.unreachable_since);
    if since(report).is_none()
        && further
            .api
            .as_ref()
            .is_some_and(|api| api.unreachable_since.is_some())
    {
        let unread = report.api.take().map(|api| api.unread);
        report.api = further.api;
        if let (Some(api), Some(unread)) = (&mut report.api, unread) {
            api.unread = unread;
        }
    }
}

/// Sums the proxies of two replicas that cannot reach a version.
fn both(
    ours: Option<UnreachableReport>,
    theirs: Option<UnreachableReport>,
) -> Option<UnreachableReport> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(UnreachableReport {
            proxies: Count {
                current: ours.proxies.current + theirs.proxies.current,
                total: ours.proxies.total + theirs.proxies.total,
            },
            since: ours.since.min(theirs.since),
        }),
        (ours, theirs) => ours.or(theirs),
    }
}

/// Adds the proxies of another replica, and keeps the earlier of two times.
fn join(known: &mut ModelReport, other: ModelReport) {
    known.acked.current += other.acked.current;
    known.acked.total += other.acked.total;
    known.proxies.extend(other.proxies);
    for theirs in other.versions {
        let ours = known
            .versions
            .iter_mut()
            .find(|v| v.version == theirs.version);
        let Some(ours) = ours else { continue };
        if (ours.weight_wanted - theirs.weight_wanted).abs() < 1e-9 {
            ours.planned_since = earliest(ours.planned_since, theirs.planned_since);
        }
        ours.weight_acked.extend(theirs.weight_acked);
        ours.unreachable = both(ours.unreachable.take(), theirs.unreachable);
    }
    for theirs in other.carriers {
        let ours = known
            .carriers
            .iter_mut()
            .find(|c| c.carrier == theirs.carrier);
        if let Some(ours) = ours
            && ours.labels == theirs.labels
        {
            ours.seen_since = earliest(ours.seen_since, theirs.seen_since);
        }
    }
    known.converged = known.has_converged();
}

/// Adds a problem for each model that two replicas plan differently: one of them has not read the newest objects yet, or they
/// have different flags.
fn compare(
    ours: &Report,
    lead: &str,
    theirs: &Report,
    address: &str,
    differing: &mut BTreeMap<String, ProblemReport>,
) {
    let by_id = |report: &Report| -> BTreeMap<String, String> {
        let models = report.models.iter();
        let shares = |m: &ModelReport| model::shares(model::planned(m).into_iter());
        models.map(|m| (m.id(), shares(m))).collect()
    };
    let (ours, theirs) = (by_id(ours), by_id(theirs));
    let ids = ours.keys().chain(theirs.keys());
    for id in ids.filter(|id| ours.get(*id) != theirs.get(*id)) {
        let plans = |plan: Option<&String>| {
            plan.map_or("does not know the model".to_owned(), |plan| {
                format!("plans {plan}")
            })
        };
        let problem = ProblemReport::new(
            "warning",
            reason::REPLICAS_DIFFER,
            format!("model {id}"),
            format!(
                "{lead} {}, {address} {}: if this persists, compare the flags of the replicas and their access to the API server",
                plans(ours.get(id)),
                plans(theirs.get(id))
            ),
        );
        differing.entry(id.clone()).or_insert(problem);
    }
}
