//! Multipart bodies: as real clients write them, malformed ones, and look-alikes of boundaries. Every cut gives the same result.

use crate::golden;
use headgate_dialect::{Body, BodyError, BodyHeaders, Endpoint, Limits, Passed};

mod clients;
mod look_alikes;

const SOUND: &str = "/v1/audio/transcriptions";
const PICTURES: &str = "/v1/images/edits";
const PICTURE: u64 = 765;

/// The facts of a body, and what passed after the decision.
type Outcome = (Result<Body, BodyError>, Passed);

/// A request: its path, its headers and its body.
#[derive(Debug, Clone)]
struct Request<'a> {
    path: &'a str,
    content_type: &'a str,
    content_length: Option<u64>,
    model_known: bool,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn new(path: &'a str, content_type: &'a str, body: &'a [u8]) -> Self {
        Self {
            path,
            content_type,
            content_length: None,
            model_known: false,
            body,
        }
    }

    /// Reads the body in these pieces, as the filter does: up to the decision, and then as it passes.
    fn read(&self, pieces: &[&[u8]]) -> Outcome {
        let endpoint: &Endpoint = golden::endpoint(self.path);
        let mut scanner = endpoint.request_scanner(Limits::default()).unwrap();
        scanner.set_headers(&BodyHeaders {
            content_type: self.content_type.as_bytes(),
            content_length: self.content_length,
            model_known: self.model_known,
            ..BodyHeaders::default()
        });
        let mut pieces = pieces.iter();
        while !scanner.decided()
            && let Some(piece) = pieces.next()
        {
            scanner.push(piece);
            if let Some(error) = scanner.error() {
                return (Err(error.clone()), Passed::default());
            }
        }
        let facts = scanner.finish();
        let mut passed = scanner.pass(b"");
        for piece in pieces {
            let more = scanner.pass(piece);
            passed.bytes += more.bytes;
            passed.tokens += more.tokens;
            assert_eq!(more.messages, 0);
        }
        (facts, passed)
    }

    /// The outcome, which is the same however the body is cut.
    fn outcome(&self) -> Outcome {
        let whole = self.read(&[self.body]);
        let single: Vec<&[u8]> = self.body.chunks(1).collect();
        assert_eq!(self.read(&single), whole, "by bytes");
        // Of a long file, the borders.
        let near = |at: &usize| self.body.len() < 2000 || *at < 600 || *at + 600 > self.body.len();
        for at in (0..=self.body.len()).filter(near) {
            let (before, after) = self.body.split_at(at);
            assert_eq!(self.read(&[before, after]), whole, "cut at {at}");
        }
        whole
    }

    fn facts(&self) -> Body {
        self.outcome().0.unwrap()
    }

    fn error(&self) -> BodyError {
        self.outcome().0.unwrap_err()
    }
}

const TYPE: &str = "multipart/form-data; boundary=b1";

