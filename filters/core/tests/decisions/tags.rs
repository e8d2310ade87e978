//! Tags: those of the client are removed, those of the decision are written, and no value breaks a header.

use headgate_core::effects::{Effect, Flow};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;
use headgate_core::tags::{clean, encoded};
use headgate_core::vm::Stages;

use crate::proxy::{Proxy, one_model, removed, request_header, state};
use crate::tenants::with_tagging;

const BODY: &str = r#"{"model":"Org/M","messages":[{"role":"user","content":"hi"}]}"#;

fn proxy(tagging: &str) -> Proxy {
    let config = one_model("").replace(
        "\"buckets\":[]",
        &format!(r#""tagging":[{{"policy":"t","tagging":{tagging}}}]"#),
    );
    Proxy::new(&config)
}

#[test]
fn the_tags_are_in_headers_baggage_and_filter_state() {
    let tagging = r#"{"tags":[{"name":"team","header":"x-team"},{"name":"site","value":"fra1"},{"name":"absent","header":"x-absent"}]}"#;
    let (_, step) = proxy(tagging).chat(&[("x-tenant-id", "acme"), ("x-team", "search")], BODY);
    assert_eq!(step.flow, Flow::Continue);
    for (header, value) in [
        ("x-model", "m"),
        ("x-model-version", "v1"),
        ("x-headgate-tenant", "acme"),
        ("x-headgate-lane", "base"),
        ("x-headgate-team", "search"),
        ("x-headgate-site", "fra1"),
        (
            "baggage",
            "headgate.model=m,headgate.version=v1,headgate.lane=base,headgate.tenant=acme,headgate.team=search,headgate.site=fra1",
        ),
    ] {
        assert_eq!(request_header(&step, header), Some(value), "{header}");
    }
    for (name, value) in [
        ("headgate.model", "m"),
        ("headgate.version", "v1"),
        ("headgate.tenant", "acme"),
        ("headgate.lane", "base"),
        ("headgate.team", "search"),
        ("headgate.site", "fra1"),
    ] {
        assert_eq!(state(&step, name), Some(value), "{name}");
    }
    assert_eq!(request_header(&step, "x-headgate-absent"), None);
}

#[test]
fn without_filter_state_the_tags_are_in_headers_and_baggage_alone() {
    let (_, step) = proxy(r#"{"filterState":false}"#).chat(&[("x-tenant-id", "acme")], BODY);
    assert_eq!(request_header(&step, "x-headgate-tenant"), Some("acme"));
    let baggage = request_header(&step, "baggage").unwrap_or_default();
    assert!(baggage.contains("headgate.tenant=acme"), "{baggage}");
    let set = |effect: &&Effect| matches!(effect, Effect::SetState(..));
    assert_eq!(step.effects.iter().find(set), None);
}

#[test]
fn a_tag_of_the_client_is_never_used() {
    let sent = [
        ("x-headgate-tenant", "vip"),
        ("x-headgate-lane", "pin"),
        ("x-headgate-made-up", "1"),
        ("baggage", "a=1,headgate.tenant=vip"),
        ("baggage", " HEADGATE.model=x ; p=1, b=2;q=3"),
    ];
    let (_, step) = proxy("{}").chat(&sent, BODY);
    assert!(removed(&step, "x-headgate-tenant") && removed(&step, "x-headgate-made-up"));
    assert_eq!(request_header(&step, "x-headgate-lane"), Some("base"));
    assert!(
        removed(&step, "baggage"),
        "both values go before the one is set"
    );
    assert_eq!(
        request_header(&step, "baggage"),
        Some("a=1,b=2;q=3,headgate.model=m,headgate.version=v1,headgate.lane=base")
    );
    assert_eq!(state(&step, "headgate.tenant"), None);
}

#[test]
fn an_odd_spelling_of_a_tag_is_stripped_too() {
    let kept = "a=1,head=2,my+headgate.model=3,%ff=4";
    let forged = [
        "%68eadgate.model=vip",
        "headgate%2emodel=vip",
        "HEADGATE%2Etenant=vip",
        "+headgate.model=vip",
        "%20%0bheadgate.model=vip",
        "\u{a0}headgate.model=vip",
        "\x0bheadgate.model=vip",
    ];
    for member in forged {
        let sent = [("baggage", &*format!("{member},{kept}"))];
        let (_, step) = proxy(r#"{"baggage":false}"#).chat(&sent, BODY);
        assert_eq!(request_header(&step, "baggage"), Some(kept), "{member:?}");
    }
    let odd = [
        "x_headgate_tenant",
        "x-headgate_lane",
        "x_model",
        "x_model-version",
    ];
    for name in odd {
        let (_, step) = proxy("{}").chat(&[(name, "vip")], BODY);
        assert!(removed(&step, name), "{name}");
        let (_, step) = proxy("{}").send(&[(":path", "/else"), (name, "vip")], Some(b""));
        assert!(removed(&step, name), "{name}");
    }
    for name in ["x_models", "x-headgate", "x_tenant_id"] {
        let (_, step) = proxy("{}").chat(&[(name, "1")], BODY);
        assert!(!removed(&step, name), "{name}");
    }
}

#[test]
fn without_baggage_members_of_the_client_stay_and_forged_members_are_removed() {
    let sent = [("baggage", "a=1,headgate.tenant=vip")];
    let (_, step) = proxy(r#"{"baggage":false}"#).chat(&sent, BODY);
    assert_eq!(request_header(&step, "baggage"), Some("a=1"));
    let (_, step) = proxy(r#"{"baggage":false}"#).chat(&[("baggage", "headgate.x=1")], BODY);
    assert!(removed(&step, "baggage"));
    let (_, step) = proxy(r#"{"baggage":false}"#).chat(&[("baggage", "a=1")], BODY);
    assert!(!removed(&step, "baggage") && request_header(&step, "baggage").is_none());
}

#[test]
fn a_request_to_another_path_loses_only_its_forged_tags() {
    let headers = [
        (":method", "POST"),
        (":path", "/else"),
        ("x-headgate-tenant", "vip"),
        ("x-model", "m"),
        ("x-model-version", "v9"),
        ("baggage", "headgate.model=m"),
        ("x-tenant-id", "acme"),
    ];
    let (mut stream, step) = proxy("{}").send(&headers, Some(b"{not json"));
    let gone = |n: &'static str| Effect::RemoveRequestHeader(n.into());
    assert_eq!(
        step.effects,
        [
            gone("x-model"),
            gone("x-model-version"),
            gone("x-headgate-tenant"),
            gone("baggage")
        ]
    );
    assert_eq!(step.flow, Flow::Continue);
    assert!(!stream.wants_request_body() && !stream.wants_response_body());
    assert!(proxy("{}").end(&mut stream).is_empty());
}

#[test]
fn a_value_of_a_client_cannot_break_a_header() {
    let rows: [(&[u8], &str); 6] = [
        (b"plain-1.0_x", "plain-1.0_x"),
        (b"a b", "a%20b"),
        (b"a,b;c\"d\\e%f", "a%2Cb%3Bc%22d%5Ce%25f"),
        (b"a\r\nx: y", "a%0D%0Ax:%20y"),
        ("ü".as_bytes(), "%C3%BC"),
        (b"\x00\xff", "%00%FF"),
    ];
    for (value, expected) in rows {
        assert_eq!(clean(value), expected);
        assert_eq!(encoded(value), expected);
    }
    assert_eq!(clean(&[b'x'; 500]).len(), 128);
    let cut = clean(&[b'x'; 126].iter().chain(b" y").copied().collect::<Vec<_>>());
    assert_eq!(cut.len(), 126, "an escape is never cut in two");
    assert_eq!(encoded(&[b'x'; 500]).len(), 500);
}

#[test]
fn a_following_hop_uses_the_tags_and_strips_nothing() {
    let config = one_model("").replacen('{', "{\"role\":\"follow\",", 1);
    let config = with_tagging(&config, r#"{"trustedHops":["any"]}"#);
    let mut proxy = Proxy::with(
        &config,
        Stages {
            tag: true,
            limit: true,
        },
    );
    let headers = [
        ("x-model", "m"),
        ("x-model-version", "v1"),
        ("x-headgate-tenant", "acme"),
        ("x-headgate-lane", "canary"),
        ("x-tenant-id", "other"),
    ];
    let (_, step) = proxy.chat(&headers, BODY);
    assert_eq!(step.flow, Flow::Continue);
    for (name, value) in [
        ("headgate.model", "m"),
        ("headgate.version", "v1"),
        ("headgate.tenant", "acme"),
        ("headgate.lane", "canary"),
    ] {
        assert_eq!(state(&step, name), Some(value), "{name}");
    }
    let touches = |e: &Effect| {
        matches!(
            e,
            Effect::AddRequestHeader(..)
                | Effect::SetRequestHeader(..)
                | Effect::RemoveRequestHeader(_)
        )
    };
    assert!(!step.effects.iter().any(touches), "{:?}", step.effects);
}

/// Adding a header is cheaper than setting it, but a header that may exist has to be replaced.
#[test]
fn a_missing_header_is_added_unless_another_filter_may_have_set_it_meanwhile() {
    let mut proxy = proxy("{}");
    let body = BODY.as_bytes();
    let sent = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        ("x-model", "Org/M"),
    ];
    for written in [0, 1] {
        let mut stream = Stream::new();
        let headers = Headers::from_pairs(&sent);
        proxy.host.headers_size.set(headers.size() + written);
        let paused = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
        assert_eq!(paused.flow, Flow::Pause);
        let step = stream.request_body(&mut proxy.vm, &proxy.host, body, true);
        let added = |e: &&Effect| matches!(e, Effect::AddRequestHeader(..));
        let set = |e: &&Effect| matches!(e, Effect::SetRequestHeader(..));
        let adds = step.effects.iter().filter(added).count();
        let sets = step.effects.iter().filter(set).count();
        // `x-model` exists, and is set in both cases.
        assert!(adds + sets >= 3, "{:?}", step.effects);
        assert_eq!(
            (adds, sets),
            if written == 0 { (adds, 1) } else { (0, sets) }
        );
    }
}
