//! The status of a policy from its outcome, and the time of its write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_contract::{
    AuthenticationPolicySpec, ChargeAt, Condition, ConfigError, PolicyDefinition, PolicySpec as _,
    TokenBucketPolicySpec,
};
use headgate_kubernetes::policies::Controller;
use headgate_kubernetes::policies::PolicyCache;
use headgate_kubernetes::policies::StoredPolicy;
use headgate_kubernetes::policies::StoredStatus;
use headgate_model::{PolicyCondition, PolicyId, PolicyOutcome, condition_reason};
use headgate_writer::counts::PolicyRollup;
use headgate_writer::policies::MIN_INTERVAL;
use headgate_writer::policies::PolicyState;
use headgate_writer::policies::PolicyStates;
use headgate_writer::policies::StatusScheduler;
use headgate_writer::policies::to_write;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn accepted(generation: i64) -> PolicyOutcome {
    let holds = |reason, message: &str| PolicyCondition {
        holds: true,
        reason,
        message: message.to_owned(),
    };
    PolicyOutcome {
        generation,
        accepted: holds(condition_reason::ACCEPTED, "applies to 1 model"),
        resolved: holds(condition_reason::RESOLVED, "all its targets exist"),
        at: None,
        authenticates: false,
        namespaces: ["default".to_owned()].into(),
        unserved: BTreeSet::new(),
    }
}

fn counts(acked: u32, connected: u32) -> PolicyRollup {
    PolicyRollup { connected, acked }
}

/// Each condition as `Type=Status Reason: message`.
fn lines(conditions: &[Condition]) -> Vec<String> {
    let line = |c: &Condition| format!("{}={:?} {}: {}", c.type_, c.status, c.reason, c.message);
    conditions.iter().map(line).collect()
}

fn programmed(outcome: &PolicyOutcome, counts: PolicyRollup) -> String {
    lines(&to_write(outcome, counts, &[], at(0)).unwrap())
        .pop()
        .unwrap()
}

#[test]
fn programmed_is_true_when_every_connected_proxy_has_the_policy() {
    let outcome = accepted(3);
    for (acked, connected, expected) in [
        (
            0,
            0,
            "Programmed=Unknown NoProxies: no proxy that serves its models is connected",
        ),
        (0, 2, "Programmed=False Reconciling: 0 of 2 proxies have it"),
        (1, 2, "Programmed=False Reconciling: 1 of 2 proxies have it"),
        (2, 2, "Programmed=True Programmed: 2 of 2 proxies have it"),
    ] {
        assert_eq!(programmed(&outcome, counts(acked, connected)), expected);
    }
}

#[test]
fn a_policy_that_no_proxy_gets_has_the_reason_in_its_condition() {
    let mut replaced = accepted(1);
    replaced.accepted = PolicyCondition {
        holds: false,
        reason: condition_reason::OVERRIDDEN,
        message: "no part of it takes effect: TokenBucketPolicy default/x takes precedence".into(),
    };
    let line = programmed(&replaced, counts(2, 2));
    assert_eq!(
        line,
        "Programmed=False Overridden: no part of it takes effect: TokenBucketPolicy default/x takes precedence"
    );

    let mut nothing = accepted(1);
    nothing.namespaces.clear();
    nothing.resolved = PolicyCondition {
        holds: false,
        reason: condition_reason::MATCHES_NOTHING,
        message: "matches no model: spec.models[0]: no carrier declares model lama: correct the id, or label a workload with it".into(),
    };
    let line = programmed(&nothing, counts(2, 2));
    assert_eq!(
        line,
        "Programmed=False MatchesNothing: matches no model: spec.models[0]: no carrier declares model lama: correct the id, or label a workload with it"
    );
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let first = to_write(&accepted(1), counts(1, 2), &[], at(100)).unwrap();
    assert!(
        first
            .iter()
            .all(|c| c.last_transition_time == "1970-01-01T00:01:40Z"
                && c.observed_generation == Some(1))
    );
    let edited = to_write(&accepted(2), counts(2, 2), &first, at(200)).unwrap();
    let times: Vec<&str> = edited
        .iter()
        .map(|c| c.last_transition_time.as_str())
        .collect();
    let (kept, new) = ("1970-01-01T00:01:40Z", "1970-01-01T00:03:20Z");
    assert_eq!(times, [kept, kept, new]);
    assert!(edited.iter().all(|c| c.observed_generation == Some(2)));
}

