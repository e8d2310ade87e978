//! Tests of the rules.
#![allow(clippy::unwrap_used)]

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use headgate_xds::PeerIdentity;

use super::*;

const GATEWAY: &str = "spiffe://a.test/ns/models/sa/gateway";

fn own(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn flags(flags: FlagRules) -> ScopeRules {
    let listen = "127.0.0.1:10000".parse().unwrap();
    ScopeRules {
        source: RuleSource::Flags(flags),
        ..ScopeRules::loopback(own(&["a", "b", "c"]), listen)
    }
}

fn file(yaml: &str) -> ScopeRules {
    let served = own(&["a", "b", "c"]);
    ScopeRules {
        source: RuleSource::File(parse_scope_file(yaml, Some(&served)).unwrap()),
        ..flags(FlagRules::default())
    }
}

fn peer(id: &str, address: &str) -> Peer {
    Peer {
        id: id.to_owned(),
        address: Some(address.parse().unwrap()),
        ..Peer::default()
    }
}

fn with_identity(uri: &str, is_forwarded: bool) -> Peer {
    Peer {
        identity: Some(PeerIdentity {
            uris: vec![uri.to_owned()],
            is_forwarded,
        }),
        ..peer("n", "127.0.0.1:1")
    }
}

fn text(value: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    }
}

fn claiming(mut peer: Peer, claims: &[(&str, &str)]) -> Peer {
    for (key, value) in claims {
        peer.metadata.fields.insert((*key).to_owned(), text(value));
    }
    peer
}

fn refused(rules: &ScopeRules, peer: &Peer) -> (Refusal, String) {
    let denied = rules.scope(peer).unwrap_err();
    (denied.refusal, denied.reason)
}

#[test]
fn a_proxy_sees_the_namespaces_of_all_patterns_that_match_it_and_an_unknown_proxy_none() {
    let seen = |flag_rules: &FlagRules, id: &str| {
        let spec = flags(flag_rules.clone()).scope(&peer(id, "127.0.0.1:1"));
        spec.map(|spec| spec.namespaces).map_err(|r| r.reason)
    };
    let mut rules = FlagRules::default();
    assert_eq!(seen(&rules, "any").unwrap(), ["a", "b", "c"]);
    rules.node_namespaces = vec![
        ("edge-*".to_owned(), own(&["c", "a"])),
        ("*-1".to_owned(), own(&["b", "a"])),
    ];
    flags(rules.clone()).check().unwrap();
    assert_eq!(seen(&rules, "edge-1").unwrap(), ["a", "b", "c"]);
    assert_eq!(seen(&rules, "edge-2").unwrap(), ["a", "c"]);
    let refused = seen(&rules, "other").unwrap_err();
    assert!(refused.contains("--node-namespaces"), "{refused}");
    rules
        .node_namespaces
        .push(("x".to_owned(), own(&["nowhere"])));
    let error = flags(rules).check().unwrap_err();
    assert!(error.contains("--domain nowhere="), "{error}");
}

#[test]
fn an_unknown_proxy_on_another_machine_is_refused_with_the_flag_to_set() {
    let rules = flags(FlagRules {
        allow: own(&["edge-*"]),
        ..FlagRules::default()
    });
    let (refusal, reason) = refused(&rules, &peer("thief", "10.0.0.9:1"));
    assert_eq!(refusal, Refusal::NoRule);
    assert!(reason.contains("--allow-node"), "{reason}");
    assert!(rules.scope(&peer("edge-1", "10.0.0.9:1")).is_ok());
    assert!(rules.scope(&peer("thief", "127.0.0.1:1")).is_ok());
}

#[test]
fn metadata_moves_the_listener_and_the_rules_choose_the_role() {
    let rules = flags(FlagRules {
        follow: own(&["sidecar-*"]),
        ..FlagRules::default()
    });
    let asks = |listen| {
        claiming(
            peer("sidecar-1", "127.0.0.1:1"),
            &[(names::NODE_LISTEN, listen)],
        )
    };
    let spec = rules.scope(&asks("127.0.0.1:10077")).unwrap();
    assert!(spec.follow);
    assert_eq!(spec.listen.port(), 10077);
    let (refusal, reason) = refused(&rules, &asks("nonsense"));
    assert_eq!(refusal, Refusal::NodeMetadata);
    assert!(reason.contains("IP:PORT"), "{reason}");
}

