//! The change of one carrier between two plans, and the message about it.

use headgate_contract::ModelId;

use crate::{CarrierState, Finding, LabelKeys, PlannedCarrier, Severity, reason};

/// A carrier in two consecutive plans.
pub(super) struct CarrierChange<'a> {
    pub(super) now: &'a PlannedCarrier,
    /// The carrier in the plan before; `None` if it was not in it.
    pub(super) before: Option<&'a PlannedCarrier>,
    pub(super) model: &'a ModelId,
    /// The plan before did not have the model.
    pub(super) model_is_new: bool,
    /// All carriers of the model now.
    pub(super) carriers: &'a [PlannedCarrier],
    /// Another carrier took new sessions before.
    pub(super) other_served: bool,
    /// Another version was the stored base before and no longer is.
    pub(super) base_moved: bool,
    /// `version v1 of model llama`.
    pub(super) subject: String,
    pub(super) keys: &'a LabelKeys,
    /// The carrier was reported unready.
    pub(super) was_unready: bool,
}

impl CarrierChange<'_> {
    /// The transition that this change is, if it is one.
    pub(super) fn finding(&self) -> Option<Finding> {
        let now = self.now;
        let takes_sessions = now.share > 0;
        match &now.state {
            CarrierState::Canary(_) if takes_sessions => self.canary(),
            CarrierState::Base if takes_sessions && self.was_unready => Some(self.recovered()),
            CarrierState::Base if takes_sessions && self.is_created_promoted() => {
                Some(self.promoted())
            }
            CarrierState::Base if takes_sessions => match &self.before?.state {
                CarrierState::Canary(_) | CarrierState::Held { .. } | CarrierState::Dark => {
                    Some(self.promoted())
                }
                CarrierState::Base if self.lost_its_label() => Some(self.stays_base()),
                CarrierState::Standby => Some(self.resumed()),
                CarrierState::Base => None,
            },
            CarrierState::Standby
                if takes_sessions && !self.served() && self.shares_with_base() =>
            {
                Some(self.resumed())
            }
            _ if self.served() && !takes_sessions => self.drained(),
            _ => None,
        }
    }

    /// Whether it took new sessions before.
    fn served(&self) -> bool {
        self.before.is_some_and(|before| before.share > 0)
    }

    fn canary(&self) -> Option<Finding> {
        let (now, subject) = (self.now, &self.subject);
        let is_unchanged =
            |before: &PlannedCarrier| before.state == now.state && before.share == now.share;
        if self.before.is_some_and(is_unchanged) {
            return None;
        }
        // A canary that is created with its model takes sessions from no other version.
        if self.model_is_new && self.before.is_none() {
            return None;
        }
        let was_canary = self
            .before
            .is_some_and(|before| matches!(before.state, CarrierState::Canary(_)));
        let (reason, verb) = if self.served() && was_canary {
            (reason::CANARY_MOVED, "now takes")
        } else if self.was_unready {
            (reason::RECOVERED, "is ready again and takes")
        } else {
            (reason::CANARY_STARTED, "is a canary and takes")
        };
        let message = format!(
            "{subject} {verb} {} of new sessions. To promote it: {}. To end the canary: {}",
            percent(now.share),
            self.command("100"),
            self.command("0")
        );
        Some(self.report(reason, Severity::Info, message))
    }

    fn recovered(&self) -> Finding {
        let message = format!(
            "{} is ready again and takes {} of new sessions. To see the share of each version: headgate status {}",
            self.subject,
            percent(self.now.share),
            self.model
        );
        self.report(reason::RECOVERED, Severity::Info, message)
    }

    /// Whether its weight was 100 before its first endpoint was ready, so it never served with a lower weight.
    fn is_created_promoted(&self) -> bool {
        let now = self.now;
        let never_served = self.before.is_none_or(|before| {
            before.ready == 0 && before.share == 0 && before.state == CarrierState::Base
        });
        // Several plans may lie between the two, so the base may be stored already.
        let comes_back = now.is_stored_base && !self.base_moved;
        now.weight == Some(100) && !comes_back && never_served && self.other_served
    }

    fn promoted(&self) -> Finding {
        let verb = match self.now.weight {
            Some(100) => "is promoted",
            _ => "is the base now",
        };
        let message = format!(
            "{} {verb} and takes {} of new sessions.{}{}",
            self.subject,
            percent(self.now.share),
            self.roll_back(),
            self.finish()
        );
        self.report(reason::PROMOTED, Severity::Info, message)
    }

    /// Whether a carrier of the base takes new sessions beside it.
    fn shares_with_base(&self) -> bool {
        let mut carriers = self.carriers.iter();
        carriers.any(|other| other.state == CarrierState::Base && other.share > 0)
    }

    fn resumed(&self) -> Finding {
        let message = format!(
            "the promoted version is not ready to take all new sessions, so the previous base, {}, takes {} of them; for the reason: headgate status {}",
            self.subject,
            percent(self.now.share),
            self.model
        );
        self.report(reason::RESUMED, Severity::Warning, message)
    }

    /// The command that rolls back to the previous base.
    fn roll_back(&self) -> String {
        match self.carriers.len() {
            0 | 1 => String::new(),
            _ => format!(" To roll back to the previous base: {}.", self.command("0")),
        }
    }

    /// The end of a promotion: the standby carriers can be deleted.
    fn finish(&self) -> String {
        let carriers = self.carriers.iter();
        let standby = carriers.filter(|c| c.state == CarrierState::Standby);
        let standby: Vec<String> = standby.map(|c| c.key.identity()).collect();
        match standby.is_empty() {
            true => String::new(),
            false => format!(" To finish the promotion, delete {}", standby.join(", ")),
        }
    }

    /// Whether the label that promoted it was removed.
    fn lost_its_label(&self) -> bool {
        let was_promoted = self.before.is_some_and(|before| before.weight == Some(100));
        self.now.weight.is_none() && was_promoted
    }

    /// A promoted version lost its weight label and stays the base.
    fn stays_base(&self) -> Finding {
        let message = format!(
            "{} no longer has a weight label and stays the base, as stored in its ServedModel: it takes {} of new sessions.{}",
            self.subject,
            percent(self.now.share),
            self.roll_back()
        );
        self.report(reason::STAYS_BASE, Severity::Info, message)
    }

    /// It took new sessions before, and takes none now.
    fn drained(&self) -> Option<Finding> {
        let (now, subject) = (self.now, &self.subject);
        let drained = |why: &str| {
            let message = format!(
                "{subject} no longer takes new sessions, because {why}: it is reachable by pin only. To give it 10 % of new sessions: {}",
                self.command("10")
            );
            self.report(reason::DRAINED, Severity::Info, message)
        };
        let was_held = self
            .before
            .is_some_and(|before| matches!(before.state, CarrierState::Held { .. }));
        match &now.state {
            CarrierState::Held { .. } if was_held => Some(drained("the base is ready again")),
            // The finding `VersionHeld` reports it.
            CarrierState::Held { .. } => None,
            CarrierState::Canary(_) | CarrierState::Base if now.ready == 0 => {
                let message = format!(
                    "no endpoint of {subject} is ready: its new sessions go to other versions until one is. To see why: kubectl describe {} -n {}",
                    now.key.identity(),
                    now.key.namespace
                );
                Some(self.report(reason::UNREADY, Severity::Warning, message))
            }
            CarrierState::Dark => Some(drained("its weight is 0")),
            CarrierState::Standby => Some(drained("a promoted version takes its place")),
            CarrierState::Canary(_) | CarrierState::Base => {
                Some(drained("other versions take all of them"))
            }
        }
    }

    fn report(&self, reason: &'static str, severity: Severity, message: String) -> Finding {
        let key = &self.now.key;
        Finding::on_carrier(key, &key.to_string(), severity, reason, message)
    }

    fn command(&self, weight: &str) -> String {
        self.now.key.label_command(&self.keys.weight, weight)
    }
}

/// A share in parts of 1 000 000 as a percentage, with at most two decimals.
fn percent(millionths: u32) -> String {
    let hundredths = (millionths + 50) / 100;
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match rest {
        0 => format!("{whole} %"),
        rest if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
        rest => format!("{whole}.{rest:02} %"),
    }
}
