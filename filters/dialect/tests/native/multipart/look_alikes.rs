//! Content that looks like a boundary, and line ends.

use super::{PICTURE, PICTURES, Request, SOUND, TYPE, body, field, file};
use headgate_dialect::{Body, Passed};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[test]
fn a_line_that_only_begins_like_a_boundary_is_content() {
    for content in [
        "--b1x",
        "--b1x\r\n\r\nContent",
        "\r\n--b1x\r\n",
        "\r\n--b1-\r\n",
        "\r\n--b1-x",
        "\r\n--b1 x\r\n",
        "\r\n--b1 \t\r x",
        "\r\n--b1\rx",
        "\r\n--b1\r\r\n",
        "\r\n--b\r\n",
        "\r\n-\r\n--\r\n\r",
        "\r\r\n\n\r\n",
        "\r",
        "\r\n",
        "\r\n--b1x\r\n--b1-\r\n--b1\ty",
        // In a body of CRLF, LF ends no line.
        "\n--b1\n",
        "\n--b1\r\n",
        "\n--b1--",
        "\r\n--b1\nContent-Disposition: form-data; name=\"model\"\n\nother",
        "x\n--b1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother",
        &format!("\r\n--b1{}\r\n", " ".repeat(65)),
    ] {
        let text = body(&[
            field("prompt", content),
            field("user", content),
            file("image", content),
            field("model", "m"),
        ]);
        let facts = Request::new(PICTURES, TYPE, text.as_bytes()).facts();
        assert_eq!(facts.prompt_bytes, content.len() as u64, "{content:?}");
        assert_eq!(facts.session.user.as_deref(), Some(content));
        assert_eq!(facts.model.as_deref(), Some("m"), "{content:?}");
        assert_eq!(facts.prompt_tokens, PICTURE, "{content:?}");
    }
}

#[test]
fn the_first_boundary_says_how_lines_end() {
    let lines = body(&[
        field("user", "a\r"),
        field("prompt", "x\r\ny"),
        field("model", "m"),
    ]);
    let text = lines.replace("\r\n", "\n").replace("x\ny", "x\r\ny");
    let facts = Request::new(PICTURES, TYPE, text.as_bytes()).facts();
    assert_eq!(facts.session.user.as_deref(), Some("a\r"));
    assert_eq!((facts.prompt_bytes, facts.model.as_deref()), (4, Some("m")));
    // Boundaries may have blanks behind them, and lines before the first one anything.
    for preamble in [
        "", "\r\n", "\n", "x\n", "--b1x\n", "--b1-\n", " --b1\n", "--b\n", "--b1",
    ] {
        let begin = match preamble {
            // What follows is a boundary only at the beginning of a line.
            "--b1" => "--b1 x\n",
            other => other,
        };
        let text = begin.to_owned() + &lines.replace("--b1\r\n", "--b1 \t \r\n");
        let facts = Request::new(PICTURES, TYPE, text.as_bytes()).facts();
        assert_eq!(facts.model.as_deref(), Some("m"), "{begin:?}");
    }
}

#[test]
fn what_follows_the_last_boundary_is_ignored() {
    let text = body(&[field("model", "m")]) + &field("model", "other") + &file("file", "ID3");
    let outcome = Request::new(SOUND, TYPE, text.as_bytes()).outcome();
    assert_eq!(outcome.0.unwrap().model.as_deref(), Some("m"));
    assert_eq!(outcome.1, Passed::default());
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Prompt,
    User,
    File,
    Other,
}

/// The parts of a body, with the model before the part of this number.
#[derive(Debug, Clone)]
struct Form {
    line_end: &'static str,
    parts: Vec<(Kind, String)>,
    model: usize,
}

impl Form {
    fn text(&self) -> String {
        let end = self.line_end;
        let write = |disposition: &str, value: &str| {
            format!("--b1{end}Content-Disposition: form-data; {disposition}{end}{end}{value}{end}")
        };
        let mut parts: Vec<String> = self
            .parts
            .iter()
            .map(|(kind, value)| match kind {
                Kind::Prompt => write("name=\"prompt\"", value),
                Kind::User => write("name=\"user\"", value),
                Kind::File => write("name=\"image\"; filename=\"a\"", value),
                Kind::Other => write("name=\"size\"", value),
            })
            .collect();
        parts.insert(self.model, write("name=\"model\"", "m"));
        parts.concat() + "--b1--"
    }

