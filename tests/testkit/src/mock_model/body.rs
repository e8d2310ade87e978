//! The response body that performs a script.
//!
//! Invariant: a request counts as complete when the last byte was handed over, so that a client that disconnects earlier counts as
//! an abort of the client.

use std::fmt;
use std::future::Future;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::behaviour::AbortWith;
use super::script::{Script, Step, Steps};
use super::stats::RequestGuard;

const DONE: HeaderName = HeaderName::from_static("x-mock-done");

/// The connection breaks here, on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off on demand")
    }
}

impl std::error::Error for Broken {}

/// A script in progress.
pub(super) struct ScriptedBody {
    steps: Peekable<Steps>,
    /// Number of bytes to come, if known.
    left: Option<u64>,
    waiting: Option<Pin<Box<Sleep>>>,
    stalled: bool,
    /// `None` for pages that are not model requests.
    guard: Option<RequestGuard>,
    over: bool,
    /// Set before breaking off with a reset; the connection's socket reads it when it closes.
    reset: Arc<AtomicBool>,
}

impl ScriptedBody {
    pub(super) fn new(script: Script, guard: Option<RequestGuard>, reset: Arc<AtomicBool>) -> Self {
        Self {
            steps: script.steps.peekable(),
            left: script.length,
            waiting: None,
            stalled: false,
            guard,
            over: false,
            reset,
        }
    }

    fn sent(&mut self, bytes: &Bytes, tokens: u64) {
        self.left = self
            .left
            .map(|left| left.saturating_sub(bytes.len() as u64));
        if let Some(guard) = &self.guard {
            guard.produced(tokens);
        }
        if self.steps.peek().is_none() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.over = true;
        if let Some(guard) = &mut self.guard {
            guard.complete();
        }
    }

    fn broken(&mut self, how: AbortWith) -> Broken {
        if how == AbortWith::Reset {
            self.reset.store(true, Ordering::Release);
        }
        if let Some(guard) = &mut self.guard {
            guard.abort();
        }
        self.over = true;
        Broken
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        loop {
            if this.stalled {
                return Poll::Pending;
            }
            if let Some(sleep) = &mut this.waiting {
                ready!(sleep.as_mut().poll(cx));
                this.waiting = None;
            }
            match this.steps.next() {
                Some(Step::Send(bytes, tokens)) => {
                    this.sent(&bytes, tokens);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // The server flushes when the body has no bytes for it.
                Some(Step::Flush) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Wait(time)) => this.waiting = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Stall) => this.stalled = true,
                Some(Step::Trailers) => {
                    this.finish();
                    let done = (DONE, HeaderValue::from_static("true"));
                    return Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter([done])))));
                }
                Some(Step::Abort(how)) => return Poll::Ready(Some(Err(this.broken(how)))),
                None => {
                    this.finish();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
