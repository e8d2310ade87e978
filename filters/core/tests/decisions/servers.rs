//! Requests to the own paths of model servers: their model, their price and their settlement.

use headgate_core::effects::Flow;

use crate::proxy::{Proxy, counted, one_model, reply, request_header, text, tokens};

const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
const LINES: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/x-ndjson")];
const EVENTS: [(&str, &str); 2] = [(":status", "200"), ("content-type", "text/event-stream")];
const CHARGED: &str = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_charged_milli";

/// A namespace with one model that serves every API.
fn proxy() -> Proxy {
    Proxy::new(&config())
}

fn config() -> String {
    let apis = r#"{"apis":{"dialects":["ollama","tgi","llamacpp","sglang","vllm"]}}"#;
    one_model(&tokens(10_000, "0.001", "")).replace(
        r#""buckets""#,
        &format!(r#""tagging":[{{"policy":"t","tagging":{apis}}}],"buckets""#),
    )
}

/// The tokens that a request is charged; `cut`: the client disconnects after the answer.
fn charged(path: &str, body: &str, headers: &[(&str, &str)], answer: &str, cut: bool) -> u64 {
    let mut proxy = proxy();
    let request = [(":method", "POST"), (":path", path)];
    let (mut stream, step) = proxy.send(&request, Some(body.as_bytes()));
    assert_eq!(step.flow, Flow::Continue, "{path}");
    assert_eq!(request_header(&step, "x-model"), Some("m"), "{path}");
    let headers = headgate_core::headers::Headers::from_pairs(headers);
    stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
    stream.response_body(&mut proxy.vm, &proxy.host, answer.as_bytes(), !cut);
    counted(&proxy.end(&mut stream), CHARGED) / 1000
}

#[test]
fn usage_of_every_server_is_the_charge() {
    let lines = concat!(
        "{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n",
        "{\"message\":{\"content\":\"\"},\"done\":true,\"prompt_eval_count\":26,\"eval_count\":4}\n"
    );
    let ollama = r#"{"model":"Org/M","messages":[{"role":"user","content":"Hello"}]}"#;
    assert_eq!(charged("/api/chat", ollama, &LINES, lines, false), 30);
    // Every line was sent: the answer is complete, whatever the client does then.
    assert_eq!(charged("/api/chat", ollama, &LINES, lines, true), 30);
    let tgi = r#"{"inputs":"12345678","parameters":{"max_new_tokens":20,"details":true}}"#;
    let details = concat!(
        "data:{\"index\":1,\"token\":{\"id\":1,\"text\":\"Hi\"},\"generated_text\":\"Hi\",",
        "\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":1,\"input_length\":3}}\n\n"
    );
    assert_eq!(charged("/generate_stream", tgi, &EVENTS, details, false), 4);
    // Not reported: the estimate of 2 tokens, and the text.
    let whole = r#"[{"generated_text":"12345678"}]"#;
    assert_eq!(charged("/", tgi, &JSON, whole, false), 4);
    let llamacpp = r#"{"prompt":"12345678","n_predict":64}"#;
    let answer = r#"{"content":"a","stop":true,"tokens_predicted":5,"tokens_evaluated":9}"#;
    assert_eq!(charged("/completion", llamacpp, &JSON, answer, false), 14);
    let triton = r#"{"text_input":"12345678","max_tokens":50}"#;
    let answer = r#"{"model_name":"m","text_output":"1234"}"#;
    assert_eq!(
        charged("/v2/models/m/generate", triton, &JSON, answer, false),
        3
    );
}

#[test]
fn a_prompt_that_is_cached_is_charged_by_the_estimate() {
    let body = r#"{"model":"m","prompt":"1234567890123456","stream":false}"#;
    let answer = r#"{"response":"Hi","done":true,"eval_count":2}"#;
    assert_eq!(charged("/api/generate", body, &JSON, answer, false), 6);
}

#[test]
fn a_prompt_with_several_sequences_is_charged_once() {
    let body = r#"{"text":["a","b"],"sampling_params":{"n":2,"max_new_tokens":10}}"#;
    let answer = r#"[{"text":"x","meta_info":{"prompt_tokens":5,"completion_tokens":1}},{"text":"y","meta_info":{"prompt_tokens":5,"completion_tokens":2}},
        {"text":"z","meta_info":{"prompt_tokens":7,"completion_tokens":3}},{"text":"w","meta_info":{"prompt_tokens":7,"completion_tokens":4}}]"#;
    assert_eq!(charged("/generate", body, &JSON, answer, false), 22);
}

#[test]
fn a_stream_that_is_cut_is_charged_by_what_came() {
    let sglang = r#"{"text":"12345678","sampling_params":{"max_new_tokens":100},"stream":true}"#;
    let events = concat!(
        "data: {\"text\":\"one\",\"meta_info\":{\"prompt_tokens\":4,\"completion_tokens\":1}}\n\n",
        "data: {\"text\":\"one two\",\"meta_info\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n"
    );
    assert_eq!(charged("/generate", sglang, &EVENTS, events, true), 6);
    let ollama = r#"{"model":"m","prompt":"12345678"}"#;
    let lines = "{\"response\":\"12345678\",\"done\":false}\n";
    assert_eq!(charged("/api/generate", ollama, &LINES, lines, true), 4);
}

#[test]
fn predictions_are_charged_by_the_bytes_of_their_input() {
    let answer = r#"{"predictions":[[0.5,0.5]]}"#;
    for body in [
        r#"{"instances":[[1,2,3,4,5,6]]}"#,
        r#"{"any":"123456","inputs":[1,2,3,4]}"#,
    ] {
        let path = "/v1/models/m:predict";
        assert_eq!(charged(path, body, &JSON, answer, false), 4, "{body}");
    }
}

#[test]
fn a_request_that_names_no_model_needs_a_header_among_several() {
    let config = config();
    let first = config.find(r#""m":{"#).unwrap();
    let second = r#""k":{"base":[{"carrier":"deployment/k","weight":1,"versions":[{"version":"v1","endpoints":1}]}]},"#;
    let two = format!("{}{second}{}", &config[..first], &config[first..]);
    let mut proxy = Proxy::new(&two);
    let request = [(":method", "POST"), (":path", "/generate")];
    let (_, step) = proxy.send(&request, Some(br#"{"inputs":"a","model":"m"}"#));
    let reply = reply(&step);
    let words = r#"{"error":"the model is missing: name it in the header `x-model`","error_type":"validation"}"#;
    assert_eq!((reply.status, text(reply).as_str()), (400, words));
    let named = [request[0], request[1], ("x-model", "k")];
    let (_, step) = proxy.send(&named, Some(br#"{"inputs":"a"}"#));
    assert_eq!(step.flow, Flow::Continue);
}
