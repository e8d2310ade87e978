//! Edge cases of answers: forms of streams and documents, bytes that are not JSON, and errors.

use super::case::{Case, events, json};
use headgate_dialect::Label;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = forms();
    cases.extend(unreadable());
    cases.extend(errors());
    cases
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
            "nor are they together with an answer",
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
