//! Answers at the edges of what is read. Those of hosts are in `corpus`.

use headgate_dialect::{Label, Usage};

/// An answer and what is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) label: Label,
    pub(crate) sequences: u64,
    pub(crate) answer: &'static [u8],
    pub(crate) usage: Option<Usage>,
    pub(crate) text_bytes: u64,
    pub(crate) unread_bytes: u64,
    pub(crate) done: bool,
    pub(crate) error_only: bool,
    pub(crate) stale: bool,
}

impl Case {
    pub(crate) const fn new(name: &'static str, label: Label, answer: &'static [u8]) -> Self {
        Self {
            name,
            label,
            sequences: 1,
            answer,
            usage: None,
            text_bytes: 0,
            unread_bytes: 0,
            done: false,
            error_only: false,
            stale: false,
        }
    }

    pub(crate) const fn text(self, text_bytes: u64) -> Self {
        Self { text_bytes, ..self }
    }

    pub(crate) const fn unread(self, unread_bytes: u64) -> Self {
        Self {
            unread_bytes,
            ..self
        }
    }

    pub(crate) const fn done(self) -> Self {
        Self { done: true, ..self }
    }

    pub(crate) const fn error_only(self) -> Self {
        Self {
            error_only: true,
            ..self
        }
    }

    pub(crate) const fn stale(self) -> Self {
        Self {
            stale: true,
            ..self
        }
    }

    pub(crate) const fn sequences(self, sequences: u64) -> Self {
        Self { sequences, ..self }
    }

    /// Prompt and output, with a total that says the same.
    pub(crate) const fn used(self, input: u64, output: u64) -> Self {
        self.usage(Usage {
            input: Some(input),
            cached: 0,
            output,
            reasoning: 0,
            total: Some(input + output),
        })
    }

    pub(crate) const fn usage(self, usage: Usage) -> Self {
        Self {
            usage: Some(usage),
            ..self
        }
    }

    pub(crate) const fn cached(self, cached: u64) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { cached, ..usage }),
            None => self,
        }
    }

    pub(crate) const fn reasoning(self, reasoning: u64) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { reasoning, ..usage }),
            None => self,
        }
    }

    pub(crate) const fn total(self, total: Option<u64>) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { total, ..usage }),
            None => self,
        }
    }

    pub(crate) const fn input(self, input: Option<u64>) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { input, ..usage }),
            None => self,
        }
    }
}

const fn json(name: &'static str, answer: &'static [u8]) -> Case {
    Case::new(name, Label::Json, answer)
}

const fn events(name: &'static str, answer: &'static [u8]) -> Case {
    Case::new(name, Label::Events, answer)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = super::corpus::cases();
    cases.extend(reports());
    cases.extend(places());
    cases.extend(stale());
    cases.extend(texts());
    cases.extend(forms());
    cases.extend(unreadable());
    cases.extend(errors());
    cases
}

