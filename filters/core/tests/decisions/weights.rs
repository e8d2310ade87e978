//! The price of a token by its class.

use headgate_contract::{Decimal, Profile, Tokens, Weights};
use headgate_core::cost::{Parts, Pricing, Work};
use headgate_core::effects::Flow;
use headgate_core::headers::Headers;
use proptest::prelude::*;

use crate::proxy::{Proxy, counted, one_model, response_header};

const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
const SSE: [(&str, &str); 2] = [(":status", "200"), ("content-type", "text/event-stream")];

/// No part costs what its whole costs.
const WEIGHTS: &str = r#"{"input":1,"cachedInput":0.1,"cacheWrite":1.25,"output":4,"reasoning":5,"audio":20,"image":10}"#;
const CHAT: &str = r#"{"model":"m","max_tokens":100}"#;

fn proxy(weights: &str) -> Proxy {
    let bucket = format!(
        r#"{{"policy":"p","bucket":{{"name":"budget","key":[],"profile":"tokens",
        "tokens":{{"capacity":1000000,"refillPerSecond":0.1,"weights":{weights}}}}}}}"#
    );
    Proxy::new(&one_model(&bucket))
}

/// The charge of a request, in thousandths of a token.
fn charged(path: &str, body: &str, headers: &[(&str, &str)], answer: &str) -> u64 {
    let mut proxy = proxy(WEIGHTS);
    let request = [(":method", "POST"), (":path", path), ("x-model", "m")];
    let (mut stream, step) = proxy.send(&request, Some(body.as_bytes()));
    assert_eq!(step.flow, Flow::Continue, "{step:?}");
    proxy.answer(&mut stream, headers, answer);
    let effects = proxy.end(&mut stream);
    let rule = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_charged_milli";
    counted(&effects, rule)
}

#[test]
fn each_class_of_a_report_has_its_price() {
    let chat = "/v1/chat/completions";
    let rows = [
        (
            "cached tokens, audio and images are inside of the prompt, reasoning and audio inside of the completion",
            r#"{"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":30,"audio_tokens":20,"image_tokens":10},
                "completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":40}}}"#,
            30 * 100 + 20 * 20_000 + 10 * 10_000 + 40 * 1000 + 5 * 5000 + 40 * 20_000 + 5 * 4000,
        ),
        (
            "more cached tokens than tokens",
            r#"{"usage":{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":30}}}"#,
            10 * 100 + 4000,
        ),
        (
            "reasoning beside the completion, as xAI counts it",
            r#"{"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,
                "prompt_tokens_details":{"cached_tokens":5},
                "completion_tokens_details":{"reasoning_tokens":94}}}"#,
            5 * 100 + 27 * 1000 + 94 * 5000 + 9 * 4000,
        ),
        (
            "a prompt that is not reported is estimated, and none of it is cached",
            r#"{"usage":{"prompt_tokens":0,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":5}}}"#,
            2 * 1000 + 3 * 4000,
        ),
    ];
    let body =
        r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"12345678"}]}"#;
    for (what, answer, milli) in rows {
        assert_eq!(charged(chat, body, &JSON, answer), milli, "{what}");
    }
}

#[test]
fn counts_beside_the_prompt_are_added_to_it_and_not_taken_out() {
    let messages =
        r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"12345678"}]}"#;
    let anthropic = r#"{"type":"message","content":[{"type":"text","text":"abc"}],"usage":{"input_tokens":3,
        "cache_creation_input_tokens":10,"cache_read_input_tokens":20,"output_tokens":9}}"#;
    assert_eq!(
        charged("/v1/messages", messages, &JSON, anthropic),
        3 * 1000 + 10 * 1250 + 20 * 100 + 9 * 4000
    );
    let contents = r#"{"contents":[{"parts":[{"text":"12345678"}]}],"generationConfig":{"maxOutputTokens":100}}"#;
    let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"abc"}]},"finishReason":"STOP"}],"usageMetadata":{
        "promptTokenCount":100,"cachedContentTokenCount":60,"toolUsePromptTokenCount":7,
        "candidatesTokenCount":9,"thoughtsTokenCount":30,"totalTokenCount":146}}"#;
    assert_eq!(
        charged("/v1beta/models/m:generateContent", contents, &JSON, gemini),
        60 * 100 + 47 * 1000 + 30 * 5000 + 9 * 4000
    );
}

/// Anthropic reports the prompt at the beginning of a stream.
#[test]
fn a_stream_that_is_cut_has_the_parts_that_were_reported() {
    let body =
        r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"12345678"}]}"#;
    let start = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n";
    let text = "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"12345678\"}}\n\n";
    for (events, milli) in [
        // The report: 1 of the prompt, 3 cached, 1 generated.
        (vec![start], 1000 + 3 * 100 + 4000),
        // The text: the prompt as it was reported, 2 generated.
        (vec![start, text], 1000 + 3 * 100 + 2 * 4000),
    ] {
        let mut proxy = proxy(WEIGHTS);
        let request = [(":method", "POST"), (":path", "/v1/messages")];
        let (mut stream, _) = proxy.send(&request, Some(body.as_bytes()));
        stream.response_headers(
            &mut proxy.vm,
            &proxy.host,
            &Headers::from_pairs(&SSE),
            false,
        );
        for event in &events {
            stream.response_body(&mut proxy.vm, &proxy.host, event.as_bytes(), false);
        }
        let effects = proxy.end(&mut stream);
        let rule = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_charged_milli";
        assert_eq!(counted(&effects, rule), milli, "{events:?}");
    }
}

