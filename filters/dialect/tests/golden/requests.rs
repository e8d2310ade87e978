//! Requests as clients of OpenAI, vLLM and llama.cpp send them.

use super::{chat, completions};
use headgate_dialect::{Body, Endpoint, SessionFields};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

pub(crate) struct Request {
    pub(crate) name: &'static str,
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) body: &'static [u8],
    pub(crate) facts: Body,
}

/// A request to a path.
pub(crate) fn request(name: &'static str, path: &str, body: &'static [u8], facts: Body) -> Request {
    Request {
        name,
        endpoint: super::endpoint(path),
        body,
        facts,
    }
}

/// The documented fingerprint: SipHash-1-3 of text (or token ids as u64 LE), length, number of ids.
fn fingerprint(text: &[u8], text_bytes: u64, ids: u64) -> Option<u64> {
    let key = |text: &[u8; 8]| u64::from_le_bytes(*text);
    let mut hasher = SipHasher13::new_with_keys(key(b"headgate"), key(b"sessions"));
    hasher.write(text);
    hasher.write(&text_bytes.to_le_bytes());
    hasher.write(&ids.to_le_bytes());
    Some(hasher.finish())
}

pub(crate) fn of_text(text: &str) -> Option<u64> {
    fingerprint(text.as_bytes(), text.len() as u64, 0)
}

pub(crate) fn of_ids(ids: &[u64]) -> Option<u64> {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    fingerprint(&bytes, 0, ids.len() as u64)
}

pub(crate) fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The length of the JSON after `before` up to the first `end`, inclusive.
fn raw(body: &[u8], before: &str, end: &str) -> usize {
    let body = std::str::from_utf8(body).unwrap();
    let from = body.find(before).unwrap() + before.len();
    body[from..].find(end).unwrap() + end.len()
}

const PICTURE: u64 = 765;

