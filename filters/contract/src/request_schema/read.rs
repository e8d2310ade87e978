//! A schema from the tree of its JSON. (One function reads all keywords from tables: code for each of them would take three times as much.)

use std::ops::RangeInclusive;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{
    COUNT_LIMITS, JSON_OPERATIONS, JSON_TYPES, Literal, NUMBER_LIMITS, OperationSchema,
    RequestSchema, SchemaNumber,
};
use crate::error::join;
use crate::json::Node;

/// Most names in `required`.
const MAX_REQUIRED: usize = 64;
/// Most values in `enum`.
const MAX_ALLOWED: usize = 256;
/// Longest name of a member, in bytes.
const MAX_NAME: usize = 64;
/// Keywords that check nothing.
const ANNOTATIONS: [&str; 6] = [
    "title",
    "description",
    "default",
    "examples",
    "$schema",
    "$comment",
];

/// An error, with its path.
struct Fault {
    path: String,
    problem: String,
}

type Read<T> = Result<T, Box<Fault>>;

impl<'de> Deserialize<'de> for OperationSchema {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        operation(Node::deserialize(d)?).map_err(|fault| {
            let Fault { path, problem } = *fault;
            match path.as_str() {
                "" => D::Error::custom(problem),
                _ => D::Error::custom(["`", &path, "` ", &problem].concat()),
            }
        })
    }
}

fn operation(tree: Node) -> Read<OperationSchema> {
    let Node::Map(fields) = tree else {
        return Err(not(&tree, "`operations` and `schema`"));
    };
    let mut operations = Vec::new();
    let mut found = None;
    for (field, value) in fields {
        let result = match field.as_str() {
            "operations" => each(value, 1..=JSON_OPERATIONS.len(), &mut |one| {
                let Node::Text(name) = one else {
                    return Err(not(&one, "the name of an operation"));
                };
                if !JSON_OPERATIONS.contains(&name.as_str()) {
                    return fault(
                        "must be the name of an operation whose body is JSON, such as openai.chat",
                    );
                }
                if operations.contains(&name) {
                    return fault("is given twice: remove one");
                }
                operations.push(name);
                Ok(())
            }),
            "schema" => schema(value).map(|schema| found = Some(schema)),
            _ => fault("is no field: write `operations` and `schema`"),
        };
        within(&field, result)?;
    }
    match found {
        Some(schema) if !operations.is_empty() => {
            within("schema", schema.check_size().or_else(fault))?;
            Ok(OperationSchema { operations, schema })
        }
        _ => fault("needs `operations` and `schema`"),
    }
}

fn fault<T>(problem: impl Into<String>) -> Read<T> {
    let (path, problem) = (String::new(), problem.into());
    Err(Box::new(Fault { path, problem }))
}

fn not(node: &Node, expected: &str) -> Box<Fault> {
    let problem = ["is ", node.kind(), ": write ", expected].concat();
    let path = String::new();
    Box::new(Fault { path, problem })
}

/// The error of a part of a container, which is its key or its `[index]`.
fn under(part: &str, mut fault: Box<Fault>) -> Box<Fault> {
    fault.path = join(part, &fault.path);
    fault
}

fn within<T>(part: &str, result: Read<T>) -> Read<T> {
    result.map_err(|fault| under(part, fault))
}

fn schema(tree: Node) -> Read<RequestSchema> {
    let Node::Map(keywords) = tree else {
        return Err(not(&tree, "a schema, such as {type: string}"));
    };
    let mut schema = RequestSchema::default();
    for (keyword, value) in keywords {
        within(&keyword, set(&mut schema, &keyword, value))?;
    }
    Ok(schema)
}

fn position(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

fn set(schema: &mut RequestSchema, keyword: &str, value: Node) -> Read<()> {
    if let Some(i) = position(&NUMBER_LIMITS, keyword) {
        let number = SchemaNumber::of(&value).ok_or_else(|| not(&value, "a number"))?;
        schema.number_limits[i] = Some(number.or_else(fault)?);
    } else if let Some(i) = position(&COUNT_LIMITS, keyword) {
        let count = match value {
            Node::Unsigned(count) => u32::try_from(count).ok(),
            _ => None,
        };
        schema.count_limits[i] = Some(match count {
            Some(count) => count,
            None => return fault("must be a whole number from 0 to 4294967295"),
        });
    } else {
        match keyword {
            "type" => match value {
                Node::List(_) => each(value, 1..=JSON_TYPES.len(), &mut |one| {
                    schema.types |= type_bit(one)?;
                    Ok(())
                })?,
                one => schema.types = type_bit(one)?,
            },
            "enum" | "const" if schema.allowed.is_some() => {
                return fault("excludes `const` and `enum`: write one of them");
            }
            "enum" => {
                let mut values = Vec::new();
                each(value, 1..=MAX_ALLOWED, &mut |one| {
                    values.push(literal(one)?);
                    Ok(())
                })?;
                schema.allowed = Some(values);
            }
            "const" => schema.allowed = Some(vec![literal(value)?]),
            "items" => schema.items = Some(Box::new(self::schema(value)?)),
            "properties" => schema.properties = properties(value)?,
            "required" => each(value, 0..=MAX_REQUIRED, &mut |one| {
                match one {
                    Node::Text(name) if is_name(&name) => {
                        if !schema.required.contains(&name) {
                            schema.required.push(name);
                        }
                    }
                    _ => return fault("must be a name of 1 to 64 bytes"),
                }
                Ok(())
            })?,
            "additionalProperties" => match value {
                Node::Bool(others) => schema.closed = !others,
                _ => return Err(not(&value, "true or false")),
            },
            annotation if ANNOTATIONS.contains(&annotation) => {}
            _ => {
                return fault(
                    "is no keyword that is checked: remove it. Known are type, enum, const, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, minItems, maxItems, items, properties, required, additionalProperties and annotations",
                );
            }
        }
    }
    Ok(())
}

/// Reads the elements of a list, as many as this.
fn each(
    list: Node,
    counts: RangeInclusive<usize>,
    read: &mut dyn FnMut(Node) -> Read<()>,
) -> Read<()> {
    let Node::List(list) = list else {
        return Err(not(&list, "a list"));
    };
    if !counts.contains(&list.len()) {
        let (least, most) = (counts.start(), counts.end());
        return fault(format!(
            "has {} entries: give {least} to {most}",
            list.len()
        ));
    }
    for (i, element) in list.into_iter().enumerate() {
        read(element).map_err(|fault| under(&format!("[{i}]"), fault))?;
    }
    Ok(())
}

fn literal(value: Node) -> Read<Literal> {
    let other = not(&value, "text, a number, true, false or null");
    Literal::of(value).ok_or(other)?.or_else(fault)
}

/// The bit of a type.
fn type_bit(value: Node) -> Read<u8> {
    let Node::Text(name) = value else {
        return Err(not(&value, "a type, or a list of types"));
    };
    match position(&JSON_TYPES, &name) {
        Some(i) => Ok(1 << i),
        None => fault("must be one of null, boolean, integer, number, string, array, object"),
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

fn properties(value: Node) -> Read<Vec<(String, RequestSchema)>> {
    let Node::Map(members) = value else {
        return Err(not(&value, "a schema for each name"));
    };
    let mut properties = Vec::new();
    for (name, value) in members {
        if !is_name(&name) {
            return fault("has a name that is empty or above 64 bytes: write 1 to 64 bytes");
        }
        let schema = within(&name, schema(value))?;
        properties.push((name, schema));
    }
    Ok(properties)
}