#[test]
fn the_condition_of_a_policy_says_how_many_proxies_have_their_own_buckets() {
    let outcome = |at| PolicyOutcome { at, ..accepted(1) };
    let apart = "spent apart by 3 proxies: each has its own buckets";
    for at in [ChargeAt::Decide, ChargeAt::Inbound] {
        let outcome = outcome(Some(at));
        for (acked, connected, expected) in [
            (
                3,
                3,
                format!("=True Programmed: 3 of 3 proxies have it; {apart}"),
            ),
            (
                3,
                5,
                format!("=False Reconciling: 3 of 5 proxies have it; {apart}"),
            ),
            (
                1,
                5,
                "=False Reconciling: 1 of 5 proxies have it".to_owned(),
            ),
            (1, 1, "=True Programmed: 1 of 1 proxies have it".to_owned()),
        ] {
            let line = programmed(&outcome, counts(acked, connected));
            assert_eq!(line, format!("Programmed{expected}"));
        }
    }
    // A policy without buckets.
    let line = programmed(&outcome(None), counts(3, 3));
    assert_eq!(line, "Programmed=True Programmed: 3 of 3 proxies have it");
    let line = programmed(&outcome(Some(ChargeAt::Inbound)), counts(0, 0));
    assert!(line.contains("`spec.at` is inbound: remove `at`"), "{line}");
}

fn outcomes() -> impl Strategy<Value = PolicyOutcome> {
    (
        any::<bool>(),
        any::<bool>(),
        1i64..3,
        any::<bool>(),
        "\\PC{0,2000}",
    )
        .prop_map(
            |(accepted, resolved, generation, somewhere, message)| PolicyOutcome {
                generation,
                accepted: PolicyCondition {
                    holds: accepted,
                    reason: condition_reason::ACCEPTED,
                    message: message.clone(),
                },
                resolved: PolicyCondition {
                    holds: resolved,
                    reason: condition_reason::RESOLVED,
                    message,
                },
                at: None,
                authenticates: false,
                namespaces: somewhere
                    .then(|| "default".to_owned())
                    .into_iter()
                    .collect(),
                unserved: BTreeSet::new(),
            },
        )
}

proptest! {
    #[test]
    fn a_written_status_needs_no_further_write(
        before in outcomes(), after in outcomes(), acked in 0u32..3, more in 0u32..3,
    ) {
        let counts = counts(acked, acked + more);
        let stored = to_write(&before, counts, &[], at(1)).unwrap();
        let written = to_write(&after, counts, &stored, at(2)).unwrap_or(stored);
        prop_assert_eq!(to_write(&after, counts, &written, at(3)), None);
        prop_assert!(written.iter().all(|c| c.message.chars().count() <= 1024));
    }
}

fn id(name: &str) -> PolicyId {
    PolicyId {
        kind: TokenBucketPolicySpec::KIND,
        namespace: "default".into(),
        name: name.into(),
    }
}

fn policy_states(acked: u32) -> PolicyStates {
    policy_states_of("", acked)
}

fn policy_states_of(uid: &str, acked: u32) -> PolicyStates {
    let state = PolicyState {
        uid: uid.to_owned(),
        outcome: accepted(1),
        counts: counts(acked, 9),
    };
    [(id("a"), state)].into()
}

fn stored(
    uid: &str,
    conditions: &[Condition],
    written: Option<i64>,
) -> BTreeMap<PolicyId, StoredStatus> {
    let status = StoredStatus {
        uid: uid.to_owned(),
        version: String::new(),
        conditions: conditions.to_vec(),
        written: written.map(at),
    };
    [(id("a"), status)].into()
}

