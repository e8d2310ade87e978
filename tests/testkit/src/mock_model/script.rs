//! The script of a response: the steps that send, wait, stall and break off.
//!
//! Invariant: pure; the order is decided here, and [`super::body`] only performs it. Bytes pass three steps: events, compression if
//! asked for, splitting if asked for.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::behaviour::{AbortAfter, AbortWith, Behaviour};
use super::response::{Event, Response, slices};

/// Time for sent bytes to leave before the connection breaks. A reset discards queued bytes.
const LEAVE: Duration = Duration::from_millis(20);

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Send bytes that carry this number of tokens.
    Send(Bytes, u64),
    /// Flush the bytes sent so far, so that the next piece travels alone.
    Flush,
    /// Wait.
    Wait(Duration),
    /// Wait for ever.
    Stall,
    /// Break the connection.
    Abort(AbortWith),
    /// Send the trailers, after the body.
    Trailers,
}

pub(super) type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// A response ready to be performed.
pub(super) struct Script {
    pub(super) steps: Steps,
    /// The `content-length`, if known.
    pub(super) length: Option<u64>,
}

impl Script {
    /// The script of a generated response.
    pub(super) fn of_response(response: Response, behaviour: &Behaviour) -> Self {
        if response.request.stream {
            return Self::of_events(response.events(), behaviour);
        }
        Self::of_body(response.whole(), response.all_tokens(), behaviour)
    }

    /// The script of a stream of unknown length.
    pub(super) fn of_events(
        events: impl Iterator<Item = Event> + Send + 'static,
        behaviour: &Behaviour,
    ) -> Self {
        let steps = with_faults(events, behaviour);
        let steps: Steps = if behaviour.gzip {
            Box::new(Gzip::new(steps))
        } else {
            Box::new(steps)
        };
        Self {
            steps: ended(split(steps, behaviour), behaviour),
            length: None,
        }
    }

    /// The script of a body in memory.
    pub(super) fn of_body(body: Bytes, tokens: u64, behaviour: &Behaviour) -> Self {
        let body = if behaviour.gzip { gzip(&body) } else { body };
        let length = Some(body.len() as u64);
        let steps: Steps = if behaviour.is_chunked() {
            Box::new(with_faults(slices(body, tokens), behaviour))
        } else {
            Box::new(std::iter::once(Step::Send(body, tokens)))
        };
        Self {
            steps: ended(split(steps, behaviour), behaviour),
            length,
        }
    }
}

fn ended(steps: Steps, behaviour: &Behaviour) -> Steps {
    if !behaviour.trailers {
        return steps;
    }
    Box::new(steps.chain(std::iter::once(Step::Trailers)))
}

/// Inserts delays, the stall and the break between the events.
fn with_faults(
    events: impl Iterator<Item = Event> + Send + 'static,
    behaviour: &Behaviour,
) -> impl Iterator<Item = Step> + Send + 'static {
    let (delay, stall, how) = (behaviour.delay, behaviour.stall_after, behaviour.abort_with);
    let abort = match behaviour.abort_after {
        Some(AbortAfter::Chunks(chunks)) => Some(chunks),
        Some(AbortAfter::Nothing) | None => None,
    };
    let mut chunks = 0;
    events.flat_map(move |event| {
        let mut steps = Vec::with_capacity(2);
        if abort == Some(chunks) {
            steps.extend([Step::Wait(LEAVE), Step::Abort(how)]);
        } else if stall == Some(chunks) {
            steps.push(Step::Stall);
        }
        if event.tokens > 0 {
            if chunks > 0 && !delay.is_zero() {
                steps.push(Step::Wait(delay));
            }
            chunks += 1;
        }
        steps.push(Step::Send(event.bytes, event.tokens));
        steps
    })
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

/// Compresses a stream of steps so that each event is readable at once.
struct Gzip<I> {
    steps: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I> Gzip<I> {
    fn new(steps: I) -> Self {
        Self {
            steps,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }
}

impl<I: Iterator<Item = Step>> Iterator for Gzip<I> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self.steps.next() {
            Some(Step::Send(bytes, tokens)) => {
                let encoder = self.encoder.as_mut()?;
                // Writing to memory cannot fail.
                let _ = encoder.write_all(&bytes).and_then(|()| encoder.flush());
                let compressed = std::mem::take(encoder.get_mut());
                Some(Step::Send(compressed.into(), tokens))
            }
            Some(other) => Some(other),
            None => {
                let rest = self.encoder.take()?.finish().unwrap_or_default();
                Some(Step::Send(rest.into(), 0))
            }
        }
    }
}

