//! Answers as OpenAI, vLLM and llama.cpp give them.

use headgate_dialect::{Usage, UsageScanner};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) scanner: fn() -> UsageScanner,
    pub(crate) answer: &'static [u8],
    pub(crate) usage: Option<Usage>,
    pub(crate) deltas: u64,
    pub(crate) text_bytes: u64,
    pub(crate) done: bool,
}

fn usage(input: u64, cached: u64, output: u64, reasoning: u64) -> Option<Usage> {
    Some(Usage {
        input,
        cached,
        output,
        reasoning,
    })
}

fn whole(name: &'static str, answer: &'static [u8], text: &[&str], usage: Option<Usage>) -> Case {
    Case {
        name,
        scanner: UsageScanner::whole,
        answer,
        usage,
        deltas: text.len() as u64,
        text_bytes: text.concat().len() as u64,
        done: false,
    }
}

fn stream(name: &'static str, answer: &'static [u8], text: &[&str], usage: Option<Usage>) -> Case {
    Case {
        scanner: UsageScanner::stream,
        done: true,
        ..whole(name, answer, text, usage)
    }
}

fn cut(name: &'static str, answer: &'static [u8], text: &[&str], usage: Option<Usage>) -> Case {
    Case {
        done: false,
        ..stream(name, answer, text, usage)
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = from_upstreams();
    cases.extend(odd());
    cases
}

fn from_upstreams() -> Vec<Case> {
    vec![
        whole(
            "openai chat, with usage quoted in its own text",
            include_bytes!("../transcripts/openai-chat-answer.json"),
            &["Hello! How can I assist you today? \"usage\": {\"prompt_tokens\": 1}"],
            usage(2006, 1920, 300, 192),
        ),
        whole(
            "vllm completions, two choices, null details",
            include_bytes!("../transcripts/vllm-completions-answer.json"),
            &[" world", " wörld"],
            usage(5, 0, 16, 0),
        ),
        whole(
            "llama.cpp chat, reasoning and a tool call",
            include_bytes!("../transcripts/llamacpp-chat-answer.json"),
            &["Need the tool.", "{\"city\":\"Oslo\"}"],
            usage(168, 0, 34, 0),
        ),
        whole(
            "openai error",
            include_bytes!("../transcripts/openai-error-answer.json"),
            &[],
            None,
        ),
        stream(
            "openai chat stream, usage null but once",
            include_bytes!("../transcripts/openai-chat-stream.sse"),
            &["Hello", " wörld"],
            usage(19, 4, 10, 2),
        ),
        stream(
            "vllm stream of two choices, usage early, CRLF, an event of three lines",
            include_bytes!("../transcripts/vllm-chat-stream-n2-crlf.sse"),
            &["Hm", "{\"a\":", "ok", "1}", "!"],
            usage(11, 0, 20, 0),
        ),
        cut(
            "vllm continuous usage, cut inside a delta",
            include_bytes!("../transcripts/vllm-continuous-usage-cut.sse"),
            &["One", " two", " thr"],
            usage(43, 0, 2, 0),
        ),
        stream(
            "llama.cpp chat stream, usage beside timings",
            include_bytes!("../transcripts/llamacpp-chat-stream.sse"),
            &["Step", " 1"],
            usage(12, 0, 3, 0),
        ),
        stream(
            "completions stream, CR line ends, no line end after [DONE]",
            include_bytes!("../transcripts/openai-completions-stream-cr.sse"),
            &["This", " is"],
            usage(3, 0, 2, 0),
        ),
    ]
}

fn odd() -> Vec<Case> {
    vec![
        whole("empty answer", b"", &[], None),
        whole("compressed answer", b"\x1F\x8B\x08\0\0\0\0\0\0\x03", &[], None),
        whole(
            "cut right behind the report",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":2}"#,
            &[],
            usage(1, 0, 2, 0),
        ),
        whole(
            "cut inside the report",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":2"#,
            &[],
            None,
        ),
        whole(
            "half a report",
            br#"{"usage":{"prompt_tokens":1}}"#,
            &[],
            None,
        ),
        whole(
            "embeddings: all of the total is prompt",
            br#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            &[],
            usage(8, 0, 0, 0),
        ),
        whole(
            "half a report with a total that is more",
            br#"{"usage":{"prompt_tokens":1,"total_tokens":9}}"#,
            &[],
            None,
        ),
        whole(
            "a report that is no number",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":-2}}"#,
            &[],
            None,
        ),
        whole(
            "a report beyond belief",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":1099511627777}}"#,
            &[],
            None,
        ),
        whole(
            "a report in text",
            br#"{"usage":{"prompt_tokens":"1","completion_tokens":2}}"#,
            &[],
            None,
        ),
        whole(
            "more cached than there is",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":9},
                "completion_tokens_details":{"reasoning_tokens":9}}}"#,
            &[],
            usage(1, 1, 2, 2),
        ),
        whole(
            "text before bytes that are no UTF-8",
            b"{\"choices\":[{\"text\":\"ab\xC3\xA4\xFF\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
            &["abä"],
            None,
        ),
        whole(
            "usage of something else",
            br#"{"choices":[{"usage":{"prompt_tokens":1,"completion_tokens":2}}],"x":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
            &[],
            None,
        ),
        stream(
            "byte order mark, an event that is no JSON, one field without colon, other fields named alike",
            b"\xEF\xBB\xBFdata: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {oops\n\ndata\ndata:{\"choices\":[{\"text\":\"b\"}]}\n\ndatax: {\"choices\":[{\"text\":\"c\"}]}\n data: {\"choices\":[{\"text\":\"d\"}]}\n\n\n\ndata: [DONE]\n\n",
            &["a", "b"],
            None,
        ),
        cut(
            "[DONE] as a part of something",
            b"data: [DONE]x\n\ndata: [DON\n\ndata: [DONE]\ndata: \n\n: [DONE]\n\nevent: [DONE]\n\n",
            &[],
            None,
        ),
        cut(
            "usage counts from its closing brace on",
            b"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}",
            &[],
            usage(1, 0, 2, 0),
        ),
        cut(
            "half a report after a whole one",
            b"data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\ndata: {\"usage\":{\"prompt_tokens\":1}}\n\n",
            &[],
            usage(5, 0, 6, 0),
        ),
        stream(
            "null after a report takes nothing back",
            b"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: {\"usage\":null}\n\ndata: [DONE]\n\n",
            &[],
            usage(1, 0, 2, 0),
        ),
    ]
}
