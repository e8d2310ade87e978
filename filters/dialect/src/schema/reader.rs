//! JSON events → rules of a schema.

use std::cmp::Ordering;

use super::violation::{Rule, Violation, add, not_allowed, wrong_type};
use super::{BodySchema, Constant, Member, Types};
use crate::json::{Decimal, JsonError, Kind, Scalar, Sink, WantedPart};

/// Longest text of [`Constant::Text`].
const MAX_TEXT: usize = 256;

/// Receives the events of the body.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    root: &'s BodySchema,
    /// The open containers that have rules of their own.
    open: Vec<Open<'s>>,
    /// A container without rules is open.
    skipping: bool,
    /// The schema of the current string, if it has rules.
    string: Option<&'s BodySchema>,
    characters: u64,
    /// The current string, if it is compared; then at most 256 bytes.
    text: Vec<u8>,
    too_long: bool,
    violation: Option<Violation>,
}

/// An open container.
#[derive(Debug)]
struct Open<'s> {
    kind: Kind,
    schema: &'s BodySchema,
    /// Of an object: the current member, if the schema names it.
    member: Option<&'s Member>,
    /// Of an object: the required members that it has, a bit each.
    seen: u64,
    /// Of a list: the elements that have begun.
    elements: u64,
}

impl<'s> Reader<'s> {
    /// A reader at the start of a body.
    pub(super) fn new(root: &'s BodySchema) -> Self {
        Self {
            root,
            open: Vec::new(),
            skipping: false,
            string: None,
            characters: 0,
            text: Vec::new(),
            too_long: false,
            violation: None,
        }
    }

    /// The violation that ended the body.
    pub(super) fn violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// The schema of the value that begins; `None` if it has none.
    fn begins(&mut self) -> Result<Option<&'s BodySchema>, JsonError> {
        if self.violation.is_some() {
            return Err(JsonError::Refused);
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(Some(self.root));
        };
        if open.kind == Kind::Object {
            return Ok(open.member.and_then(|member| member.schema.as_ref()));
        }
        open.elements += 1;
        let (elements, schema) = (open.elements, open.schema);
        let [_, _, _, most] = schema.count_limits;
        match most {
            Some(most) if elements > u64::from(most) => {
                let path = self.path_of_container();
                self.refuse(Rule::MAX_ITEMS.violated(path, &most.to_string()))
            }
            _ => Ok(schema.items.as_deref()),
        }
    }

    #[cold]
    fn refuse<T>(&mut self, violation: Violation) -> Result<T, JsonError> {
        self.violation = Some(violation);
        Err(JsonError::Refused)
    }

    /// The path of the current value.
    #[cold]
    fn path(&self) -> String {
        path(&self.open)
    }

    /// The path of the innermost open container.
    #[cold]
    fn path_of_container(&self) -> String {
        path(self.open.split_last().map_or(&[], |(_, outer)| outer))
    }

    /// Checks the type of a value, and whether its schema allows it.
    fn check(
        &mut self,
        schema: &BodySchema,
        type_: Types,
        is: &dyn Fn(&Constant) -> bool,
    ) -> Result<(), JsonError> {
        if !schema.types.has(type_) {
            let violation = wrong_type(self.path(), schema.types);
            return self.refuse(violation);
        }
        let allowed = schema.allowed.as_ref();
        if allowed.is_some_and(|values| !values.iter().any(is)) {
            let violation = not_allowed(self.path(), schema);
            return self.refuse(violation);
        }
        Ok(())
    }

    fn number(&mut self, schema: &BodySchema, number: Decimal) -> Result<(), JsonError> {
        let type_ = match number.is_whole() {
            true => Types::INTEGER,
            false => Types::NUMBER,
        };
        let equal = |bound: &Decimal| number.compare(bound).is_eq();
        self.check(
            schema,
            type_,
            &|value| matches!(value, Constant::Number(bound) if equal(bound)),
        )?;
        for (i, (limit, rule)) in schema
            .number_limits
            .iter()
            .zip(Rule::OF_NUMBERS)
            .enumerate()
        {
            let Some(limit) = limit else {
                continue;
            };
            // At least, at most, greater than, less than.
            let meets = match number.compare(limit) {
                Ordering::Equal => i < 2,
                Ordering::Greater => i % 2 == 0,
                Ordering::Less => i % 2 == 1,
            };
            if !meets {
                let limit = limit.text().unwrap_or_default();
                let violation = rule.violated(self.path(), &limit);
                return self.refuse(violation);
            }
        }
        Ok(())
    }

    /// A container is complete. It has been left.
    fn end_container(&mut self, open: &Open<'s>) -> Result<(), JsonError> {
        let schema = open.schema;
        if open.kind == Kind::Array {
            let [_, _, least, _] = schema.count_limits;
            return match least {
                Some(least) if open.elements < u64::from(least) => {
                    let violation = Rule::MIN_ITEMS.violated(self.path(), &least.to_string());
                    self.refuse(violation)
                }
                _ => Ok(()),
            };
        }
        let missing = |member: &&Member| {
            let number = member.required;
            number.is_some_and(|number| open.seen & bit(number) == 0)
        };
        let missing = schema.members.iter().filter(missing);
        match missing.min_by_key(|member| member.required) {
            Some(member) => {
                let mut path = self.path();
                add(&mut path, ".", &member.name);
                self.refuse(Rule::REQUIRED.violated(path, ""))
            }
            None => Ok(()),
        }
    }
}

