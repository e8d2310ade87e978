//! The forms of request bodies, and one scanner over all of them.

use crate::body::{Body, BodyError, BodyHeaders, Limits, Passed};
use crate::inference::{MessageScanner, TensorScanner};
use crate::multipart::{Files, MultipartScanner};
use crate::request::{self, RequestScanner, Splice};

/// The form of an endpoint's request bodies.
#[derive(Debug)]
pub(crate) enum Form {
    /// Bodies are not read. A request is known by its headers.
    Headers,
    /// One JSON object.
    Json(&'static request::Schema),
    /// Fields and files.
    Multipart(Files),
    /// JSON with the sizes of tensors, and perhaps the tensors after it.
    Tensors,
    /// Messages of gRPC.
    Messages,
}

impl Form {
    /// A scanner at the start of a body; `None` if bodies are not read.
    pub(crate) fn scanner(&self, limits: Limits) -> Option<BodyScanner> {
        Some(BodyScanner(match self {
            Self::Headers => return None,
            Self::Json(schema) => Scanner::Json(Box::new(RequestScanner::new(schema, limits))),
            Self::Multipart(files) => {
                Scanner::Multipart(Box::new(MultipartScanner::new(*files, limits)))
            }
            Self::Tensors => Scanner::Tensors(Box::new(TensorScanner::new(limits))),
            Self::Messages => Scanner::Messages(Box::new(MessageScanner::new(limits))),
        }))
    }
}

/// Reads one request body, in portions of any size.
///
/// ```
/// use headgate_dialect::{Endpoint, Limits};
///
/// let endpoint = Endpoint::of_path(b"/v1/chat/completions").unwrap();
/// let mut scanner = endpoint.request_scanner(Limits::default()).unwrap();
/// scanner.push(br#"{"model": "gpt-4", "max_to"#);
/// scanner.push(br#"kens": 512, "temperature": 0.7}"#);
/// let body = scanner.finish()?;
/// assert_eq!(body.model.as_deref(), Some("gpt-4"));
/// assert_eq!((body.max_tokens, body.temperature), (Some(512), Some(700_000)));
/// # Ok::<(), headgate_dialect::BodyError>(())
/// ```
#[derive(Debug)]
pub struct BodyScanner(Scanner);

/// The scanner of each form.
#[derive(Debug)]
enum Scanner {
    Json(Box<RequestScanner>),
    Multipart(Box<MultipartScanner>),
    Tensors(Box<TensorScanner>),
    Messages(Box<MessageScanner>),
}

impl BodyScanner {
    /// Sets what the headers say about the body. To be called before its first byte.
    pub fn set_headers(&mut self, headers: &BodyHeaders<'_>) {
        match &mut self.0 {
            Scanner::Json(_) | Scanner::Messages(_) => {}
            Scanner::Multipart(scanner) => scanner.set_headers(headers),
            Scanner::Tensors(scanner) => scanner.set_headers(headers),
        }
    }

    /// Reads the next bytes. After an error the rest is ignored.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Scanner::Json(scanner) => scanner.push(bytes),
            Scanner::Multipart(scanner) => scanner.push(bytes),
            Scanner::Tensors(scanner) => scanner.push(bytes),
            Scanner::Messages(scanner) => scanner.push(bytes),
        }
    }

    /// Bytes of JSON at the beginning of the body, if something else follows them. `None`: all of it has one form.
    #[must_use]
    pub fn json_length(&self) -> Option<u64> {
        match &self.0 {
            Scanner::Tensors(scanner) => scanner.json_length(),
            _ => None,
        }
    }

    /// Whether the facts need the whole body. If not, they are known before its end, and the body may have any length.
    #[must_use]
    pub fn holds_all(&self) -> bool {
        match &self.0 {
            Scanner::Json(_) => true,
            Scanner::Multipart(_) | Scanner::Messages(_) => false,
            Scanner::Tensors(scanner) => scanner.holds_all(),
        }
    }

    /// Whether the facts are known, so the rest may pass unread. [`Self::pass`] counts what was pushed beyond the deciding part.
    #[must_use]
    pub fn decided(&self) -> bool {
        match &self.0 {
            Scanner::Json(_) => false,
            Scanner::Multipart(scanner) => scanner.decided(),
            Scanner::Tensors(scanner) => scanner.decided(),
            Scanner::Messages(scanner) => scanner.decided(),
        }
    }

    /// Reads the next bytes after [`Self::decided`], while they pass. Returns what they add to the prompt.
    pub fn pass(&mut self, bytes: &[u8]) -> Passed {
        match &mut self.0 {
            Scanner::Json(_) => Passed::default(),
            Scanner::Multipart(scanner) => scanner.pass(bytes),
            Scanner::Tensors(scanner) => scanner.pass(bytes),
            Scanner::Messages(scanner) => scanner.pass(bytes),
        }
    }

    /// The first error so far: a bad body can be refused before its end.
    #[must_use]
    pub fn error(&self) -> Option<&BodyError> {
        match &self.0 {
            Scanner::Json(scanner) => scanner.error(),
            Scanner::Multipart(scanner) => scanner.error(),
            Scanner::Tensors(scanner) => scanner.error(),
            Scanner::Messages(scanner) => scanner.error(),
        }
    }

    /// The model, if the part of the body that was read names it. A refused body may have named it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match &self.0 {
            Scanner::Json(scanner) => scanner.model(),
            Scanner::Multipart(scanner) => scanner.model(),
            Scanner::Tensors(_) => None,
            Scanner::Messages(scanner) => scanner.model(),
        }
    }

    /// The change that makes a complete body ask for the usage of its stream; `None` if it is not streamed, if the endpoint
    /// needs no such option, or if the body already says something about usage.
    #[must_use]
    pub fn usage_option(&self) -> Option<Splice> {
        match &self.0 {
            Scanner::Json(scanner) => scanner.usage_option(),
            _ => None,
        }
    }

    /// The changes that replace the model name in a complete JSON body; none for other bodies.
    #[must_use]
    pub fn renaming(&self, name: &str) -> Vec<Splice> {
        match &self.0 {
            Scanner::Json(scanner) => scanner.renaming(name),
            _ => Vec::new(),
        }
    }

    /// The facts of the complete body, or of a part for which [`Self::decided`] is true. They are handed over, so call it once.
    ///
    /// # Errors
    /// The first error in the body, in the order of its bytes.
    pub fn finish(&mut self) -> Result<Body, BodyError> {
        match &mut self.0 {
            Scanner::Json(scanner) => scanner.finish(),
            Scanner::Multipart(scanner) => scanner.finish(),
            Scanner::Tensors(scanner) => scanner.finish(),
            Scanner::Messages(scanner) => scanner.finish(),
        }
    }
}