fn reports() -> Vec<Case> {
    vec![
        json(
            "cut right behind the report",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":2}"#,
        )
        .used(1, 2)
        .total(None),
        json(
            "cut inside the report",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":2"#,
        )
        .unread(49),
        json("half a report", br#"{"usage":{"prompt_tokens":1}}"#).unread(29),
        json(
            "embeddings: all of the total is prompt",
            br#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        )
        .used(8, 0),
        json(
            "what the total has beside the prompt is output",
            br#"{"usage":{"prompt_tokens":1,"total_tokens":9}}"#,
        )
        .used(1, 8),
        json(
            "a total alone",
            br#"{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":9}}"#,
        )
        .used(0, 0)
        .input(None)
        .total(Some(9)),
        json(
            "a prompt of zero beside a total that has one",
            br#"{"usage":{"prompt_tokens":0,"completion_tokens":57,"total_tokens":1057}}"#,
        )
        .used(1000, 57),
        json(
            "a total that is less than its parts",
            br#"{"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":7}}"#,
        )
        .used(5, 7)
        .total(None),
        json(
            "completion tokens alone",
            br#"{"usage":{"completion_tokens":7}}"#,
        )
        .used(0, 7)
        .input(None)
        .total(None),
        json(
            "zeros",
            br#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#,
        ),
        json(
            "nulls",
            br#"{"choices":[],"usage":{"prompt_tokens":null,"completion_tokens":null,"total_tokens":null}}"#,
        ),
        json(
            "a report that is no number",
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":-2}}"#,
        ),
        json(
            "a report of a fraction",
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2.5}}"#,
        ),
        json(
            "a whole number, however written",
            br#"{"usage":{"prompt_tokens":1.0,"completion_tokens":0.2e1}}"#,
        )
        .used(1, 2)
        .total(None),
        json(
            "as much as is believed",
            br#"{"usage":{"prompt_tokens":10000000,"completion_tokens":10000000}}"#,
        )
        .used(10_000_000, 10_000_000)
        .total(None),
        json(
            "output beyond belief",
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":10000001}}"#,
        ),
        json(
            "of two sequences it is not",
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":10000001}}"#,
        )
        .sequences(2)
        .used(1, 10_000_001)
        .total(None),
        json(
            "a prompt beyond belief, whatever the sequences",
            br#"{"choices":[],"usage":{"prompt_tokens":10000001,"completion_tokens":1}}"#,
        )
        .sequences(9),
        json(
            "a total beyond belief",
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":1099511627777}}"#,
        ),
        json(
            "details that cannot be true take nothing back",
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":-1},"completion_tokens_details":{"reasoning_tokens":"x"}}}"#,
        )
        .used(1, 2)
        .total(None),
        json(
            "as much of a total as is believed",
            br#"{"choices":[],"usage":{"prompt_tokens":10000000,"completion_tokens":10000000,"total_tokens":20000000}}"#,
        )
        .used(10_000_000, 10_000_000),
        json(
            "a report in text",
            br#"{"choices":[],"usage":{"prompt_tokens":"1","completion_tokens":2}}"#,
        ),
        json(
            "a report in an array, and a count in one",
            br#"{"choices":[{"usage":{"prompt_tokens":[1],"completion_tokens":2}}],"usage":[{"prompt_tokens":1,"completion_tokens":2}]}"#,
        )
        .used(1, 2)
        .total(None),
        json(
            "more cached than there is, reasoning beside",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":9},
                "completion_tokens_details":{"reasoning_tokens":9}}}"#,
        )
        .used(1, 11)
        .cached(1)
        .reasoning(9)
        .total(None),
        json(
            "reasoning inside",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":9}}}"#,
        )
        .used(1, 9)
        .reasoning(9)
        .total(None),
        json(
            "reasoning beside, which only the total proves",
            br#"{"usage":{"prompt_tokens":1,"completion_tokens":9,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":5}}}"#,
        )
        .used(1, 14)
        .reasoning(5),
        json(
            "usage of something else",
            br#"{"choices":[],"x":{"usage":{"prompt_tokens":1,"completion_tokens":2}},"metadata":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
        ),
        events(
            "usage counts from its closing brace on",
            b"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}",
        )
        .used(1, 2)
        .total(None),
        events(
            "half a report after a whole one",
            b"data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\ndata: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        )
        .used(5, 6)
        .total(None),
        events(
            "null, zeros and a fault after a report take nothing back",
            b"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: {\"usage\":null}\n\ndata: {\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\ndata: {\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":9}}\n\ndata: [DONE]\n\n",
        )
        .used(1, 2)
        .total(None)
        .done(),
        events(
            "the prompt first, the output later, no prompt at last",
            b"data: {\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":0,\"total_tokens\":8}}\n\ndata: {\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":3}}\n\n",
        )
        .used(8, 3)
        .total(None),
        events(
            "the prompt first, a total alone at last",
            b"data: {\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":0,\"total_tokens\":8}}\n\ndata: {\"usage\":{\"total_tokens\":11}}\n\n",
        )
        .used(8, 3),
    ]
}

