//! What is so, and an utterance of it as the Event that says it.
//!
//! Pure. Invariant: an Event names a command, is as long as the API server takes, and has the same name on every replica.

use std::collections::BTreeSet;

use headgate_model::{Finding, Plan, Severity, Subject, reason, unreachable_finding};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use crate::counts::Complaints;
use headgate_model::reference::Reference;

/// Who reports, as `kubectl describe` shows it.
const CONTROLLER: &str = "headgate.dev/control-plane";
/// What was done that led to it; the API asks for one.
const ACTION: &str = "Plan";
/// Longest note that the API server takes, in bytes.
const LONGEST: usize = 1024;

/// Everything that is so, each on an object that an Event can be attached to.
pub(super) fn states(plan: &Plan, complaints: &Complaints) -> BTreeSet<Finding> {
    let place = |finding: &Finding| Finding {
        object: place(&finding.object, plan),
        ..finding.clone()
    };
    let refused = complaints.refused.iter().map(|refusal| Finding {
        object: refusal.object.clone(),
        reason: reason::REFUSED,
        severity: Severity::Error,
        origin: refusal.object.to_string(),
        message: refusal.message.clone(),
    });
    let unreached = complaints.unreachable.iter();
    let unreached = unreached.filter_map(|variant| unreachable_finding(plan, variant));
    let findings = plan.findings.iter().map(place);
    findings.chain(refused).chain(unreached).collect()
}

/// What is found of a model as a whole is said of its oldest carrier.
fn place(object: &Subject, plan: &Plan) -> Subject {
    let carrier = match object {
        Subject::Model { namespace, id } => plan.oldest_carrier(namespace, id),
        _ => None,
    };
    carrier.map_or_else(|| object.clone(), |key| key.clone().into())
}

/// The Event that says it.
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

/// A message that names no command gets one: what is said of an object is changed by editing it.
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
    // The command is what must not be cut off.
    let message = note_of(message, LONGEST.saturating_sub(command.len()));
    format!("{}{command}", message.trim_end_matches('.'))
}

/// As much of a message as an Event can hold.
fn note(message: &str) -> String {
    note_of(message, LONGEST)
}

/// As much of a text as so many bytes can hold.
fn note_of(message: &str, longest: usize) -> String {
    if message.len() <= longest {
        return message.to_owned();
    }
    let room = longest.saturating_sub('…'.len_utf8());
    let end = (0..=room).rev().find(|at| message.is_char_boundary(*at));
    format!("{}…", &message[..end.unwrap_or(0)])
}

/// The same on every replica, so that none repeats what another one wrote.
fn name(object: &Reference, reason: &str, note: &str) -> String {
    let mut hash = Fnv::default();
    for part in [object.uid.as_str(), object.kind.as_str(), reason, note] {
        hash.eat(part.as_bytes());
        hash.eat(&[0]);
    }
    // A name may have 253 characters; those of objects are ASCII.
    let whose: String = object.name.chars().take(200).collect();
    format!("{}.{:016x}", whose.trim_end_matches(['.', '-']), hash.0)
}

/// FNV-1a, 64 bits: the standard library's hashes may differ from one release to the next.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn eat(&mut self, bytes: &[u8]) {
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

    fn said(object: &Reference, message: &str) -> Event {
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
    fn an_event_names_a_command_also_where_its_message_is_too_long() {
        let object = object("x", "1");
        let edit = ". To change it: kubectl edit deployment/x -n default";
        let note = |message: &str| said(&object, message).note.unwrap_or_default();
        assert_eq!(note("it is wrong."), format!("it is wrong{edit}"));
        assert_eq!(note("run kubectl x"), "run kubectl x");
        let long = note(&"ö".repeat(2000));
        assert!(
            long.len() <= LONGEST && long.ends_with(&format!("…{edit}")),
            "{long}"
        );
    }

    #[test]
    fn an_event_is_known_by_its_object_and_what_it_says() {
        let name = |object: &Reference, message| said(object, message).metadata.name;
        let one = object("x", "1");
        assert_eq!(name(&one, "a"), name(&one, "a"));
        assert_ne!(name(&one, "a"), name(&one, "b"));
        assert_ne!(name(&one, "a"), name(&object("x", "2"), "a"), "made anew");
        let long = name(&object(&"x".repeat(253), "1"), "a").unwrap_or_default();
        assert!(long.len() <= 253, "{long}");
    }
}