/// The bit of a required member.
fn bit(number: u8) -> u64 {
    1_u64.checked_shl(number.into()).unwrap_or_default()
}

/// The path of the current value of these containers.
fn path(open: &[Open<'_>]) -> String {
    let mut path = String::new();
    for container in open {
        match (container.kind, container.member) {
            (Kind::Object, Some(member)) => add(&mut path, ".", &member.name),
            (Kind::Object, None) => {}
            (Kind::Array, _) => {
                let index = container.elements.saturating_sub(1);
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
    }
    path
}

/// Code points of a text, which is UTF-8: its bytes but those that continue a character, eight at a time.
fn characters(text: &[u8]) -> u64 {
    const LOWEST_BITS: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = text.as_chunks::<8>();
    // The two highest bits of a byte that continues a character are 1 and 0.
    let begins = |bytes: [u8; 8]| {
        let word = u64::from_ne_bytes(bytes);
        u64::from(((!word >> 7 | word >> 6) & LOWEST_BITS).count_ones())
    };
    let whole: u64 = words.iter().map(|word| begins(*word)).sum();
    whole + rest.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u64
}

impl BodySchema {
    /// Whether the contents of a container matter.
    fn looks_into(&self, kind: Kind) -> bool {
        match kind {
            Kind::Object => self.closed || !self.members.is_empty(),
            Kind::Array => {
                let [_, _, least, most] = self.count_limits;
                self.items.is_some() || least.is_some() || most.is_some()
            }
        }
    }

    fn measures_text(&self) -> bool {
        let [least, most, _, _] = self.count_limits;
        self.allowed.is_some() || least.is_some() || most.is_some()
    }
}

impl Sink for Reader<'_> {
    fn open(&mut self, kind: Kind, _: u64) -> Result<bool, JsonError> {
        let schema = self.begins()?;
        if let Some(schema) = schema {
            let type_ = match kind {
                Kind::Object => Types::OBJECT,
                Kind::Array => Types::ARRAY,
            };
            self.check(schema, type_, &|_| false)?;
        }
        match schema.filter(|schema| schema.looks_into(kind)) {
            Some(schema) => {
                self.open.push(Open {
                    kind,
                    schema,
                    member: None,
                    seen: 0,
                    elements: 0,
                });
                Ok(true)
            }
            None => {
                self.skipping = true;
                Ok(false)
            }
        }
    }

    fn close(&mut self, _: u64) -> Result<(), JsonError> {
        if std::mem::take(&mut self.skipping) {
            return Ok(());
        }
        match self.open.pop() {
            Some(open) => self.end_container(&open),
            None => Ok(()),
        }
    }

    fn key(&mut self, key: &[u8]) {
        let Some(open) = self.open.last_mut() else {
            return;
        };
        let members = &open.schema.members;
        let found = members.binary_search_by(|member| member.name.as_bytes().cmp(key));
        open.member = found.ok().and_then(|at| members.get(at));
        if let Some(number) = open.member.and_then(|member| member.required) {
            open.seen |= bit(number);
        }
        let known = open.member.is_some_and(|member| member.schema.is_some());
        if !known && open.schema.closed {
            let mut path = self.path_of_container();
            match key {
                [] => add(&mut path, ".", "(a name that is empty or above 64 bytes)"),
                key => add(&mut path, ".", &String::from_utf8_lossy(key)),
            }
            self.violation = Some(Rule::CLOSED.violated(path, ""));
        }
    }

    fn begin_string(&mut self, _: u64) -> Result<WantedPart, JsonError> {
        self.string = None;
        let Some(schema) = self.begins()? else {
            return Ok(WantedPart::Nothing);
        };
        // Whether the text is allowed is known at its end.
        if !schema.types.has(Types::STRING) {
            let violation = wrong_type(self.path(), schema.types);
            return self.refuse(violation);
        }
        if !schema.measures_text() {
            return Ok(WantedPart::Nothing);
        }
        self.string = Some(schema);
        self.characters = 0;
        self.text.clear();
        self.too_long = false;
        Ok(WantedPart::Text)
    }

    fn length(&mut self, _: u64) {}

    fn text(&mut self, text: &[u8]) {
        self.characters += characters(text);
        if self.string.is_some_and(|schema| schema.allowed.is_some()) {
            self.too_long |= self.text.len() + text.len() > MAX_TEXT;
            if !self.too_long {
                self.text.extend_from_slice(text);
            }
        }
    }

    fn end_string(&mut self, _: u64) -> Result<(), JsonError> {
        let Some(schema) = self.string.take() else {
            return Ok(());
        };
        let (text, fits) = (std::mem::take(&mut self.text), !self.too_long);
        let is = |value: &Constant| matches!(value, Constant::Text(one) if one.as_bytes() == text);
        self.check(schema, Types::STRING, &|value| fits && is(value))?;
        self.text = text;
        let [least, most, _, _] = schema.count_limits;
        let violated = match (least, most) {
            (Some(least), _) if self.characters < u64::from(least) => (Rule::MIN_LENGTH, least),
            (_, Some(most)) if self.characters > u64::from(most) => (Rule::MAX_LENGTH, most),
            _ => return Ok(()),
        };
        let (rule, limit) = violated;
        let violation = rule.violated(self.path(), &limit.to_string());
        self.refuse(violation)
    }

    fn scalar(&mut self, scalar: Scalar, _: u64) -> Result<(), JsonError> {
        let Some(schema) = self.begins()? else {
            return Ok(());
        };
        match scalar {
            Scalar::Null => self.check(schema, Types::NULL, &|value| *value == Constant::Null),
            Scalar::Bool(is) => self.check(schema, Types::BOOLEAN, &|value| {
                *value == Constant::Bool(is)
            }),
            Scalar::Number(number) => self.number(schema, number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::characters;

    #[test]
    fn code_points_are_counted_wherever_they_lie() {
        for text in [
            "",
            "a",
            "é",
            "東京タワー",
            "a\u{1F600}b",
            "\u{7F}\u{80}\u{7FF}\u{800}\u{10FFFF}",
        ] {
            for before in 0..9 {
                let text = "x".repeat(before) + &text.repeat(7);
                assert_eq!(
                    characters(text.as_bytes()),
                    text.chars().count() as u64,
                    "{text}"
                );
            }
        }
    }
}