fn places() -> Vec<Case> {
    vec![
        json(
            "in a host's own object",
            br#"{"choices":[],"x_nvidia":{"id":"a","usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
        )
        .used(1, 2)
        .total(None),
        json(
            "as the report itself in an envelope, and in words of LangChain",
            br#"{"output":{"text":"abc","token_usage":{"promptTokens":1,"completionTokens":2,"totalTokens":3}}}"#,
        )
        .used(1, 2),
        json(
            "in another envelope",
            br#"{"code":0,"data":{"choices":[{"message":{"content":"abc"}}],"meta":{"tokenUsage":{"inputTokens":4,"outputTokens":5}}}}"#,
        )
        .text(3)
        .used(4, 5)
        .total(None),
        json(
            "OpenAI's names before others",
            br#"{"choices":[],"usage":{"input_tokens":7,"output_tokens":8,"prompt_tokens":1,"completion_tokens":2,"cache_read_input_tokens":5}}"#,
        )
        .used(1, 2)
        .cached(1)
        .total(None),
        json(
            "others where OpenAI's are zero",
            br#"{"choices":[],"usage":{"input_tokens":7,"output_tokens":8,"prompt_tokens":0,"completion_tokens":0}}"#,
        )
        .used(7, 8)
        .total(None),
        json(
            "a cache inside of what the total has",
            br#"{"choices":[],"usage":{"input_tokens":7,"output_tokens":8,"cache_read_input_tokens":5,"total_tokens":15}}"#,
        )
        .used(7, 8)
        .cached(5),
        events(
            "Anthropic's stream, a cache beside the input",
            b"data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":20,\"output_tokens\":1}}}\n\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"abc\"}}\n\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n",
        )
        .text(5)
        .used(33, 9)
        .cached(20)
        .total(None),
        events(
            "a stream of Responses that is cut",
            b"data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"usage\":null}}\n\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"abc\"}\n\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"de",
        )
        .text(5),
    ]
}

