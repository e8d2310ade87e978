//! What is news: states that came to be and things that happened → what is to be written as Events.
//!
//! Every replica hears the same and knows what is news; the leader writes it. One that takes over says what is so now and what
//! happened lately, in case the one before it did not; what that one did write is found by its name and not repeated.
//!
//! Pure: the clock is an argument. Invariant: a state is said once as long as it lasts, however many there are; what happened
//! is bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use headgate_model::Finding;

use super::EventRateLimiter;

/// What happened and waits to be written; beyond it the oldest is dropped.
const QUEUE: usize = 1024;
/// How long a replica that does not lead remembers what happened: longer than a Lease may last.
const LATELY: Duration = Duration::from_secs(300);
/// How often one utterance may be answered by an error: with the waits between, about as long as an API server needs to come
/// to itself. What is answered so for ever is refused for its own sake.
const TRIES: u32 = 8;

/// Something to be written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEvent {
    /// What to say, and of which object.
    pub finding: Finding,
    /// Whether it happened just now, so that it counts once more if it was said before; else it may have been said.
    pub anew: bool,
    /// How often it was answered by an error; that nobody answers does not count.
    pub tries: u32,
}

/// What was heard and what is to be said.
#[derive(Debug, Default)]
pub struct EventQueue {
    leads: bool,
    /// The states as they are; `None` before the first are heard.
    states: Option<BTreeSet<Finding>>,
    /// Those of them that are still to be said, and whether as news: no more than there are.
    unsaid: BTreeMap<Finding, bool>,
    /// What happened, and when, while another one led.
    lately: VecDeque<(Duration, Finding)>,
    queue: VecDeque<PendingEvent>,
    /// What could not be written, and had its allowance.
    failed: VecDeque<PendingEvent>,
    allowance: EventRateLimiter,
    /// What was not said because there was too much of it.
    dropped: u64,
}

impl EventQueue {
    /// These states hold at `clock`, and this happened since.
    pub fn hear(&mut self, states: BTreeSet<Finding>, happened: Vec<Finding>, clock: Duration) {
        let first = self.states.is_none();
        let before = self.states.take().unwrap_or_default();
        let unsaid = std::mem::take(&mut self.unsaid).into_iter();
        let (lasting, over): (BTreeMap<_, _>, BTreeMap<_, _>) =
            unsaid.partition(|(finding, _)| states.contains(finding));
        self.unsaid = lasting;
        // It was news, and is what happened now.
        for (finding, _) in over.into_iter().filter(|(_, anew)| *anew) {
            self.say(finding, true);
        }
        if self.leads {
            let appeared = states.difference(&before).cloned();
            // What holds when a process starts may have held before.
            self.unsaid
                .extend(appeared.map(|finding| (finding, !first)));
        }
        self.states = Some(states);
        for finding in happened {
            if self.leads {
                self.say(finding, true);
            } else {
                self.lately.push_back((clock, finding));
            }
        }
        self.forget(clock);
    }

    /// Whether this replica leads, from `clock` on.
    pub fn lead(&mut self, leads: bool, clock: Duration) {
        if std::mem::replace(&mut self.leads, leads) == leads {
            return;
        }
        self.forget(clock);
        self.queue.clear();
        self.failed.clear();
        self.unsaid.clear();
        if !leads {
            return;
        }
        let states = self.states.iter().flatten().cloned();
        self.unsaid = states.map(|finding| (finding, false)).collect();
        for (_, finding) in std::mem::take(&mut self.lately) {
            self.say(finding, false);
        }
    }

    fn forget(&mut self, clock: Duration) {
        while self
            .lately
            .front()
            .is_some_and(|(at, _)| *at + LATELY < clock)
            || self.lately.len() > QUEUE
        {
            self.lately.pop_front();
        }
    }

    fn say(&mut self, finding: Finding, anew: bool) {
        if self.queue.len() == QUEUE {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(untried(finding, anew));
    }

    fn unsaid(&mut self) -> Option<PendingEvent> {
        let (finding, anew) = self.unsaid.pop_first()?;
        Some(untried(finding, anew))
    }

    /// The next thing to write at `clock`, if this replica leads: what was not tried yet comes first, so that nothing waits
    /// for what cannot be written. What an object has no allowance for is dropped.
    pub fn next(&mut self, clock: Duration) -> Option<PendingEvent> {
        if !self.leads {
            return None;
        }
        while let Some(utterance) = self.unsaid().or_else(|| self.queue.pop_front()) {
            if self.allowance.take(&utterance.finding.object, clock) {
                return Some(utterance);
            }
            self.dropped += 1;
        }
        self.failed.pop_front()
    }

    /// Writing these failed: they are to be tried again after all others, and cost nothing more. Returns those that were
    /// tried often enough, which are not.
    #[must_use]
    pub fn again(&mut self, utterances: Vec<PendingEvent>) -> Vec<PendingEvent> {
        let (given_up, again): (Vec<_>, Vec<_>) = utterances
            .into_iter()
            .partition(|utterance| utterance.tries >= TRIES);
        self.failed.extend(again);
        while self.failed.len() > QUEUE {
            self.failed.pop_front();
            self.dropped += 1;
        }
        given_up
    }

    /// How much was dropped since this was asked last.
    pub fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

fn untried(finding: Finding, anew: bool) -> PendingEvent {
    PendingEvent {
        finding,
        anew,
        tries: 0,
    }
}
