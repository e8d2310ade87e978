//! Tag rules and attributes: what is accepted, what is written again, and the message of each refusal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_contract::{Attribute, Network, Tagging, TrafficTagPolicySpec, parse_json};

fn rules(rules: &str) -> Result<Tagging, String> {
    let json = format!(r#"{{"rules":{rules}}}"#);
    parse_json(json.as_bytes()).map_err(|error| error.to_string())
}

fn with(when: &str) -> String {
    format!(r#"[{{"name":"r","when":{when},"version":"v2"}}]"#)
}

#[test]
fn a_rule_is_written_as_it_was_read() {
    let text = r#"[
        {"name":"beta","when":{"all":[
            {"attribute":"header:x-user","regex":"^(?P<team>[a-z]+)-([0-9]+)$"},
            {"any":[{"attribute":"sourceIp","in":["10.0.0.0/8","fd00::/8"]},{"percentage":12.5},{"attribute":"tenant","percentage":3}]},
            {"attribute":"body:tools[0].name","notIn":["a","b"]},
            {"attribute":"promptTokens","atLeast":8000},{"attribute":"temperature","atMost":0.5},
            {"attribute":"path","prefix":"/v1/"},{"attribute":"cookie:plan","notEqual":"x"},{"attribute":"query:q","equal":"1"}]},
         "tags":{"cohort":"b-${team}-$2","price":"$$5"},"version":"v2"},
        {"name":"rest","when":{"any":[{"attribute":"jwtClaim:org","equal":"acme"}]},"tags":{"cohort":"c"}}]"#;
    let tagging = rules(text).unwrap();
    assert_eq!(tagging.rules.len(), 2);
    let json = serde_json::to_string(&tagging).unwrap();
    assert_eq!(parse_json::<Tagging>(json.as_bytes()).unwrap(), tagging);
    let policy = format!(r#"{{"models":["m"],"rules":{text}}}"#);
    let policy: TrafficTagPolicySpec = parse_json(policy.as_bytes()).unwrap();
    assert_eq!(policy.tagging.rules, tagging.rules);
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(
        parse_json::<TrafficTagPolicySpec>(json.as_bytes()).unwrap(),
        policy
    );
    assert!(
        !serde_json::to_string(&Tagging::default())
            .unwrap()
            .contains("rules")
    );
}

#[test]
fn a_refusal_names_the_rule_and_the_fix() {
    let condition = |inner: &str| with(&format!(r#"{{"all":[{inner}]}}"#));
    let of = |test: &str| condition(&format!(r#"{{"attribute":"header:x-a",{test}}}"#));
    let tags = |tags: &str| {
        format!(
            r#"[{{"name":"r","when":{{"all":[{{"attribute":"path","regex":"(a)"}}]}},"tags":{tags}}}]"#
        )
    };
    let nested = (0..5).fold(r#"{"percentage":1}"#.to_owned(), |inner, _| {
        format!(r#"{{"all":[{inner}]}}"#)
    });
    let many = vec![r#"{"percentage":1}"#; 33].join(",");
    let twice = vec![r#"{"percentage":1}"#; 17].join(",");
    let one = with(r#"{"all":[{"percentage":1}]}"#);
    let long = "a".repeat(257);
    let cases = [
        (with("{}"), "a condition needs an `attribute` and one of"),
        (
            with(r#"{"percentage":5}"#),
            "rule \"r\": `when` needs `all` or `any`",
        ),
        (
            with(r#"{"all":[]}"#),
            "`all` has 0 conditions: give 1 to 32",
        ),
        (
            with(r#"{"all":[{"percentage":1}],"any":[{"percentage":1}]}"#),
            "a condition needs",
        ),
        (
            with(&nested),
            "`when` has 5 levels of `all` and `any`: give at most 4",
        ),
        (
            with(&format!(r#"{{"all":[{many}]}}"#)),
            "`all` has 33 conditions: give 1 to 32",
        ),
        (
            with(&format!(
                r#"{{"any":[{{"all":[{twice}]}},{{"all":[{twice}]}}]}}"#
            )),
            "it has 34 conditions: give at most 32",
        ),
        (of(r#""equal":"a","prefix":"a""#), "a condition needs"),
        (of(r#""equals":"a""#), "unknown field `equals`"),
        (
            of(r#""equal":"""#),
            "`equal` has a value of 0 bytes: write 1 to 256",
        ),
        (
            of(&format!(r#""prefix":"{long}""#)),
            "`prefix` has a value of 257 bytes: write 1 to 256",
        ),
        (of(r#""in":[]"#), "`in` has 0 values: give 1 to 256"),
        (of(r#""regex":"(""#), "\"(\" is not a regular expression"),
        (of(r#""regex":"(?=a)""#), "is not a regular expression"),
        (
            of(r#""regex":"((((a{99}){99}){99}){99})""#),
            "is not a regular expression",
        ),
        (
            of(&format!(r#""regex":"{long}""#)),
            "the pattern has 257 bytes: write 1 to 256",
        ),
        (
            of(r#""percentage":101"#),
            "`percentage` is 101: write 0 to 100",
        ),
        (
            condition(r#"{"attribute":"sourceIp","in":["10.0.0.1/8"]}"#),
            "\"10.0.0.1/8\" has bits beyond /8: write 10.0.0.0/8",
        ),
        (
            condition(r#"{"attribute":"sourceIp","equal":"localhost"}"#),
            "is not an address or a network",
        ),
        (
            condition(r#"{"attribute":"version","equal":"v1"}"#),
            "`attribute` is version, which is picked after the rules",
        ),
        (
            condition(r#"{"attribute":"header:x-headgate-a","equal":"v1"}"#),
            "is a tag's own header",
        ),
        (
            condition(r#"{"attribute":"claim:a","equal":"v1"}"#),
            "unknown attribute \"claim:a\": write tenant, model",
        ),
        (
            tags(r#"{"a":"$2"}"#),
            "tag \"a\" names the group \"2\", which no `regex` of the rule has",
        ),
        (tags(r#"{"a":"${b}"}"#), "tag \"a\" names the group \"b\""),
        (
            tags(r#"{"a":"$b"}"#),
            "has a `$` that names no group: write $1, ${name}, or $$",
        ),
        (tags(r#"{"a":"$"}"#), "has a `$` that names no group"),
        (
            tags(r#"{"a":"x,y"}"#),
            "must be 1-128 visible ASCII characters",
        ),
        (
            tags(r#"{"a":""}"#),
            "must be 1-128 visible ASCII characters",
        ),
        (tags(r#"{"a_b":"x"}"#), "must not contain '_'"),
        (tags(r#"{"lane":"x"}"#), "is one of Headgate's own"),
        (tags("{}"), "it needs `tags` or `version`"),
        (one.replace("\"r\"", "\"R\""), "is not a valid rule name"),
        (
            format!("[{0},{0}]", &one[1..one.len() - 1]),
            "rule \"r\" is given twice: rename `rules[1]`",
        ),
    ];
    for (text, expected) in cases {
        let error = rules(&text).expect_err(&text);
        assert!(error.contains(expected), "{text}\n  {error}\n  {expected}");
        assert!(error.starts_with("rules"), "the path is there: {error}");
    }
    let many: Vec<_> = (0..257)
        .map(|i| one[1..one.len() - 1].replace("\"r\"", &format!("\"r{i}\"")))
        .collect();
    let error = rules(&format!("[{}]", many.join(","))).unwrap_err();
    assert!(
        error.contains("`rules` has 257 entries: give at most 256"),
        "{error}"
    );
    assert!(rules(&format!("[{}]", many[1..].join(","))).is_ok());
}

#[test]
fn an_attribute_is_its_text() {
    for text in [
        "tenant",
        "model",
        "version",
        "dialect",
        "operation",
        "path",
        "apiKeySha256",
        "peerSpiffeId",
        "sourceIp",
        "maxTokens",
        "stream",
        "n",
        "promptTokens",
        "temperature",
        "path:1",
        "path:32",
        "header:x-a",
        "query:a[b]",
        "cookie:__Host-a",
        "jwtClaim:https://x/y",
        "body:a",
        "body:a-b.c_d[0][12].e",
        "sourceNetwork:0/0",
        "sourceNetwork:32/128",
    ] {
        let attribute = Attribute::try_from(text.to_owned()).unwrap();
        assert_eq!(String::from(attribute), text);
    }
    for text in [
        "",
        "Tenant",
        "path:0",
        "path:33",
        "path:01",
        "header:X-A",
        "header:",
        "query:",
        "query:a b",
        "query:a%20b",
        "cookie:a;b",
        "jwtClaim:",
        "body:",
        "body:.a",
        "body:a..b",
        "body:a[",
        "body:a[-1]",
        "body:a[01]",
        "body:a[1000]",
        "body:[0]",
        "body:a[0]b",
        "body:a.b.c.d.e.f.g.h.i",
        "sourceNetwork:24",
        "sourceNetwork:33/0",
        "sourceNetwork:0/129",
        "source:10.0.0.0/8",
    ] {
        assert!(Attribute::try_from(text.to_owned()).is_err(), "{text}");
    }
    let key = "a".repeat(33);
    assert!(Attribute::try_from(format!("body:{key}")).is_err());
}

#[test]
fn a_network_has_the_addresses_with_its_first_bits() {
    for (network, address, inside) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("0.0.0.0/0", "255.0.0.1", true),
        ("0.0.0.0/0", "::1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("::/0", "2001:db8::1", true),
        ("::/0", "1.2.3.4", false),
        ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false),
        ("1.2.3.4", "1.2.3.4", true),
        ("1.2.3.4", "1.2.3.5", false),
    ] {
        let parsed = Network::parse(network).unwrap();
        assert_eq!(
            parsed.contains(address.parse().unwrap()),
            inside,
            "{network} {address}"
        );
    }
    for wrong in [
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0/8",
        "10.0.0.0/-1",
        "x",
    ] {
        assert!(Network::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn only_what_tells_who_a_client_is_names_the_tenant() {
    let parse = |source: &str| {
        let json = format!(r#"{{"tenantFrom":["{source}"]}}"#);
        parse_json::<Tagging>(json.as_bytes()).map_err(|e| e.to_string())
    };
    for source in [
        "peerSpiffeId",
        "jwtClaim:a",
        "apiKeySha256",
        "header:x-a",
        "query:a",
        "cookie:a",
        "body:a.b",
        "path",
        "path:2",
        "sourceIp",
        "sourceNetwork:24/56",
    ] {
        assert!(parse(source).is_ok(), "{source}");
    }
    for source in [
        "tenant",
        "model",
        "version",
        "maxTokens",
        "stream",
        "operation",
    ] {
        let error = parse(source).unwrap_err();
        assert!(error.contains("does not tell who the tenant is"), "{error}");
    }
    assert!(
        parse("header:x-headgate-tenant")
            .unwrap_err()
            .contains("is a tag's own header")
    );
}
