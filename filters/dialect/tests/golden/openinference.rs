//! Open Inference Protocol: requests as tritonclient sends them (recorded by `openinference/record.py`), and as the clients of KServe and
//! MLServer do.

use super::bad::wrong;
use super::case::{Case, events, json};
use super::requests::some;
use headgate_dialect::{Body, BodyError, BodyHeaders, Limits, Passed};

pub(crate) const INFER: &str = "/v2/models/m/infer";
pub(crate) const GRPC: &str = "/inference.GRPCInferenceService/ModelInfer";
pub(crate) const GRPC_STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

const FLAG: &str = "a message has an unknown compression flag";
const TOO_LONG: &str = "a field is longer than its message";

/// A request whose body may pass after the part that decides.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    /// The header `inference-header-content-length`.
    pub(crate) json_length: &'static str,
    /// The header `content-length` is sent.
    pub(crate) sized: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) expected: Result<Body, BodyError>,
    /// What passes after the decision.
    pub(crate) passed: Passed,
}

impl Request {
    fn new(name: &'static str, path: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            name,
            path,
            json_length: "",
            sized: false,
            body: body.into(),
            expected: Ok(Body::default()),
            passed: Passed::default(),
        }
    }

    fn json(mut self, length: &'static str) -> Self {
        self.json_length = length;
        self
    }

    fn sized(mut self) -> Self {
        self.sized = true;
        self
    }

    fn costs(mut self, bytes: usize) -> Self {
        let named = self.path != INFER;
        self.expected = Ok(Body {
            model: named.then(|| "m".to_owned()),
            prompt_bytes: bytes as u64,
            ..Body::default()
        });
        self
    }

    fn costs_all(mut self) -> Self {
        self.expected = self.expected.map(|body| Body {
            prompt_bytes: u64::MAX,
            ..body
        });
        self
    }

    fn unnamed(mut self) -> Self {
        self.expected = self.expected.map(|body| Body {
            model: None,
            ..body
        });
        self
    }

    fn pinned(mut self, version: &str) -> Self {
        self.expected = self.expected.map(|body| Body {
            version: some(version),
            ..body
        });
        self
    }

    fn passes(mut self, bytes: u64, messages: u64) -> Self {
        self.passed = Passed {
            bytes,
            tokens: 0,
            messages,
        };
        self
    }

    fn fails(mut self, error: BodyError) -> Self {
        self.expected = Err(error);
        self
    }

    /// The facts, and what passes, of the body in these pieces. The part that decides is pushed; the rest passes.
    pub(crate) fn scan(&self, pieces: &[&[u8]]) -> (Result<Body, BodyError>, Passed) {
        let mut scanner = super::endpoint(self.path)
            .request_scanner(Limits::default())
            .unwrap();
        scanner.set_headers(&BodyHeaders {
            json_length: self.json_length.as_bytes(),
            content_length: self.sized.then_some(self.body.len() as u64),
            ..BodyHeaders::default()
        });
        let mut pieces = pieces.iter();
        while !scanner.decided() && scanner.error().is_none() {
            let Some(piece) = pieces.next() else { break };
            scanner.push(piece);
        }
        let body = scanner.finish();
        let mut passed = scanner.pass(b"");
        if body.is_ok() {
            for piece in pieces {
                let more = scanner.pass(piece);
                passed.bytes += more.bytes;
                passed.tokens += more.tokens;
                passed.messages += more.messages;
            }
        }
        (body, passed)
    }

    /// Checks the body in pieces of `portion` bytes.
    pub(crate) fn check(&self, portion: usize) {
        let pieces: Vec<&[u8]> = self.body.chunks(portion).collect();
        let (body, passed) = self.scan(&pieces);
        assert_eq!(body, self.expected, "{} by {portion}", self.name);
        if body.is_ok() {
            assert_eq!(passed, self.passed, "{} by {portion}", self.name);
        }
    }
}

