//! Every API: what it is charged, where it goes, and how it is refused.

use headgate_core::effects::{Effect, Flow, Splice, Step};
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::proxy::{
    Proxy, SECOND, counted, one_model, removed, reply, reply_header, request_header, text, tokens,
};

const CAPACITY: u64 = 1_000_000;
pub(crate) const JSON: [(&str, &str); 2] =
    [(":status", "200"), ("content-type", "application/json")];
const SSE: [(&str, &str); 2] = [(":status", "200"), ("content-type", "text/event-stream")];

/// One model, a bucket that does not refill within a test, and this `apis`.
pub(crate) fn proxy(apis: &str) -> Proxy {
    let config = one_model(&tokens(CAPACITY, "1", ""));
    let tagged = format!(r#""tagging":[{{"policy":"t","tagging":{{"apis":{apis}}}}}],"buckets""#);
    let config = config.replace(r#""buckets""#, &tagged);
    Proxy::new(&config.replace("\"maxBodyBytes\":4096", "\"maxBodyBytes\":65536"))
}

/// A request that is posted to a path.
pub(crate) fn post(
    proxy: &mut Proxy,
    path: &str,
    more: &[(&str, &str)],
    body: &str,
) -> (Stream, Step) {
    let mut headers = vec![(":method", "POST"), (":path", path)];
    headers.extend_from_slice(more);
    proxy.send(&headers, Some(body.as_bytes()))
}

/// The tokens that a stream was charged when it ends.
pub(crate) fn charged(proxy: &mut Proxy, mut stream: Stream) -> u64 {
    let effects = proxy.end(&mut stream);
    let charged = effects.iter().filter_map(|effect| match effect {
        Effect::Observe(metric, milli) if metric.rendered().contains("charged") => Some(*milli),
        _ => None,
    });
    charged.sum::<u64>() / 1000
}

/// The charge of a request whose answer is complete.
fn charge(path: &str, more: &[(&str, &str)], body: &str, answer: &str) -> u64 {
    let mut proxy = proxy(r#"{"dialects":["ollama","tgi","llamacpp","sglang","vllm"]}"#);
    let (mut stream, step) = post(&mut proxy, path, more, body);
    assert_eq!(step.flow, Flow::Continue, "{path}: {step:?}");
    let headers = if answer.starts_with("data:") || answer.starts_with("event:") {
        SSE
    } else {
        JSON
    };
    proxy.answer(&mut stream, &headers, answer);
    charged(&mut proxy, stream)
}

#[test]
fn usage_is_charged_in_every_api() {
    let none: &[(&str, &str)] = &[];
    let claude = r#"{"model":"m","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]}"#;
    let claude_stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":8}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":"64"}}"#;
    let gemini_answer = r#"[{"candidates":[{"content":{"parts":[{"text":"Hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":20,"totalTokenCount":32}}]"#;
    let model: &[(&str, &str)] = &[("x-model", "m")];
    for (path, more, body, answer, tokens) in [
        (
            "/v1/messages",
            none,
            claude,
            r#"{"type":"message","content":[{"type":"text","text":"Hello"}],"usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":5,"output_tokens":8}}"#,
            26,
        ),
        ("/v1/messages", none, claude, claude_stream, 23),
        (
            "/v1/responses",
            none,
            r#"{"model":"m","input":"Hi","max_output_tokens":64}"#,
            r#"{"id":"resp_1","output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":9,"output_tokens":4,"total_tokens":13}}"#,
            13,
        ),
        (
            "/v1beta/models/m:generateContent",
            none,
            gemini,
            gemini_answer,
            32,
        ),
        (
            "/v1/models/m:streamGenerateContent?alt=sse",
            none,
            gemini,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"He\"}]}}],\"usageMetadata\":{\"promptTokenCount\":7,\"candidatesTokenCount\":2,\"totalTokenCount\":9}}\n\n\
             data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"llo\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":7,\"candidatesTokenCount\":5,\"totalTokenCount\":12}}\n\n",
            12,
        ),
        (
            "/v2/chat",
            none,
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":64}"#,
            r#"{"id":"c","message":{"role":"assistant","content":[{"type":"text","text":"Hello"}]},"usage":{"billed_units":{"input_tokens":1,"output_tokens":2},"tokens":{"input_tokens":30,"output_tokens":6}}}"#,
            36,
        ),
        (
            "/api/chat",
            none,
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#,
            "{\"message\":{\"content\":\"He\"},\"done\":false}\n{\"message\":{\"content\":\"llo\"},\"done\":true,\"prompt_eval_count\":11,\"eval_count\":4}\n",
            15,
        ),
        (
            "/generate",
            model,
            r#"{"inputs":"Hi","parameters":{"max_new_tokens":20,"details":true}}"#,
            r#"{"generated_text":"Hello","details":{"generated_tokens":6,"prefill":[]}}"#,
            7,
        ),
        (
            "/completion",
            model,
            r#"{"prompt":"Hi","n_predict":-1}"#,
            r#"{"content":"Hello","stop":true,"tokens_evaluated":3,"tokens_predicted":9}"#,
            12,
        ),
        (
            "/v2/models/m/generate",
            none,
            r#"{"text_input":"Hi there","parameters":{"max_tokens":8}}"#,
            r#"{"text_output":"Hello, you"}"#,
            2 + 3,
        ),
        (
            "/v1/rerank",
            none,
            r#"{"model":"m","query":"q","documents":["a","b"]}"#,
            r#"{"results":[{"index":0,"relevance_score":0.9}],"usage":{"total_tokens":17}}"#,
            17,
        ),
        (
            "/openai/deployments/m/chat/completions?api-version=2024-10-21",
            none,
            r#"{"messages":[{"role":"user","content":"Hi"}],"max_tokens":5}"#,
            r#"{"choices":[{"message":{"content":"Hello"}}],"usage":{"prompt_tokens":4,"completion_tokens":3,"total_tokens":7}}"#,
            7,
        ),
        (
            "/v1/models/m:predict",
            none,
            r#"{"instances":[[1,2,3,4]]}"#,
            r#"{"predictions":[1]}"#,
            // 11 bytes.
            3,
        ),
        (
            "/v2/models/m/infer",
            none,
            r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,4],"data":[[1,2,3,4],[5,6,7,8]]}]}"#,
            r#"{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}"#,
            // 32 bytes.
            8,
        ),
    ] {
        assert_eq!(charge(path, more, body, answer), tokens, "{path}: {answer}");
    }
}