/// A stored object, optionally with this status.
fn there(scheduler: &mut StatusScheduler, conditions: &[Condition]) {
    scheduler.stored(stored("", conditions, None), at(0), Duration::ZERO);
}

#[test]
fn an_object_is_written_at_once_then_at_most_every_ten_seconds_and_the_newest_wins() {
    let mut scheduler = StatusScheduler::default();
    scheduler.want(policy_states(0));
    assert!(
        scheduler.due(at(0), Duration::ZERO).writes.is_empty(),
        "nothing is known to be there"
    );
    there(&mut scheduler, &[]);
    let second = Duration::from_secs;
    assert_eq!(scheduler.due(at(0), second(100)).writes.len(), 1);
    for (clock, acked) in [(101, 1), (104, 2), (109, 3)] {
        scheduler.want(policy_states(acked));
        let due = scheduler.due(at(0), second(clock));
        assert!(due.writes.is_empty());
        assert_eq!(due.next, Some(second(100) + MIN_INTERVAL));
    }
    let due = scheduler.due(at(0), second(110));
    assert!(lines(&due.writes[0].conditions)[2].ends_with("3 of 9 proxies have it"));
    assert_eq!(due.next, None);
    assert!(
        scheduler.due(at(0), second(200)).writes.is_empty(),
        "it settles"
    );
}

#[test]
fn a_new_leader_keeps_the_write_interval_of_the_previous_one() {
    let second = Duration::from_secs;
    let takes_over = |wrote: i64| {
        let mut scheduler = StatusScheduler::default();
        scheduler.want(policy_states(0));
        scheduler.stored(stored("", &[], Some(wrote)), at(1000), second(50));
        let due = scheduler.due(at(1000), second(50));
        (due.writes.len(), due.next)
    };
    // The API server has whole seconds: 997 may have been almost 998.
    assert_eq!(takes_over(997), (0, Some(second(58))));
    assert_eq!(takes_over(989), (1, None));
    // A clock that is ahead delays a write by one interval at most, however often it is due.
    assert_eq!(takes_over(2000), (0, Some(second(60))));
    let mut scheduler = StatusScheduler::default();
    scheduler.want(policy_states(0));
    for clock in [50, 55, 60] {
        scheduler.stored(stored("", &[], Some(2000)), at(1000), second(clock));
    }
    assert_eq!(scheduler.due(at(1000), second(60)).writes.len(), 1);
}

#[test]
fn an_untried_write_is_due_at_once() {
    let mut scheduler = StatusScheduler::default();
    scheduler.want(policy_states(0));
    there(&mut scheduler, &[]);
    assert_eq!(scheduler.due(at(0), Duration::ZERO).writes.len(), 1);
    scheduler.skipped(&id("a"));
    assert_eq!(scheduler.due(at(0), Duration::ZERO).writes.len(), 1);
}

#[test]
fn a_failed_write_is_tried_again_after_the_write_interval() {
    let mut scheduler = StatusScheduler::default();
    scheduler.want(policy_states(0));
    there(&mut scheduler, &[]);
    assert_eq!(scheduler.due(at(0), Duration::ZERO).writes.len(), 1);
    scheduler.failed(&id("a"));
    assert_eq!(
        scheduler.due(at(0), Duration::from_secs(1)).next,
        Some(MIN_INTERVAL)
    );
    assert_eq!(scheduler.due(at(0), MIN_INTERVAL).writes.len(), 1);
}

#[test]
fn a_failed_write_keeps_the_times_of_unchanged_conditions() {
    let mut scheduler = StatusScheduler::default();
    scheduler.want(policy_states(0));
    there(&mut scheduler, &[]);
    let first = scheduler
        .due(at(0), Duration::ZERO)
        .writes
        .remove(0)
        .conditions;
    there(&mut scheduler, &first);
    scheduler.want(policy_states(2));
    assert_eq!(scheduler.due(at(100), MIN_INTERVAL).writes.len(), 1);
    scheduler.failed(&id("a"));
    let again = scheduler
        .due(at(200), 2 * MIN_INTERVAL)
        .writes
        .remove(0)
        .conditions;
    let accepted = |conditions: &[Condition]| {
        let found = conditions.iter().find(|c| c.type_ == "Accepted").unwrap();
        (found.status, found.last_transition_time.clone())
    };
    assert_eq!(accepted(&again), accepted(&first));
}

