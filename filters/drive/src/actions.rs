//! The actions of a proxy on the current request and response.

use headgate_core::effects::Reply;

/// One of the two messages of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The request.
    Request,
    /// The response.
    Response,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something was not done as configured.
    Warning,
    /// Something was refused.
    Error,
}

/// The proxy did not do what was requested. The number is its status code; 0 if it gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub u32);

/// The actions of a proxy on the current request and response.
///
/// # Errors
/// Each method returns [`Refused`] if the proxy did nothing.
pub trait Actions {
    /// Adds a header that the message does not have.
    fn add_header(&self, message: Message, name: &str, value: &str) -> Result<(), Refused>;

    /// Sets a header to one value, and replaces every value that it has.
    fn set_header(&self, message: Message, name: &str, value: &str) -> Result<(), Refused>;

    /// Removes every value of a header.
    fn remove_header(&self, message: Message, name: &str) -> Result<(), Refused>;

    /// The whole request body, which is held.
    fn request_body(&self) -> Result<Vec<u8>, Refused>;

    /// Replaces the bytes of the body at hand: of a request the whole body, of a response the current piece.
    fn replace_body(&self, message: Message, bytes: &[u8]) -> Result<(), Refused>;

    /// Sets filter state, for access logs and later filters. `name` is the whole name, such as `headgate.model`.
    fn set_state(&self, name: &str, value: &str) -> Result<(), Refused>;

    /// Answers the request in place of the upstream.
    fn reply(&self, reply: &Reply) -> Result<(), Refused>;

    /// Writes a line to the proxy's log. A line that cannot be written is lost.
    fn log(&self, severity: Severity, line: &str);
}

/// Logs that the proxy refused an action. The stream goes on; an operator should know.
#[cold]
pub(crate) fn report_refused<A: Actions>(proxy: &A, action: &str, refused: Refused) {
    let line = format!(
        "headgate: the host refused to {action} (status {})",
        refused.0
    );
    proxy.log(Severity::Warning, &line);
}