fn stale() -> Vec<Case> {
    vec![
        events(
            "a report before the text",
            b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\ndata: [DONE]\n\n",
        )
        .text(3)
        .used(9, 1)
        .total(None)
        .done()
        .stale(),
        events(
            "a report before the text, and one of the prompt alone behind it",
            b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\ndata: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":0,\"total_tokens\":9}}\n\n",
        )
        .text(3)
        .used(9, 1)
        .total(None)
        .stale(),
        events(
            "a report before the text of its event is none before it",
            b"data: {\"choices\":[{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1},\"delta\":{\"content\":\"abc\"}}]}\n\n",
        )
        .text(3)
        .used(9, 1)
        .total(None),
        events(
            "a report in each chunk, the last one included, and then a chunk without text",
            b"data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1},\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\ndata: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2},\"choices\":[{\"delta\":{\"content\":\"def\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        )
        .text(6)
        .used(9, 2)
        .total(None),
    ]
}

fn texts() -> Vec<Case> {
    vec![
        events(
            "one token said again is two",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"ha\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"ha\"}}]}\n\n",
        )
        .text(4),
        events(
            "a token that begins with the one before, and then one that does not",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"1\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"10\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"0\"}}]}\n\n",
        )
        .text(4),
        events(
            "cumulative, of two choices, the index last, and the last one twice",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":0},{\"delta\":{\"content\":\"x\"},\"index\":1}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"xyz\"},\"index\":1}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"abcd\"},\"index\":0}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"abcdef\"},\"index\":0}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"abcdef\"},\"index\":0}]}\n\n",
        )
        .sequences(2)
        .text(9),
        events(
            "cumulative arguments of two calls, their names each time",
            b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"g\",\"arguments\":\"[\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"[1]\"}}]}}]}\n\n",
        )
        .text(7),
        events(
            "two calls alike are two",
            b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"index\":1,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n",
        )
        .text(6),
        json(
            "a call under both names",
            br#"{"choices":[{"message":{"function_call":{"name":"f","arguments":"{}"},"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}"#,
        )
        .text(3),
        json(
            "arguments as an object count as sent, names in them do not count again",
            br#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"content": ["a", {"text":"b"}]}}}]}}]}"#,
        )
        .text(1 + 32),
        json(
            "arguments as an object, cut",
            br#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a": [1,"#,
        )
        .text(1 + 9),
        json(
            "content and reasoning that say the same are two texts, refusal that does is not",
            br#"{"choices":[{"message":{"content":"same","refusal":"same","reasoning":"same","thinking":"same"}}]}"#,
        )
        .text(8),
        json(
            "one call that is no list",
            br#"{"choices":[{"message":{"tool_calls":{"index":0,"function":{"name":"f","arguments":{}}}}}]}"#,
        )
        .text(3),
        json(
            "reasoning under names of one host, and a signature, which is none",
            br#"{"choices":[{"delta":{"reasoning_text":"abc","reasoning_content":"abc","thinking_blocks":[{"thinking":"abc"}],"thought_signature":"xyz"}}]}"#,
        )
        .text(3),
        json(
            "content as an object, blocks of strings, what is no text",
            br#"{"choices":[{"message":{"content":{"type":"text","text":"ab"}}},{"message":{"content":["c",7,null,{"type":"image_url","image_url":{"url":"data:abc"}},{"type":"text","text":"d"}]}}]}"#,
        )
        .text(4),
        json(
            "text of a choice that is not in its message",
            br#"{"choices":[{"text":"abc","message":{"content":"abcdef"}},{"text":"abcdef","message":{"content":"abc"}}]}"#,
        )
        .text(12),
        events(
            "text under names that nobody knows, and what is none",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"name\":\"n\",\"tool_call_id\":\"c\",\"stop_reason\":\"x\",\"analysis\":\"abc\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"cot\":\"de\",\"summary\":\"f\",\"x\":{\"y\":\"z\"},\"n\":7}}]}\n\n",
        )
        .text(6),
        json(
            "the same text under a name that is known and two that are not",
            br#"{"choices":[{"message":{"content":"ab","output_text":"ab","reasoning":"abc","deep_thinking":"abc","internal":"abc"}}]}"#,
        )
        .text(5),
        json(
            "text on the choice itself, and in its message again",
            br#"{"choices":[{"content":"abc","reasoning_content":"de","thinking":"de"},{"message":{"content":"abc","reasoning":"de"},"content":"abc","reasoning":"de"}]}"#,
        )
        .text(10),
        json(
            "a call among blocks of text",
            br#"{"choices":[{"message":{"content":[{"type":"text","text":{"value":"abc","annotations":[]}},{"type":"tool_use","id":"t","name":"f","input":{"a": 1}}]}}]}"#,
        )
        .text(3 + 1 + 8),
        json(
            "the same key twice",
            br#"{"choices":[{"message":{"content":"ab","content":"cd"}}]}"#,
        )
        .text(4),
        events(
            "a delta that is all of the text again ends the stream",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"Rivers run \"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"from the hills\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\" to the sea.\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"Rivers run from the hills to the sea.\"}}]}\n\n",
        )
        .text(37),
    ]
}

fn forms() -> Vec<Case> {
    vec![
        json("empty answer", b""),
        json("blank answer", b" \r\n\n"),
        events(
            "byte order mark, an event that is no JSON, one field without colon, other fields named alike",
            b"\xEF\xBB\xBFdata: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {oops\n\ndata\ndata:{\"choices\":[{\"text\":\"b\"}]}\n\ndatax: {\"choices\":[{\"text\":\"c\"}]}\n data: {\"choices\":[{\"text\":\"d\"}]}\n\n\n\ndata: [DONE]\n\n",
        )
        .text(2)
        .unread(5)
        .done(),
        events(
            "[DONE] as a part of something",
            b"data: [DONE]x\n\ndata: [DON\n\n: [DONE]\n\nevent: [DONE]\n\n",
        )
        .unread(7 + 4),
        events(
            "[DONE] in the event of the last chunk",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\ndata: [DONE]\n",
        )
        .text(2)
        .done(),
        json(
            "events labelled as JSON",
            b"\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\ndata: [DONE]\n\n",
        )
        .text(3)
        .done(),
        Case::new(
            "events without a label, after a comment",
            Label::Other,
            b": hi\r\rdata: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\r\r",
        )
        .text(3),
        Case::new(
            "events without a label, their type first",
            Label::Other,
            b"event: message\ndata: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\n",
        )
        .text(3),
        events(
            "JSON labelled as events, after blank lines",
            b"\n\n{\"choices\":[{\"message\":{\"content\":\"abc\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}",
        )
        .text(3)
        .used(1, 1)
        .done(),
        Case::new(
            "lines of JSON",
            Label::Other,
            b"{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n{\"choices\":[{\"delta\":{\"content\":\"bc\"}}]}\r\n\r\n{\"choices\":[{\"delta\":{\"content\":\"d\"}}]}{\"choices\":[{\"delta\":{\"content\":\"e",
        )
        .text(5),
        json(
            "a list of answers",
            br#"[{"choices":[{"message":{"content":"a"}}]},{"choices":[{"message":{"content":"b"}}]}]"#,
        )
        .text(2),
        json(
            "an envelope",
            br#"{"success":true,"errors":[],"result":{"response":"abc","usage":{"prompt_tokens":4,"completion_tokens":1,"total_tokens":5}}}"#,
        )
        .text(3)
        .used(4, 1),
        json(
            "complete before its last byte",
            br#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}"#,
        )
        .used(1, 2)
        .total(None),
        events(
            "one of two ended, so an early report proves nothing",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        )
        .sequences(2)
        .used(1, 2)
        .total(None),
        events(
            "ended in words",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"null\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        )
        .used(1, 2)
        .total(None),
    ]
}

fn unreadable() -> Vec<Case> {
    vec![
        json(
            "cut where no text has come",
            br#"{"choices":[{"index":0,"logprobs":["abc"#,
        )
        .unread(39),
        events(
            "cut where text has come before",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"logprobs\":[\"abc",
        )
        .text(2),
        json("compressed answer", b"\x1F\x8B\x08\0\0\0\0\0\0\x03").unread(10),
        Case::new("sound", Label::Other, b"ID3\x04\0\0").unread(6),
        events("a page", b"<html>\n<p>Bad</p>\n\n</html>\n").unread(23),
        json(
            "text before bytes that are no UTF-8 is unread with them",
            b"{\"choices\":[{\"text\":\"ab\xC3\xA4\xFF\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
        )
        .unread(80),
        json(
            "not a number, after usage",
            b"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2},\"choices\":[{\"text\":\"ab\",\"logprobs\":NaN}]}",
        )
        .used(1, 2)
        .total(None)
        .unread(92),
        events(
            "an event with half a surrogate pair between two others",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"cd\"}}]}\n\n",
        )
        .text(4)
        .unread(44),
        events(
            "an event that ends too early",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"cd\"}}]}\n\n",
        )
        .text(2)
        .unread(38),
        Case::new(
            "a line of JSON that is cut, and the next one",
            Label::Other,
            b"{\"choices\":[{\"delta\":{\"content\":\"a\n{\"choices\":[{\"delta\":{\"content\":\"bc\"}}]}\n",
        )
        .text(2)
        .unread(35),
        events(
            "an error in the event that it cut",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"a\ndata: {\"error\":{\"message\":\"gone\"}}\n\n",
        )
        .unread(35)
        .error_only(),
        json(
            "nested too deep",
            include_bytes!("deep.json"),
        )
        .unread(133),
        json(
            "a whole answer of another dialect: its usage counts, its text would be unread",
            br#"{"object":"response","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"reasoning":{"summary":"auto"},"text":{"format":{"type":"text"}},"usage":{"input_tokens":3,"output_tokens":1}}"#,
        )
        .used(3, 1)
        .total(None),
        events(
            "the same, streamed",
            b"data: {\"type\":\"response.completed\",\"response\":{\"reasoning\":{\"summary\":\"auto\"},\"text\":\"x\"}}",
        )
        .unread(84),
        json(
            "the same, cut",
            br#"{"object":"response","error":null,"output":[{"type":"message""#,
        )
        .unread(61),
        events(
            "another dialect is unread, all of it",
            b"data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"x\",\"part\":\"abc\"}\n\n",
        )
        .unread(27 + 25),
    ]
}

fn errors() -> Vec<Case> {
    vec![
        events(
            "text that cannot be read, and an error",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"abc\"},\"logprob\":NaN}]}\n\ndata: {\"error\":{\"message\":\"gone\"}}\n\n",
        )
        .unread(55),
        events(
            "text of another dialect, and an error",
            b"data: {\"type\":\"x\",\"part\":{\"text\":\"abc\"}}\n\nevent: error\ndata: {\"error\":{\"message\":\"gone\"}}\n\n",
        )
        .unread(34),
        Case::new(
            "a line that is cut, and a line that is an error",
            Label::Other,
            b"{\"choices\":[{\"delta\":{\"content\":\"abc\n{\"error\":{\"message\":\"gone\"}}\n",
        )
        .unread(37),
        events(
            "an error event in words, its type behind them",
            b"data: engine stopped\nevent: error\n\n",
        )
        .error_only(),
        events(
            "an error event of another dialect, its type behind it",
            b"data: {\"message\":\"engine stopped\"}\nevent: error\n\n",
        )
        .error_only(),
        json("an error as a detail", br#"{"detail":[{"loc":["body"],"msg":"bad"}]}"#).error_only(),
        json("an error by its type", br#"{"type":"error","message":"overloaded"}"#).error_only(),
        json("a list of errors", br#"{"errors":[{"message":"overloaded"}]}"#).error_only(),
        json("no errors", br#"{"errors":[],"detail":"","x":1}"#).unread(31),
        json("an error by its status", br#"{"status":"error","reason":"overloaded"}"#).error_only(),
        json("an error by message and code", br#"{"message":"overloaded","code":500}"#).error_only(),
        json("a message alone is none", br#"{"message":"hello","code":0}"#).unread(28),
        json(
            "nor are they inside of something",
            br#"{"data":{"message":"hello","code":500,"detail":"x"}}"#,
        )
        .unread(52),
        json(
            "nor are they beside an answer",
            br#"{"choices":[],"detail":"a","message":"b","code":"c"}"#,
        ),
        json("an error that is cut", br#"{"error":{"message":"gone"#).error_only(),
        json("an error as text", br#"{"error":"overloaded","error_type":"overloaded"}"#).error_only(),
        json("no error", br#"{"error":null,"choices":[]}"#),
        json("no error either", br#"{"error":"","choices":[]}"#),
        json(
            "an error of an older server",
            br#"{"object":"error","message":"no such model","type":"NotFoundError","code":404}"#,
        )
        .error_only(),
        json("errors in a list", br#"[{"error":{"code":400,"message":"bad key"}}]"#).error_only(),
        json(
            "an envelope of nothing",
            br#"{"success":false,"result":null,"errors":[{"code":7003,"message":"no route"}]}"#,
        )
        .error_only(),
        events(
            "an error event, in words",
            b"event: error\ndata: engine stopped\n\n",
        )
        .error_only(),
        events(
            "an error in place of data",
            b"error: {\"code\":500,\"message\":\"engine stopped\"}\n\n",
        )
        .error_only(),
        events(
            "an error after text",
            b"data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\ndata: {\"error\":{\"message\":\"engine stopped\"}}\n\n",
        )
        .text(2),
        json(
            "an error with usage",
            br#"{"error":{"message":"filtered"},"usage":{"prompt_tokens":7,"completion_tokens":0}}"#,
        )
        .used(7, 0)
        .total(None),
    ]
}
