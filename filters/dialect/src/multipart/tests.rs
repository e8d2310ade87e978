use super::{Files, MAX_HEADER, MAX_PADDING, MultipartScanner};
use crate::body::{BodyHeaders, Limits};

/// The heap memory that a scanner holds while it reads.
fn held(scanner: &MultipartScanner) -> usize {
    scanner.kept.capacity() + scanner.line.capacity() + scanner.delimiter.capacity()
}

#[test]
fn a_body_of_any_size_is_read_within_the_limits() {
    let limits = Limits::default();
    let most = 2 * (MAX_HEADER + limits.max_string + MAX_PADDING + 80);
    let part =
        |name: &str| format!("--b1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    for (before, unit) in [
        (String::new(), "preamble\r\n"),
        ("--b1".to_owned(), " "),
        ("--b1\r\n".to_owned(), "X: a long header\r\n"),
        (part("model"), "m"),
        (part("model"), "\r\n--b1 \t x"),
        (part("user"), "\r\n"),
        (part("prompt"), "any text"),
        (part("file"), "\r\n--b1"),
        (part("file"), &*format!("\r\n{}", part("image"))),
        ("--b1--".to_owned(), "the end\r\n"),
    ] {
        for model_known in [false, true] {
            let mut scanner = MultipartScanner::new(Files::Pictures, limits);
            scanner.set_headers(&BodyHeaders {
                content_type: b"multipart/form-data; boundary=b1",
                model_known,
                ..BodyHeaders::default()
            });
            scanner.push(before.as_bytes());
            for _ in 0..100_000 {
                scanner.push(unit.as_bytes());
            }
            assert!(held(&scanner) <= most, "{before}: {}", held(&scanner));
        }
    }
}
