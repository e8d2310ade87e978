//! Counts of proxies: format, sums and expiry.

use std::collections::BTreeMap;

use headgate_contract::{
    ChargeAt, ConfigError, PolicySpec as _, TokenBucketPolicySpec, TrafficTagPolicySpec,
};
use headgate_model::PolicyRevision;
use headgate_model::Refusal;
use headgate_model::{CarrierKey, PolicyId, Subject};
use headgate_model::{PolicyOutcome, ProxyGroup, ReplicaCounts};
use headgate_writer::counts::PolicyRollup;
use headgate_writer::counts::parse;
use headgate_writer::counts::render;
use headgate_writer::counts::sum;
use proptest::prelude::*;

fn policy(name: &str) -> PolicyId {
    PolicyId {
        kind: TokenBucketPolicySpec::KIND,
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn policy_revision(object: u8, generation: i64) -> PolicyRevision {
    PolicyRevision {
        uid: format!("uid-{object}"),
        generation,
    }
}

/// Proxies that get a namespace and decide.
fn group(namespace: &str) -> ProxyGroup {
    ProxyGroup {
        namespaces: [namespace.to_owned()].into(),
        charges_at: [ChargeAt::Decide].into(),
        authenticates: false,
    }
}

fn replica_counts(connected: u32, held: &[(PolicyRevision, u32)]) -> ReplicaCounts {
    ReplicaCounts {
        proxies: BTreeMap::from([(group("default"), connected)]),
        held: BTreeMap::from([(policy("p"), held.iter().cloned().collect())]),
        ..ReplicaCounts::default()
    }
}

fn counted(replicas: &[ReplicaCounts], wanted: PolicyRevision) -> (u32, u32) {
    let runs = |group: &ProxyGroup| group.namespaces.contains("default");
    let PolicyRollup { connected, acked } = sum(replicas, &policy("p"), &wanted, runs);
    (acked, connected)
}

#[test]
fn proxies_with_at_least_the_generation_count_over_all_replicas() {
    let behind = replica_counts(3, &[(policy_revision(7, 4), 2), (policy_revision(7, 5), 1)]);
    let ahead = replica_counts(2, &[(policy_revision(7, 6), 2)]);
    let both = [behind, ahead];
    assert_eq!(counted(&both, policy_revision(7, 4)), (5, 5));
    assert_eq!(counted(&both, policy_revision(7, 5)), (3, 5));
    assert_eq!(counted(&both, policy_revision(7, 6)), (2, 5));
    assert_eq!(counted(&both, policy_revision(7, 7)), (0, 5));
}

#[test]
fn a_proxy_with_a_deleted_policy_does_not_count_for_the_recreated_one() {
    let old = [replica_counts(1, &[(policy_revision(7, 9), 1)])];
    assert_eq!(counted(&old, policy_revision(8, 1)), (0, 1));
    // Also if the UIDs have no order.
    assert_eq!(counted(&old, policy_revision(6, 1)), (0, 1));
    assert_eq!(policy_revision(7, 9).least(&policy_revision(8, 1)), None);
}

#[test]
fn proxies_of_a_replica_without_the_policy_count_as_unacknowledged() {
    let unaware = ReplicaCounts {
        held: BTreeMap::new(),
        ..replica_counts(2, &[])
    };
    assert_eq!(
        counted(
            &[unaware, replica_counts(1, &[(policy_revision(7, 1), 1)])],
            policy_revision(7, 1)
        ),
        (1, 3)
    );
}

#[test]
fn proxies_of_other_namespaces_do_not_count() {
    let mut elsewhere = replica_counts(2, &[(policy_revision(7, 1), 2)]);
    elsewhere.proxies = BTreeMap::from([(group("other"), 2)]);
    assert_eq!(counted(&[elsewhere], policy_revision(7, 1)), (0, 0));
    assert_eq!(counted(&[], policy_revision(7, 1)), (0, 0));
}

#[test]
fn only_proxies_that_charge_at_the_hop_of_a_policy_run_it() {
    let outcome = |at| PolicyOutcome {
        at,
        namespaces: ["default".to_owned()].into(),
        ..PolicyOutcome::invalid(1, &ConfigError::new(".", "none"))
    };
    let gateway = group("default");
    for (at, expected) in [
        (None, true),
        (Some(ChargeAt::Decide), true),
        (Some(ChargeAt::Inbound), false),
    ] {
        assert_eq!(gateway.runs(&outcome(at)), expected, "{at:?}");
        assert!(!group("other").runs(&outcome(at)), "{at:?}");
    }
    // A policy of authentication is for proxies that verify tokens.
    let tokens = PolicyOutcome {
        authenticates: true,
        ..outcome(None)
    };
    let verifies = ProxyGroup {
        authenticates: true,
        ..group("default")
    };
    assert!(!gateway.runs(&tokens) && verifies.runs(&tokens));
}

fn any_counts() -> impl Strategy<Value = ReplicaCounts> {
    let names = proptest::collection::btree_set("[a-z]{1,5}", 0..3);
    let at = prop_oneof![Just(ChargeAt::Decide), Just(ChargeAt::Inbound)];
    let at = proptest::collection::btree_set(at, 0..3);
    let group = (names, at).prop_map(|(namespaces, charges_at)| ProxyGroup {
        authenticates: charges_at.len() == 1,
        namespaces,
        charges_at,
    });
    let proxies = proptest::collection::btree_map(group, any::<u32>(), 0..4);
    let revision =
        (any::<u8>(), any::<i64>()).prop_map(|(o, g)| super::counts::policy_revision(o, g));
    let id = (any::<bool>(), "[a-z]{1,5}", "[a-z.-]{1,9}").prop_map(|(bucket, namespace, name)| {
        let kind = if bucket {
            TokenBucketPolicySpec::KIND
        } else {
            TrafficTagPolicySpec::KIND
        };
        PolicyId {
            kind,
            namespace,
            name,
        }
    });
    let revisions = proptest::collection::btree_map(revision, any::<u32>(), 0..4);
    let held = proptest::collection::btree_map(id.clone(), revisions, 0..4);
    let carrier = |(kind, namespace, name)| CarrierKey {
        namespace,
        kind,
        name,
    };
    let carrier = ("[a-z]{1,9}", "[a-z]{1,5}", "\\PC{0,20}").prop_map(carrier);
    let object = prop_oneof![
        id.prop_map(Subject::Policy),
        carrier.prop_map(Subject::Carrier),
        ("[a-z]{1,5}", "[a-z]{1,5}").prop_map(|(namespace, id)| Subject::Model {
            namespace,
            id: id.try_into().unwrap(),
        }),
        Just(Subject::ControlPlane),
    ];
    let refused = (object, "\\PC{0,40}").prop_map(|(object, message)| Refusal { object, message });
    let refused = proptest::collection::btree_set(refused, 0..3);
    let model = ("[a-z]{1,5}", "[a-z]{1,5}").prop_map(|(ns, id)| (ns, id.try_into().unwrap()));
    let weights = proptest::collection::btree_map("[0-9a-f]{1,12}", any::<u32>(), 0..3);
    let models = proptest::collection::btree_map(model, weights, 0..4);
    let variant = ("[a-z]{1,5}", "[a-z]{1,5}", "[a-z]{1,5}").prop_map(|(ns, id, version)| {
        let (id, version) = (id.try_into().unwrap(), version.try_into().unwrap());
        (ns, id, version)
    });
    let unreachable = proptest::collection::btree_set(variant, 0..3);
    let parts = (proxies, held, models, refused, unreachable);
    parts.prop_map(
        |(proxies, held, models, refused, unreachable)| ReplicaCounts {
            proxies,
            held,
            models,
            refused,
            unreachable,
        },
    )
}

proptest! {
    #[test]
    fn published_counts_are_read_unchanged(replica_counts in any_counts()) {
        prop_assert_eq!(parse(&render(&replica_counts).unwrap()).unwrap(), replica_counts);
    }
}

#[test]
fn unknown_fields_are_ignored_and_malformed_counts_are_an_error() {
    let newer = r#"{"proxies":[],"policies":[],"refused":[],"more":1}"#;
    assert_eq!(parse(newer).unwrap(), ReplicaCounts::default());
    assert!(parse(r#"{"proxies":3}"#).is_err());
}
