//! Model servers: their paths, their wording, and answers about many sequences.

use crate::golden::{self, Results, endpoint, operation};
use headgate_dialect::{Api, Apis, Found, Label, Output, Refusal, find, models_path};
use serde_json::{Value, json};

/// The name of the operation, and the model and the version in the path.
fn found(method: &str, path: &str, apis: Apis) -> Option<(&'static str, String, String)> {
    let text = |part: Option<&[u8]>| String::from_utf8(part.unwrap_or_default().to_vec()).unwrap();
    match find(method.as_bytes(), path.as_bytes(), apis, Api::OpenAi) {
        Found::Operation(operation, captures) => {
            Some((operation.name, text(captures.model), text(captures.version)))
        }
        _ => None,
    }
}

#[test]
fn paths_that_are_words_count_only_where_their_api_is_enabled() {
    for (api, method, path, name) in [
        (Api::Ollama, "POST", "/api/chat", "ollama.chat"),
        (Api::Ollama, "POST", "/api/generate", "ollama.generate"),
        (Api::Ollama, "GET", "/api/tags", "ollama.models"),
        (Api::Ollama, "GET", "/api/version", "ollama.read"),
        (Api::Ollama, "DELETE", "/api/delete", "ollama.delete"),
        (
            Api::Ollama,
            "HEAD",
            "/api/blobs/sha256:29fd",
            "ollama.create",
        ),
        (Api::Tgi, "POST", "/generate", "tgi.generate"),
        (Api::Tgi, "POST", "/generate_stream", "tgi.generate"),
        (Api::Tgi, "POST", "/", "tgi.generate"),
        (Api::Tgi, "POST", "/rerank", "tgi.rerank"),
        (Api::Tgi, "GET", "/info", "tgi.info"),
        (Api::SgLang, "POST", "/generate", "sglang.generate"),
        (Api::LlamaCpp, "POST", "/completion", "llamacpp.completion"),
        (Api::LlamaCpp, "POST", "/completions", "llamacpp.completion"),
        (Api::LlamaCpp, "POST", "/infill", "llamacpp.infill"),
        (Api::LlamaCpp, "POST", "/tokenize", "llamacpp.tokenize"),
        (Api::LlamaCpp, "POST", "/slots/0", "llamacpp.slots.change"),
        (Api::Vllm, "POST", "/rerank", "vllm.rerank"),
    ] {
        let known = found(method, path, Apis::STANDARD);
        assert_eq!(known, None, "{path}");
        let known = found(method, path, Apis::STANDARD.with(api)).map(|known| known.0);
        assert_eq!(known, Some(name), "{path}");
    }
}

#[test]
fn paths_that_name_the_model_belong_to_several_apis() {
    for (method, path, name, model, version) in [
        (
            "POST",
            "/v1/models/flowers:predict",
            "kserve.predict",
            "flowers",
            "",
        ),
        (
            "POST",
            "/v1/models/a/b:explain",
            "kserve.explain",
            "a/b",
            "",
        ),
        (
            "POST",
            "/v1/models/g:generateContent",
            "gemini.generateContent",
            "g",
            "",
        ),
        (
            "GET",
            "/v1/models/flowers:predict",
            "openai.models",
            "flowers:predict",
            "",
        ),
        ("POST", "/v2/models/e/generate", "triton.generate", "e", ""),
        (
            "POST",
            "/v2/models/e/versions/2/generate_stream",
            "triton.generate",
            "e",
            "2",
        ),
        (
            "POST",
            "/v2/models/e/versions/2/infer",
            "openinference.infer",
            "e",
            "2",
        ),
    ] {
        let known = found(method, path, Apis::STANDARD);
        let expected = Some((name, model.to_owned(), version.to_owned()));
        assert_eq!(known, expected, "{method} {path}");
    }
}

#[test]
fn a_refusal_has_the_shape_of_its_server() {
    let words = |name: &str, status: u16| {
        let body = operation(name).dialect().error_body(&Refusal {
            status,
            code: "c",
            message: "say \"less\"",
            param: None,
            unit: None,
        });
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let plain = json!({"error": "say \"less\""});
    for name in ["ollama.chat", "triton.generate", "kserve.predict"] {
        assert_eq!(words(name, 429), plain, "{name}");
    }
    for (status, kind) in [
        (429, "overloaded"),
        (503, "overloaded"),
        (400, "validation"),
        (500, "generation"),
    ] {
        let expected = json!({"error": "say \"less\"", "error_type": kind});
        assert_eq!(words("tgi.generate", status), expected, "{status}");
    }
    for name in ["sglang.generate", "llamacpp.completion"] {
        assert_eq!(
            words(name, 400)["error"]["message"],
            "say \"less\"",
            "{name}"
        );
    }
}

#[test]
fn ollama_lists_models_in_its_own_shape() {
    let (dialect, model) = models_path(b"/api/tags").unwrap();
    assert_eq!(model, b"");
    let list = dialect.model_list(&mut ["a", "b:8b"].into_iter());
    let list: Value = serde_json::from_slice(&list).unwrap();
    let names: Vec<_> = list["models"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 2);
    assert_eq!(
        (&names[1]["name"], &names[1]["model"]),
        (&json!("b:8b"), &json!("b:8b"))
    );
    // Clients read these as a time, a number and an object.
    assert_eq!(names[0]["modified_at"], "1970-01-01T00:00:00Z");
    assert_eq!(
        (&names[0]["size"], &names[0]["details"]["families"]),
        (&json!(0), &json!([]))
    );
}

#[test]
fn a_cut_at_any_byte_counts_no_more_than_the_whole() {
    let cases = [
        golden::openai::answers(),
        golden::ollama::answers(),
        golden::tgi::answers(),
        golden::llamacpp::answers(),
        golden::triton::answers(),
    ];
    for case in cases.concat() {
        let whole = case.usage.map_or(0, |usage| usage.output);
        for end in 0..case.answer.len() {
            let mut scanner = golden::scanner_of(&case, false);
            let (first, second) = case.answer[..end].split_at(end / 2);
            scanner.push(first, false);
            assert_eq!(scanner.push(second, false), Output::Unchanged);
            let cut = Results::of(&scanner);
            let read = golden::read(golden::scanner_of(&case, false), [&case.answer[..end]]);
            assert_eq!(cut, read.0, "{} at {end}", case.name);
            let output = cut.usage.map_or(0, |usage| usage.output);
            assert!(output <= whole, "{} at {end}: {cut:?}", case.name);
        }
    }
}

#[test]
fn usage_of_many_sequences_is_their_sum_and_of_too_many_it_is_stale() {
    for (count, stale) in [(1000, false), (1024, false), (1025, true), (5000, true)] {
        let mut scanner = endpoint("/completion")
            .usage_scanner(Label::Events, count)
            .of_prompts(count);
        for index in (0..count).rev() {
            let event = json!({"index": index, "content": "ab", "stop": true, "tokens_predicted": 2, "tokens_evaluated": 3});
            scanner.push(format!("data: {event}\n\n").as_bytes(), false);
        }
        let usage = scanner.usage().unwrap();
        assert_eq!(usage.output, 2 * count.min(1024), "{count}");
        let all = (count <= 1024).then_some(3 * count);
        assert_eq!(usage.input, all, "{count}");
        assert_eq!(scanner.usage_is_stale(), stale, "{count}");
        assert_eq!(scanner.observed().text_bytes, 2 * count, "{count}");
    }
}
