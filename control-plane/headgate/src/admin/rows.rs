//! Rows of the status document about the Kubernetes API: its state, unreadable kinds, and failing writes.

use std::collections::BTreeMap;

use headgate_kubernetes::faults::{Failing, FaultPlace};
use headgate_kubernetes::health::{ApiState, LostWatch, MissingKind, WatchState};
use headgate_report::{ApiReport, PeerReport, ProblemReport, UnreadReport, reason, unix};
use headgate_writer::Peer;

/// A replica that shares the Lease.
pub(crate) fn peer(peer: Peer) -> PeerReport {
    PeerReport {
        replica: peer.replica,
        admin_address: peer.admin,
    }
}

/// The state of the Kubernetes API.
pub(crate) fn api(state: &ApiState) -> ApiReport {
    let unreachable = state.unreachable();
    let unread = state.unread().map(|(kind, watch, lost)| UnreadReport {
        kind: kind.to_owned(),
        since: unix(lost.since),
        message: lost.message.clone(),
        was_read: watch.synced,
        effect: watch.effect().to_owned(),
    });
    ApiReport {
        synced: state.synced(),
        unreachable_since: unreachable.map(|(_, lost)| unix(lost.since)),
        message: unreachable.map(|(watch, lost)| format!("{watch}: {}", lost.message)),
        unread: unread.collect(),
    }
}

/// Problems of the Kubernetes API: outages, unreadable kinds, missing permissions and missing kinds.
pub(crate) fn api_problems(api: &ApiState) -> Vec<ProblemReport> {
    let missing = api.missing.iter().map(|missing| {
        let grant = api.grants.get(&missing.role);
        let grant = grant.map_or("headgate schema rbac", String::as_str);
        let message = format!(
            "{missing}, but {}: {grant} | kubectl apply -f -",
            missing.why
        );
        ProblemReport::new(
            "error",
            reason::MISSING_PERMISSION,
            &missing.resource,
            message,
        )
    });
    unreachable(api)
        .into_iter()
        .chain(api.unread().map(unread))
        .chain(missing)
        .chain(api.missing_kinds().map(missing_kind))
        .collect()
}

/// An outage of the API server.
fn unreachable(api: &ApiState) -> Option<ProblemReport> {
    let (watch, lost) = api.unreachable()?;
    let message = if api.synced() {
        "the Kubernetes API does not answer, so the last known objects stay in effect"
    } else {
        "the first read of the Kubernetes API is not complete, so nothing is served yet"
    };
    Some(
        ProblemReport::new(
            "error",
            reason::KUBERNETES_API,
            watch,
            format!("{message}: {}", lost.message),
        )
        .since(unix(lost.since)),
    )
}

/// A kind that cannot be read, and the effect.
fn unread((kind, watch, lost): (&str, &WatchState, &LostWatch)) -> ProblemReport {
    let effect = watch.effect();
    let message = format!("the kind cannot be read, {effect}: {}", lost.message);
    ProblemReport::new("error", reason::KIND_UNREAD, kind, message).since(unix(lost.since))
}

/// A kind that the API server does not have, and the command that installs it.
fn missing_kind(it: MissingKind<'_>) -> ProblemReport {
    let message = if it.keeps_objects {
        "the Kubernetes API no longer serves this kind; Headgate keeps its last known objects for now"
    } else {
        "the Kubernetes API does not serve this kind, so Headgate reads none of its objects"
    };
    let fix = it
        .install
        .or(it.restore)
        .unwrap_or("install its CustomResourceDefinition again");
    let message = format!("{message}: {fix}");
    let problem = ProblemReport::new("warning", reason::NO_DEFINITION, it.kind, message);
    match it.since {
        Some(since) => problem.since(unix(since)),
        None => problem,
    }
}

/// Failing writes, certificates and scope rules, and their consequences.
pub(crate) fn write_problems(
    failing: BTreeMap<String, Failing>,
) -> impl Iterator<Item = ProblemReport> {
    failing.into_iter().map(|(resource, failing)| {
        let (severity, reason) = match failing.place {
            FaultPlace::StateDirectory => ("warning", reason::STATE_WRITE),
            FaultPlace::Kubernetes => ("warning", reason::KUBERNETES_WRITE),
            FaultPlace::XdsCertificate => ("error", reason::XDS_CERTIFICATE),
            FaultPlace::AdminCertificate => ("error", reason::ADMIN_CERTIFICATE),
            FaultPlace::ListenerCertificate => ("error", reason::LISTENER_CERTIFICATE),
            FaultPlace::ScopeFile => ("error", reason::SCOPE_FILE),
        };
        ProblemReport::new(severity, reason, resource, failing.message).since(unix(failing.since))
    })
}
