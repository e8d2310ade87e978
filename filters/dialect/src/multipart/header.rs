//! The headers that describe a multipart body and its parts.

/// Longest boundary, in bytes (RFC 2046).
const MAX_BOUNDARY: usize = 70;

/// A field of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Model,
    Prompt,
    N,
    Temperature,
    Stream,
    User,
    File,
    Other,
}

/// The boundary in a content type; `None` if it is of another kind, or has none.
pub(super) fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let kind = parts(content_type).next()?;
    if !kind.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let value = parameter(content_type, b"boundary")?;
    let fits = (1..=MAX_BOUNDARY).contains(&value.len());
    (fits && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n'))).then_some(value)
}

/// The field to which the headers of a part belong.
pub(super) fn name_of(headers: &[u8]) -> Name {
    let is_disposition = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.trim_ascii()
            .eq_ignore_ascii_case(b"content-disposition")
    };
    let mut lines = headers.split(|byte| *byte == b'\n');
    let Some(line) = lines.find(is_disposition) else {
        return Name::Other;
    };
    if parameter(line, b"filename").is_some() || parameter(line, b"filename*").is_some() {
        return Name::File;
    }
    match parameter(line, b"name") {
        Some(b"model") => Name::Model,
        Some(b"prompt") => Name::Prompt,
        Some(b"n") => Name::N,
        Some(b"temperature") => Name::Temperature,
        Some(b"stream") => Name::Stream,
        Some(b"user") => Name::User,
        Some(b"file" | b"image" | b"image[]" | b"mask") => Name::File,
        _ => Name::Other,
    }
}

/// The parts of a header between semicolons, except those in quotes.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let ends = move |byte: &u8| {
        let is_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !is_escaped => quoted = !quoted,
            b'\\' if !is_escaped => escaped = quoted,
            _ => {}
        }
        *byte == b';' && !quoted
    };
    value.split(ends).map(<[u8]>::trim_ascii)
}

/// The value of the first parameter with this name, without its quotes.
fn parameter<'h>(header: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    parts(header).find_map(|part| {
        let at = part.iter().position(|byte| *byte == b'=')?;
        let key = part.get(..at)?.trim_ascii();
        let value = match part.get(at + 1..)?.trim_ascii() {
            [b'"', inner @ .., b'"'] => inner,
            value => value,
        };
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::{Name, boundary, name_of};

    #[test]
    fn a_boundary_is_a_parameter_with_or_without_quotes() {
        let longest = format!("multipart/form-data; boundary={}", "b".repeat(70));
        let too_long = format!("{longest}b");
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b\" ",
                Some("a b"),
            ),
            (
                "multipart/form-data; boundary=\"a;b=c\"; x=y",
                Some("a;b=c"),
            ),
            (
                "multipart/form-data; x=\"; boundary=no\"; boundary = yes",
                Some("yes"),
            ),
            (
                "multipart/form-data; boundary=----WebKitFormBoundary7MA=",
                Some("----WebKitFormBoundary7MA="),
            ),
            (&*longest, Some(&longest[30..])),
            (&*too_long, None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"\"", None),
            ("multipart/form-data; boundary=\"a\nb\"", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=abc", None),
            ("application/json; boundary=abc", None),
            ("", None),
        ] {
            let found = boundary(content_type.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{content_type}");
        }
    }

    #[test]
    fn a_part_has_the_name_of_its_disposition() {
        for (headers, expected) in [
            (
                "Content-Disposition: form-data; name=\"model\"\r\n\r\n",
                Name::Model,
            ),
            (
                "content-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=model\r\n\r\n",
                Name::Model,
            ),
            (
                "Content-Disposition: form-data; filename=\"model; name=\\\"model\\\"\"; name=\"file\"\r\n\r\n",
                Name::File,
            ),
            (
                "Content-Disposition: form-data; name=\"x; name=model\"\r\n\r\n",
                Name::Other,
            ),
            (
                "Content-Disposition: form-data; name=\"x\\\"; name=model\"; name=\"model\"\r\n\r\n",
                Name::Other,
            ),
            (
                "Content-Disposition: form-data; name=\"any\"; filename*=UTF-8''a.png\r\n\r\n",
                Name::File,
            ),
            (
                "Content-Disposition: form-data; name=\"image[]\"\r\n\r\n",
                Name::File,
            ),
            ("Content-Disposition: form-data\r\n\r\n", Name::Other),
            (
                "Content-Type: text/plain; name=\"model\"\r\n\r\n",
                Name::Other,
            ),
            ("\r\n", Name::Other),
        ] {
            assert_eq!(name_of(headers.as_bytes()), expected, "{headers}");
        }
    }
}