fn split(steps: Steps, behaviour: &Behaviour) -> Steps {
    if behaviour.split.is_empty() {
        return steps;
    }
    Box::new(Split {
        steps,
        sizes: behaviour.split.clone(),
        at: 0,
        carry: BytesMut::new(),
        tokens: 0,
        begun: false,
        out: VecDeque::new(),
    })
}

/// Splits the bytes of all steps into pieces of given sizes, across event boundaries.
struct Split {
    steps: Steps,
    sizes: Vec<usize>,
    at: usize,
    carry: BytesMut,
    /// Tokens not yet counted with a piece.
    tokens: u64,
    begun: bool,
    out: VecDeque<Step>,
}

impl Split {
    fn push(&mut self, piece: BytesMut) {
        let tokens = std::mem::take(&mut self.tokens);
        if std::mem::replace(&mut self.begun, true) {
            self.out.push_back(Step::Flush);
        }
        self.out.push_back(Step::Send(piece.freeze(), tokens));
    }

    /// Cuts full pieces off the carried bytes.
    fn cut(&mut self) {
        while let Some(size) = self.sizes.get(self.at % self.sizes.len()).copied() {
            if self.carry.len() < size {
                return;
            }
            let piece = self.carry.split_to(size);
            self.push(piece);
            self.at += 1;
        }
    }

    /// Sends all carried bytes, however few.
    fn clear(&mut self) {
        if !self.carry.is_empty() {
            let rest = self.carry.split();
            self.push(rest);
        }
    }
}

impl Iterator for Split {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        while self.out.is_empty() {
            match self.steps.next() {
                Some(Step::Send(bytes, tokens)) => {
                    self.tokens += tokens;
                    self.carry.extend_from_slice(&bytes);
                    self.cut();
                }
                Some(other) => {
                    self.clear();
                    self.out.push_back(other);
                }
                None if self.carry.is_empty() => return None,
                None => self.clear(),
            }
        }
        self.out.pop_front()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use super::*;
    use crate::mock_model::request::{Api, ModelRequest};

    fn steps(body: &str, behaviour: &Behaviour) -> Vec<Step> {
        let request = ModelRequest::parse(Api::Chat, body.as_bytes()).unwrap();
        let response = Response::new(request, behaviour, 3);
        Script::of_response(response, behaviour).steps.collect()
    }

    fn sent(steps: &[Step]) -> (Vec<u8>, u64) {
        let mut all = (Vec::new(), 0);
        for step in steps {
            if let Step::Send(bytes, tokens) = step {
                all.0.extend_from_slice(bytes);
                all.1 += tokens;
            }
        }
        all
    }

    const STREAM: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;

    #[test]
    fn splitting_and_compression_keep_all_bytes_and_tokens() {
        let plain = sent(&steps(STREAM, &Behaviour::default()));
        assert_eq!(plain.1, 3);
        let split = Behaviour {
            split: vec![1, 3, 7],
            ..Behaviour::default()
        };
        let pieces = steps(STREAM, &split);
        assert_eq!(sent(&pieces), plain);
        assert!(matches!(&pieces[2], Step::Send(bytes, _) if bytes.len() == 3));

        let both = Behaviour {
            gzip: true,
            ..split
        };
        let (bytes, tokens) = sent(&steps(STREAM, &both));
        let mut unzipped = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_end(&mut unzipped)
            .unwrap();
        assert_eq!((unzipped, tokens), plain);
    }

    #[test]
    fn the_connection_breaks_after_the_requested_number_of_tokens() {
        for (chunks, tokens) in [(0, 0), (1, 1), (3, 3)] {
            let behaviour = Behaviour {
                abort_after: Some(AbortAfter::Chunks(chunks)),
                abort_with: AbortWith::Reset,
                ..Behaviour::default()
            };
            for body in [STREAM, r#"{"model":"m"}"#] {
                let steps = steps(body, &behaviour);
                let broken = steps
                    .iter()
                    .position(|step| *step == Step::Abort(AbortWith::Reset));
                match broken {
                    Some(at) => assert_eq!(sent(&steps[..at]).1, tokens, "{body}"),
                    // A complete response has nothing after its last slice.
                    None => assert!(chunks == 3 && !body.contains("stream")),
                }
            }
        }
    }

    #[test]
    fn a_sliced_body_equals_the_complete_body() {
        let whole = sent(&steps(r#"{"model":"m","n":2}"#, &Behaviour::default()));
        let delayed = Behaviour {
            delay: Duration::from_millis(1),
            ..Behaviour::default()
        };
        let sliced = steps(r#"{"model":"m","n":2}"#, &delayed);
        assert_eq!(sent(&sliced), whole);
        let waits = sliced.iter().filter(|s| matches!(s, Step::Wait(_))).count();
        assert_eq!((waits, whole.1), (5, 6));
    }
}