    /// Whether some content has a line that is a boundary.
    fn has_boundary(&self) -> bool {
        let delimiter = format!("{}--b1", self.line_end);
        self.parts.iter().any(|(_, value)| {
            // The boundary after the content may complete one in it.
            let value = format!("{value}{delimiter}{}", self.line_end);
            let ends = value
                .match_indices(&delimiter)
                .map(|(at, found)| at + found.len());
            let real = ends.filter(|end| {
                let rest = &value[*end..];
                let line = rest.trim_start_matches([' ', '\t']);
                let crlf = line.starts_with("\r\n");
                rest.starts_with("--") || crlf || self.line_end == "\n" && line.starts_with('\n')
            });
            real.count() > 1
        })
    }

    fn expected(&self) -> (Body, Passed) {
        let mut facts = Body {
            model: Some("m".to_owned()),
            ..Body::default()
        };
        let mut rest = Passed::default();
        let mut decided = false;
        for (i, (kind, value)) in self.parts.iter().enumerate() {
            let len = value.len() as u64;
            match kind {
                Kind::Prompt if decided => rest.bytes += len,
                Kind::Prompt => facts.prompt_bytes += len,
                Kind::File if decided => rest.tokens += PICTURE,
                Kind::File => facts.prompt_tokens += PICTURE,
                Kind::User if !decided => facts.session.user = Some(value.clone()),
                Kind::User | Kind::Other => {}
            }
            decided |= *kind == Kind::File && i >= self.model;
        }
        (facts, rest)
    }
}

fn form() -> impl Strategy<Value = Form> {
    let fragment = select(vec![
        "\r",
        "\n",
        "\r\n",
        "--",
        "-",
        "--b1",
        "b1",
        "\r\n--b1",
        "\n--b1",
        "--b1-",
        "--b1--",
        " ",
        "\t",
        "x",
        "é",
        "\r\n--b",
        "Content-Disposition: form-data; name=\"model\"\r\n\r\nother",
    ]);
    let value = vec(fragment, 0..10).prop_map(|pieces| pieces.concat());
    let kind = select(vec![Kind::Prompt, Kind::File, Kind::Other]);
    let user = (any::<Index>(), proptest::option::of(value.clone()));
    let parts = (vec((kind, value), 0..5), user).prop_map(|(mut parts, (at, user))| {
        if let Some(user) = user {
            parts.insert(at.index(parts.len() + 1), (Kind::User, user));
        }
        parts
    });
    (select(vec!["\r\n", "\n"]), parts, any::<Index>())
        .prop_map(|(line_end, parts, at)| Form {
            line_end,
            model: at.index(parts.len() + 1),
            parts,
        })
        .prop_filter("a real boundary", |form| !form.has_boundary())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_content_is_read_as_it_was_written(form in form(), cuts in vec(any::<Index>(), 0..6)) {
        let text = form.text();
        let request = Request::new(PICTURES, TYPE, text.as_bytes());
        let (facts, rest) = form.expected();
        let expected = (Ok(facts), rest);
        prop_assert_eq!(request.read(&crate::chunking::cut(text.as_bytes(), &cuts)), expected.clone());
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(request.read(&single), expected);
    }

    #[test]
    fn a_spoilt_body_has_one_outcome_however_it_is_cut(
        form in form(),
        edits in vec((any::<Index>(), select(vec!["", "\r", "\n", "-", "\"", ";", "--b1", "--b1--", "\r\n\r\n", "x"])), 1..4),
        cuts in vec(any::<Index>(), 0..6),
        model_known in any::<bool>(),
    ) {
        let mut text = form.text().into_bytes();
        for (at, with) in edits {
            let at = at.index(text.len());
            text.splice(at..at + 1, with.bytes());
        }
        for path in [PICTURES, SOUND] {
            let request = Request { model_known, ..Request::new(path, TYPE, &text) };
            let whole = request.read(&[&text]);
            prop_assert_eq!(&request.read(&crate::chunking::cut(&text, &cuts)), &whole);
            let single: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(&request.read(&single), &whole);
            prop_assert!(!model_known || whole.0.is_ok());
        }
    }
}
