//! Plans, one after the other → what became of the carriers in between: a canary started, was promoted, drained.
//!
//! Invariant: a function of the plans seen. What is said of a carrier is about new sessions. A carrier that comes with its model,
//! is held or stands in for a lost base (findings say so), is no transition. What was told as unready is told as recovered, and is
//! not told to start once more. A carrier of the stored base is not told as promoted again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::ModelId;

use crate::{
    CarrierKey, CarrierState, Finding, LabelKeys, Plan, PlannedCarrier, PlannedModel, Severity,
    reason,
};

/// What carriers have been through.
#[derive(Debug, Default)]
pub struct Transitions {
    last: Option<Arc<Plan>>,
    /// Carriers that were told as unready and have not served since. Only those of the last plan.
    unready: BTreeSet<CarrierKey>,
}

impl Transitions {
    /// Everything that happened to carriers since the plan before this one, in their order; nothing by the first plan.
    pub fn follow(&mut self, plan: &Arc<Plan>, keys: &LabelKeys) -> Vec<Finding> {
        let last = self.last.replace(plan.clone());
        let Some(before) = last.filter(|last| !Arc::ptr_eq(last, plan)) else {
            return Vec::new();
        };
        let mut told = Vec::new();
        for (namespace, view) in &plan.namespaces {
            let old = before.namespaces.get(namespace);
            for (id, model) in &view.models {
                let old = old.and_then(|view| view.models.get(id));
                if old.is_some_and(|old| old.carriers == model.carriers) {
                    continue;
                }
                told.extend(self.of_model(id, old, model, keys));
            }
        }
        self.forget(plan);
        told
    }

    fn of_model(
        &mut self,
        id: &ModelId,
        before: Option<&PlannedModel>,
        after: &PlannedModel,
        keys: &LabelKeys,
    ) -> Vec<Finding> {
        let old: BTreeMap<&CarrierKey, &PlannedCarrier> = before
            .into_iter()
            .flat_map(|model| &model.carriers)
            .map(|carrier| (&carrier.key, carrier))
            .collect();
        let tell = |now: &PlannedCarrier| {
            let others = old.values().filter(|before| before.key != now.key);
            let told = Told {
                carrier: now,
                model: id,
                others: &after.carriers,
                replaces: others.clone().any(|before| before.share > 0),
                base_moved: before.is_some_and(|before| base_moved(before, after, &now.key)),
                what: format!(
                    "version {} of model {id}",
                    versions(after, &now.key).join(", ")
                ),
                keys,
                was_unready: self.unready.contains(&now.key),
            };
            let told = told.since(old.get(&now.key).copied(), before.is_some());
            if told.as_ref().is_some_and(|t| t.reason == reason::UNREADY) {
                self.unready.insert(now.key.clone());
            }
            told
        };
        after.carriers.iter().filter_map(tell).collect()
    }

    /// A carrier that serves again, or that would not serve if it were ready, is as any other.
    fn forget(&mut self, plan: &Plan) {
        let models = plan
            .namespaces
            .values()
            .flat_map(|view| view.models.values());
        let still = |carrier: &&PlannedCarrier| {
            let serves = matches!(carrier.state, CarrierState::Canary(_) | CarrierState::Base);
            serves && carrier.share == 0
        };
        if !self.unready.is_empty() {
            let carriers = models.flat_map(|model| &model.carriers);
            let still: BTreeSet<&CarrierKey> = carriers.filter(still).map(|c| &c.key).collect();
            self.unready.retain(|key| still.contains(key));
        }
    }
}

/// The versions that a carrier declares.
fn versions<'a>(model: &'a PlannedModel, key: &CarrierKey) -> Vec<&'a str> {
    let own = model.variants.iter();
    own.filter(|(_, variant)| variant.carriers.contains(key))
        .map(|(version, _)| version.as_str())
        .collect()
}

