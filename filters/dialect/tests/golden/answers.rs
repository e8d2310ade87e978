//! Edge cases of answers: usage reports, places of text, and repeated text. Answers of hosts are in `corpus`.

use super::case::{Case, events, json};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = reports();
    cases.extend(places());
    cases.extend(stale());
    cases.extend(texts());
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
        events(
            "usage over several events: what a later report leaves out remains",
            b"data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: {\"usage\":{\"completion_tokens\":4}}\n\n",
        )
        .used(9, 4)
        .total(None),
        json("half a report", br#"{"usage":{"prompt_tokens":1}}"#).unread(29),
        json(
            "embeddings: all of the total is prompt",
            br#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        )
        .used(8, 0),
        json(
            "the total without the prompt is output",
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
            "a prompt of zero and a total that includes a prompt",
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
            "more cached than prompt tokens, and reasoning outside of the completion",
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
            "reasoning outside of the completion, which only the total shows",
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
            "Anthropic's stream, with a cache outside of the input",
            b"data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":20,\"output_tokens\":1}}}\n\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"abc\"}}\n\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n",
        )
        .text(5)
        .used(33, 9)
        .parts([20, 10, 0, 0], [0; 3])
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
            "a repeated token counts twice",
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
            "the same text under a known name and two unknown ones",
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
