//! Bodies that are refused, and the expected error of each.

use super::{EMBEDDINGS, chat, completions, endpoint};
use headgate_dialect::{BodyError, Endpoint};

pub(crate) struct Case {
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) body: &'static [u8],
    pub(crate) error: BodyError,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(self.body)
            .chars()
            .take(120)
            .collect()
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let chat = |(body, error)| Case {
        endpoint: chat(),
        body,
        error,
    };
    let completion = |(body, error)| Case {
        endpoint: completions(),
        body,
        error,
    };
    let embeddings = |(body, error)| Case {
        endpoint: endpoint(EMBEDDINGS),
        body,
        error,
    };
    let mut cases: Vec<Case> = malformed().into_iter().map(chat).collect();
    cases.extend(strings().into_iter().map(chat));
    cases.extend(types().into_iter().map(chat));
    cases.extend(numbers().into_iter().map(chat));
    cases.extend(duplicates().into_iter().map(chat));
    cases.extend(prompts().into_iter().map(completion));
    cases.extend(inputs().into_iter().map(embeddings));
    cases.extend(super::openai::bad());
    cases.extend(super::platforms::bad());
    cases.extend(super::ollama::bad());
    cases.extend(super::tgi::bad());
    cases.extend(super::llamacpp::bad());
    cases.extend(super::triton::bad());
    cases
}

