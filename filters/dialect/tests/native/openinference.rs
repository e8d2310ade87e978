//! Property: inference requests cost the same however they are cut, and gRPC messages mean what a decoder of Protocol Buffers reads.

use crate::chunking::cut;
use crate::golden::openinference::{GRPC, INFER, Request, requests};
use headgate_dialect::{Body, BodyError, Limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use prost::Message;

/// The fields of `ModelInferRequest` that are read.
#[derive(Clone, PartialEq, Message)]
struct ModelInferRequest {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Input>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    raw_input_contents: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Input {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, repeated, tag = "4")]
    parameters: Vec<Parameter>,
    #[prost(message, optional, tag = "5")]
    contents: Option<Contents>,
}

/// An entry of a map.
#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ParameterValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ParameterValue {
    #[prost(int64, tag = "2")]
    signed: i64,
    #[prost(uint64, tag = "5")]
    unsigned: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(bool, repeated, tag = "1")]
    bools: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    ints: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    longs: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    uints: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    ulongs: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    floats: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    doubles: Vec<f64>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    texts: Vec<Vec<u8>>,
}

/// An input with as many elements of its datatype as its shape says, and the bytes that it costs.
fn input() -> impl Strategy<Value = (Input, u64)> {
    let datatypes = select(vec![
        ("BOOL", 1),
        ("INT16", 2),
        ("INT32", 4),
        ("INT64", 8),
        ("UINT8", 1),
        ("UINT64", 8),
        ("FP32", 4),
        ("FP64", 8),
        ("BYTES", 0),
    ]);
    (datatypes, 0..4i64, vec(any::<u64>(), 0..40)).prop_map(
        |((datatype, size), columns, numbers)| {
            let shape = match columns {
                0 => vec![numbers.len() as i64],
                _ => vec![numbers.len() as i64 / columns, columns],
            };
            let mut contents = Contents::default();
            let mut cost = size * numbers.len() as u64;
            for number in numbers {
                match datatype {
                    "BOOL" => contents.bools.push(number % 2 == 0),
                    "INT16" | "INT32" => contents.ints.push(number as i32),
                    "INT64" => contents.longs.push(number as i64),
                    "UINT8" => contents.uints.push(number as u32),
                    "UINT64" => contents.ulongs.push(number),
                    "FP32" => contents.floats.push(number as f32),
                    "FP64" => contents.doubles.push(number as f64),
                    _ => {
                        let text = vec![7; number as usize % 300];
                        cost += text.len() as u64;
                        contents.texts.push(text);
                    }
                }
            }
            let input = Input {
                name: "x".to_owned(),
                datatype: datatype.to_owned(),
                shape,
                parameters: Vec::new(),
                contents: Some(contents),
            };
            (input, cost)
        },
    )
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat()
}

fn facts(body: &[u8]) -> Result<Body, BodyError> {
    let endpoint = crate::golden::endpoint(GRPC);
    let mut scanner = endpoint.request_scanner(Limits::default()).unwrap();
    scanner.push(body);
    scanner.finish()
}

/// Golden requests with a few changed bytes.
fn hostile() -> impl Strategy<Value = Request> {
    let count = requests().len();
    let edit = (any::<Index>(), any::<Index>(), vec(any::<u8>(), 0..4));
    (0..count, vec(edit, 0..4), any::<bool>()).prop_map(|(at, edits, sized)| {
        let mut request = requests().swap_remove(at);
        for (start, len, with) in edits {
            let start = start.index(request.body.len() + 1);
            let end = (start + len.index(4)).min(request.body.len());
            request.body.splice(start..end, with);
        }
        request.sized &= sized;
        request
    })
}

#[test]
fn a_cut_at_every_byte_has_no_effect() {
    for request in requests() {
        for at in 0..=request.body.len() {
            let (head, tail) = request.body.split_at(at);
            let (body, passed) = request.scan(&[head, tail]);
            assert_eq!(body, request.expected, "{} at {at}", request.name);
            if body.is_ok() {
                assert_eq!(passed, request.passed, "{} at {at}", request.name);
            }
        }
    }
}