#[test]
fn once_an_identity_is_required_loopback_without_one_is_refused() {
    let local = peer("n", "127.0.0.1:1");
    let by_flag = flags(FlagRules {
        allow_identities: own(&["spiffe://a.test/*"]),
        ..FlagRules::default()
    });
    let by_transport = ScopeRules {
        has_identities: true,
        ..flags(FlagRules::default())
    };
    let by_rule =
        file("rules: [{name: any, match: {nodeId: '*'}}, {name: x, match: {namespace: q}}]");
    for rules in [by_flag, by_transport, by_rule] {
        assert_eq!(refused(&rules, &local).0, Refusal::NoIdentity, "{rules:?}");
        rules.scope(&with_identity(GATEWAY, false)).unwrap();
    }
}

#[test]
fn an_identity_is_allowed_by_pattern_and_a_forwarded_one_never_by_its_address() {
    let rules = flags(FlagRules {
        allow_identities: own(&["spiffe://*/sa/gateway"]),
        ..FlagRules::default()
    });
    rules.scope(&with_identity(GATEWAY, true)).unwrap();
    let other = with_identity("spiffe://a.test/ns/models/sa/other", true);
    assert!(refused(&rules, &other).1.contains("--allow-identity"));
    let open = ScopeRules {
        has_identities: true,
        ..flags(FlagRules::default())
    };
    assert_eq!(
        refused(&open, &with_identity(GATEWAY, true)).0,
        Refusal::NoRule
    );
    let listed = ScopeRules {
        trust_domains: own(&["b.test"]),
        ..rules
    };
    let foreign = refused(&listed, &with_identity(GATEWAY, true));
    assert_eq!(foreign.0, Refusal::TrustDomain);
}

#[test]
fn two_uris_and_a_uri_of_another_scheme_are_refused() {
    let rules = flags(FlagRules::default());
    let mut two = with_identity(GATEWAY, true);
    if let Some(identity) = &mut two.identity {
        identity.uris.push(GATEWAY.to_owned());
    }
    assert_eq!(refused(&rules, &two).0, Refusal::UriSan);
    let https = with_identity("https://a.test/ns/models/sa/gateway", true);
    assert_eq!(refused(&rules, &https).0, Refusal::UriSan);
}

#[test]
fn claims_that_contradict_the_identity_are_refused() {
    let rules = flags(FlagRules::default());
    let id = || with_identity(GATEWAY, false);
    let agrees = claiming(
        id(),
        &[("NAMESPACE", "models"), ("SERVICE_ACCOUNT", "gateway")],
    );
    rules.scope(&agrees).unwrap();
    let istio = |node: &str, cluster: &str| Peer {
        id: node.to_owned(),
        cluster: cluster.to_owned(),
        ..id()
    };
    rules
        .scope(&istio(
            "sidecar~10.0.0.1~gw-0.models~models.svc.cluster.local",
            "gw.models",
        ))
        .unwrap();
    // The cluster of a node that is none of Istio is free.
    rules.scope(&istio("edge", "prod.eu")).unwrap();
    let lies = [
        claiming(id(), &[("NAMESPACE", "other")]),
        claiming(id(), &[("SERVICE_ACCOUNT", "other")]),
        istio("sidecar~10.0.0.1~gw-0.other~other.svc.cluster.local", ""),
        istio(
            "sidecar~10.0.0.1~gw-0.models~models.svc.cluster.local",
            "gw.other",
        ),
    ];
    for peer in lies {
        let (refusal, reason) = refused(&rules, &peer);
        assert_eq!(refusal, Refusal::Claim, "{peer:?}");
        assert!(
            reason.contains("\"other\"") && reason.contains(GATEWAY),
            "{reason}"
        );
    }
}

#[test]
fn envoys_before_1_40_cannot_ask_for_certificates_over_quic() {
    let rules = flags(FlagRules::default());
    for (agent, expected) in [
        ("envoy/1.39.2", false),
        ("envoy/1.9.0", false),
        ("envoy/1.40.0", true),
        ("envoy/1.41.0-dev", true),
        ("envoy/2.0.0", true),
        ("envoy", true),
        ("", true),
    ] {
        let peer = Peer {
            agent: agent.to_owned(),
            ..with_identity(GATEWAY, false)
        };
        let scope = rules.scope(&peer).unwrap();
        assert_eq!(scope.asks_over_quic, expected, "{agent}");
    }
}

