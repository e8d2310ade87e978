//! Patterns of paths.

/// The parts of a path that its pattern names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Captures<'p> {
    /// `{model}`: not empty, and it may have slashes.
    pub model: Option<&'p [u8]>,
    /// `{version}`: one segment.
    pub version: Option<&'p [u8]>,
    /// `{id}`: one segment.
    pub id: Option<&'p [u8]>,
}

/// The parts of a path that a pattern names; `None` if the path does not match.
pub(super) fn captures<'p>(pattern: &str, path: &'p [u8]) -> Option<Captures<'p>> {
    let mut captures = Captures::default();
    matches(pattern.as_bytes(), path, &mut captures).then_some(captures)
}

fn matches<'p>(pattern: &[u8], path: &'p [u8], captures: &mut Captures<'p>) -> bool {
    let literal = literal(pattern);
    let (Some(named), Some(path)) = (pattern.get(literal.len()..), path.strip_prefix(literal))
    else {
        return false;
    };
    let Some(close) = named.iter().position(|byte| *byte == b'}') else {
        return path.is_empty();
    };
    let (name, rest) = (
        named.get(1..close),
        named.get(close + 1..).unwrap_or_default(),
    );
    let name = name.unwrap_or_default();
    let spans_segments = matches!(name, b"model" | b"rest");
    let end = match spans_segments {
        true => path.len(),
        false => path.iter().position(|b| *b == b'/').unwrap_or(path.len()),
    };
    // The longest value first, so that a model's name may contain what follows it in the pattern.
    for at in (1..=end).rev() {
        let (value, after) = path.split_at(at);
        if after.starts_with(self::literal(rest)) && matches(rest, after, captures) {
            match name {
                b"model" => captures.model = Some(value),
                b"version" => captures.version = Some(value),
                b"id" => captures.id = Some(value),
                _ => {}
            }
            return true;
        }
    }
    false
}

/// The part of a pattern before the next name.
fn literal(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| *byte == b'{');
    pattern
        .get(..end.unwrap_or(pattern.len()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Captures, captures};

    #[test]
    fn a_pattern_names_parts_of_a_path() {
        let model = |model: &'static str, version: Option<&'static str>| {
            Some(Captures {
                model: Some(model.as_bytes()),
                version: version.map(str::as_bytes),
                id: None,
            })
        };
        for (pattern, path, expected) in [
            ("/v1/models", "/v1/models", Some(Captures::default())),
            ("/v1/models", "/v1/models/m", None),
            ("/v1/models/{model}", "/v1/models/m", model("m", None)),
            (
                "/v1/models/{model}",
                "/v1/models/Org/M",
                model("Org/M", None),
            ),
            ("/v1/models/{model}", "/v1/models/", None),
            (
                "/v1/models/{model}:predict",
                "/v1/models/a:b:predict",
                model("a:b", None),
            ),
            ("/v1/models/{model}:predict", "/v1/models/:predict", None),
            (
                "/v2/models/{model}/infer",
                "/v2/models/a/b/infer",
                model("a/b", None),
            ),
            (
                "/v2/models/{model}/versions/{version}/infer",
                "/v2/models/a/versions/b/versions/3/infer",
                model("a/versions/b", Some("3")),
            ),
            (
                "/v2/models/{model}/versions/{version}/infer",
                "/v2/models/a/versions/3/4/infer",
                None,
            ),
            ("/infer/{rest}", "/infer/a/b", Some(Captures::default())),
            ("/v1/files/{id}", "/v1/files/a/b", None),
        ] {
            assert_eq!(
                captures(pattern, path.as_bytes()),
                expected,
                "{pattern} {path}"
            );
        }
    }
}