/// A report of the same prompt without details does not take back those of an earlier one.
#[test]
fn details_count_once_however_often_usage_is_reported() {
    let report = |details: &str| {
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":20,\"completion_tokens\":3{details}}}}}\n\n"
        )
    };
    let cached = report(r#","prompt_tokens_details":{"cached_tokens":10}"#);
    let none = report("");
    let expected = 10 * 100 + 10 * 1000 + 3 * 4000;
    for stream in [
        format!("{cached}{none}data: [DONE]\n\n"),
        format!("{none}{cached}{cached}data: [DONE]\n\n"),
    ] {
        let milli = charged("/v1/chat/completions", CHAT, &SSE, &stream);
        assert_eq!(milli, expected, "{stream}");
    }
}

#[test]
fn output_is_reserved_at_the_greater_price_of_output_and_reasoning() {
    for (weights, remaining) in [
        (r#"{"output":4,"reasoning":5}"#, "999500"),
        (r#"{"output":4,"reasoning":2}"#, "999600"),
        (r#"{"output":4}"#, "999600"),
        (r#"{"reasoning":5}"#, "999500"),
        ("{}", "999900"),
    ] {
        let mut proxy = proxy(weights);
        let (mut stream, _) = proxy.chat(&[], CHAT);
        let step = proxy.answer(&mut stream, &JSON, "");
        let left = response_header(&step, "x-ratelimit-remaining-tokens");
        assert_eq!(left, Some(remaining), "{weights}");
    }
}

#[test]
fn parts_are_counted_by_kind() {
    let mut proxy = proxy("{}");
    let (mut stream, _) = proxy.chat(&[], CHAT);
    let answer = r#"{"usage":{"prompt_tokens":100,"completion_tokens":50,
        "prompt_tokens_details":{"cached_tokens":30,"audio_tokens":0},
        "completion_tokens_details":{"reasoning_tokens":5}}}"#;
    proxy.answer(&mut stream, &JSON, answer);
    let effects = proxy.end(&mut stream);
    for (kind, tokens) in [("cached_input", 30), ("reasoning", 5), ("input_audio", 0)] {
        let metric =
            format!("model=.=m;.;version=.=v1;.;kind=.={kind};.;headgate_token_parts_total");
        assert_eq!(counted(&effects, &metric), tokens, "{kind}");
    }
}

/// Weights of up to 10, in tenths.
fn weights() -> impl Strategy<Value = Weights> {
    let weight = || (0u64..=100).prop_map(|tenths| Decimal::from_millionths(tenths * 100_000));
    let maybe = || {
        prop::option::of((0u64..=100).prop_map(|tenths| Decimal::from_millionths(tenths * 100_000)))
    };
    (
        weight(),
        maybe(),
        maybe(),
        weight(),
        maybe(),
        maybe(),
        maybe(),
    )
        .prop_map(
            |(input, cached_input, cache_write, output, reasoning, audio, image)| Weights {
                input,
                cached_input,
                cache_write,
                output,
                reasoning,
                audio,
                image,
            },
        )
}

fn work() -> impl Strategy<Value = Work> {
    let few = || 0u64..1000;
    (
        (few(), few()),
        [few(), few(), few(), few()],
        [few(), few(), few()],
    )
        .prop_map(|((input, output), i, o)| Work {
            input,
            output,
            n: 1,
            parts: Parts {
                cached_input: i[0],
                cache_write: i[1],
                input_audio: i[2],
                input_image: i[3],
                reasoning: o[0],
                output_audio: o[1],
                output_image: o[2],
            },
        })
}

fn cost(weights: Weights, work: Work) -> u128 {
    let profile = Profile::Tokens(Tokens {
        capacity: Decimal::whole(1_000_000),
        refill_per_second: Decimal::whole(1),
        weights,
        temperature_sensitivity: Decimal::default(),
    });
    let quote = Pricing::new(&profile, "any").quote(work, 1_000_000, 100);
    quote.cost * 1_000_000 / quote.per_unit
}

proptest! {
    /// Every token is charged once, at the price of one class, whatever the parts say.
    #[test]
    fn every_token_is_charged_once(weights in weights(), work in work()) {
        let one_token = |input: u64, output: u64, parts: Parts| {
            cost(weights.clone(), Work { input, output, n: 1, parts })
        };
        let none = Parts::default;
        let mut expected = 0;
        let p = work.parts;
        let mut rest = work.input;
        for (tokens, parts) in [
            (p.cached_input, Parts { cached_input: 1, ..none() }),
            (p.cache_write, Parts { cache_write: 1, ..none() }),
            (p.input_audio, Parts { input_audio: 1, ..none() }),
            (p.input_image, Parts { input_image: 1, ..none() }),
            (u64::MAX, none()),
        ] {
            let tokens = tokens.min(rest);
            rest -= tokens;
            expected += u128::from(tokens) * one_token(1, 0, parts);
        }
        let mut rest = work.output;
        for (tokens, parts) in [
            (p.reasoning, Parts { reasoning: 1, ..none() }),
            (p.output_audio, Parts { output_audio: 1, ..none() }),
            (p.output_image, Parts { output_image: 1, ..none() }),
            (u64::MAX, none()),
        ] {
            let tokens = tokens.min(rest);
            rest -= tokens;
            expected += u128::from(tokens) * one_token(0, 1, parts);
        }
        prop_assert_eq!(cost(weights.clone(), work), expected);
    }

    /// Without prices of their own, parts change nothing.
    #[test]
    fn a_class_without_a_weight_costs_what_its_whole_costs(
        input in 0u64..=100, output in 0u64..=100, work in work(),
    ) {
        let weights = Weights { input: Decimal::whole(input), output: Decimal::whole(output), ..Weights::default() };
        let plain = Work { parts: Parts::default(), ..work };
        prop_assert_eq!(cost(weights.clone(), work), cost(weights, plain));
    }
}
