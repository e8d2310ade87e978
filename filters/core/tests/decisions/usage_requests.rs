//! Streamed requests that are amended to report usage.

use headgate_core::effects::{Effect, Splice, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::proxy::{Proxy, one_model, tokens};

const BODY: &str = r#"{"model":"m","stream":true,"max_tokens":9}"#;
const AMENDED: &str =
    r#"{"stream_options":{"include_usage":true},"model":"m","stream":true,"max_tokens":9}"#;
const SSE: [(&str, &str); 3] = [
    (":status", "200"),
    ("content-type", "text/event-stream"),
    ("content-length", "999"),
];

fn proxy(more: &str) -> Proxy {
    Proxy::new(&one_model(&tokens(7200, "0.001", more)))
}

/// The request body as it is sent on, and its announced length.
fn amended(step: &Step, body: &str) -> Option<(String, Option<u64>)> {
    step.effects.iter().find_map(|effect| match effect {
        Effect::AmendRequestBody(splices, length) => {
            let body = Splice::apply_all(splices, body.as_bytes()).unwrap();
            Some((String::from_utf8(body).unwrap(), *length))
        }
        _ => None,
    })
}

fn answer(
    proxy: &mut Proxy,
    stream: &mut Stream,
    headers: &[(&str, &str)],
    body: &[&str],
) -> (Step, String) {
    let headers = Headers::from_pairs(headers);
    let step = stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
    let mut passed = Vec::new();
    for (i, chunk) in body.iter().enumerate() {
        let end = i + 1 == body.len();
        let step = stream.response_body(&mut proxy.vm, &proxy.host, chunk.as_bytes(), end);
        let instead = step.effects.into_iter().find_map(|e| match e {
            Effect::ReplaceResponseBody(bytes) => Some(bytes),
            _ => None,
        });
        passed.extend(instead.unwrap_or_else(|| chunk.as_bytes().to_vec()));
    }
    (step, String::from_utf8(passed).unwrap())
}

fn removes_length(step: &Step) -> bool {
    let gone = |e: &Effect| matches!(e, Effect::RemoveResponseHeader(n) if n == "content-length");
    step.effects.iter().any(gone)
}

#[test]
fn a_stream_is_amended_to_report_usage_and_the_report_is_hidden_from_the_client() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n";
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":40}}\n\n";
    let done = "data: [DONE]\n\n";
    let length = BODY.len().to_string();
    let mut proxy = proxy("");
    let (mut stream, step) = proxy.chat(&[("content-length", &length)], BODY);
    let sent = amended(&step, BODY).unwrap();
    assert_eq!(sent, (AMENDED.to_owned(), Some(AMENDED.len() as u64)));
    let (head, passed) = answer(&mut proxy, &mut stream, &SSE, &[text, usage, done]);
    assert!(removes_length(&head));
    assert_eq!(passed, format!("{text}{done}"));
    let effects = proxy.end(&mut stream);
    let charged = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_charged_milli";
    assert_eq!(crate::proxy::counted(&effects, charged), 47_000);
}

#[test]
fn a_client_that_requests_usage_gets_it() {
    let body =
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":9}"#;
    let mut proxy = proxy("");
    let (mut stream, step) = proxy.chat(&[], body);
    assert_eq!(amended(&step, body), None);
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":40}}\n\n";
    let (head, passed) = answer(&mut proxy, &mut stream, &SSE, &[usage]);
    assert!(!removes_length(&head));
    assert_eq!(passed, usage);
}

#[test]
fn requests_that_must_not_change_are_not_amended() {
    for header in [
        ("content-digest", "sha-256=:x:"),
        ("signature-input", "sig1=(\"@method\" \"content-length\")"),
        ("digest", "SHA-256=x"),
        ("content-md5", "x"),
        ("x-amz-content-sha256", "x"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=x"),
    ] {
        let (_, step) = proxy("").chat(&[header], BODY);
        assert_eq!(amended(&step, BODY), None, "{header:?}");
    }
    for more in [r#","usage":"observe""#, r#","settleOn":"reservation""#] {
        let (_, step) = proxy(more).chat(&[], BODY);
        assert_eq!(amended(&step, BODY), None, "{more}");
    }
    // One bucket with `observe` is enough.
    let both = format!(
        "{},{}",
        tokens(7200, "1", ""),
        tokens(7200, "1", r#","usage":"observe""#).replace("budget", "other")
    );
    let (_, step) = Proxy::new(&one_model(&both)).chat(&[], BODY);
    assert_eq!(amended(&step, BODY), None);
    // Nothing is charged, so nothing is amended.
    let (_, step) = Proxy::new(&one_model("")).chat(&[], BODY);
    assert_eq!(amended(&step, BODY), None);
}

#[test]
fn a_version_that_refuses_the_option_is_observed_from_then_on() {
    for status in ["400", "422"] {
        let mut proxy = proxy("");
        let (mut stream, step) = proxy.chat(&[], BODY);
        assert!(amended(&step, BODY).is_some());
        let refused = [(":status", status), ("content-type", "application/json")];
        let (head, _) = answer(&mut proxy, &mut stream, &refused, &["{\"error\":{}}"]);
        let counter = "model=.=m;.;version=.=v1;.;headgate_usage_requests_refused_total";
        assert_eq!(crate::proxy::counted(&head.effects, counter), 1);
        proxy.end(&mut stream);
        let (_, step) = proxy.chat(&[], BODY);
        assert_eq!(amended(&step, BODY), None);
        // Other workers get this.
        proxy.vm.tick(&proxy.host);
        let mut other = headgate_core::vm::Vm::new(crate::proxy::BOTH);
        let config = one_model(&tokens(7200, "0.001", ""));
        other.configure(config.as_bytes(), &proxy.host).unwrap();
        other.tick(&proxy.host);
        proxy.vm = other;
        let (_, step) = proxy.chat(&[], BODY);
        assert_eq!(amended(&step, BODY), None);
    }
    // A refusal of an unamended request does not count.
    let mut proxy = proxy("");
    let plain = r#"{"model":"m","max_tokens":9}"#;
    let (mut stream, _) = proxy.chat(&[], plain);
    answer(&mut proxy, &mut stream, &[(":status", "400")], &["no"]);
    proxy.end(&mut stream);
    let (_, step) = proxy.chat(&[], BODY);
    assert!(amended(&step, BODY).is_some());
}

#[test]
fn a_default_of_the_context_window_reserves_at_most_the_capacity() {
    let reserved = |plan: &str, capacity: u64, body: &str| {
        let config = one_model(&tokens(capacity, "1", ""))
            .replace(r#"{"names""#, &format!(r#"{{{plan}"names""#));
        let (_, step) = Proxy::new(&config).chat(&[], body);
        match &step.flow {
            headgate_core::effects::Flow::Reply(reply) => Err(reply.status),
            _ => Ok(step),
        }
        .map(|_| ())
    };
    let silent = r#"{"model":"m","messages":[{"role":"user","content":"12345678"}]}"#;
    let context = r#""contextLength":131072,"#;
    assert_eq!(reserved(context, 1000, silent), Ok(()));
    assert_eq!(
        reserved(r#""defaultMaxTokens":2048,"#, 1000, silent),
        Err(400)
    );
    assert_eq!(reserved("", 1000, silent), Ok(()));
    let stated = silent.replace(r#""messages""#, r#""max_tokens":131072,"messages""#);
    assert_eq!(reserved(context, 1000, &stated), Err(400));
    let long = silent.replace("12345678", &"x".repeat(3000));
    assert_eq!(
        reserved(context, 100, &long),
        Err(400),
        "the prompt alone is too much"
    );
}
