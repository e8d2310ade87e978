//! Keys of buckets: each attribute partitions a bucket, alone and with others.

use headgate_core::effects::Flow;

use crate::proxy::{Proxy, one_model};

/// The path, the headers, the body and the source address of a request.
type Sent<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

const CHAT: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"m","max_tokens":900,"metadata":{"tier":"a"}}"#;
const FROM: &str = "10.1.2.3:80";

/// A bucket with this key that one request drains.
fn proxy(key: &str) -> Proxy {
    Proxy::new(&one_model(&format!(
        r#"{{"policy":"p","bucket":{{"name":"budget","key":[{key}],"profile":"tokens","tokens":{{"capacity":1000,"refillPerSecond":0.001}}}}}}"#
    )))
}

/// Whether a bucket with this key is another one for the second request.
fn separates(key: &str, first: Sent<'_>, second: Sent<'_>) -> bool {
    let mut proxy = proxy(key);
    let mut admitted = |(path, headers, body, source): Sent<'_>| {
        *proxy.host.source.borrow_mut() = Some(source.into());
        let mut all = vec![(":method", "POST"), (":path", path)];
        all.extend_from_slice(headers);
        let (_, step) = proxy.send(&all, Some(body.as_bytes()));
        step.flow == Flow::Continue
    };
    assert!(admitted(first), "{key}");
    assert!(!admitted(first), "{key}: the bucket is empty");
    admitted(second)
}

#[test]
fn each_attribute_partitions_a_bucket() {
    let usual: Sent<'_> = (CHAT, &[("cookie", "team=a")], BODY, FROM);
    let other_body = r#"{"model":"m","max_tokens":900,"metadata":{"tier":"b"}}"#;
    let no_tier = r#"{"model":"m","max_tokens":900}"#;
    let cookie: Sent<'_> = (CHAT, &[("cookie", "team=b")], BODY, FROM);
    let query: Sent<'_> = ("/v1/chat/completions?team=b", usual.1, BODY, FROM);
    let tier: Sent<'_> = (CHAT, usual.1, other_body, FROM);
    let none: Sent<'_> = (CHAT, usual.1, no_tier, FROM);
    let near: Sent<'_> = (CHAT, usual.1, BODY, "10.1.2.99:80");
    let far: Sent<'_> = (CHAT, usual.1, BODY, "10.1.3.3:80");
    let port: Sent<'_> = (CHAT, usual.1, BODY, "10.1.2.3:81");
    let mapped: Sent<'_> = (CHAT, usual.1, BODY, "[::ffff:10.1.2.3]:80");
    for (key, second, apart) in [
        (r#""cookie:team""#, cookie, true),
        (r#""cookie:other""#, cookie, false),
        (r#""query:team""#, query, true),
        (r#""query:team""#, cookie, false),
        (r#""path""#, query, false),
        (r#""body:metadata.tier""#, tier, true),
        (r#""body:metadata.tier""#, none, true),
        (r#""body:metadata.tier""#, far, false),
        (r#""tenant","body:metadata.tier""#, tier, true),
        (r#""sourceIp""#, near, true),
        (r#""sourceIp""#, port, false),
        (r#""sourceIp""#, mapped, false),
        (r#""sourceNetwork:24/56""#, near, false),
        (r#""sourceNetwork:24/56""#, far, true),
        (r#""operation","dialect""#, tier, false),
    ] {
        assert_eq!(separates(key, usual, second), apart, "{key} {second:?}");
    }
}

#[test]
fn a_claim_partitions_a_bucket_and_a_header_of_its_name_does_not() {
    let mut proxy = proxy(r#""jwtClaim:org""#);
    let mut admitted = |claim: &str, header: &str| {
        let claims = [("org".to_owned(), claim.as_bytes().to_vec())];
        *proxy.host.claims.borrow_mut() = claims.into();
        proxy.chat(&[("org", header)], BODY).1.flow == Flow::Continue
    };
    assert!(admitted("acme", "a"));
    assert!(!admitted("acme", "b"));
    assert!(admitted("other", "a"));
}

#[test]
fn an_override_is_for_a_value_of_any_attribute() {
    let bucket = r#"{"policy":"p","bucket":{"name":"budget","key":["body:metadata.tier"],"profile":"tokens",
        "tokens":{"capacity":1000,"refillPerSecond":0.001},"overrides":[{"match":{"body:metadata.tier":"gold"},"capacity":2000}]}}"#;
    let mut proxy = Proxy::new(&one_model(bucket));
    let mut admitted = |tier: &str| {
        let body = BODY.replace(r#""tier":"a""#, &format!(r#""tier":"{tier}""#));
        proxy.chat(&[], &body).1.flow == Flow::Continue
    };
    assert_eq!([admitted("a"), admitted("a")], [true, false]);
    assert_eq!(
        [admitted("gold"), admitted("gold"), admitted("gold")],
        [true, true, false]
    );
}

#[test]
fn more_fields_of_bodies_than_can_be_read_are_refused() {
    let bucket = |i: usize| {
        let key: Vec<_> = (0..4).map(|k| format!(r#""body:f{i}.k{k}""#)).collect();
        format!(
            r#"{{"policy":"p","bucket":{{"name":"b{i}","key":[{}],"profile":"tokens","tokens":{{"capacity":1000,"refillPerSecond":1}}}}}}"#,
            key.join(",")
        )
    };
    let configure = |buckets: usize| {
        let buckets: Vec<_> = (0..buckets).map(bucket).collect();
        let host = crate::proxy::MemoryHost::new();
        let mut vm = headgate_core::vm::Vm::new(crate::proxy::BOTH);
        vm.configure(one_model(&buckets.join(",")).as_bytes(), &host)
    };
    assert!(configure(16).is_ok());
    let error = configure(17).unwrap_err().to_string();
    assert_eq!(
        error,
        "namespaces.default: its policies name 68 fields of bodies: use at most 64"
    );
}