#[test]
fn a_cluster_that_is_no_name_with_a_namespace_claims_nothing() {
    let rules = flags(FlagRules::default());
    let node = |cluster: &str, labels: &[(&str, &str)]| {
        let mut peer = Peer {
            id: "sidecar~10.0.0.1~phi-3-v1-0.models~models.svc.cluster.local".to_owned(),
            cluster: cluster.to_owned(),
            ..with_identity(GATEWAY, false)
        };
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), text(value)));
        let labels = Struct {
            fields: labels.collect(),
        };
        let labels = Value {
            kind: Some(Kind::StructValue(labels)),
        };
        peer.metadata.fields.insert("LABELS".to_owned(), labels);
        peer
    };
    let app = [("app", "phi-3.5")];
    for (cluster, labels) in [
        // CANONICAL_NAME_ONLY, from each label.
        ("phi-3.5", &app[..]),
        ("phi-3.5", &[("app.kubernetes.io/name", "phi-3.5")]),
        ("phi-3.5", &[("service.istio.io/canonical-name", "phi-3.5")]),
        // `serviceCluster`.
        ("inference.eu", &app),
        // With the namespace.
        ("phi-3.5.models", &app),
        ("istio-proxy.models", &app),
    ] {
        assert!(rules.scope(&node(cluster, labels)).is_ok(), "{cluster}");
    }
    for cluster in ["phi-3.5.other", "istio-proxy.other"] {
        let (refusal, reason) = refused(&rules, &node(cluster, &app));
        assert_eq!(refusal, Refusal::Claim, "{cluster}");
        assert!(reason.contains("node cluster"), "{reason}");
    }
}

#[test]
fn the_first_rule_of_the_file_that_matches_decides() {
    let rules = file(
        "rules:
         - name: follower
           match: {namespace: models, serviceAccount: [side*, gate*], nodeMetadata: {LABELS: {app: gw}}}
           role: follow
           namespaces: ['a', 'c*']
         - name: the others of the trust domain
           match: {trustDomain: a.test}
           namespaces: [b]
         - name: by claim
           match: {nodeId: edge-*, nodeCluster: eu}",
    );
    let mut follower = with_identity(GATEWAY, false);
    let labels = Struct {
        fields: [("app".to_owned(), text("gw"))].into(),
    };
    let labels = Value {
        kind: Some(Kind::StructValue(labels)),
    };
    follower.metadata.fields.insert("LABELS".to_owned(), labels);
    let spec = rules.scope(&follower).unwrap();
    assert!(spec.follow);
    assert_eq!(spec.namespaces, ["a", "c"]);
    let spec = rules.scope(&with_identity(GATEWAY, false)).unwrap();
    assert!(!spec.follow);
    assert_eq!(spec.namespaces, ["b"]);
    let (refusal, reason) = refused(&rules, &with_identity("spiffe://b.test/x", false));
    assert_eq!(refusal, Refusal::NoRule);
    assert!(reason.contains("--scopes"), "{reason}");
}

#[test]
fn errors_of_the_file_name_the_line_the_field_and_the_fix() {
    let served = own(&["a"]);
    for (yaml, parts) in [
        (
            "rules:\n- name: x\n  namespaces:\n  - nowhere",
            ["line 4", "namespaces", "--domain nowhere="],
        ),
        (
            "rules:\n- name: x\n  rol: follow",
            ["line 3", "rol", "role"],
        ),
        (
            "rules:\n- name: x\n  match: {nodeId: ''}",
            ["line 3", "pattern is empty", "write a value"],
        ),
        (
            "rules:\n- name: x\n  match:\n    nodeId: []",
            ["line 4", "empty", "remove the field"],
        ),
        ("rules:\n- match: {}", ["line 2", "missing", "name"]),
        (
            "rules: []\n",
            ["`rules` is empty", "no proxy", "add a rule"],
        ),
        (" \n", ["file is empty", "no proxy", "`rules:`"]),
        (
            "rules:\n- name: a\n---\nrules:\n- name: b\n",
            ["several YAML documents", "write one", "`rules`"],
        ),
    ] {
        let error = parse_scope_file(yaml, Some(&served)).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}

#[test]
fn an_identity_may_be_allowed_if_a_rule_fits_it_whatever_the_node_is() {
    let may = |rules: &ScopeRules, uri: &str| {
        let peer = with_identity(uri, false);
        rules.may_allow(peer.identity.as_ref().unwrap())
    };
    let other = "spiffe://a.test/ns/other/sa/gateway";
    assert!(may(&flags(FlagRules::default()), other));
    let by_flag = flags(FlagRules {
        allow_identities: own(&["spiffe://a.test/ns/models/*"]),
        ..FlagRules::default()
    });
    let by_file = file("rules: [{name: edge, match: {namespace: models, nodeId: edge-1}}]");
    for mut rules in [by_flag, by_file] {
        assert!(may(&rules, GATEWAY));
        assert!(!may(&rules, other));
        assert!(!may(&rules, "https://a.test"));
        rules.trust_domains = own(&["b.test"]);
        assert!(!may(&rules, GATEWAY));
    }
}
