//! An answer as steps: what to send, when to wait, where to fall silent or break off.
//!
//! Invariant: pure; the order of things is decided here, and [`super::show`] only performs it. Bytes pass through
//! three stages: events, compressed if asked, cut into pieces if asked.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::answer::{Answer, Event, slices};
use super::behaviour::{AbortAfter, AbortWith, Behaviour};

/// Time for what was sent to leave before the connection breaks. A reset throws away what is still queued.
const LEAVE: Duration = Duration::from_millis(20);

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Put bytes on the wire, with so many tokens in them.
    Send(Bytes, u64),
    /// Push out what was sent before sending more, so that the next piece travels alone.
    Flush,
    /// Do nothing for a while.
    Wait(Duration),
    /// Do nothing for ever.
    Stall,
    /// Break the connection.
    Abort(AbortWith),
    /// Say, after the body, that it is done.
    Trailers,
}

pub(super) type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// An answer ready to be performed.
pub(super) struct Script {
    pub(super) steps: Steps,
    /// The `content-length`, where it is known.
    pub(super) length: Option<u64>,
}

impl Script {
    /// The script of a model's answer.
    pub(super) fn of_answer(answer: Answer, behaviour: &Behaviour) -> Self {
        if answer.ask.stream {
            return Self::of_events(answer.events(), behaviour);
        }
        Self::of_body(answer.whole(), answer.all_tokens(), behaviour)
    }

    /// The script of a stream, whose length nobody knows.
    pub(super) fn of_events(
        events: impl Iterator<Item = Event> + Send + 'static,
        behaviour: &Behaviour,
    ) -> Self {
        let steps = staged(events, behaviour);
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

    /// The script of a body that is there already.
    pub(super) fn of_body(body: Bytes, tokens: u64, behaviour: &Behaviour) -> Self {
        let body = if behaviour.gzip { gzip(&body) } else { body };
        let length = Some(body.len() as u64);
        let steps: Steps = if behaviour.is_staged() {
            Box::new(staged(slices(body, tokens), behaviour))
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

/// Puts waits, silence and the break between the events.
fn staged(
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

/// Compresses a stream of steps, each event readable at once.
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

/// Cuts the bytes of all steps into pieces of given sizes, across the borders of events.
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

    /// Cuts full pieces off what is carried.
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

    /// Sends what is carried, however little it is.
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
    use crate::mock_model::ask::{Api, Ask};

    fn steps(body: &str, behaviour: &Behaviour) -> Vec<Step> {
        let ask = Ask::parse(Api::Chat, body.as_bytes()).unwrap();
        let answer = Answer::new(ask, behaviour, 3);
        Script::of_answer(answer, behaviour).steps.collect()
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
    fn splitting_and_compressing_change_no_byte_and_lose_no_token() {
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
    fn a_break_comes_after_as_many_tokens_as_asked() {
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
                    // A whole answer has nothing after its last slice.
                    None => assert!(chunks == 3 && !body.contains("stream")),
                }
            }
        }
    }

    #[test]
    fn a_whole_answer_in_slices_is_the_same_answer() {
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
