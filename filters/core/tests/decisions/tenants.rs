//! The tenant: the order of its sources, what a client can forge, and which hops a following hop trusts.

use headgate_core::effects::{Effect, Flow};

use crate::proxy::{Proxy, at_inbound, one_model, removed, reply, request_header, text, tokens};

const BODY: &str = r#"{"model":"m","max_tokens":600}"#;
const ALL: &str = r#"{"tenantFrom":["peerSpiffeId","jwtClaim:org","apiKeySha256","header:x-org"]}"#;
const PEER: &str = "spiffe://example.org/ns/apps/sa/chat";
/// SHA-256 of `sk-1`, as `sha256sum` prints it.
const SK_1: &str = "0f2c10bf3d128c719c6bfa4ecbae94b7fceebaea6e4438fef38a90e5acc326f3";

/// The configuration with this tagging.
pub(crate) fn with_tagging(config: &str, tagging: &str) -> String {
    let rule = format!(r#""tagging":[{{"policy":"t","tagging":{tagging}}}],"buckets":["#);
    config.replacen(r#""buckets":["#, &rule, 1)
}

fn proxy(tagging: &str) -> Proxy {
    Proxy::new(&with_tagging(&one_model(""), tagging))
}

fn follower(tagging: &str) -> Proxy {
    let config = at_inbound(&one_model(&tokens(1000, "0.001", "")));
    let config = with_tagging(&config, tagging);
    Proxy::new(&config.replacen('{', r#"{"role":"follow","#, 1))
}

/// The tenant with which a request is forwarded.
fn tenant(proxy: &mut Proxy, headers: &[(&str, &str)]) -> Option<String> {
    let (_, step) = proxy.chat(headers, BODY);
    assert_eq!(step.flow, Flow::Continue, "{headers:?}");
    request_header(&step, "x-headgate-tenant").map(Into::into)
}

fn claim(proxy: &Proxy, value: &[u8]) {
    let mut claims = proxy.host.claims.borrow_mut();
    claims.insert("org".into(), value.to_vec());
}

#[test]
fn the_first_source_that_a_request_has_names_the_tenant() {
    let mut proxy = proxy(ALL);
    assert_eq!(tenant(&mut proxy, &[]), None);
    let mut headers = vec![("x-org", "by-header")];
    assert_eq!(tenant(&mut proxy, &headers).unwrap(), "by-header");
    headers.push(("authorization", "Bearer sk-1"));
    assert_eq!(tenant(&mut proxy, &headers).unwrap(), SK_1);
    claim(&proxy, b"by-claim");
    assert_eq!(tenant(&mut proxy, &headers).unwrap(), "by-claim");
    *proxy.host.peer.borrow_mut() = Some(PEER.into());
    assert_eq!(tenant(&mut proxy, &headers).unwrap(), PEER);
    // A URI that is no SPIFFE id is not a source.
    *proxy.host.peer.borrow_mut() = Some("https://example.org".into());
    assert_eq!(tenant(&mut proxy, &headers).unwrap(), "by-claim");
    // An empty claim is none.
    claim(&proxy, b"");
    assert_eq!(tenant(&mut proxy, &headers).unwrap(), SK_1);
}

#[test]
fn a_client_cannot_write_a_tenant_that_comes_from_elsewhere() {
    let mut proxy = proxy(r#"{"tenantFrom":["peerSpiffeId","jwtClaim:org"]}"#);
    let spoofed = [
        ("x-tenant-id", "other"),
        ("x-headgate-tenant", "other"),
        ("x_headgate_tenant", "other"),
        ("x-forwarded-client-cert", "URI=spiffe://example.org/other"),
        ("authorization", "Bearer other"),
        ("baggage", "mine=1,headgate.tenant=other"),
    ];
    let (_, step) = proxy.chat(&spoofed, BODY);
    assert_eq!(request_header(&step, "x-headgate-tenant"), None);
    assert!(removed(&step, "x-headgate-tenant") && removed(&step, "x_headgate_tenant"));
    let baggage = request_header(&step, "baggage").unwrap();
    assert!(!baggage.contains("other"), "{baggage}");
}

#[test]
fn an_api_key_is_never_forwarded_or_repeated_as_the_tenant() {
    let mut proxy = proxy(r#"{"tenantFrom":["apiKeySha256"]}"#);
    for headers in [
        &[("authorization", "Bearer sk-1")][..],
        &[("authorization", "bearer  sk-1 ")],
        &[("x-api-key", "sk-1")],
        &[("api-key", "sk-1")],
        &[("x-api-key", "sk-1"), ("authorization", "Bearer sk-1")],
        // No API key.
        &[("x-api-key", "sk-1"), ("authorization", "Basic dTpw")],
    ] {
        assert_eq!(
            tenant(&mut proxy, headers).as_deref(),
            Some(SK_1),
            "{headers:?}"
        );
        let (_, step) = proxy.chat(headers, BODY);
        assert!(!format!("{:?}", step.effects).contains("sk-1"));
    }
    for none in [
        &[("authorization", "Bearer ")][..],
        &[("authorization", "Basic dTpw")],
        &[("x-api-key", "")],
    ] {
        assert_eq!(tenant(&mut proxy, none), None, "{none:?}");
    }
}

#[test]
fn two_api_keys_that_differ_are_refused() {
    // The server may check the one while the budget of the other is spent.
    let mut proxy = proxy(r#"{"tenantFrom":["apiKeySha256"]}"#);
    let keys = [("authorization", "Bearer sk-1"), ("x-api-key", "sk-2")];
    let (_, step) = proxy.chat(&keys, BODY);
    let refused = reply(&step);
    assert_eq!(refused.status, 400);
    let body = text(refused);
    assert!(
        body.contains("`x-api-key` must be the only API key"),
        "{body}"
    );
    assert!(!body.contains("sk-"), "{body}");
}

#[test]
fn a_verified_name_that_is_too_long_becomes_its_hash() {
    let mut proxy = proxy(ALL);
    let long = format!("spiffe://example.org/{}", "a".repeat(200));
    *proxy.host.peer.borrow_mut() = Some(long.clone());
    let first = tenant(&mut proxy, &[]).unwrap();
    assert_eq!(first.len(), 64);
    *proxy.host.peer.borrow_mut() = Some(format!("{long}b"));
    assert_ne!(tenant(&mut proxy, &[]).unwrap(), first);
}

#[test]
fn a_whole_number_in_a_claim_is_a_tenant() {
    let mut proxy = proxy(ALL);
    claim(&proxy, &42.0_f64.to_le_bytes());
    assert_eq!(tenant(&mut proxy, &[]).unwrap(), "42");
}

#[test]
fn a_hop_that_follows_believes_only_hops_that_are_trusted() {
    let headers = |tenant: &'static str| {
        [
            ("x-model", "m"),
            ("x-headgate-tenant", tenant),
            ("x-tenant-id", "by-client"),
            ("baggage", "a=1,headgate.model=m,headgate.tenant=by-hop"),
        ]
    };
    let gateway = "spiffe://example.org/ns/edge/sa/gateway";
    let trusting = r#"{"trustedHops":["spiffe://example.org/ns/*/sa/gateway"]}"#;
    for (tagging, peer, believed) in [
        (trusting, Some(gateway), true),
        (r#"{"trustedHops":["any"]}"#, None, true),
        (trusting, Some(PEER), false),
        (trusting, None, false),
        ("{}", Some(gateway), false),
        ("{}", None, false),
    ] {
        let context = format!("{tagging} {peer:?}");
        let mut proxy = follower(tagging);
        *proxy.host.peer.borrow_mut() = peer.map(Into::into);
        let (_, first) = proxy.chat(&headers("a"), BODY);
        assert_eq!(first.flow, Flow::Continue, "{context}");
        // Another name is another bucket, if it is believed.
        let (_, second) = proxy.chat(&headers("b"), BODY);
        assert_eq!(second.flow == Flow::Continue, believed, "{context}");
        if believed {
            assert_eq!(
                request_header(&first, "x-headgate-tenant"),
                None,
                "{context}"
            );
            continue;
        }
        assert_eq!(reply(&second).status, 429, "{context}");
        let written = request_header(&first, "x-headgate-tenant");
        assert_eq!(written, Some("by-client"), "{context}");
        let baggage = "a=1,headgate.model=m,headgate.tenant=by-client";
        assert_eq!(
            request_header(&first, "baggage"),
            Some(baggage),
            "{context}"
        );
    }
}

#[test]
fn a_hop_that_follows_removes_a_tenant_that_nothing_confirms() {
    let mut proxy = follower(r#"{"tenantFrom":["peerSpiffeId"]}"#);
    let forged = [
        ("x-model", "m"),
        ("x-headgate-tenant", "other"),
        ("baggage", "%68eadgate.tenant =other;p=1"),
    ];
    let (_, step) = proxy.chat(&forged, BODY);
    assert_eq!(step.flow, Flow::Continue);
    assert!(removed(&step, "x-headgate-tenant") && removed(&step, "baggage"));
    let state = |e: &Effect| matches!(e, Effect::SetState(name, _) if name == "headgate.tenant");
    assert!(!step.effects.iter().any(state));
    // A bucket by the header is the tenant's too.
    let bucket =
        tokens(1000, "0.001", "").replace(r#"["tenant"]"#, r#"["header:x-headgate-tenant"]"#);
    let config = with_tagging(
        &at_inbound(&one_model(&bucket)),
        r#"{"tenantFrom":["peerSpiffeId"]}"#,
    );
    let mut proxy = Proxy::new(&config.replacen('{', r#"{"role":"follow","#, 1));
    for (name, status) in [("a", None), ("b", Some(429))] {
        let (_, step) = proxy.chat(&[("x-model", "m"), ("x-headgate-tenant", name)], BODY);
        let refused = (step.flow != Flow::Continue).then(|| reply(&step).status);
        assert_eq!(refused, status, "{name}");
    }
}

#[test]
fn a_value_that_the_client_chose_or_envoy_verified_names_the_tenant() {
    let send = |source: &str| {
        let mut proxy = proxy(&format!(r#"{{"tenantFrom":["{source}"]}}"#));
        *proxy.host.source.borrow_mut() = Some("10.1.2.3:80".into());
        let path = "/v1/chat/completions?team=a%20b";
        let headers = [
            (":method", "POST"),
            (":path", path),
            ("cookie", "x=1; team=red"),
        ];
        let body = r#"{"model":"m","metadata":{"org":{"id":7}}}"#;
        let (_, step) = proxy.send(&headers, Some(body.as_bytes()));
        request_header(&step, "x-headgate-tenant").map(str::to_owned)
    };
    for (source, tenant) in [
        ("query:team", Some("a%20b")),
        ("cookie:team", Some("red")),
        ("cookie:none", None),
        ("body:metadata.org.id", Some("7")),
        ("body:metadata.org", None),
        ("path:2", Some("chat")),
        ("sourceIp", Some("10.1.2.3")),
        ("sourceNetwork:16/56", Some("10.1.0.0/16")),
    ] {
        assert_eq!(send(source).as_deref(), tenant, "{source}");
    }
}