#[test]
fn a_stream_of_messages_that_is_cut_is_charged_by_its_text() {
    let mut proxy = proxy("{}");
    let body = r#"{"model":"m","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let (mut stream, _) = post(&mut proxy, "/v1/messages", &[], body);
    let headers = Headers::from_pairs(&SSE);
    stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
    let events = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"0123456789012345678901234567890123456789\"}}\n\n";
    stream.response_body(&mut proxy.vm, &proxy.host, events.as_bytes(), false);
    proxy.host.ends("downstream_remote_disconnect", true);
    assert_eq!(charged(&mut proxy, stream), 10 + 10);
}

#[test]
fn what_reads_or_counts_is_free_and_what_changes_the_server_is_refused() {
    let mut proxy = proxy(r#"{"dialects":["ollama"],"allow":["openai.files.delete"]}"#);
    let body = r#"{"model":"m","messages":[]}"#;
    let model = ("x-model", "m");
    for (method, path) in [
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/tokenize"),
        ("POST", "/v1beta/models/m:countTokens"),
        ("GET", "/v1/files/f"),
        ("GET", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("DELETE", "/v1/files/f"),
        ("GET", "/v2/models/m/ready"),
        ("GET", "/v1/whatever"),
        ("POST", "/inference.GRPCInferenceService/ServerReady"),
    ] {
        let headers = [(":method", method), (":path", path), model];
        let (mut stream, step) = proxy.send(&headers, Some(body.as_bytes()));
        assert_eq!(step.flow, Flow::Continue, "{method} {path}");
        assert_eq!(
            request_header(&step, "x-model-version"),
            Some("v1"),
            "{path}"
        );
        proxy.answer(
            &mut stream,
            &JSON,
            r#"{"usage":{"input_tokens":9,"output_tokens":9}}"#,
        );
        assert_eq!(charged(&mut proxy, stream), 0, "{method} {path}");
    }
    for (method, path, code) in [
        ("POST", "/v1/load_lora_adapter", "operation_not_allowed"),
        ("DELETE", "/v1/batches/b", "method_not_allowed"),
        ("POST", "/v1/batches/b/cancel", "operation_not_allowed"),
        (
            "POST",
            "/v2/repository/models/m/load",
            "operation_not_allowed",
        ),
        ("POST", "/api/pull", "operation_not_allowed"),
        ("DELETE", "/v1/models/m", "operation_not_allowed"),
        ("POST", "/v1/assistants", "unknown_path"),
        ("POST", "/v2/anything", "unknown_path"),
    ] {
        let headers = [(":method", method), (":path", path), model];
        let (_, step) = proxy.send(&headers, Some(body.as_bytes()));
        assert_eq!(
            reply_header(reply(&step), "x-headgate-reason"),
            Some(code),
            "{path}"
        );
    }
    let load = "/inference.GRPCInferenceService/RepositoryModelLoad";
    let grpc = ("content-type", "application/grpc");
    let (_, step) = post(&mut proxy, load, &[model, grpc], "");
    assert_eq!(reply(&step).grpc, Some(5));
}

#[test]
fn refusals_have_the_shape_of_the_api() {
    let mut proxy = Proxy::new(&one_model(&tokens(10, "1", "")));
    let body =
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"contents":[]}"#;
    let mut twice = |path: &str| {
        let tenant = [("x-tenant-id", path)];
        post(&mut proxy, path, &tenant, body);
        let (_, step) = post(&mut proxy, path, &tenant, body);
        (reply(&step).status, text(reply(&step)))
    };
    let (status, words) = twice("/v1/messages");
    assert_eq!(status, 429);
    assert!(words.starts_with(r#"{"type":"error","error":{"type":"rate_limit_error","message":""#));
    let (status, words) = twice("/v2/chat");
    assert_eq!(status, 429);
    assert!(
        words.starts_with(r#"{"message":"over the budget"#),
        "{words}"
    );
    let config = one_model(&tokens(600, "1", ""));
    let mut proxy = Proxy::new(&config);
    let path = "/v1beta/models/m:generateContent";
    post(&mut proxy, path, &[], r#"{"contents":[]}"#);
    let (_, step) = post(&mut proxy, path, &[], r#"{"contents":[]}"#);
    assert!(text(reply(&step)).contains(r#""status":"RESOURCE_EXHAUSTED""#));
    let (_, step) = post(
        &mut proxy,
        "/v2/models/nobody/infer",
        &[],
        r#"{"inputs":[]}"#,
    );
    assert_eq!(reply(&step).status, 404);
    assert!(text(reply(&step)).starts_with(r#"{"error":"the model `nobody`"#));
}

#[test]
fn the_path_names_model_and_version() {
    let mut proxy = proxy("{}");
    let body = r#"{"inputs":[]}"#;
    let (_, step) = post(&mut proxy, "/v2/models/m/versions/v1/infer", &[], body);
    assert_eq!(request_header(&step, "x-headgate-lane"), Some("pin"));
    let (_, step) = post(&mut proxy, "/v2/models/m/versions/v9/infer", &[], body);
    assert_eq!(reply(&step).status, 404);
    // The model in the body is ignored; a header that means another model is not.
    let body = r#"{"model":"other","messages":[]}"#;
    let azure = "/openai/deployments/Org%2FM/chat/completions";
    let (_, step) = post(&mut proxy, azure, &[], body);
    assert_eq!(request_header(&step, "x-model"), Some("m"));
    let (_, step) = post(&mut proxy, azure, &[("x-model", "x")], body);
    assert_eq!(reply(&step).status, 400);
}

#[test]
fn the_list_of_models_is_in_the_words_of_the_clients_api() {
    let mut proxy = proxy("{}");
    for (header, list) in [
        (
            ("anthropic-version", "2023-06-01"),
            r#"{"data":[{"type":"model","id":"m""#,
        ),
        (("x-goog-api-key", "k"), r#"{"models":[{"name":"models/m""#),
        (("x-fern-sdk-name", "cohere"), r#"{"models":[{"name":"m""#),
        (("x-fern-sdk-name", "other"), r#"{"object":"list""#),
        (("authorization", "Bearer k"), r#"{"object":"list""#),
    ] {
        let get = [(":method", "GET"), (":path", "/v1/models"), header];
        let (_, step) = proxy.send(&get, None);
        let list_of = text(reply(&step));
        assert!(list_of.starts_with(list), "{header:?}: {list_of}");
    }
}

/// A gRPC message.
pub(crate) fn message(compressed: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[compressed][..], &length, bytes].concat()
}

/// `ModelInferRequest` for `m` with this many bytes of raw tensors.
fn infer(raw: u8) -> Vec<u8> {
    let mut bytes = b"\x0a\x01m".to_vec();
    bytes.extend([0x3A, raw]);
    bytes.extend(vec![7; usize::from(raw)]);
    bytes
}

pub(crate) const GRPC: [(&str, &str); 3] = [
    (":method", "POST"),
    (":path", "/inference.GRPCInferenceService/ModelStreamInfer"),
    ("content-type", "application/grpc"),
];

#[test]
fn the_first_message_decides_and_every_further_one_is_charged() {
    let mut proxy = proxy("{}");
    let mut stream = Stream::new();
    let headers = Headers::from_pairs(&GRPC);
    let step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    assert_eq!(step.flow, Flow::Pause);
    let first = message(0, &infer(40));
    let (head, tail) = first.split_at(9);
    let step = stream.request_body(&mut proxy.vm, &proxy.host, head, false);
    assert_eq!(step.flow, Flow::Pause);
    let step = stream.request_body(&mut proxy.vm, &proxy.host, tail, false);
    assert_eq!(
        step.flow,
        Flow::Continue,
        "the client did not close its half"
    );
    assert_eq!(request_header(&step, "x-model"), Some("m"));
    let further = [message(0, &infer(80)), message(1, &[9; 100])].concat();
    let step = stream.request_body(&mut proxy.vm, &proxy.host, &further, true);
    assert_eq!(counted_debits(&step), 20 + 25);
    let headers = [(":status", "200"), ("content-type", "application/grpc")];
    let headers = Headers::from_pairs(&headers);
    stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
    let ok = Headers::from_pairs(&[("grpc-status", "0")]);
    stream.response_trailers(&mut proxy.vm, &proxy.host, &ok);
    assert_eq!(charged(&mut proxy, stream), 10 + 20 + 25);
}

/// Tokens that effects count as debited.
pub(crate) fn counted_debits(step: &Step) -> u64 {
    let debits = step.effects.iter().filter_map(|effect| match effect {
        Effect::Count(metric, milli) if metric.rendered().contains("debited") => Some(*milli),
        _ => None,
    });
    debits.sum::<u64>() / 1000
}

#[test]
fn the_outcome_of_a_grpc_request_is_its_status() {
    for (status, in_headers, tokens) in [
        ("0", true, 10),
        ("3", false, 0),
        ("14", true, 0),
        ("8", false, 0),
    ] {
        let mut proxy = proxy("{}");
        let (mut stream, step) = proxy.send(&GRPC, Some(&message(0, &infer(40))));
        assert_eq!(step.flow, Flow::Continue);
        let mut headers = vec![(":status", "200"), ("content-type", "application/grpc")];
        if in_headers {
            headers.push(("grpc-status", status));
        }
        let headers = Headers::from_pairs(&headers);
        stream.response_headers(&mut proxy.vm, &proxy.host, &headers, in_headers);
        if !in_headers {
            let trailers = Headers::from_pairs(&[("grpc-status", status)]);
            stream.response_trailers(&mut proxy.vm, &proxy.host, &trailers);
        }
        assert_eq!(charged(&mut proxy, stream), tokens, "{status}");
    }
}

#[test]
fn an_upload_is_charged_by_its_bytes_as_they_pass() {
    let mut proxy = proxy("{}");
    let mut stream = Stream::new();
    let headers = [
        (":method", "POST"),
        (":path", "/v1/files"),
        ("x-model", "m"),
    ];
    let headers = Headers::from_pairs(&headers);
    let step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    assert_eq!(step.flow, Flow::Continue, "an upload is not held");
    assert!(stream.wants_request_body());
    let mut debited = 0;
    for _ in 0..10 {
        let step = stream.request_body(&mut proxy.vm, &proxy.host, &[b'x'; 16 << 10], false);
        debited += counted_debits(&step);
    }
    assert_eq!(debited, 32 << 10, "of every 64 KiB");
    let answer = Headers::from_pairs(&JSON);
    stream.response_headers(&mut proxy.vm, &proxy.host, &answer, true);
    assert_eq!(charged(&mut proxy, stream), 40 << 10);
}

#[test]
fn a_file_is_not_held_once_the_model_is_known() {
    let boundary = ("content-type", "multipart/form-data; boundary=\"b 1\"");
    let part = |name: &str, value: &str| {
        format!("--b 1\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n")
    };
    let model = part("name=\"model\"", "m");
    let file = part("name=\"file\"; filename=\"a.mp3\"", &"s".repeat(32_000));
    let mut proxy = proxy("{}");
    let path = "/v1/audio/transcriptions";
    for body in [
        format!("{file}{model}--b 1--\r\n"),
        format!("{model}{file}--b 1--\r\n"),
    ] {
        let (mut stream, step) = post(&mut proxy, path, &[boundary], &body);
        assert_eq!(step.flow, Flow::Continue);
        assert_eq!(request_header(&step, "x-model"), Some("m"));
        let answer = r#"{"text":"Hello","usage":{"type":"duration","seconds":3.5}}"#;
        proxy.answer(&mut stream, &JSON, answer);
        assert_eq!(charged(&mut proxy, stream), 35);
    }
    // A length that is announced is reserved, and given back.
    let body = format!("{file}{model}--b 1--\r\n");
    let length = body.len().to_string();
    let headers = [boundary, ("content-length", &*length)];
    let (mut stream, _) = post(&mut proxy, path, &headers, &body);
    let answer = r#"{"text":"Hello","usage":{"type":"duration","seconds":1}}"#;
    proxy.answer(&mut stream, &JSON, answer);
    assert_eq!(charged(&mut proxy, stream), 10);
    // Without usage, the bytes of the sound count.
    let body = format!("{model}{file}--b 1--\r\n");
    let (mut stream, _) = post(&mut proxy, path, &[boundary], &body);
    proxy.answer(&mut stream, &JSON, r#"{"text":"Hello"}"#);
    assert_eq!(charged(&mut proxy, stream), 20);
    // The model may be known from the header at once.
    let mut stream = Stream::new();
    let headers = [
        (":method", "POST"),
        (":path", path),
        boundary,
        ("x-model", "m"),
    ];
    let headers = Headers::from_pairs(&headers);
    let step = stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    assert_eq!(step.flow, Flow::Continue);
    // A body that never names it is refused.
    let (_, step) = post(&mut proxy, path, &[boundary], &file.repeat(3));
    assert_eq!(reply(&step).status, 413);
    let (_, step) = post(&mut proxy, path, &[("content-type", "audio/mpeg")], "x");
    assert_eq!(
        reply_header(reply(&step), "x-headgate-reason"),
        Some("invalid_multipart")
    );
}

#[test]
fn binary_tensors_are_not_held_and_not_free() {
    let json = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[10],"parameters":{"binary_data_size":40}}]}"#;
    let length = json.len().to_string();
    let header = ("inference-header-content-length", &*length);
    let mut proxy = proxy("{}");
    let path = "/v2/models/m/infer";
    let body = format!("{json}{}", "\u{1}".repeat(40));
    let (mut stream, step) = post(&mut proxy, path, &[header], &body);
    assert_eq!(step.flow, Flow::Continue);
    proxy.answer(&mut stream, &JSON, r#"{"outputs":[]}"#);
    assert_eq!(charged(&mut proxy, stream), 10);
    // More than was announced.
    let body = format!("{json}{}", "\u{1}".repeat(400));
    let (mut stream, _) = post(&mut proxy, path, &[header], &body);
    proxy.answer(&mut stream, &JSON, r#"{"outputs":[]}"#);
    assert_eq!(charged(&mut proxy, stream), 100);
    let wrong = ("inference-header-content-length", "many");
    let (_, step) = post(&mut proxy, path, &[wrong], &body);
    assert!(text(reply(&step)).contains("`inference-header-content-length` must be"));
}

#[test]
fn a_response_is_continued_by_the_version_that_gave_it() {
    let config = r#"{"namespaces":{"default":{"models":{"m":{
        "canaries":[{"carrier":"deployment/b","weight":50,"versions":[{"version":"v2","endpoints":1}]}],
        "base":[{"carrier":"deployment/a","weight":1,"versions":[{"version":"v1","endpoints":1}]}]}}}}}"#;
    let mut proxy = Proxy::new(config);
    let body = |user: u32, previous: &str| {
        format!(r#"{{"model":"m","input":"Hi","user":"u{user}"{previous}}}"#)
    };
    let mut versions = [0, 0];
    for user in 0..40 {
        let path = "/v1/responses";
        let (mut stream, step) = post(&mut proxy, path, &[], &body(user, ""));
        let version = request_header(&step, "x-model-version").unwrap().to_owned();
        versions[usize::from(version == "v2")] += 1;
        proxy.host.serves(&version);
        let answer = format!(r#"{{"id":"resp_{user}","output":[]}}"#);
        proxy.answer(&mut stream, &JSON, &answer);
        proxy.end(&mut stream);
        // Another user continues it.
        let previous = format!(r#","previous_response_id":"resp_{user}""#);
        let (_, step) = post(&mut proxy, path, &[], &body(user + 1000, &previous));
        assert_eq!(request_header(&step, "x-model-version"), Some(&*version));
        assert_eq!(request_header(&step, "x-headgate-lane"), Some("response"));
        let (_, step) = post(
            &mut proxy,
            path,
            &[],
            &body(user, r#","previous_response_id":"resp_x""#),
        );
        assert_eq!(request_header(&step, "x-model-version"), Some(&*version));
    }
    assert!(versions.iter().all(|count| *count > 5), "{versions:?}");
}

#[test]
fn a_request_that_is_worked_on_later_is_charged_its_reservation() {
    let body = r#"{"model":"m","input":"Hiho","max_output_tokens":64,"background":true}"#;
    assert_eq!(
        charge(
            "/v1/responses",
            &[],
            body,
            r#"{"id":"r","status":"queued"}"#
        ),
        65
    );
}

#[test]
fn a_batch_costs_what_a_policy_says() {
    for (apis, tokens) in [("{}", 100_000), (r#"{"batchTokens":250}"#, 250)] {
        let mut proxy = proxy(apis);
        let (mut stream, step) = post(&mut proxy, "/v1/batches", &[("x-model", "m")], "{}");
        assert_eq!(step.flow, Flow::Continue);
        proxy.answer(
            &mut stream,
            &JSON,
            r#"{"id":"batch_1","usage":{"input_tokens":0,"output_tokens":0}}"#,
        );
        assert_eq!(charged(&mut proxy, stream), tokens);
    }
}

#[test]
fn a_session_is_charged_while_it_lasts() {
    let mut proxy = proxy(r#"{"realtime":{"tokensPerMinute":600,"bytesPerToken":10}}"#);
    let headers = [
        (":method", "GET"),
        (":path", "/v1/realtime?model=Org%2FM&x=1"),
        ("upgrade", "websocket"),
    ];
    let mut stream = Stream::new();
    let step = stream.request_headers(
        &mut proxy.vm,
        &proxy.host,
        Headers::from_pairs(&headers),
        false,
    );
    assert_eq!(step.flow, Flow::Continue);
    assert_eq!(request_header(&step, "x-model"), Some("m"));
    proxy.host.status.set(Some(101));
    let upgraded = Headers::from_pairs(&[(":status", "101")]);
    assert!(stream.wants_response());
    stream.response_headers(&mut proxy.vm, &proxy.host, &upgraded, false);
    let debits = |effects: &[Effect]| counted_debits(&Step::with(effects.to_vec()));
    stream.request_body(&mut proxy.vm, &proxy.host, &[0; 1000], false);
    stream.response_body(&mut proxy.vm, &proxy.host, &[0; 500], false);
    proxy.host.sleep(11 * SECOND);
    assert_eq!(debits(&proxy.vm.tick(&proxy.host)), 150);
    assert_eq!(debits(&proxy.vm.tick(&proxy.host)), 0);
    proxy.host.sleep(60 * SECOND);
    assert_eq!(
        debits(&proxy.vm.tick(&proxy.host)),
        600,
        "the second minute"
    );
    stream.request_body(&mut proxy.vm, &proxy.host, &[0; 100], false);
    assert_eq!(charged(&mut proxy, stream), 600 + 150 + 600 + 10);
    // One that the upstream refused is free.
    let mut stream = Stream::new();
    stream.request_headers(
        &mut proxy.vm,
        &proxy.host,
        Headers::from_pairs(&headers),
        false,
    );
    proxy.host.status.set(Some(401));
    let refused = Headers::from_pairs(&[(":status", "401")]);
    stream.response_headers(&mut proxy.vm, &proxy.host, &refused, true);
    assert_eq!(charged(&mut proxy, stream), 0);
}

#[test]
fn unknown_paths_follow_the_policy() {
    let bytes = "x".repeat(400);
    for (policy, tokens) in [("bytes", 100 + 2), ("reservation", 512), ("free", 0)] {
        let mut proxy = proxy(&format!(r#"{{"unknownEndpoints":"{policy}"}}"#));
        let headers = [("x-model", "m"), ("content-length", "400")];
        let (mut stream, step) = post(&mut proxy, "/v1/own", &headers, &bytes);
        assert_eq!(step.flow, Flow::Continue, "{policy}");
        stream.request_body(&mut proxy.vm, &proxy.host, bytes.as_bytes(), true);
        proxy.answer(&mut stream, &JSON, r#"{"ok":1}"#);
        assert_eq!(charged(&mut proxy, stream), tokens, "{policy}");
    }
    let mut proxy = proxy("{}");
    let (_, step) = post(&mut proxy, "/v1/own", &[("x-model", "m")], &bytes);
    assert_eq!(reply(&step).status, 404);
    assert_eq!(counted(&step.effects, "unused"), 0);
}

/// Model `m`, whose servers of v1 want `Org/M 1`.
fn served_as() -> Proxy {
    let config = one_model(&tokens(CAPACITY, "1", ""));
    Proxy::new(&config.replace(
        r#""names":["Org/M"]"#,
        r#""names":["Org/M"],"servedNames":{"v1":"Org/M 1"}"#,
    ))
}

/// The body that is sent on, and its length.
fn amended(step: &Step, body: &str) -> Option<(String, Option<u64>)> {
    step.effects.iter().find_map(|effect| match effect {
        Effect::AmendRequestBody(splices, length) => {
            let body = Splice::apply_all(splices, body.as_bytes()).unwrap();
            Some((String::from_utf8(body).unwrap(), *length))
        }
        _ => None,
    })
}

#[test]
fn a_request_names_the_model_as_its_servers_do() {
    let mut proxy = served_as();
    let path = "/v1/chat/completions";
    let body = r#"{"messages":[],"stream":true,"model": "Or\u0067/M" }"#;
    let length = body.len().to_string();
    let headers = [
        ("content-length", &*length),
        ("content-digest", "sha-256=:x:"),
    ];
    let (_, step) = post(&mut proxy, path, &headers, body);
    let renamed = r#"{"messages":[],"stream":true,"model": "Org/M 1" }"#;
    assert_eq!(
        amended(&step, body),
        Some((renamed.to_owned(), Some(renamed.len() as u64)))
    );
    assert!(removed(&step, "content-digest"));
    // Together with the option for usage, in one replacement.
    let (_, step) = post(&mut proxy, path, &headers[..1], body);
    let both = r#"{"stream_options":{"include_usage":true},"messages":[],"stream":true,"model": "Org/M 1" }"#;
    assert_eq!(
        amended(&step, body),
        Some((both.to_owned(), Some(both.len() as u64)))
    );
    // Named as its servers do.
    let same = r#"{"messages":[],"model":"Org/M 1"}"#;
    let (_, step) = post(&mut proxy, path, &[], same);
    assert_eq!(request_header(&step, "x-model"), Some("m"));
    assert_eq!(amended(&step, same), None);
    for header in ["signature-input", "x-amz-content-sha256"] {
        let (_, step) = post(&mut proxy, path, &[(header, "x")], body);
        assert_eq!(
            reply_header(reply(&step), "x-headgate-reason"),
            Some("signed_body")
        );
        assert!(text(reply(&step)).contains(header));
    }
}

#[test]
fn a_path_names_the_model_as_its_servers_do() {
    for (path, renamed) in [
        (
            "/openai/deployments/Org%2FM/chat/completions?api-version=1",
            "/openai/deployments/Org%2FM%201/chat/completions?api-version=1",
        ),
        (
            "/v1beta/models/m:generateContent?alt=sse&key=a",
            "/v1beta/models/Org%2FM%201:generateContent?alt=sse&key=a",
        ),
        (
            "/v2/models/m/versions/v1/infer",
            "/v2/models/Org%2FM%201/versions/v1/infer",
        ),
        (
            "/openai/v1/models/m:predict",
            "/openai/v1/models/Org%2FM%201:predict",
        ),
    ] {
        let (_, step) = post(&mut served_as(), path, &[], r#"{"inputs":[]}"#);
        assert_eq!(request_header(&step, ":path"), Some(renamed), "{path}");
        assert_eq!(amended(&step, ""), None);
    }
}
