//! A JSON document as a tree.
//!
//! The reader is our own: `serde_json` is 16 KiB larger in a module, because its errors may hold an I/O error and so print
//! every one there is. It reads RFC 8259; a test compares it with `serde_json`.
//!
//! Invariant: reading never panics; lists and objects nest at most 127 deep.

/// Most lists and objects within each other.
const MAX_DEPTH: usize = 127;

/// A JSON value.
#[derive(Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// Below 0.
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Sorted by key. Each key is there once.
    Map(Vec<(String, Node)>),
}

/// Reads a document.
///
/// # Errors
/// The message of an error, with line and column.
pub(crate) fn read(json: &[u8]) -> Result<Node, String> {
    let (at, what) = match std::str::from_utf8(json) {
        Ok(text) => {
            let mut reader = Reader { text, at: 0 };
            match reader.document() {
                Ok(document) => return Ok(document),
                Err(what) => (reader.at, what),
            }
        }
        Err(error) => (error.valid_up_to(), "is not UTF-8".into()),
    };
    let before = &json[..at.min(json.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    Err(format!("{what} at line {line} column {column}"))
}

struct Reader<'a> {
    text: &'a str,
    /// Index of the next byte.
    at: usize,
}

/// The message of an error. Boxed, so that results stay small.
type SyntaxError = Box<str>;

impl Reader<'_> {
    fn document(&mut self) -> Result<Node, SyntaxError> {
        let value = self.value(0)?;
        match self.token() {
            None => Ok(value),
            Some(_) => Err("unexpected text after the document".into()),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space; it stays the next.
    fn token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// Passes this byte, if it is the next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        match self.token() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err("nested too deeply".into()),
            Some(b'{') => self.map(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => self.text().map(Node::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Node::Bool(true)),
            Some(b'f') => self.word("false", Node::Bool(false)),
            Some(b'n') => self.word("null", Node::Null),
            Some(_) => Err("expected a value".into()),
            None => Err(END.into()),
        }
    }

    fn word(&mut self, word: &str, value: Node) -> Result<Node, SyntaxError> {
        if !self.rest().starts_with(word) {
            return Err("expected a value".into());
        }
        self.at += word.len();
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.token() == Some(b']') {
            self.at += 1;
            return Ok(Node::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.token();
            if self.take(b']') {
                return Ok(Node::List(items));
            }
            self.expect(b',', "expected `,` or `]`")?;
        }
    }

    fn map(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        self.at += 1;
        let mut fields: Vec<(String, Node)> = Vec::new();
        if self.token() != Some(b'}') {
            loop {
                if self.token() != Some(b'"') {
                    return Err(self.unexpected("expected a key in quotes"));
                }
                let key = self.text()?;
                self.token();
                self.expect(b':', "expected `:`")?;
                fields.push((key, self.value(depth)?));
                if self.token() == Some(b'}') {
                    break;
                }
                self.expect(b',', "expected `,` or `}`")?;
            }
        }
        self.at += 1;
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        match fields.windows(2).find(|two| two[0].0 == two[1].0) {
            Some(two) => {
                let key = &two[0].0;
                Err(format!("the key {key:?} is given twice: remove one").into())
            }
            None => Ok(Node::Map(fields)),
        }
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), SyntaxError> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(self.unexpected(otherwise)),
        }
    }

    fn unexpected(&self, otherwise: &'static str) -> SyntaxError {
        let what = if self.peek().is_none() {
            END
        } else {
            otherwise
        };
        what.into()
    }

    /// A string; its opening quote is the next byte.
    fn text(&mut self) -> Result<String, SyntaxError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let special = |b: u8| b < 0x20 || b == b'"' || b == b'\\';
            let plain = rest.bytes().position(special).unwrap_or(rest.len());
            text.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(_) => return Err("control character in a string: escape it".into()),
                None => return Err(END.into()),
            }
        }
    }

    /// The rest of an escape, after its backslash.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        const INVALID: &str = "invalid escape";
        let byte = self.peek().ok_or(END)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.four_digits()?;
                if (0xD800..0xDC00).contains(&code) && self.take(b'\\') && self.take(b'u') {
                    let low = self.four_digits()?.checked_sub(0xDC00);
                    let low = low.filter(|low| *low < 0x400).ok_or(INVALID)?;
                    code = 0x1_0000 + ((code - 0xD800) << 10) + low;
                }
                // Half a surrogate pair is no character.
                char::from_u32(code).ok_or(INVALID)?
            }
            _ => return Err(INVALID.into()),
        })
    }

    fn four_digits(&mut self) -> Result<u32, SyntaxError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            code = code * 16 + digit.ok_or("invalid escape")?;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Node, SyntaxError> {
        const INVALID: &str = "invalid number";
        let negative = self.take(b'-');
        let (mut digits, mut exponent) = (0_u64, 0_i32);
        let from = self.at;
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits(&mut digits, &mut exponent);
        if whole == 0 || (leading_zero && self.at - from > 1) {
            return Err(INVALID.into());
        }
        let mut exact = exponent == 0;
        if self.take(b'.') {
            exact = false;
            let mut dropped = 0;
            let fraction = self.digits(&mut digits, &mut dropped);
            if fraction == 0 {
                return Err(INVALID.into());
            }
            exponent = exponent.saturating_add(dropped).saturating_sub(fraction);
        }
        if let Some(b'e' | b'E') = self.peek() {
            exact = false;
            self.at += 1;
            let below = self.take(b'-');
            let _ = below || self.take(b'+');
            let (mut power, mut more) = (0_u64, 0);
            if self.digits(&mut power, &mut more) == 0 {
                return Err(INVALID.into());
            }
            // So far beyond any number that the digits before do not matter.
            let power = i32::try_from(power).unwrap_or(100_000).min(100_000);
            exponent = match below {
                true => exponent.saturating_sub(power),
                false => exponent.saturating_add(power),
            };
        }
        if exact && !negative {
            return Ok(Node::Unsigned(digits));
        }
        if exact
            && digits > 0
            && let Some(value) = 0_i64.checked_sub_unsigned(digits)
        {
            return Ok(Node::Signed(value));
        }
        let value = scaled(digits, exponent);
        if !value.is_finite() {
            return Err("number out of range".into());
        }
        Ok(float(if negative { -value } else { value }))
    }

    /// Reads digits, and returns how many. Those that no longer fit into `value` are `dropped`.
    fn digits(&mut self, value: &mut u64, dropped: &mut i32) -> i32 {
        let from = self.at;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let more = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(u64::from(digit - b'0')));
            match more {
                Some(more) if *dropped == 0 => *value = more,
                _ => *dropped = dropped.saturating_add(1),
            }
            self.at += 1;
        }
        i32::try_from(self.at - from).unwrap_or(i32::MAX)
    }
}

const END: &str = "unexpected end";

/// `digits · 10^exponent`. The nearest double for digits below 2^53 and an exponent within ±22: both factors are exact then, and
/// one operation rounds once. Zeros at the end of a fraction do not count. Any number of a configuration is one of these.
#[allow(clippy::cast_precision_loss)]
fn scaled(mut digits: u64, mut exponent: i32) -> f64 {
    while exponent < 0 && digits > 0 && digits.is_multiple_of(10) {
        digits /= 10;
        exponent += 1;
    }
    let mut value = digits as f64;
    let mut left = exponent.unsigned_abs().min(400);
    while left > 0 && value != 0.0 && value.is_finite() {
        let step = left.min(22);
        let power = (0..step).fold(1.0, |power, _| power * 10.0);
        value = if exponent < 0 {
            value / power
        } else {
            value * power
        };
        left -= step;
    }
    value
}

/// As in JSON schema, a number without a fraction is whole, however it is written.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::float_cmp
)]
fn float(value: f64) -> Node {
    let whole = value as u64;
    if value < 9e15 && whole as f64 == value {
        return Node::Unsigned(whole);
    }
    Node::Float(value)
}

#[cfg(test)]
mod tests;