#[test]
fn the_status_of_an_object_is_never_written_to_a_recreated_one() {
    let second = Duration::from_secs;
    let mut scheduler = StatusScheduler::default();
    scheduler.want(policy_states_of("old", 9));
    scheduler.stored(stored("old", &[], None), at(0), second(0));
    assert_eq!(scheduler.due(at(0), second(0)).writes[0].uid, "old");
    // It was recreated, and the new object has no outcome yet.
    scheduler.stored(stored("new", &[], None), at(1), second(1));
    assert_eq!(scheduler.due(at(1), second(1)), Default::default());
    // Its first status is written at once, whenever the status of the old object was written.
    scheduler.want(policy_states_of("new", 0));
    let due = scheduler.due(at(2), second(2));
    assert_eq!((due.writes[0].uid.as_str(), due.next), ("new", None));
    assert!(lines(&due.writes[0].conditions)[2].starts_with("Programmed=False"));
    // The other way round: the outcome is of the new object, and the cache has the old one.
    scheduler.stored(stored("old", &[], None), at(3), second(30));
    assert_eq!(scheduler.due(at(3), second(30)), Default::default());
}

#[test]
fn a_policy_of_a_namespace_without_a_domain_is_not_programmed_and_says_which_flag_is_missing() {
    let mut outcome = accepted(1);
    outcome.unserved = ["default".to_owned()].into();
    let why = "no domain is configured for namespace default, so no proxy serves it: start headgate with --domain default=<domain>";
    let line = programmed(&outcome, counts(0, 0));
    assert_eq!(line, format!("Programmed=False NoDomain: {why}"));
    // A policy of the root namespace also applies to other namespaces.
    outcome.namespaces.insert("team".to_owned());
    let line = programmed(&outcome, counts(2, 2));
    assert_eq!(
        line,
        format!("Programmed=True Programmed: 2 of 2 proxies have it; {why}")
    );
    outcome.namespaces.clear();
    outcome.resolved.message = "matches nothing".to_owned();
    let line = programmed(&outcome, counts(0, 0));
    assert!(line.ends_with(&format!("matches nothing; {why}")), "{line}");
}

#[test]
fn each_installation_reads_its_own_part_of_a_status() {
    let condition = |reason: &str| json!({"type": "Accepted", "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-31T12:00:00Z"});
    let managed = |manager: &str, second: u8| json!({"manager": manager, "time": format!("2026-01-31T12:00:0{second}Z")});
    let object = json!({
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "managedFields": [
            managed("headgate-status", 1), managed("headgate-status-x.example/blue", 2), managed("kubectl", 3),
        ]},
        "spec": {},
        "status": {
            "conditions": [condition("Own")],
            "controllers": [
                {"controllerName": "x.example/green", "conditions": [condition("Green")]},
                {"controllerName": "x.example/blue", "conditions": [condition("Blue")]},
            ],
        },
    });
    let definition = PolicyDefinition::find("TokenBucketPolicy").unwrap();
    for (name, reason, second) in [
        ("headgate.dev/headgate", Some("Own"), Some(1)),
        ("x.example/blue", Some("Blue"), Some(2)),
        ("x.example/green", Some("Green"), None),
        ("x.example/new", None, None),
    ] {
        let controller: Controller = name.parse().unwrap();
        let read = StoredPolicy::read(definition, &controller, &object).unwrap();
        let reasons: Vec<&str> = read.conditions.iter().map(|c| c.reason.as_str()).collect();
        assert_eq!(reasons, reason.into_iter().collect::<Vec<_>>(), "{name}");
        let written = read.written.map(|at| at.as_second() % 10);
        assert_eq!(written, second, "{name}");
    }
}

