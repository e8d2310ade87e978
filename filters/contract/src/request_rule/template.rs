//! Values of tags, with groups of a regular expression in them.

use serde::{Deserialize, Serialize};

use crate::tag_text::{MAX_TAG_VALUE, tag_value};

/// A value of a tag: text with `$1` or `${name}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// A part of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text as it is.
    Text(&'t str),
    /// What a group matched, by its number or name.
    Group(&'t str),
}

impl Template {
    /// Its parts, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        Pieces(&self.0).filter_map(Result::ok)
    }

    /// The groups that it names.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.pieces().filter_map(|piece| match piece {
            Piece::Group(group) => Some(group),
            Piece::Text(_) => None,
        })
    }
}

/// The parts of a text, or what stands after a `$` that means nothing.
struct Pieces<'t>(&'t str);

impl<'t> Iterator for Pieces<'t> {
    type Item = Result<Piece<'t>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0;
        if text.is_empty() {
            return None;
        }
        let Some(after) = text.strip_prefix('$') else {
            let (plain, rest) = text.split_at(text.find('$').unwrap_or(text.len()));
            self.0 = rest;
            return Some(Ok(Piece::Text(plain)));
        };
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (piece, rest) = if let Some(rest) = after.strip_prefix('$') {
            (Piece::Text("$"), rest)
        } else if let Some((name, rest)) = after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            (Piece::Group(name), rest)
        } else if digits > 0 {
            let (number, rest) = after.split_at(digits);
            (Piece::Group(number), rest)
        } else {
            self.0 = "";
            return Some(Err(()));
        };
        self.0 = rest;
        Some(Ok(piece))
    }
}

impl TryFrom<String> for Template {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if !tag_value(text.as_bytes()) {
            return Err(format!(
                "the value {text:?} must be 1-{MAX_TAG_VALUE} visible ASCII characters without ',', ';' and '\"'"
            ));
        }
        if Pieces(&text).any(|piece| piece.is_err()) {
            return Err(format!(
                "the value {text:?} has a `$` that names no group: write $1, ${{name}}, or $$ for a dollar sign"
            ));
        }
        Ok(Self(text))
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}
