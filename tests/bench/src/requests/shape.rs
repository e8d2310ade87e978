//! One request in each API, with a body of the same size.

use super::{MODEL, PASSAGE, TENANT, message, typed};

/// An API, and one operation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// OpenAI chat completions: what the others are compared with.
    OpenAiChat,
    /// OpenAI responses.
    OpenAiResponses,
    /// Anthropic messages.
    Anthropic,
    /// Gemini `generateContent`: the path names the model.
    Gemini,
    /// Cohere v2 chat.
    Cohere,
    /// Open Inference Protocol, numbers in JSON.
    InferenceJson,
    /// Open Inference Protocol over gRPC: one message with a binary tensor. Sent over HTTP/1.1, as the other rows are.
    InferenceGrpc,
}

impl Shape {
    /// All, the compared one first.
    pub(crate) const ALL: [Self; 7] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Anthropic,
        Self::Gemini,
        Self::Cohere,
        Self::InferenceJson,
        Self::InferenceGrpc,
    ];

    /// The row's id and title.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenAiChat => ("openai", "OpenAI chat"),
            Self::OpenAiResponses => ("responses", "OpenAI responses"),
            Self::Anthropic => ("anthropic", "Anthropic messages"),
            Self::Gemini => ("gemini", "Gemini generateContent"),
            Self::Cohere => ("cohere", "Cohere chat"),
            Self::InferenceJson => ("oip-json", "Open Inference Protocol, JSON"),
            Self::InferenceGrpc => ("oip-grpc", "Open Inference Protocol, gRPC framing"),
        }
    }

    /// A request whose body has about `size` bytes.
    pub(crate) fn request(self, size: usize) -> Vec<u8> {
        let tenant = [("x-tenant-id", TENANT)];
        let body = match self {
            Self::InferenceGrpc => {
                let path = "/inference.GRPCInferenceService/ModelInfer";
                let body = grpc(size);
                return typed("application/grpc", path, tenant.iter(), &body);
            }
            Self::InferenceJson => numbers(size),
            _ => self.turns(size),
        };
        let (path, versions): (String, &[(&str, &str)]) = match self {
            Self::OpenAiChat => ("/v1/chat/completions".into(), &[]),
            Self::OpenAiResponses => ("/v1/responses".into(), &[]),
            Self::Anthropic => (
                "/v1/messages".into(),
                &[("anthropic-version", "2023-06-01")],
            ),
            Self::Gemini => (format!("/v1beta/models/{MODEL}:generateContent"), &[]),
            Self::Cohere => ("/v2/chat".into(), &[]),
            Self::InferenceJson | Self::InferenceGrpc => (format!("/v2/models/{MODEL}/infer"), &[]),
        };
        message(&path, tenant.iter().chain(versions), &body)
    }

    /// Turns of a conversation, with text of up to 2 KiB each; the last one is cut to reach the size.
    fn turns(self, size: usize) -> String {
        let (head, tail) = match self {
            Self::OpenAiResponses => (
                r#"{"instructions":"You answer briefly and precisely.","input":["#.to_owned(),
                format!(r#"],"model":"{MODEL}","max_output_tokens":64,"temperature":0.7,"stream":false}}"#),
            ),
            Self::Anthropic => (
                r#"{"system":"You answer briefly and precisely.","messages":["#.to_owned(),
                format!(r#"],"model":"{MODEL}","max_tokens":64,"temperature":0.7,"stream":false}}"#),
            ),
            Self::Gemini => (
                r#"{"systemInstruction":{"parts":[{"text":"You answer briefly and precisely."}]},"contents":["#.to_owned(),
                r#"],"generationConfig":{"maxOutputTokens":64,"temperature":0.7}}"#.to_owned(),
            ),
            _ => (
                r#"{"messages":[{"role":"system","content":"You answer briefly and precisely."},"#.to_owned(),
                format!(r#"],"model":"{MODEL}","max_tokens":64,"temperature":0.7,"stream":false}}"#),
            ),
        };
        let mut body = head;
        let mut role = "user";
        let mut comma = "";
        while body.len() + tail.len() < size {
            let (open, close) = match self {
                Self::Gemini => (
                    format!(r#"{comma}{{"role":"{role}","parts":[{{"text":""#),
                    r#""}]}"#,
                ),
                _ => (format!(r#"{comma}{{"role":"{role}","content":""#), r#""}"#),
            };
            let rest = size.saturating_sub(body.len() + open.len() + close.len() + tail.len());
            let passages = rest.min(2048) / PASSAGE.len();
            body.push_str(&open);
            body.push_str(&PASSAGE.repeat(passages));
            if passages == 0 {
                body.push_str(&"a".repeat(rest));
            }
            body.push_str(close);
            comma = ",";
            role = match (role, self) {
                ("user", Self::Gemini) => "model",
                ("user", _) => "assistant",
                _ => "user",
            };
        }
        body + &tail
    }
}

/// One tensor of numbers, in JSON.
fn numbers(size: usize) -> String {
    let number = "0.125,";
    let count = size.saturating_sub(90) / number.len();
    let data = number.repeat(count);
    format!(
        r#"{{"id":"1","inputs":[{{"name":"INPUT0","datatype":"FP32","shape":[1,{count}],"data":[{}]}}]}}"#,
        data.trim_end_matches(',')
    )
}

/// One tensor of 4-byte numbers as a `ModelInferRequest`, with the prefix of gRPC.
fn grpc(size: usize) -> Vec<u8> {
    let tensor = vec![0x3e_u8; size.saturating_sub(60) / 4 * 4];
    let count = (tensor.len() / 4) as u64;
    let shape = [vec![1], varint(count)].concat();
    let input = [field(1, b"INPUT0"), field(2, b"FP32"), field(3, &shape)].concat();
    let body = [
        field(1, MODEL.as_bytes()),
        field(5, &input),
        field(7, &tensor),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &body].concat()
}

/// A field of Protocol Buffers that has a length.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [
        varint(number << 3 | 2),
        varint(bytes.len() as u64),
        bytes.to_vec(),
    ]
    .concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::Head;

    #[test]
    fn every_body_has_the_requested_size() {
        for shape in Shape::ALL {
            let request = shape.request(4 << 10);
            let head = Head::parse(&request).unwrap().unwrap();
            let body = &request[head.len..];
            assert_eq!(body.len(), head.body, "{shape:?}");
            assert!(
                body.len().abs_diff(4 << 10) < 64,
                "{shape:?}: {}",
                body.len()
            );
            if shape != Shape::InferenceGrpc {
                serde_json::from_slice::<serde_json::Value>(body).unwrap();
            }
        }
    }
}
