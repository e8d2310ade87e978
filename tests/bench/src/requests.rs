//! The requests of the rows, as bytes made once.

mod shape;

/// The requested model, except in the rows about many models.
pub(crate) const MODEL: &str = "llama3-70b";
/// The tenant.
pub(crate) const TENANT: &str = "acme";

/// The value of the header `x-team`.
pub(crate) const TEAM: &str = "team-last";

pub(crate) use shape::Shape;

/// Text of one message: words, a quotation and a line break, as JSON encodes them.
const PASSAGE: &str = "The committee met on Tuesday and asked: \\\"What would it cost to keep both lines open?\\\" \
    Nobody had counted, so two of its members went through the books of the last nine years.\\n";

/// A request that is fully described by headers. `extra` headers are appended.
pub(crate) fn by_headers(model: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        ("x-model", model),
        ("x-tenant-id", TENANT),
        ("x-session-id", "session-0017"),
        ("x-max-tokens", "64"),
    ];
    message("/infer", own.iter().chain(extra), "")
}

/// The same request by another tenant.
pub(crate) fn of_tenant(tenant: &str) -> Vec<u8> {
    let own = [
        ("x-model", MODEL),
        ("x-tenant-id", tenant),
        ("x-session-id", "session-0017"),
    ];
    message("/infer", own.iter(), "")
}

/// A chat of about `size` bytes, with the messages first, as an SDK writes it.
pub(crate) fn by_body(size: usize) -> Vec<u8> {
    Shape::OpenAiChat.request(size)
}

fn message<'a>(
    path: &str,
    headers: impl Iterator<Item = &'a (&'a str, &'a str)>,
    body: &str,
) -> Vec<u8> {
    typed("application/json", path, headers, body.as_bytes())
}

/// A request with a content type.
fn typed<'a>(
    content_type: &str,
    path: &str,
    headers: impl Iterator<Item = &'a (&'a str, &'a str)>,
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: models.example\r\nuser-agent: headgate-bench\r\naccept: */*\r\n\
         authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\ncontent-type: {content_type}\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::Head;

    #[test]
    fn bodies_are_valid_json_of_the_requested_size() {
        for size in [1 << 10, 16 << 10, 256 << 10] {
            let request = by_body(size);
            let head = Head::parse(&request).unwrap().unwrap();
            let body = &request[head.len..];
            assert_eq!(body.len(), head.body);
            assert!(body.len().abs_diff(size) < 64, "{} for {size}", body.len());
            let chat: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(chat["model"], MODEL);
            assert!(chat["messages"].as_array().unwrap().len() > 1);
        }
        let request = by_headers("m", &[("accept-encoding", "gzip")]);
        let head = Head::parse(&request).unwrap().unwrap();
        assert_eq!((head.len, head.body), (request.len(), 0));
        assert!(
            String::from_utf8(request)
                .unwrap()
                .contains("x-model: m\r\n")
        );
    }
}