/// A carrier as it is now, and how it is called.
struct Told<'a> {
    carrier: &'a PlannedCarrier,
    model: &'a ModelId,
    /// All carriers of the model.
    others: &'a [PlannedCarrier],
    /// Another carrier took new sessions before.
    replaces: bool,
    /// Another version was the stored base before and is not any more.
    base_moved: bool,
    what: String,
    keys: &'a LabelKeys,
    /// That it was unready was told.
    was_unready: bool,
}

/// Whether a carrier with other versions was the stored base in the plan before, and is not any more.
fn base_moved(before: &PlannedModel, after: &PlannedModel, now: &CarrierKey) -> bool {
    let new = versions(after, now);
    let still = |key: &CarrierKey| {
        after
            .carriers
            .iter()
            .any(|c| c.key == *key && c.is_stored_base)
    };
    let mut bases = before
        .carriers
        .iter()
        .filter(|c| c.is_stored_base && c.key != *now);
    bases.any(|base| {
        let mut old = versions(before, &base.key).into_iter();
        !still(&base.key) && !old.any(|version| new.contains(&version))
    })
}

impl Told<'_> {
    /// What happened to it; `known` says whether its model was there before.
    fn since(&self, before: Option<&PlannedCarrier>, known: bool) -> Option<Finding> {
        let (now, what) = (self.carrier, &self.what);
        let served = before.is_some_and(|before| before.share > 0);
        let was = before.map(|before| &before.state);
        match &now.state {
            CarrierState::Canary(_) if now.share > 0 => {
                if before.is_some_and(|b| b.state == now.state && b.share == now.share) {
                    return None;
                }
                // A model that came with a canary has no other sessions to take.
                let moved = served && matches!(was, Some(CarrierState::Canary(_)));
                let (reason, verb) = if moved {
                    (reason::CANARY_MOVED, "now takes")
                } else if self.was_unready {
                    (reason::RECOVERED, "is ready again and takes")
                } else {
                    (reason::CANARY_STARTED, "is a canary and takes")
                };
                (known || before.is_some()).then(|| {
                    let message = format!(
                        "{what} {verb} {} of new sessions. To promote it: {}. To take it back: {}",
                        percent(now.share),
                        self.command("100"),
                        self.command("0")
                    );
                    self.says(reason, Severity::Info, message)
                })
            }
            CarrierState::Base if now.share > 0 && self.was_unready => {
                let message = format!(
                    "{what} is ready again and takes {} of new sessions. To see what each version takes: headgate status {}",
                    percent(now.share),
                    self.model
                );
                Some(self.says(reason::RECOVERED, Severity::Info, message))
            }
            CarrierState::Base if now.share > 0 && self.comes_promoted(before) => {
                Some(self.promoted())
            }
            CarrierState::Base if now.share > 0 => match was? {
                CarrierState::Canary(_) | CarrierState::Held { .. } | CarrierState::Dark => {
                    Some(self.promoted())
                }
                CarrierState::Base if self.lost_its_label(before) => Some(self.stays()),
                CarrierState::Standby => Some(self.resumed()),
                CarrierState::Base => None,
            },
            CarrierState::Standby if now.share > 0 && !served && self.shares_with_base() => {
                Some(self.resumed())
            }
            _ if served && now.share == 0 => self.drained(was),
            _ => None,
        }
    }

    /// Whether it never served with a lower weight: its label said 100 before its first endpoint was ready.
    fn comes_promoted(&self, before: Option<&PlannedCarrier>) -> bool {
        let now = self.carrier;
        let never_served = before.is_none_or(|before| {
            before.ready == 0 && before.share == 0 && before.state == CarrierState::Base
        });
        // Several plans may lie between the two, so the base may be stored already.
        let comes_back = now.is_stored_base && !self.base_moved;
        now.weight == Some(100) && !comes_back && never_served && self.replaces
    }

    fn promoted(&self) -> Finding {
        let became = match self.carrier.weight {
            Some(100) => "is promoted",
            _ => "is the base now",
        };
        let message = format!(
            "{} {became} and takes {} of new sessions.{}{}",
            self.what,
            percent(self.carrier.share),
            self.to_give_back(),
            self.to_finish()
        );
        self.says(reason::PROMOTED, Severity::Info, message)
    }

    /// Whether a carrier of the base takes new sessions beside it.
    fn shares_with_base(&self) -> bool {
        let mut others = self.others.iter();
        others.any(|other| other.state == CarrierState::Base && other.share > 0)
    }

    fn resumed(&self) -> Finding {
        let message = format!(
            "no promoted version is ready to take everything, so {}, which stood by, takes {} of new sessions",
            self.what,
            percent(self.carrier.share)
        );
        self.says(reason::RESUMED, Severity::Warning, message)
    }

    /// The command that gives traffic back to the previous base, else to the oldest version.
    fn to_give_back(&self) -> String {
        match self.others.len() {
            0 | 1 => String::new(),
            _ => format!(
                " To give everything back to the base of before: {}.",
                self.command("0")
            ),
        }
    }

    /// How to finish a promotion: delete what stands by.
    fn to_finish(&self) -> String {
        let standby = self
            .others
            .iter()
            .filter(|c| c.state == CarrierState::Standby);
        let standby: Vec<String> = standby.map(|c| c.key.identity()).collect();
        match standby.is_empty() {
            true => String::new(),
            false => format!(
                " To finish, delete {}: until then it stands by",
                standby.join(", ")
            ),
        }
    }

    /// Whether the label that promoted it was taken off.
    fn lost_its_label(&self, before: Option<&PlannedCarrier>) -> bool {
        self.carrier.weight.is_none() && before.is_some_and(|before| before.weight == Some(100))
    }

    /// A promoted version lost its weight label and stays the base.
    fn stays(&self) -> Finding {
        let message = format!(
            "{} has no weight label any more and stays the base, as remembered: it takes {} of new sessions.{}",
            self.what,
            percent(self.carrier.share),
            self.to_give_back()
        );
        self.says(reason::STAYS_BASE, Severity::Info, message)
    }

    /// It took new sessions, and takes none now.
    fn drained(&self, was: Option<&CarrierState>) -> Option<Finding> {
        let (now, what) = (self.carrier, &self.what);
        let drained = |why: &str| {
            let message = format!(
                "{what} takes no new sessions any more, {why}: it is reachable by pin only. To give it 10 % of them: {}",
                self.command("10")
            );
            self.says(reason::DRAINED, Severity::Info, message)
        };
        match &now.state {
            CarrierState::Held { .. } if matches!(was, Some(CarrierState::Held { .. })) => {
                Some(drained("as the base is ready again"))
            }
            // Its finding says it.
            CarrierState::Held { .. } => None,
            CarrierState::Canary(_) | CarrierState::Base if now.ready == 0 => {
                let message = format!(
                    "none of the endpoints of {what} is ready: what it took goes to the others until one is. To see why: kubectl describe {} -n {}",
                    now.key.identity(),
                    now.key.namespace
                );
                Some(self.says(reason::UNREADY, Severity::Warning, message))
            }
            CarrierState::Dark => Some(drained("as its weight is 0")),
            CarrierState::Standby => Some(drained("as a promoted version takes its place")),
            CarrierState::Canary(_) | CarrierState::Base => {
                Some(drained("as the weights of the canaries leave nothing"))
            }
        }
    }

    fn says(&self, reason: &'static str, severity: Severity, message: String) -> Finding {
        Finding {
            object: self.carrier.key.clone().into(),
            reason,
            severity,
            origin: self.carrier.key.to_string(),
            message,
        }
    }

    fn command(&self, weight: &str) -> String {
        let key = &self.carrier.key;
        key.label_command(&self.keys.weight, weight)
    }
}

/// A share in parts of 1 000 000, with two digits at most after the point.
fn percent(millionths: u32) -> String {
    let hundredths = (millionths + 50) / 100;
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match rest {
        0 => format!("{whole} %"),
        rest if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
        rest => format!("{whole}.{rest:02} %"),
    }
}