pub(crate) fn requests() -> Vec<Request> {
    let mut requests = rest();
    requests.extend(servers());
    requests.extend(bad_rest());
    requests.extend(grpc());
    requests.extend(odd_grpc());
    requests.extend(bad_grpc());
    requests
}

/// What the texts of the recordings cost in binary form: four bytes of length each, and their bytes.
const TEXTS: usize = 4 * 4 + "Grüßetwoa_b".len();

fn rest() -> Vec<Request> {
    const BINARY: &[u8] = include_bytes!("openinference/http-binary.bin");
    const MIXED: &[u8] = include_bytes!("openinference/http-mixed.bin");
    const SHORT: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[4],"parameters":{"binary_data_size":16}}]}"#;
    let behind = |bytes: usize| [SHORT.as_bytes(), &vec![7; bytes]].concat();
    vec![
        Request::new("tritonclient: binary tensors", INFER, BINARY)
            .json("396")
            .sized()
            .costs(TEXTS + 6 * 4 + 3 + 2 * 8),
        Request::new("tritonclient: the same, of unknown length", INFER, BINARY)
            .json(" 396 ")
            .costs(TEXTS + 6 * 4 + 3 + 2 * 8),
        Request::new(
            "tritonclient: JSON",
            INFER,
            include_bytes!("openinference/http-json.bin"),
        )
        .sized()
        .costs(6 * 4 + 3 + 2 * 8),
        Request::new("tritonclient: binary text, numbers in JSON", INFER, MIXED)
            .json("276")
            .sized()
            .costs(TEXTS + 6 * 4),
        Request::new(
            "tritonclient: text in shared memory",
            INFER,
            include_bytes!("openinference/http-shared-memory.bin"),
        )
        .costs(640),
        Request::new("more binary than announced", INFER, behind(100))
            .json("92")
            .sized()
            .costs(100),
        Request::new("the same, of unknown length", INFER, behind(100))
            .json("92")
            .costs(16)
            .passes(84, 0),
        Request::new("less binary than announced", INFER, behind(3))
            .json("92")
            .sized()
            .costs(16),
        Request::new("triton: one raw tensor without JSON", INFER, vec![b'{'; 70])
            .json("0")
            .sized()
            .costs(70),
        Request::new("the same, of unknown length", INFER, vec![b'{'; 70])
            .json("0")
            .passes(70, 0),
    ]
}