pub(crate) fn cases() -> Vec<Request> {
    let tools = include_bytes!("../transcripts/openai-chat-request.json");
    let website = "Building a website can be done in 10 simple steps:\nStep 1:";
    let picture = "What is on this picture, “Frühling”?\nBe brief 🙂";
    vec![
        Request {
            name: "openai chat: parts, tools, null content, session fields",
            endpoint: chat(),
            body: tools,
            facts: Body {
                model: some("gpt-4"),
                max_tokens: Some(1024),
                n: Some(2),
                temperature: Some(700_000),
                stream: Some(true),
                prompt_bytes: ("You answer in one sentence.".len()
                    + picture.len()
                    + "A meadow.And in French?".len()
                    + "ada".len()
                    + raw(tools, "\"tool_calls\": ", "\n      ]")
                    + "call_1".len()
                    + raw(tools, "\"tools\": ", "\n  ]")) as u64,
                prompt_tokens: PICTURE,
                session: SessionFields {
                    prompt_cache_key: some("thread-17"),
                    user: some("ada"),
                    safety_identifier: some("u_9f86d081"),
                    metadata_user_id: some("ada@example.com"),
                    ..SessionFields::default()
            },
                first_user_message: of_text(picture),
                ..Body::default()
            },
        },
        Request {
            name: "vllm chat: content before role, conversation object, own parameters",
            endpoint: chat(),
            body: include_bytes!("../transcripts/vllm-chat-request.json"),
            facts: Body {
                model: some("meta-llama/Llama-3.1-70B-Instruct"),
                max_tokens: Some(256),
                temperature: Some(600_000),
                stream: Some(true),
                prompt_bytes: "東京の天気は？晴れです。明日は？{\"enable_thinking\":false}".len()
                    as u64,
                session: SessionFields {
                    conversation: some("conv_42"),
                    ..SessionFields::default()
                },
                first_user_message: of_text("東京の天気は？"),
                ..Body::default()
            },
        },
        Request {
            name: "llama.cpp completion: a float's whole tail",
            endpoint: completions(),
            body: include_bytes!("../transcripts/llamacpp-completion-request.json"),
            facts: Body {
                model: some("phi-3"),
                max_tokens: Some(128),
                temperature: Some(800_000),
                stream: Some(false),
                prompt_bytes: website.len() as u64,
                first_user_message: of_text(website),
                ..Body::default()
            },
        },
        Request {
            name: "openai completions: every prompt of a list generates best_of sequences",
            endpoint: completions(),
            body: include_bytes!("../transcripts/openai-completions-batch-request.json"),
            facts: Body {
                model: some("gpt-3.5-turbo-instruct"),
                max_tokens: Some(16),
                n: Some(12),
                prompts: Some(3),
                temperature: Some(0),
                prompt_bytes: "Say oneSay twoSay drei: ä".len() as u64,
                first_user_message: of_text("Say one"),
                ..Body::default()
            },
        },
        Request {
            name: "vllm completions: prompts as token ids",
            endpoint: completions(),
            body: include_bytes!("../transcripts/vllm-completions-token-ids-request.json"),
            facts: Body {
                model: some("llama3-70b"),
                max_tokens: Some(8),
                n: Some(2),
                prompts: Some(2),
                prompt_tokens: 5,
                first_user_message: of_ids(&[128_000, 9906]),
                ..Body::default()
            },
        },
        Request {
            name: "one prompt as token ids",
            endpoint: completions(),
            body: br#"{"prompt":[1,2,3]}"#,
            facts: Body {
                prompt_tokens: 3,
                first_user_message: of_ids(&[1, 2, 3]),
                ..Body::default()
            },
        },
        Request {
            name: "one prompt as token ids, twice",
            endpoint: completions(),
            body: br#"{"prompt":[7,8],"prompt":[7,8]}"#,
            facts: Body {
                prompt_tokens: 2,
                first_user_message: of_ids(&[7, 8]),
                ..Body::default()
            },
        },
        Request {
            name: "escaped keys are the same keys",
            endpoint: chat(),
            body: br#"{"mod\u0065l":"a\/b","\u006E":3,"m\u0061x_tokens":5e0}"#,
            facts: Body {
                model: some("a/b"),
                max_tokens: Some(5),
                n: Some(3),
                ..Body::default()
            },
        },
        Request {
            name: "null is absent, equal duplicates are one, both names of max_tokens may agree",
            endpoint: chat(),
            body: br#" {"n":null,"n":null,"model":"a","model":"\u0061","stream":null,"temperature":1.0,
                "temperature":1,"max_tokens":7,"max_completion_tokens":70e-1,"messages":null,"user":null,
                "conversation":null,"metadata":null,"stream_options":{"include_usage":null}}
                "#,
            facts: Body {
                model: some("a"),
                max_tokens: Some(7),
                temperature: Some(1_000_000),
                ..Body::default()
            },
        },
        Request {
            name: "repeated messages that give the same facts",
            endpoint: chat(),
            body: br#"{"messages":[{"role":"user","content":"hi","content":"hi"}],
                "messages":[{"content":[{"text":"h"},{"text":"i","text":"i"}],"role":"user"}]}"#,
            facts: Body {
                prompt_bytes: 2,
                first_user_message: of_text("hi"),
                ..Body::default()
            },
        },
        Request {
            name: "content on both sides of a role that is not the user's",
            endpoint: chat(),
            body: br#"{"messages":[{"content":"sys","role":"system","content":"sys"},{"role":"user"},
                {"role":"user","content":""},{"role":"user","content":[{"type":"image_url"},"x"]}]}"#,
            facts: Body {
                prompt_bytes: 4,
                prompt_tokens: PICTURE,
                first_user_message: of_text("x"),
                ..Body::default()
            },
        },
        Request {
            name: "fields of interest in places of no interest",
            endpoint: chat(),
            body: br#"{"a":{"model":1,"messages":7,"b":[{"n":-1},[[]]]},"prompt":5,"tools":[{"max_tokens":"x"}],
                "messages":[{"role":"user","name":7,"extra":{"content":1},"content":[{"type":"text","text":"q",
                "cache_control":{"text":0}}]}],"metadata":{"model":{"user_id":0}},"n":1}"#,
            facts: Body {
                n: Some(1),
                prompt_bytes: 1 + "[{\"max_tokens\":\"x\"}]".len() as u64,
                first_user_message: of_text("q"),
                ..Body::default()
            },
        },
        Request {
            name: "everything the model reads is priced: as sent, except text, which is decoded",
            endpoint: chat(),
            body: br#"{"tools":[ {"a":"\u0041]"} ],"functions":[],"tool_choice":"auto","function_call":{"name":"f"},
                "response_format":{"type":"x"},"prediction":{"content":[{"text":"p"}]},"documents":[["d"]],
                "chat_template":"\u0041\n","chat_template_kwargs":{},"messages":[{"role":"assistant",
                "name":"n\u0041","refusal":"no","reasoning_content":"r1","reasoning":"r2","tool_call_id":"c",
                "tool_calls":[{"id":1,"f":{"arguments":"{\"}"}}],"function_call":{"arguments":"b"},
                "content":[{"type":"refusal","refusal":"never"},{"thinking":["hm"]}]}]}"#,
            facts: Body {
                prompt_bytes: [
                    r#"[ {"a":"\u0041]"} ][]auto{"name":"f"}{"type":"x"}"#,
                    r#"{"content":[{"text":"p"}]}[["d"]]A.{}"#,
                    r#"nAnor1r2c[{"id":1,"f":{"arguments":"{\"}"}}]{"arguments":"b"}never["hm"]"#,
                ]
                .concat()
                .len() as u64,
                ..Body::default()
            },
        },
        Request {
            name: "what is priced and given twice is priced twice, also where it is no array; scalars are nothing",
            endpoint: chat(),
            body: br#"{"tools":"abc","tools":{},"tools":null,"functions":7,"response_format":true,"suffix":["a"],
                "messages":[{"name":null,"name":1,"name":false,"name":{"tools":[[]]},"tool_calls":"x","audio":null}]}"#,
            facts: Body {
                prompt_bytes: r#"abc{}["a"]{"tools":[[]]}x"#.len() as u64,
                ..Body::default()
            },
        },
        Request {
            name: "media by URL, by data and of an unknown kind, each a fixed number of tokens",
            endpoint: chat(),
            body: br#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a"}},
                {"image_url":"data:image/png;base64,iVBORw0KGgo=","text":"t"},{"type":"file","file":{"text":"x"}},
                {"input_audio":{"data":"AAAA"}},{"type":"hologram","hologram":[1]},{"video_url":null,"text":"u"},
                {"type":"image","source":{"data":"AAAA"}},{"type":"image","image":"data:AAAA"},{"type":"image","source":"a"},
                {"type":"text","text":"v","cache_control":{},"source":"a"}]},{"role":"assistant","audio":{"id":"a"}}]}"#,
            facts: Body {
                prompt_bytes: 3,
                prompt_tokens: 9 * PICTURE,
                first_user_message: of_text("tuv"),
                ..Body::default()
            },
        },
        Request {
            name: "what stands behind the text to be written, and tokens that are ids",
            endpoint: completions(),
            body: br#"{"prompt":[5,6],"suffix":"}\n","guided_json":{"a":[1]},"stop":["x"]}"#,
            facts: Body {
                prompt_bytes: 2,
                prompt_tokens: 2,
                first_user_message: of_ids(&[5, 6]),
                ..Body::default()
            },
        },
        Request {
            name: "an empty object",
            endpoint: completions(),
            body: b"\t{ }\r\n",
            facts: Body::default(),
        },
    ]
}