/// Cases by the paths of their requests.
pub(crate) fn rows(rows: Vec<(&str, &'static [u8], BodyError)>) -> Vec<Case> {
    let case = |(path, body, error): (&str, _, _)| Case {
        endpoint: endpoint(path),
        body,
        error,
    };
    rows.into_iter().map(case).collect()
}

type Row = (&'static [u8], BodyError);

fn at(offset: u64, what: &'static str) -> BodyError {
    BodyError::Malformed { offset, what }
}

pub(crate) fn wrong(field: &'static str, expected: &'static str) -> BodyError {
    BodyError::WrongType { field, expected }
}

pub(crate) fn range(field: &'static str, min: u64, max: u64) -> BodyError {
    BodyError::OutOfRange { field, min, max }
}

pub(crate) fn disagree(field: &'static str) -> BodyError {
    BodyError::Disagree { field }
}

const AFTER: &str = "unexpected content after the end of the document";
const OPEN: &str = "it ends before everything opened is closed";
const LITERAL: &str = "expected `true`, `false` or `null`";

fn malformed() -> Vec<Row> {
    vec![
        (b"", at(0, "it is empty")),
        (b"  \n", at(3, "it ends before a value is complete")),
        (
            b"\xEF\xBB\xBF{}",
            at(0, "it starts with a byte order mark; leave it out"),
        ),
        (b"[]", BodyError::NotAnObject),
        (b"\"x", BodyError::NotAnObject),
        (b"12", BodyError::NotAnObject),
        (b"null", BodyError::NotAnObject),
        (b"model=gpt-4", at(0, "expected a value")),
        (b"{", at(1, OPEN)),
        (b"{\"a\":[1,2", at(9, OPEN)),
        (b"{}{}", at(2, AFTER)),
        (b"{} x", at(3, AFTER)),
        (b"{}\0", at(2, AFTER)),
        (b"{a:1}", at(1, "expected a key in quotes or `}`")),
        (b"{'a':1}", at(1, "expected a key in quotes or `}`")),
        (b"{\"a\":1,}", at(7, "expected a key in quotes")),
        (b"{\"a\" 1}", at(5, "expected `:` after the key")),
        (b"{\"a\":1 \"b\":2}", at(7, "expected `,` or `}`")),
        (b"{\"a\":1]", at(6, "expected `,` or `}`")),
        (b"{\"a\":[1}", at(7, "expected `,` or `]`")),
        (b"{\"a\":[1,]}", at(8, "expected a value")),
        (b"{\"a\":}", at(5, "expected a value")),
        (b"{\"a\":NaN}", at(5, "expected a value")),
        (b"{\"a\":nul}", at(8, LITERAL)),
        (b"{\"a\":trUe}", at(7, LITERAL)),
        (b"{\"a\":truee}", at(9, "expected `,` or `}`")),
        (b"{\"a\":01}", at(6, "expected `,` or `}`")),
        (b"{\"a\":+1}", at(5, "expected a value")),
        (b"{\"a\":-}", at(6, "expected a digit")),
        (b"{\"a\":1.}", at(7, "expected a digit")),
        (b"{\"a\":.5}", at(5, "expected a value")),
        (b"{\"a\":1e}", at(7, "expected a digit")),
        (b"{\"a\":1e+", at(8, "expected a digit")),
        (b"{\"a\":-Infinity}", at(6, "expected a digit")),
        (b"{\"a\":0x10}", at(6, "expected `,` or `}`")),
        (b"{\"a\":1 /* one */}", at(7, "expected `,` or `}`")),
        (include_bytes!("deep.json"), BodyError::TooDeep { max: 128 }),
    ]
}

fn strings() -> Vec<Row> {
    const UTF8: &str = "not UTF-8";
    const PAIR: &str = "half a surrogate pair";
    const CONTROL: &str = "a control character in a string; escape it";
    const HEX: &str = "expected four hexadecimal digits after `\\u`";
    vec![
        (b"{\"a", at(3, "it ends inside a string")),
        (b"{\"a\":\"b\\", at(8, "it ends inside a string")),
        (b"{\"a\":\"\xE2\x82", at(8, "it ends inside a string")),
        (b"{\"a\":\"\n\"}", at(6, CONTROL)),
        (b"{\"messages\":[{\"content\":\"a\0\"}]}", at(26, CONTROL)),
        (b"{\"a\tb\":1}", at(3, CONTROL)),
        (b"{\"a\":\"\\x\"}", at(7, "not an escape sequence")),
        (b"{\"a\":\"\\u12g4\"}", at(10, HEX)),
        (b"{\"a\":\"\\ud83d\"}", at(12, PAIR)),
        (b"{\"a\":\"\\ud83d\\n\"}", at(13, PAIR)),
        (b"{\"a\":\"\\ud83d\\u0041\"}", at(17, PAIR)),
        (b"{\"a\":\"\\ude42\"}", at(11, PAIR)),
        (b"{\"a\":\"x\x80\"}", at(7, UTF8)),
        (b"{\"a\":\"xx\xC3\"}", at(8, UTF8)),
        (b"{\"a\":\"\xC0\xAF\"}", at(6, UTF8)),
        (b"{\"a\":\"\xED\xA0\x80\"}", at(6, UTF8)),
        (b"{\"a\":\"\xF0\x9F\x99A\"}", at(6, UTF8)),
        (b"{\"a\":\"\xF4\x90\x80\x80\"}", at(6, UTF8)),
        (b"{\"\xFF\":1}", at(2, UTF8)),
    ]
}

fn types() -> Vec<Row> {
    const STRING: &str = "a string";
    const WHOLE: &str = "a whole number";
    const FLAG: &str = "true or false";
    vec![
        (br#"{"model":7}"#, wrong("model", STRING)),
        (br#"{"model":["a"]}"#, wrong("model", STRING)),
        (br#"{"max_tokens":"100"}"#, wrong("max_tokens", WHOLE)),
        (br#"{"max_tokens":1.5}"#, wrong("max_tokens", WHOLE)),
        (br#"{"max_tokens":true}"#, wrong("max_tokens", WHOLE)),
        (br#"{"max_tokens":{}}"#, wrong("max_tokens", WHOLE)),
        (
            br#"{"max_completion_tokens":[1]}"#,
            wrong("max_completion_tokens", WHOLE),
        ),
        (
            br#"{"n":1.0000000000000000000000000001}"#,
            wrong("n", WHOLE),
        ),
        (br#"{"n":1e-1}"#, wrong("n", WHOLE)),
        (br#"{"best_of":"2"}"#, wrong("best_of", WHOLE)),
        (
            br#"{"temperature":"hot"}"#,
            wrong("temperature", "a number"),
        ),
        (br#"{"stream":"true"}"#, wrong("stream", FLAG)),
        (br#"{"stream":1}"#, wrong("stream", FLAG)),
        (
            br#"{"messages":{}}"#,
            wrong("messages", "an array of messages"),
        ),
        (
            br#"{"messages":"hi"}"#,
            wrong("messages", "an array of messages"),
        ),
        (
            br#"{"messages":["hi"]}"#,
            wrong("messages[]", "an object with `role` and `content`"),
        ),
        (
            br#"{"messages":[null]}"#,
            wrong("messages[]", "an object with `role` and `content`"),
        ),
        (
            br#"{"messages":[{"role":1}]}"#,
            wrong("messages[].role", STRING),
        ),
        (
            br#"{"messages":[{"content":{"text":"x"}}]}"#,
            wrong("messages[].content", "a string or an array of parts"),
        ),
        (
            br#"{"messages":[{"content":[7]}]}"#,
            wrong("messages[].content[]", "an object with a `type`"),
        ),
        (
            br#"{"messages":[{"content":[{"text":{"value":"x"}}]}]}"#,
            wrong("messages[].content[].text", STRING),
        ),
        (br#"{"user":1}"#, wrong("user", STRING)),
        (
            br#"{"prompt_cache_key":{}}"#,
            wrong("prompt_cache_key", STRING),
        ),
        (
            br#"{"safety_identifier":false}"#,
            wrong("safety_identifier", STRING),
        ),
        (
            br#"{"conversation":4}"#,
            wrong("conversation", "a string or an object with an `id`"),
        ),
        (
            br#"{"conversation":{"id":4}}"#,
            wrong("conversation.id", STRING),
        ),
        (br#"{"metadata":"x"}"#, wrong("metadata", "an object")),
        (
            br#"{"metadata":{"user_id":4}}"#,
            wrong("metadata.user_id", STRING),
        ),
        (
            include_bytes!("long-model.json"),
            BodyError::TooLong {
                field: "model",
                max: 1024,
            },
        ),
    ]
}

fn numbers() -> Vec<Row> {
    let max_tokens = || range("max_tokens", 1, 10_000_000);
    let temperature = || range("temperature", 0, 10);
    vec![
        (br#"{"max_tokens":0}"#, max_tokens()),
        (br#"{"max_tokens":-0}"#, max_tokens()),
        (br#"{"max_tokens":-2}"#, max_tokens()),
        (br#"{"max_tokens":-0.5}"#, max_tokens()),
        (br#"{"max_tokens":10000001}"#, max_tokens()),
        (br#"{"max_tokens":18446744073709551617}"#, max_tokens()),
        (br#"{"max_tokens":1e999999999999999999999}"#, max_tokens()),
        (
            br#"{"max_tokens":99999999999999999999999999999999999999.5}"#,
            max_tokens(),
        ),
        (
            br#"{"max_completion_tokens":0}"#,
            range("max_completion_tokens", 1, 10_000_000),
        ),
        (br#"{"n":0}"#, range("n", 1, 1024)),
        (br#"{"n":1025}"#, range("n", 1, 1024)),
        (br#"{"best_of":-2}"#, range("best_of", 1, 1024)),
        (br#"{"temperature":-0.1}"#, temperature()),
        (br#"{"temperature":-1e-99}"#, temperature()),
        (br#"{"temperature":10.000001}"#, temperature()),
        (br#"{"temperature":1e400}"#, temperature()),
    ]
}

fn duplicates() -> Vec<Row> {
    vec![
        (br#"{"model":"a","model":"b"}"#, disagree("model")),
        (br#"{"model":"a","\u006dodel":null}"#, disagree("model")),
        (br#"{"max_tokens":1,"max_tokens":2}"#, disagree("max_tokens")),
        (br#"{"max_tokens":null,"max_tokens":2}"#, disagree("max_tokens")),
        (br#"{"n":1,"n":2}"#, disagree("n")),
        (br#"{"temperature":1,"temperature":1.1}"#, disagree("temperature")),
        (br#"{"stream":true,"stream":false}"#, disagree("stream")),
        (br#"{"messages":[{"content":"a"}],"messages":[]}"#, disagree("messages")),
        (br#"{"messages":[{"content":"a"}],"messages":[{"content":"a","name":"b"}]}"#, disagree("messages")),
        (
            br#"{"messages":[{"content":"a"}],"messages":[{"content":["a",{"image_url":""}]}]}"#,
            disagree("messages"),
        ),
        (
            br#"{"messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b"}]}"#,
            disagree("messages"),
        ),
        (
            br#"{"messages":[{"content":"a","content":"b"}]}"#,
            disagree("messages[].content"),
        ),
        (
            br#"{"messages":[{"content":"a","content":[{"text":"aa"}]}]}"#,
            disagree("messages[].content"),
        ),
        (
            br#"{"messages":[{"role":"user","role":"system"}]}"#,
            disagree("messages[].role"),
        ),
        (
            br#"{"messages":[{"content":[{"text":"a","text":"b"}]}]}"#,
            disagree("messages[].content[].text"),
        ),
        (br#"{"conversation":"a","conversation":{"id":"b"}}"#, disagree("conversation")),
        (br#"{"metadata":{"user_id":"a"},"metadata":{}}"#, disagree("metadata")),
        (br#"{"user":"a","user":"b"}"#, disagree("user")),
        (
            br#"{"max_tokens":5,"max_completion_tokens":6}"#,
            BodyError::Conflict {
                field: "max_completion_tokens",
                other: "max_tokens",
            },
        ),
    ]
}

fn prompts() -> Vec<Row> {
    const PROMPT: &str = "a string, or an array of strings or token ids";
    const IDS: &str = "an array of token ids (whole numbers)";
    vec![
        (br#"{"prompt":1}"#, wrong("prompt", PROMPT)),
        (br#"{"prompt":{}}"#, wrong("prompt", PROMPT)),
        (br#"{"prompt":[null]}"#, wrong("prompt", PROMPT)),
        (br#"{"prompt":[true]}"#, wrong("prompt", PROMPT)),
        (br#"{"prompt":[["a"]]}"#, wrong("prompt", IDS)),
        (br#"{"prompt":[[[1]]]}"#, wrong("prompt", IDS)),
        (br#"{"prompt":[1.5]}"#, wrong("prompt", IDS)),
        (
            br#"{"prompt":[-1]}"#,
            range("prompt", 0, u64::from(u32::MAX)),
        ),
        (br#"{"prompt":"a","prompt":"b"}"#, disagree("prompt")),
        (br#"{"prompt":[1],"prompt":[2]}"#, disagree("prompt")),
    ]
}

fn inputs() -> Vec<Row> {
    const INPUT: &str = "a string, or an array of strings or token ids";
    const IDS: &str = "an array of token ids (whole numbers)";
    vec![
        (br#"{"input":1}"#, wrong("input", INPUT)),
        (br#"{"input":{"text":"a"}}"#, wrong("input", INPUT)),
        (br#"{"input":[null]}"#, wrong("input", INPUT)),
        (br#"{"input":[[true]]}"#, wrong("input", IDS)),
        (br#"{"input":[0.5]}"#, wrong("input", IDS)),
        (br#"{"input":[{"text":1}]}"#, wrong("text", "a string")),
        (
            br#"{"input":[4294967296]}"#,
            range("input", 0, u64::from(u32::MAX)),
        ),
        (br#"{"input":"a","input":["b"]}"#, disagree("input")),
        (br#"{"input":[{"text":"a","text":"b"}]}"#, disagree("text")),
        (br#"{"model":7}"#, wrong("model", "a string")),
    ]
}