fn servers() -> Vec<Request> {
    let nested = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"INT8","shape":[2],"data":{}1,2{}}}]}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    let request = |name, body: &str| Request::new(name, INFER, body);
    vec![
        request(
            "kserve: rows",
            r#"{"inputs":[{"name":"input-0","shape":[2,4],"datatype":"FP32","data":[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]}]}"#,
        )
        .costs(32),
        request(
            "kserve: texts, keys in another order, an input without elements",
            r#"{"id":"2","parameters":{"datatype":"x"},"inputs":[{"data":["Die Grüße","\u00e4\n",""],"name":"context","parameters":null,"datatype":"BYTES","shape":[3]},{"name":"y","shape":[0,4],"datatype":"FP64","data":[]}],"outputs":[{"name":"o"}]}"#,
        )
        .costs("Die Grüßeä\n".len()),
        request(
            "mlserver: a table",
            r#"{"parameters":{"content_type":"pd"},"inputs":[{"name":"age","parameters":{"content_type":"np"},"shape":[3,1],"datatype":"INT64","data":[33,1.5e1,-7]},{"name":"job","shape":[2],"datatype":"BYTES","data":["cook","smith"],"parameters":{"content_type":"str"}}]}"#,
        )
        .costs(3 * 8 + "cooksmith".len()),
        request(
            "mlserver: text that is no list, flags, and missing values",
            r#"{"inputs":[{"name":"a","shape":[1],"datatype":"BYTES","data":"aGVsbG8="},{"name":"b","shape":[2],"datatype":"BOOL","data":[true,null]},{"name":"c","shape":[1],"datatype":"BYTES","data":[null,7]}]}"#,
        )
        .costs("aGVsbG8=".len() + 2 + 2),
        request(
            "objects as elements count their bytes",
            r#"{"inputs":[{"name":"a","shape":[1],"datatype":"BYTES","data":[{"k":[1,"]"]},"x"]},{"name":"b","shape":[1],"datatype":"BYTES","data":{"a":1}}]}"#,
        )
        .costs(r#"{"k":[1,"]"]}x{"a":1}"#.len()),
        request(
            "every datatype",
            r#"{"inputs":[{"datatype":"BOOL","shape":[1]},{"datatype":"INT8","shape":[1]},{"datatype":"INT16","shape":[1]},{"datatype":"INT32","shape":[1]},{"datatype":"INT64","shape":[1]},{"datatype":"UINT8","shape":[1]},{"datatype":"UINT16","shape":[1]},{"datatype":"UINT32","shape":[1]},{"datatype":"UINT64","shape":[1]},{"datatype":"FP16","shape":[1]},{"datatype":"BF16","shape":[1]},{"datatype":"FP32","shape":[1]},{"datatype":"FP64","shape":[1]},{"datatype":"BYTES","shape":[1]}]}"#,
        )
        .costs(2 * (1 + 2 + 4 + 8) + 1 + 2 + 2 + 4 + 8),
        request(
            "more elements than the shape says",
            r#"{"inputs":[{"datatype":"INT32","shape":[1],"data":[1,2,3]}]}"#,
        )
        .costs(12),
        request(
            "a scalar, and a datatype that is given twice",
            r#"{"inputs":[{"datatype":"FP64","shape":[],"data":[1]},{"datatype":"FP64","datatype":"BOOL","shape":[1],"data":[1,2]}]}"#,
        )
        .costs(8 + 16),
        request(
            "inputs that are given twice",
            r#"{"inputs":[{"datatype":"INT8","shape":[5]}],"inputs":[{"datatype":"INT8","shape":[7]}]}"#,
        )
        .costs(12),
        request(
            "sizes beyond all numbers",
            r#"{"inputs":[{"datatype":"FP64","shape":[9000000000000000000,9]},{"datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":9000000000000000000}},{"datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":9000000000000000000}}]}"#,
        )
        .costs(0)
        .costs_all(),
        Request::new("elements in a hundred lists", INFER, nested).costs(2),
        request("no inputs", "{}").costs(0),
    ]
}

