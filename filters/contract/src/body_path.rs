//! The path of a field in a JSON body, such as `metadata.tier` or `tools[0].name`.

/// Most steps of a path.
const MAX_STEPS: usize = 8;
/// Longest key, in bytes.
const MAX_KEY: usize = 32;
/// Greatest index of a list.
const MAX_INDEX: u16 = 999;

/// The path, as a pattern.
#[cfg(feature = "schema")]
pub(crate) const PATTERN: &str =
    r"[A-Za-z0-9_-]{1,32}(\.[A-Za-z0-9_-]{1,32}|\[(0|[1-9][0-9]{0,2})\]){0,7}";

/// A path of at most 8 steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyPath(String);

/// A step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStep<'p> {
    /// The member of an object with this key.
    Key(&'p str),
    /// The element of a list with this index.
    Index(u16),
}

impl BodyPath {
    /// The path as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its steps from the outermost object on.
    pub fn steps(&self) -> impl Iterator<Item = BodyStep<'_>> {
        steps(&self.0).filter_map(Result::ok)
    }
}

/// The steps of a text, or the part that is not one.
fn steps(text: &str) -> impl Iterator<Item = Result<BodyStep<'_>, &str>> {
    text.split('.').flat_map(|part| {
        let (key, indices) = match part.find('[') {
            Some(at) => part.split_at(at),
            None => (part, ""),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let sound = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(plain);
        let key = sound.then_some(BodyStep::Key(key)).ok_or(part);
        let indices = indices.split_inclusive(']').map(move |index| {
            let digits = index.strip_prefix('[').and_then(|i| i.strip_suffix(']'));
            let index = digits.and_then(|digits| {
                let index: u16 = digits.parse().ok()?;
                (index <= MAX_INDEX && index.to_string() == digits).then_some(index)
            });
            index.map(BodyStep::Index).ok_or(part)
        });
        std::iter::once(key).chain(indices)
    })
}

impl TryFrom<String> for BodyPath {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong = steps(&text).find_map(Result::err);
        match (wrong, steps(&text).count()) {
            (None, ..=MAX_STEPS) => Ok(Self(text)),
            (None, count) => Err(format!(
                "the path {text:?} of a body field has {count} steps: write at most {MAX_STEPS}"
            )),
            (Some(part), _) => Err(format!(
                "the path {text:?} of a body field is not valid at {part:?}: write keys of 1-{MAX_KEY} letters, digits, '-' or '_' and indices up to {MAX_INDEX}, such as metadata.tier or tools[0].name"
            )),
        }
    }
}
