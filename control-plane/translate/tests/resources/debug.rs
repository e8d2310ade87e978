//! Parser of the `Debug` output of protobuf messages.
//!
//! The generated types of Envoy have no reflection and no serde, but their `Debug` output has every field by name.

/// A value in `Debug` output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A number, a boolean, or a unit such as `None`.
    Word(String),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// The entries of a map, sorted by key.
    Map(Vec<(String, Value)>),
    /// `Some(value)`, or a variant of a `oneof`.
    Tuple(String, Vec<Value>),
    /// A message with its fields in the order of their declaration.
    Message(String, Vec<(String, Value)>),
}

/// Parses the `Debug` output of a message.
pub(crate) fn parse(text: &str) -> Value {
    let mut parser = Parser { rest: text };
    let value = parser.value();
    assert_eq!(parser.rest, "", "text after the value");
    value
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self) -> Value {
        match self.rest.chars().next() {
            Some('"') => Value::Text(self.text()),
            Some('[') => {
                self.expect("[");
                let items = self.items("]", Self::value);
                Value::List(items)
            }
            Some('{') => {
                self.expect("{");
                let mut entries = self.items("}", |parser| {
                    let key = match parser.value() {
                        Value::Text(key) | Value::Word(key) => key,
                        other => panic!("a map key: {other:?}"),
                    };
                    parser.expect(": ");
                    (key, parser.value())
                });
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Map(entries)
            }
            Some('b') if self.rest.starts_with("b\"") => {
                self.expect("b");
                Value::Bytes(self.text().chars().map(|c| c as u8).collect())
            }
            _ => self.named(),
        }
    }

    /// A word, a tuple or a message.
    fn named(&mut self) -> Value {
        let is_part = |c: char| c.is_alphanumeric() || "_-+.".contains(c);
        let end = self.rest.find(|c| !is_part(c));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        assert!(!name.is_empty(), "a value at {:?}", self.rest);
        let name = name.to_owned();
        self.rest = rest;
        if self.skip("(") {
            return Value::Tuple(name, self.items(")", Self::value));
        }
        if self.skip(" { ") {
            let fields = self.items(" }", |parser| {
                let end = parser.rest.find(": ").expect("a field");
                let field = parser.rest[..end].trim_start_matches("r#").to_owned();
                parser.rest = &parser.rest[end + 2..];
                (field, parser.value())
            });
            return Value::Message(name, fields);
        }
        Value::Word(name)
    }

    fn items<T>(&mut self, end: &str, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.skip(end) {
            if !items.is_empty() {
                self.expect(", ");
            }
            items.push(item(self));
        }
        items
    }

    /// A string literal of Rust.
    fn text(&mut self) -> String {
        self.expect("\"");
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        loop {
            let (i, c) = chars.next().expect("the end of the text");
            match c {
                '"' => {
                    self.rest = &self.rest[i + 1..];
                    return text;
                }
                '\\' => {
                    let (_, escaped) = chars.next().expect("an escaped character");
                    text.push(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        '0' => '\0',
                        'x' => {
                            let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                            char::from(u8::from_str_radix(&digits, 16).unwrap())
                        }
                        'u' => {
                            let digits: String = chars
                                .by_ref()
                                .map(|(_, c)| c)
                                .skip_while(|c| *c == '{')
                                .take_while(|c| *c != '}')
                                .collect();
                            let code = u32::from_str_radix(&digits, 16).unwrap();
                            char::from_u32(code).unwrap()
                        }
                        other => other,
                    });
                }
                c => text.push(c),
            }
        }
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    #[track_caller]
    fn expect(&mut self, text: &str) {
        assert!(self.skip(text), "{text:?} expected at {:?}", self.rest);
    }
}