fn bad_rest() -> Vec<Request> {
    const HEADER: &str = "inference-header-content-length";
    const LENGTH: &str = "the number of bytes of the JSON at the beginning of the body";
    const SHAPE: &str = "an array of whole numbers";
    const TYPES: &str = "one of BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP16, BF16, FP32, FP64, BYTES";
    let at = |offset, what| BodyError::Malformed { offset, what };
    let mut requests = vec![
        Request::new("a length in words", INFER, "{}")
            .json("two")
            .fails(wrong(HEADER, LENGTH)),
        Request::new("a negative length", INFER, "{}")
            .json("-1")
            .fails(wrong(HEADER, LENGTH)),
        Request::new("a length beyond the body", INFER, "{}")
            .json("3")
            .sized()
            .fails(wrong(HEADER, LENGTH)),
        Request::new("JSON that goes on", INFER, r#"{"inputs":[]}"#)
            .json("10")
            .fails(at(10, "it ends before everything opened is closed")),
        Request::new("JSON that ended", INFER, "{}xyz")
            .json("4")
            .fails(at(2, "unexpected content after the end of the document")),
        Request::new("tensors without the header", INFER, b"{}\0\0".to_vec())
            .fails(at(2, "unexpected content after the end of the document")),
    ];
    for (body, error) in [
        ("[]", BodyError::NotAnObject),
        ("7", BodyError::NotAnObject),
        (r#"{"inputs":{}}"#, wrong("inputs", "an array")),
        (r#"{"inputs":"x"}"#, wrong("inputs", "an array")),
        (r#"{"inputs":null}"#, wrong("inputs", "an array")),
        (r#"{"inputs":[[]]}"#, wrong("inputs[]", "an object")),
        (r#"{"inputs":["x"]}"#, wrong("inputs[]", "an object")),
        (r#"{"inputs":[7]}"#, wrong("inputs[]", "an object")),
        (r#"{"inputs":[{}]}"#, wrong("inputs[].datatype", TYPES)),
        (
            r#"{"inputs":[{"datatype":"FP8","shape":[1]}]}"#,
            wrong("inputs[].datatype", TYPES),
        ),
        (
            r#"{"inputs":[{"datatype":"fp32","shape":[1]}]}"#,
            wrong("inputs[].datatype", TYPES),
        ),
        (
            r#"{"inputs":[{"datatype":"BYTES and more"}]}"#,
            wrong("inputs[].datatype", TYPES),
        ),
        (
            r#"{"inputs":[{"datatype":"","shape":[1]}]}"#,
            wrong("inputs[].datatype", TYPES),
        ),
        (
            r#"{"inputs":[{"shape":[-1]}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"shape":[1.5]}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"shape":["1"]}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"shape":[null]}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"shape":[[1]]}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"shape":{}}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"shape":3}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"shape":"3"}]}"#,
            wrong("inputs[].shape", SHAPE),
        ),
        (
            r#"{"inputs":[{"parameters":{"binary_data_size":-1}}]}"#,
            wrong("inputs[].parameters.binary_data_size", "a whole number"),
        ),
        (
            r#"{"inputs":[{"parameters":{"shared_memory_byte_size":0.5}}]}"#,
            wrong(
                "inputs[].parameters.shared_memory_byte_size",
                "a whole number",
            ),
        ),
    ] {
        requests.push(Request::new(body, INFER, body).fails(error));
    }
    requests
}

/// A message of gRPC.
fn message(compressed: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[compressed][..], &length, bytes].concat()
}

/// A field with a length, of at most 127 bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 0x80);
    [&[number << 3 | 2, length][..], bytes].concat()
}

/// A request for the model `m` with these further fields.
fn infer(fields: &[Vec<u8>]) -> Vec<u8> {
    message(0, &[field(1, b"m"), fields.concat()].concat())
}

/// An input with this datatype and these further fields.
fn input(datatype: &str, fields: &[Vec<u8>]) -> Vec<u8> {
    field(
        5,
        &[field(2, datatype.as_bytes()), fields.concat()].concat(),
    )
}

fn grpc() -> Vec<Request> {
    const STREAM: &[u8] = include_bytes!("openinference/grpc-stream.bin");
    let gzip = include_bytes!("openinference/grpc-gzip.bin");
    let deflate = include_bytes!("openinference/grpc-deflate.bin");
    vec![
        Request::new(
            "tritonclient: raw tensors",
            GRPC,
            include_bytes!("openinference/grpc-infer.bin"),
        )
        .costs(TEXTS + 6 * 4 + 3 + 2 * 8)
        .pinned("3"),
        Request::new(
            "typed contents",
            GRPC,
            include_bytes!("openinference/grpc-contents.bin"),
        )
        .costs(3 + 2 * 4 + 2 * 8 + 2 + 8 + 3 * 4 + 2 * 8 + "Grüße".len()),
        Request::new("tritonclient: gzip", GRPC, gzip)
            .costs(gzip.len() - 5)
            .unnamed(),
        Request::new("tritonclient: deflate", GRPC, deflate)
            .costs(deflate.len() - 5)
            .unnamed(),
        Request::new(
            "tritonclient: text in shared memory",
            GRPC,
            include_bytes!("openinference/grpc-shared-memory.bin"),
        )
        .costs(640),
        Request::new("tritonclient: a stream", GRPC_STREAM, STREAM)
            .costs(4)
            .passes(8 + 12, 2),
        Request::new(
            "a compressed message first, then one that names another model",
            GRPC_STREAM,
            [&gzip[..], STREAM].concat(),
        )
        .costs(gzip.len() - 5)
        .unnamed()
        .passes(4 + 8 + 12, 3),
        Request::new(
            "an empty message, then compressed ones",
            GRPC_STREAM,
            [&message(0, b"")[..], gzip, deflate].concat(),
        )
        .costs(0)
        .unnamed()
        .passes((gzip.len() + deflate.len() - 10) as u64, 2),
        Request::new(
            "a further message that is malformed costs its bytes, and the next one what it holds",
            GRPC_STREAM,
            [&message(0, b"")[..], &message(0, &[0x0A; 30]), STREAM].concat(),
        )
        .costs(0)
        .unnamed()
        .passes(30 + 4 + 8 + 12, 4),
        Request::new(
            "bytes that are no message count",
            GRPC_STREAM,
            [STREAM, &[9, 0, 0, 0, 1, 7, 7, 7]].concat(),
        )
        .costs(4)
        .passes(8 + 12 + 3, 2),
        Request::new(
            "a further message that is cut costs nothing",
            GRPC_STREAM,
            STREAM[..STREAM.len() - 1].to_vec(),
        )
        .costs(4)
        .passes(8, 1),
    ]
}

fn odd_grpc() -> Vec<Request> {
    let ones = field(3, &[1, 1]);
    vec![
        Request::new(
            "names that are given twice: the last one counts",
            GRPC,
            message(
                0,
                &[
                    field(1, b"other"),
                    field(2, b"2"),
                    field(1, b"m"),
                    field(2, b""),
                ]
                .concat(),
            ),
        )
        .costs(0),
        Request::new(
            "the shape in several parts, with and without a list; unknown fields",
            GRPC,
            infer(&[
                input(
                    "FP64",
                    &[
                        field(3, &[2, 0x81, 0x00]),
                        vec![0x18, 3],
                        field(3, &[]),
                        field(3, &[5]),
                    ],
                ),
                field(15, b"abc"),
                vec![
                    0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7D, 1, 2, 3, 4, 0x78, 0xFF, 1,
                ],
            ]),
        )
        .costs(2 * 3 * 5 * 8),
        Request::new(
            "elements that are not in a list",
            GRPC,
            infer(&[
                input(
                    "INT32",
                    &[
                        ones.clone(),
                        field(5, &[0x10, 0xFF, 0x01, 0x10, 2, 0x10, 3]),
                    ],
                ),
                input(
                    "FP32",
                    &[
                        ones.clone(),
                        field(5, &[0x35, 1, 2, 3, 4, 0x35, 1, 2, 3, 4]),
                    ],
                ),
                input("FP64", &[field(5, &[0x39, 1, 2, 3, 4, 5, 6, 7, 8])]),
            ]),
        )
        .costs(3 * 4 + 2 * 4 + 8),
        Request::new(
            "an input whose shape says more than was sent",
            GRPC,
            infer(&[input("FP32", &[field(3, &[100])]), field(7, &[0; 4])]),
        )
        .costs(400),
        Request::new(
            "a shape beyond all numbers",
            GRPC,
            infer(&[input(
                "FP32",
                &[field(
                    3,
                    &[[0xFF; 8].as_slice(), &[0x7F], &[0xFF; 8], &[0x7F]].concat(),
                )],
            )]),
        )
        .costs(0)
        .costs_all(),
        Request::new(
            "other parameters with numbers",
            GRPC,
            infer(&[input(
                "BYTES",
                &[
                    field(
                        4,
                        &[field(1, b"shared_memory_offset"), field(2, &[0x10, 90])].concat(),
                    ),
                    field(
                        4,
                        &[field(1, b"shared_memory_byte_size_"), field(2, &[0x10, 91])].concat(),
                    ),
                    field(
                        4,
                        &[field(2, &[0x10, 64]), field(1, b"shared_memory_byte_size")].concat(),
                    ),
                ],
            )]),
        )
        .costs(64),
    ]
}

fn bad_grpc() -> Vec<Request> {
    const CUT: &str = "a message ends inside a field";
    const SHORT: &str = "it ends before its first message is complete";
    const TYPES: &str = "one of BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP16, BF16, FP32, FP64, BYTES";
    let malformed = |what| BodyError::NotProtobuf { what };
    let bad = |name, body, error| Request::new(name, GRPC, body).fails(error);
    let negative = [[0xFF; 9].as_slice(), &[1]].concat();
    vec![
        bad("no message", vec![], malformed(SHORT)),
        bad("a part of a header", vec![0, 0, 0], malformed(SHORT)),
        bad(
            "a part of a message",
            infer(&[])[..7].to_vec(),
            malformed(SHORT),
        ),
        bad("JSON", b"{\"inputs\":[]}".to_vec(), malformed(FLAG)),
        bad(
            "a field beyond the message",
            message(0, &[0x0A, 5, b'm']),
            malformed(TOO_LONG),
        ),
        bad(
            "a number beyond the message",
            message(0, &[0x0A, 0x80]),
            malformed(CUT),
        ),
        bad("a tag without a value", message(0, &[0x0A]), malformed(CUT)),
        bad(
            "a field beyond its input",
            infer(&[field(5, &[0x12, 4, b'F']), b"P32".to_vec()]),
            malformed(TOO_LONG),
        ),
        bad(
            "a number beyond its input",
            infer(&[field(5, &[0x12]), b"\x04FP32".to_vec()]),
            malformed(TOO_LONG),
        ),
        bad(
            "a number beyond its list",
            infer(&[input("INT8", &[field(3, &[0x80]), vec![1]])]),
            malformed(TOO_LONG),
        ),
        bad(
            "a fixed number beyond the message",
            message(0, &[0x7D, 1, 2, 3]),
            malformed(TOO_LONG),
        ),
        bad(
            "a number with too many bits",
            message(
                0,
                &[
                    0x78, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1,
                ],
            ),
            malformed("a number has more than 64 bits"),
        ),
        bad(
            "a group",
            message(0, &[0x7B, 0x7C]),
            malformed("a field has an unknown wire type"),
        ),
        bad(
            "a negative shape",
            infer(&[input("INT8", &[field(3, &negative)])]),
            wrong("inputs[].shape", "an array of whole numbers"),
        ),
        bad(
            "an unknown datatype",
            infer(&[input("FP8", &[])]),
            wrong("inputs[].datatype", TYPES),
        ),
        bad(
            "an input without a datatype",
            infer(&[field(5, b"")]),
            wrong("inputs[].datatype", TYPES),
        ),
        bad(
            "a model that is too long",
            message(0, &[&[0x0A, 0x81, 0x08][..], &[b'm'; 1025]].concat()),
            BodyError::TooLong {
                field: "model_name",
                max: 1024,
            },
        ),
        bad(
            "a version that is too long",
            message(0, &[&[0x12, 0x81, 0x08][..], &[b'1'; 1025]].concat()),
            BodyError::TooLong {
                field: "model_version",
                max: 1024,
            },
        ),
    ]
}

pub(crate) fn answers() -> Vec<Case> {
    let open = |case: Case| case.to(INFER);
    vec![
        open(json(
            "kserve: an answer to an inference costs nothing",
            br#"{"id":"2","model_name":"m","model_version":"1","outputs":[{"name":"predict","datatype":"INT64","shape":[2],"data":[1,1]},{"name":"text","datatype":"BYTES","shape":[1],"data":["a \"quoted\" text"]}]}"#,
        )),
        open(json("triton: an error", br#"{"error":"Request for unknown model: 'n' is not found"}"#)).error_only(),
        events(
            "mlserver: a stream",
            b"data: {\"model_name\":\"m\",\"id\":\"1\",\"parameters\":{},\"outputs\":[{\"name\":\"output\",\"shape\":[1,1],\"datatype\":\"BYTES\",\"parameters\":{\"content_type\":\"str\"},\"data\":[\"What\"]}]}\n\ndata: {\"model_name\":\"m\",\"outputs\":[]}\n\n",
        )
        .to("/v2/models/m/infer_stream"),
    ]
}