fn object(name: &str, generation: i64, spec: Value) -> StoredPolicy {
    let object = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "TokenBucketPolicy",
        "metadata": {"name": name, "namespace": "default", "generation": generation, "creationTimestamp": "2026-01-31T12:00:00Z"},
        "spec": spec,
    });
    let definition = PolicyDefinition::find("TokenBucketPolicy").unwrap();
    StoredPolicy::read(definition, &Controller::default(), &object).unwrap()
}

fn login(uid: &str, generation: i64, keys: &str) -> StoredPolicy {
    let object = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "AuthenticationPolicy",
        "metadata": {"name": "login", "namespace": "default", "uid": uid, "generation": generation},
        "spec": {"jwt": [{"issuer": "https://issuer.test", "jwks": {"inline": keys}}]},
    });
    let definition = PolicyDefinition::find("AuthenticationPolicy").unwrap();
    StoredPolicy::read(definition, &Controller::default(), &object).unwrap()
}

#[test]
fn an_invalid_authentication_policy_keeps_its_last_valid_spec_or_accepts_no_token() {
    let good = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let mut cache = PolicyCache::default();
    let effect = |cache: &PolicyCache| {
        let (id, policy) = cache.policies.first_key_value().unwrap();
        let spec = policy.spec.get::<AuthenticationPolicySpec>().unwrap();
        assert!(spec.required);
        let is_invalid = cache.invalid.contains_key(id);
        let effect = is_invalid.then(|| cache.effect_of_invalid(id));
        (spec.jwt.len(), effect.unwrap_or_default())
    };
    let closed = "no valid version of the policy is known, so all requests to which it applies are refused with 401 until it is corrected";
    cache.apply(login("1", 1, "{"));
    assert_eq!(effect(&cache), (0, closed));
    cache.apply(login("1", 2, good));
    assert_eq!(effect(&cache), (1, ""));
    cache.apply(login("1", 3, "{"));
    let kept = "the last valid version of the policy stays in effect";
    assert_eq!(effect(&cache), (1, kept));
    // Another object of the same name.
    cache.apply(login("2", 1, "{"));
    assert_eq!(effect(&cache), (0, closed));
}

#[test]
fn an_unreadable_policy_is_left_out_and_reported() {
    let fair = json!({"buckets": [{"name": "fair", "key": [], "profile": "semantic"}]});
    let mut observed = PolicyCache::default();
    observed.apply(object("good", 1, fair.clone()));
    observed.apply(object("bad", 7, json!({"buckets": [], "x": 1})));
    assert_eq!(observed.policies[&id("good")].created, Some(1_769_860_800));
    assert!(!observed.policies.contains_key(&id("bad")));
    let error = ConfigError::new(
        "spec.x",
        "unknown field `x`, expected one of `targetRefs`, `models`, `selector`, `override`, `at`, `buckets`",
    );
    assert_eq!(
        observed.invalid[&id("bad")],
        PolicyOutcome::invalid(7, &error)
    );
    assert_eq!(observed.stored.len(), 2);
    // After a fix there is no trace of the invalid spec.
    let mut fresh = observed.clone();
    observed.apply(object("bad", 8, fair.clone()));
    for name in ["good", "bad"] {
        fresh.delete(&id(name));
    }
    fresh.apply(object("bad", 8, fair.clone()));
    fresh.apply(object("good", 1, fair));
    assert_eq!(observed, fresh);
    assert!(observed.invalid.is_empty());
    let (kind, none) = (&TokenBucketPolicySpec::KIND, BTreeSet::new());
    observed.keep(kind, Some("other"), &none);
    assert_eq!(observed, fresh);
    observed.keep(kind, None, &[id("good")].into());
    assert_eq!(observed.stored.keys().collect::<Vec<_>>(), [&id("good")]);
    observed.keep(kind, None, &none);
    assert_eq!(observed, PolicyCache::default());
}
