//! Findings of a plan, and the Event of a finding.
//!
//! Pure. Invariant: an Event contains a command, respects the length limits of the API server, and has the same name on every replica.

use std::collections::BTreeSet;

use headgate_model::{Finding, Plan, Severity, Subject, reason, unreachable_finding};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use crate::counts::ProxyProblems;
use headgate_model::reference::Reference;

/// Reporting controller, as `kubectl describe` shows it.
const CONTROLLER: &str = "headgate.dev/control-plane";
/// Action; the API requires one.
const ACTION: &str = "Plan";
/// Longest note that the API server accepts, in bytes.
const MAX_NOTE: usize = 1024;

/// All current findings, each on an object that can have Events.
pub(super) fn findings(plan: &Plan, proxy_problems: &ProxyProblems) -> BTreeSet<Finding> {
    let place = |finding: &Finding| Finding {
        object: place(&finding.object, plan),
        ..finding.clone()
    };
    let refused = proxy_problems.refused.iter().map(|refusal| Finding {
        object: refusal.object.clone(),
        reason: reason::REFUSED,
        severity: Severity::Error,
        origin: refusal.object.to_string(),
        message: refusal.message.clone(),
    });
    let unreached = proxy_problems.unreachable.iter();
    let unreached = unreached.filter_map(|variant| unreachable_finding(plan, variant));
    let of_plan = plan.findings.iter().map(place);
    of_plan.chain(refused).chain(unreached).collect()
}

/// The object of an Event. A finding on a model belongs to its oldest carrier.
fn place(object: &Subject, plan: &Plan) -> Subject {
    let carrier = match object {
        Subject::Model { namespace, id } => plan.oldest_carrier(namespace, id),
        _ => None,
    };
    carrier.map_or_else(|| object.clone(), |key| key.clone().into())
}

/// The Event of a finding.
pub(super) fn event(object: &Reference, finding: &Finding, replica: &str, now: MicroTime) -> Event {
    let note = note(&with_command(&finding.message, object));
    let type_ = match finding.severity {
        Severity::Info => "Normal",
        Severity::Warning | Severity::Error => "Warning",
    };
    Event {
        metadata: ObjectMeta {
            name: Some(name(object, finding.reason, &note)),
            namespace: Some(object.namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some(ACTION.to_owned()),
        event_time: Some(now),
        note: Some(note),
        reason: Some(finding.reason.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(object.api_version.clone()),
            kind: Some(object.kind.clone()),
            namespace: Some(object.namespace.clone()),
            name: Some(object.name.clone()),
            uid: Some(object.uid.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(replica.chars().take(128).collect()),
        type_: Some(type_.to_owned()),
        ..Event::default()
    }
}

/// Adds the command that edits the object to a message without a command.
fn with_command(message: &str, object: &Reference) -> String {
    if ["kubectl ", "headgate "]
        .iter()
        .any(|program| message.contains(program))
    {
        return message.to_owned();
    }
    let command = format!(
        ". To change it: kubectl edit {}/{} -n {}",
        object.kind.to_ascii_lowercase(),
        object.name,
        object.namespace
    );
    // The message is cut rather than the command.
    let message = note_of(message, MAX_NOTE.saturating_sub(command.len()));
    format!("{}{command}", message.trim_end_matches('.'))
}

/// The message, cut to the length of a note.
fn note(message: &str) -> String {
    note_of(message, MAX_NOTE)
}

/// The text, cut to a number of bytes.
fn note_of(message: &str, longest: usize) -> String {
    if message.len() <= longest {
        return message.to_owned();
    }
    let room = longest.saturating_sub('…'.len_utf8());
    let end = (0..=room).rev().find(|at| message.is_char_boundary(*at));
    format!("{}…", &message[..end.unwrap_or(0)])
}

/// The name of an Event, equal on every replica so that none repeats the Event of another.
fn name(object: &Reference, reason: &str, note: &str) -> String {
    let mut hash = Fnv::default();
    for part in [object.uid.as_str(), object.kind.as_str(), reason, note] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    // A name has at most 253 characters; names of objects are ASCII.
    let whose: String = object.name.chars().take(200).collect();
    format!("{}.{:016x}", whose.trim_end_matches(['.', '-']), hash.0)
}

/// FNV-1a with 64 bits. The hashes of the standard library may change between releases.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn object(name: &str, uid: &str) -> Reference {
        Reference {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn rendered(object: &Reference, message: &str) -> Event {
        let finding = Finding {
            object: Subject::ControlPlane,
            reason: reason::NAME_CLAIMED,
            severity: Severity::Warning,
            origin: String::new(),
            message: message.to_owned(),
        };
        event(
            object,
            &finding,
            "replica",
            MicroTime(Timestamp::UNIX_EPOCH),
        )
    }

    #[test]
    fn an_event_with_a_long_message_still_names_its_command() {
        let object = object("x", "1");
        let edit = ". To change it: kubectl edit deployment/x -n default";
        let note = |message: &str| rendered(&object, message).note.unwrap_or_default();
        assert_eq!(note("it is wrong."), format!("it is wrong{edit}"));
        assert_eq!(note("run kubectl x"), "run kubectl x");
        let long = note(&"ö".repeat(2000));
        assert!(
            long.len() <= MAX_NOTE && long.ends_with(&format!("…{edit}")),
            "{long}"
        );
    }

    #[test]
    fn an_event_is_identified_by_its_object_and_message() {
        let name = |object: &Reference, message| rendered(object, message).metadata.name;
        let one = object("x", "1");
        assert_eq!(name(&one, "a"), name(&one, "a"));
        assert_ne!(name(&one, "a"), name(&one, "b"));
        assert_ne!(name(&one, "a"), name(&object("x", "2"), "a"), "recreated");
        let long = name(&object(&"x".repeat(253), "1"), "a").unwrap_or_default();
        assert!(long.len() <= 253, "{long}");
    }
}
