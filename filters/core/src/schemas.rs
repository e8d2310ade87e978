//! The schemas of request bodies that a policy has, and the check of a held body.
//!
//! The model decides which schema applies, and a body may name its model last. So the filter reads the held body again once it knows the
//! model, in pieces, and only if a schema applies.

use headgate_contract::{Literal, OperationSchema, RequestSchema, SchemaNumber};
use headgate_dialect::{
    BodySchema, Constant, Decimal, Member, SchemaCheck, SchemaError, Types, Violation,
};

use crate::host::Host;
use crate::refusal::Refusal;

/// Bytes of a body that are read at once.
const PIECE: usize = 64 * 1024;

/// The schemas of a tagging.
#[derive(Debug)]
pub(crate) struct BodySchemas(Vec<(Vec<String>, BodySchema)>);

impl BodySchemas {
    /// `None` if there are none.
    pub(crate) fn new(schemas: Vec<OperationSchema>) -> Option<Self> {
        let compile = |one: OperationSchema| (one.operations, compiled(one.schema));
        let some = !schemas.is_empty();
        some.then(|| Self(schemas.into_iter().map(compile).collect()))
    }

    /// Checks the held body of a request for a model. `length`: its bytes of JSON.
    ///
    /// # Errors
    /// The body does not meet the schema of its operation, or cannot be read again.
    pub(crate) fn check(
        &self,
        operation: &str,
        model: &str,
        host: &dyn Host,
        length: usize,
    ) -> Result<(), Box<Refusal>> {
        let mut schemas = self.0.iter();
        let found = schemas.find(|(operations, _)| operations.iter().any(|o| o == operation));
        let Some((_, schema)) = found else {
            return Ok(());
        };
        read_again(schema, host, length).map_err(|error| match error {
            SchemaError::Body(error) => Refusal::Body(error).into(),
            SchemaError::Violation(violation) => violated(violation, model),
        })
    }
}

#[cold]
fn violated(violation: Violation, model: &str) -> Box<Refusal> {
    let model = model.to_owned();
    Refusal::SchemaViolation { violation, model }.into()
}

/// Reads the held body. If the proxy returns too little, the document is incomplete, which is an error.
fn read_again(schema: &BodySchema, host: &dyn Host, length: usize) -> Result<(), SchemaError> {
    let mut check = SchemaCheck::new(schema);
    let mut from = 0;
    while from < length && !check.failed() {
        let piece = host
            .held_body(from, PIECE.min(length - from))
            .unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        check.push(&piece);
        from += piece.len();
    }
    check.finish()
}

/// The types, in the order of [`headgate_contract::JSON_TYPES`].
const TYPES: [Types; 7] = [
    Types::NULL,
    Types::BOOLEAN,
    Types::INTEGER,
    Types::NUMBER,
    Types::STRING,
    Types::ARRAY,
    Types::OBJECT,
];

/// The schema in the form that is checked.
#[must_use]
pub fn compiled(schema: RequestSchema) -> BodySchema {
    let named = TYPES.iter().enumerate();
    let named = named.filter(|(i, _)| schema.types >> i & 1 == 1);
    let types = named.fold(Types::NONE, |all, (_, one)| all.with(*one));
    let allowed = schema.allowed;
    BodySchema {
        types: match schema.types {
            0 => Types::ANY,
            _ => types,
        },
        allowed: allowed.map(|values| values.into_iter().map(constant).collect()),
        number_limits: schema.number_limits.map(|limit| limit.map(decimal)),
        count_limits: schema.count_limits,
        items: schema.items.map(|items| Box::new(compiled(*items))),
        members: members(schema.properties, schema.required),
        closed: schema.closed,
    }
}

/// The members that a schema names, sorted.
fn members(properties: Vec<(String, RequestSchema)>, required: Vec<String>) -> Vec<Member> {
    let property = |(name, schema)| Member {
        name,
        schema: Some(compiled(schema)),
        required: None,
    };
    let mut members: Vec<_> = properties.into_iter().map(property).collect();
    for (number, name) in (0..).zip(required) {
        let at = members.partition_point(|member| member.name < name);
        match members.get_mut(at).filter(|member| member.name == name) {
            Some(member) => member.required = Some(number),
            None => {
                let (schema, required) = (None, Some(number));
                members.insert(
                    at,
                    Member {
                        name,
                        schema,
                        required,
                    },
                );
            }
        }
    }
    members
}

fn constant(literal: Literal) -> Constant {
    match literal {
        Literal::Null => Constant::Null,
        Literal::Bool(value) => Constant::Bool(value),
        Literal::Number(number) => Constant::Number(decimal(number)),
        Literal::Text(text) => Constant::Text(text),
    }
}

fn decimal(number: SchemaNumber) -> Decimal {
    Decimal::new(number.negative, number.digits, number.places)
}
