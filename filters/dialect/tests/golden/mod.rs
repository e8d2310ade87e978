//! Tables of inputs and their expected results, shared by the native and the wasm test runs.

pub(crate) mod answers;
pub(crate) mod apis;
pub(crate) mod bad;
pub(crate) mod case;
pub(crate) mod corpus;
pub(crate) mod embeddings;
pub(crate) mod forms;
pub(crate) mod llamacpp;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod openinference;
pub(crate) mod parts;
pub(crate) mod platforms;
pub(crate) mod requests;
pub(crate) mod tgi;
pub(crate) mod triton;

use headgate_dialect::{Body, BodyError, Endpoint, Label, Limits, Observed};
use headgate_dialect::{Output, Usage, UsageScanner};

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const COMPLETIONS: &str = "/v1/completions";
pub(crate) const EMBEDDINGS: &str = "/v1/embeddings";

pub(crate) fn endpoint(path: &str) -> &'static Endpoint {
    Endpoint::of_path(path.as_bytes()).unwrap()
}

pub(crate) fn chat() -> &'static Endpoint {
    endpoint(CHAT)
}

pub(crate) fn completions() -> &'static Endpoint {
    endpoint(COMPLETIONS)
}

/// The endpoint of the operation with this name.
pub(crate) fn operation(name: &str) -> &'static Endpoint {
    let mut all = headgate_dialect::operations();
    all.find(|operation| operation.name == name)
        .unwrap()
        .endpoint
}

/// Every endpoint whose bodies are read, once.
pub(crate) fn endpoints() -> Vec<&'static Endpoint> {
    let mut all: Vec<&Endpoint> = Vec::new();
    for (_, endpoint) in headgate_dialect::endpoints() {
        if endpoint.reads_body() && !all.contains(&endpoint) {
            all.push(endpoint);
        }
    }
    all
}

/// Every case of an answer.
pub(crate) fn answers() -> Vec<case::Case> {
    let mut cases = corpus::cases();
    cases.extend(answers::cases());
    cases.extend(parts::cases());
    cases.extend(forms::cases());
    cases.extend(embeddings::answers());
    cases.extend(apis::answers());
    cases.extend(platforms::answers());
    cases.extend(openai::answers());
    cases.extend(ollama::answers());
    cases.extend(tgi::answers());
    cases.extend(llamacpp::answers());
    cases.extend(triton::answers());
    cases.extend(openinference::answers());
    cases
}

/// Every case of a request.
pub(crate) fn requests() -> Vec<requests::Request> {
    let mut cases = requests::cases();
    cases.extend(embeddings::requests());
    cases.extend(openai::requests());
    cases.extend(platforms::requests());
    cases.extend(ollama::requests());
    cases.extend(tgi::requests());
    cases.extend(llamacpp::requests());
    cases.extend(triton::requests());
    cases
}

/// The facts of a body pushed in portions of `portion` bytes.
pub(crate) fn scan(endpoint: &Endpoint, body: &[u8], portion: usize) -> Result<Body, BodyError> {
    let mut scanner = endpoint.request_scanner(Limits::default()).unwrap();
    for chunk in body.chunks(portion) {
        scanner.push(chunk);
    }
    scanner.finish()
}

/// All results of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) usage: Option<Usage>,
    pub(crate) observed: Observed,
    pub(crate) done: bool,
    pub(crate) error_only: bool,
    pub(crate) stale: bool,
}

impl Results {
    pub(crate) fn of(scanner: &UsageScanner) -> Self {
        Self {
            usage: scanner.usage(),
            observed: scanner.observed(),
            done: scanner.done(),
            error_only: scanner.error_only(),
            stale: scanner.usage_is_stale(),
        }
    }
}

/// The results of an answer pushed in these pieces, and the bytes that pass.
pub(crate) fn read<'a>(
    mut scanner: UsageScanner,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Results, Vec<u8>) {
    let mut passed = Vec::new();
    for piece in pieces {
        match scanner.push(piece, false) {
            Output::Unchanged => passed.extend_from_slice(piece),
            Output::Replaced(bytes) => passed.extend_from_slice(&bytes),
        }
    }
    let results = Results::of(&scanner);
    if let Output::Replaced(bytes) = scanner.push(&[], true) {
        passed.extend_from_slice(&bytes);
    }
    (results, passed)
}

/// A scanner for the answer of a case.
pub(crate) fn scanner_of(case: &case::Case, removes_usage: bool) -> UsageScanner {
    let scanner = endpoint(case.path).usage_scanner(case.label, case.sequences);
    removing(scanner.of_prompts(case.prompts), removes_usage)
}

/// A scanner for the answer of a chat with one choice.
pub(crate) fn scanner(label: Label, removes_usage: bool) -> UsageScanner {
    removing(chat().usage_scanner(label, 1), removes_usage)
}

pub(crate) fn removing(scanner: UsageScanner, removes_usage: bool) -> UsageScanner {
    match removes_usage {
        true => scanner.removing_usage(),
        false => scanner,
    }
}

/// Checks every table with every size of portions. The panic names the cases.
pub(crate) fn check_all() {
    let mut wrong = Vec::new();
    for portion in [1, 2, 3, 7, 64, usize::MAX] {
        for case in requests() {
            let body = scan(case.endpoint, case.body, portion);
            assert_eq!(body, Ok(case.facts), "{} by {portion}", case.name);
        }
        for request in openinference::requests() {
            request.check(portion);
        }
        for case in bad::cases() {
            let error = scan(case.endpoint, case.body, portion).err();
            assert_eq!(
                error.as_ref(),
                Some(&case.error),
                "{} by {portion}",
                case.name()
            );
        }
        for case in answers() {
            let expected = Results {
                usage: case.usage,
                observed: Observed {
                    text_bytes: case.text_bytes,
                    unread_bytes: case.unread_bytes,
                    bytes: case.answer.len() as u64,
                },
                done: case.done,
                error_only: case.error_only,
                stale: case.stale,
            };
            for removes_usage in [false, true] {
                let scanner = scanner_of(&case, removes_usage);
                let (results, passed) = read(scanner, case.answer.chunks(portion));
                if results != expected {
                    wrong.push(format!(
                        "{} by {portion}: {results:?}, not {expected:?}",
                        case.name
                    ));
                }
                if !removes_usage && passed != case.answer {
                    wrong.push(format!("{} by {portion} does not pass", case.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