fn part(disposition: &str, value: &str) -> String {
    format!("--b1\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
}

fn field(name: &str, value: &str) -> String {
    part(&format!("name=\"{name}\""), value)
}

fn file(name: &str, value: &str) -> String {
    part(&format!("name=\"{name}\"; filename=\"a\""), value)
}

/// A body of these parts.
fn body(parts: &[String]) -> String {
    parts.concat() + "--b1--\r\n"
}

fn named(model: &str) -> Body {
    Body {
        model: Some(model.to_owned()),
        ..Body::default()
    }
}

fn passed(bytes: u64, tokens: u64) -> Passed {
    Passed {
        bytes,
        tokens,
        messages: 0,
    }
}

#[test]
fn fields_up_to_the_first_file_after_the_model_are_facts() {
    let picture = || file("image[]", "PNG");
    let prompt = || field("prompt", "a gull");
    let facts = |n, prompt_bytes, pictures| Body {
        n,
        prompt_bytes,
        prompt_tokens: pictures * PICTURE,
        ..named("m")
    };
    let (model, n) = (|| field("model", "m"), || field("n", "3"));
    for (parts, expected, rest) in [
        (
            vec![model(), n(), prompt(), picture()],
            facts(Some(3), 6, 1),
            passed(0, 0),
        ),
        (
            vec![picture(), model(), n(), prompt()],
            facts(Some(3), 6, 1),
            passed(0, 0),
        ),
        (
            vec![model(), picture(), n(), prompt()],
            facts(None, 0, 1),
            passed(6, 0),
        ),
        (
            vec![picture(), model(), picture(), picture()],
            facts(None, 0, 2),
            passed(0, PICTURE),
        ),
        (
            vec![model(), file("mask", ""), prompt(), prompt()],
            facts(None, 0, 1),
            passed(12, 0),
        ),
        (vec![n(), model()], facts(Some(3), 0, 0), passed(0, 0)),
    ] {
        let text = body(&parts);
        let request = Request::new(PICTURES, TYPE, text.as_bytes());
        assert_eq!(request.outcome(), (Ok(expected), rest), "{text}");
    }
}

#[test]
fn what_follows_the_decision_changes_no_fact_and_is_not_free() {
    let long = "h".repeat(5000);
    for more in [
        field("model", "other"),
        field("n", "many"),
        field("temperature", "99"),
        field("user", &"u".repeat(3000)),
        format!("--b1\r\nX-Long: {long}\r\n\r\n"),
        "--b1 ?\r\n".to_owned(),
        "--b1x\r\n".to_owned(),
    ] {
        let begin = [field("model", "m"), file("image", "PNG")].concat();
        let text = begin + &more + &file("image", "PNG") + &field("prompt", "a gull") + "--b1--";
        let request = Request::new(PICTURES, TYPE, text.as_bytes());
        let (facts, rest) = request.outcome();
        let expected = Body {
            prompt_tokens: PICTURE,
            ..named("m")
        };
        assert_eq!(facts.as_ref(), Ok(&expected), "{more}");
        assert!(
            rest.tokens >= PICTURE && rest.bytes == 6,
            "{more}: {rest:?}"
        );
        let sound = file("file", &"s".repeat(16_000));
        let text = [field("model", "m"), file("file", "ID3"), more, sound].concat();
        let request = Request::new(SOUND, TYPE, text.as_bytes());
        let (facts, rest) = request.outcome();
        assert_eq!(facts, Ok(named("m")), "{text}");
        assert!(rest.tokens >= 10, "{rest:?}");
    }
}

#[test]
fn a_model_in_the_headers_decides_at_once() {
    let text = body(&[
        field("prompt", "abc"),
        file("image", "PNG"),
        field("model", "m"),
    ]);
    let text = text.replace("\r\n--b1--", "\r\n--b1 x");
    let request = Request {
        model_known: true,
        ..Request::new(PICTURES, TYPE, text.as_bytes())
    };
    let outcome = request.outcome();
    assert_eq!(outcome, (Ok(Body::default()), passed(3, PICTURE)));
}

#[test]
fn a_sound_counts_by_its_bytes_or_by_the_length_of_the_body() {
    let (model, sound) = (field("model", "m"), file("file", &"s".repeat(16_000)));
    let tokens = |prompt_tokens| Body {
        prompt_tokens,
        ..named("m")
    };
    for (parts, length, before, after) in [
        (vec![sound.clone(), model.clone()], None, 10, 0),
        (vec![model.clone(), sound.clone()], None, 0, 10),
        (vec![model.clone(), sound.clone()], Some(16_200), 11, 0),
        (vec![sound.clone(), model.clone()], Some(16_200), 11, 0),
        // A length that is too small, as HTTP/1 refuses it.
        (vec![model, sound], Some(1600), 1, 9),
    ] {
        let text = body(&parts);
        let request = Request {
            content_length: length,
            ..Request::new(SOUND, TYPE, text.as_bytes())
        };
        assert_eq!(request.outcome(), (Ok(tokens(before)), passed(0, after)));
    }
}

#[test]
fn bad_bodies_are_refused() {
    let kind = "the header `content-type` must be multipart/form-data with a boundary";
    for content_type in [
        "",
        "application/json",
        "multipart/form-data",
        "audio/mpeg; boundary=b1",
    ] {
        let request = Request::new(SOUND, content_type, b"--b1--");
        assert_eq!(request.error(), BodyError::NotMultipart { what: kind });
    }
    let open = BodyError::NotMultipart {
        what: "it ends before its last boundary",
    };
    let long = BodyError::NotMultipart {
        what: "the headers of a part are longer than 4096 bytes",
    };
    let range = |field, min, max| BodyError::OutOfRange { field, min, max };
    let too_long = |field| BodyError::TooLong { field, max: 1024 };
    let (model, sound) = (field("model", "m"), file("file", "ID3"));
    for (text, error) in [
        (String::new(), &open),
        ("{\"model\":\"m\"}".to_owned(), &open),
        ("--b2--".to_owned(), &open),
        ("x--b1--".to_owned(), &open),
        ("--b1\r\n".to_owned(), &open),
        (sound.clone(), &open),
        (sound.clone() + "--b1-", &open),
        (model.trim_end().to_owned(), &open),
        (format!("--b1\r\nX: {}", "x".repeat(4094)), &long),
        (
            model.clone() + &field("model", "n"),
            &BodyError::Disagree { field: "model" },
        ),
        (
            field("user", "a") + &field("user", "b"),
            &BodyError::Disagree { field: "user" },
        ),
        (
            field("n", "2") + &field("n", "3"),
            &BodyError::Disagree { field: "n" },
        ),
        (
            field("stream", "true") + &field("stream", "false"),
            &BodyError::Disagree { field: "stream" },
        ),
        (
            field("temperature", "0.5") + &field("temperature", "0.6"),
            &BodyError::Disagree {
                field: "temperature",
            },
        ),
        (field("n", "0"), &range("n", 1, 1024)),
        (field("n", "1025"), &range("n", 1, 1024)),
        (field("n", "1.5"), &range("n", 1, 1024)),
        (field("n", "two"), &range("n", 1, 1024)),
        (field("n", ""), &range("n", 1, 1024)),
        (field("temperature", "10.1"), &range("temperature", 0, 10)),
        (field("temperature", "-1"), &range("temperature", 0, 10)),
        (field("model", &"m".repeat(1025)), &too_long("model")),
        (field("user", &"é".repeat(513)), &too_long("user")),
    ] {
        let text = match error {
            BodyError::NotMultipart { .. } => text,
            _ => text + "--b1\r\n",
        };
        let request = Request::new(SOUND, TYPE, text.as_bytes());
        assert_eq!(&request.error(), error, "{text}");
    }
}

#[test]
fn values_at_their_limits_are_accepted() {
    let (model, user) = ("m".repeat(1024), "é".repeat(512));
    let text = body(&[
        field("model", &model),
        field("model", &model),
        field("user", &user),
        field("n", "1024"),
        field("temperature", "1e1"),
        field("stream", "True"),
        field("seed", &"s".repeat(9000)),
        format!("--b1\r\nX: {}\r\n\r\n\r\n", "x".repeat(4088)),
    ]);
    let facts = Request::new(SOUND, TYPE, text.as_bytes()).facts();
    assert_eq!(facts.model, Some(model));
    assert_eq!(facts.session.user, Some(user));
    assert_eq!((facts.n, facts.temperature), (Some(1024), Some(10_000_000)));
    assert_eq!(facts.stream, Some(true));
}

#[test]
fn a_complete_body_may_lack_a_model() {
    for text in [
        "--b1--",
        "\r\n--b1--\r\n",
        "any\npreamble\n--b1--",
        &body(&[file("file", "ID3")]),
    ] {
        let facts = Request::new(SOUND, TYPE, text.as_bytes()).facts();
        assert_eq!(facts.model, None, "{text}");
    }
}