#[test]
fn what_is_known_early_is_decided_early() {
    for request in requests().iter().filter(|request| request.expected.is_ok()) {
        let mut scanner = crate::golden::endpoint(request.path)
            .request_scanner(Limits::default())
            .unwrap();
        scanner.set_headers(&headgate_dialect::BodyHeaders {
            json_length: request.json_length.as_bytes(),
            ..Default::default()
        });
        let json: usize = request.json_length.trim().parse().unwrap_or(0);
        let decides = match (request.path, &request.body[..]) {
            (INFER, _) if request.json_length.is_empty() => None,
            (INFER, _) => Some(json),
            (_, [1, ..]) => Some(5),
            (_, [_, a, b, c, d, ..]) => Some(5 + u32::from_be_bytes([*a, *b, *c, *d]) as usize),
            _ => None,
        };
        assert_eq!(scanner.holds_all(), decides.is_none(), "{}", request.name);
        for at in 0..=request.body.len() {
            let expected = decides.is_some_and(|decides| at >= decides);
            assert_eq!(scanner.decided(), expected, "{} at {at}", request.name);
            scanner.push(request.body.get(at..=at).unwrap_or_default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn cuts_have_no_effect(request in hostile(), cuts in vec(any::<Index>(), 0..8)) {
        let whole = request.scan(&[&request.body]);
        prop_assert_eq!(&request.scan(&cut(&request.body, &cuts)), &whole);
        let single: Vec<&[u8]> = request.body.chunks(1).collect();
        prop_assert_eq!(&request.scan(&single), &whole);
    }

    #[test]
    fn a_message_costs_what_its_tensors_hold(
        inputs in vec(input(), 0..4),
        model in "[a-z]{0,3}",
        version in "[0-9]{0,2}",
        raw in vec(vec(any::<u8>(), 0..300), 0..4),
    ) {
        let costs: u64 = inputs.iter().map(|(_, cost)| cost).sum();
        let raw_costs: u64 = raw.iter().map(|raw| raw.len() as u64).sum();
        let request = ModelInferRequest {
            model_name: model.clone(),
            model_version: version.clone(),
            id: "1".to_owned(),
            inputs: inputs.into_iter().map(|(input, _)| input).collect(),
            raw_input_contents: raw,
        };
        let body = facts(&framed(&request.encode_to_vec())).unwrap();
        prop_assert_eq!(body.model.unwrap_or_default(), model);
        prop_assert_eq!(body.version.unwrap_or_default(), version);
        prop_assert_eq!(body.prompt_bytes, costs.max(raw_costs));
    }

    #[test]
    fn what_a_decoder_accepts_means_the_same(
        request in hostile(),
        inputs in vec(input(), 0..2),
        edits in vec((any::<Index>(), any::<u8>()), 0..3),
    ) {
        let golden = request.body.get(5..).unwrap_or_default().to_vec();
        let mut own = ModelInferRequest {
            model_name: "m".to_owned(),
            inputs: inputs.into_iter().map(|(input, _)| input).collect(),
            ..ModelInferRequest::default()
        }
        .encode_to_vec();
        for (at, byte) in edits {
            let at = at.index(own.len());
            own[at] = byte;
        }
        for message in [golden, own] {
            let Ok(decoded) = ModelInferRequest::decode(&message[..]) else { continue };
            let group = BodyError::NotProtobuf { what: "a field has an unknown wire type" };
            match facts(&framed(&message)) {
                Ok(body) => {
                    prop_assert_eq!(body.model.unwrap_or_default(), decoded.model_name);
                    prop_assert_eq!(body.version.unwrap_or_default(), decoded.model_version);
                    let raw: usize = decoded.raw_input_contents.iter().map(Vec::len).sum();
                    prop_assert!(body.prompt_bytes >= raw as u64);
                }
                Err(error) if error == group => {}
                Err(BodyError::NotProtobuf { what }) => prop_assert!(false, "{}", what),
                Err(_) => {}
            }
        }
    }
}
