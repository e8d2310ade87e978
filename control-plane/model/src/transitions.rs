//! Two plans, one after the other → what became of the carriers in between: a canary started, was promoted, drained.
//!
//! Invariant: a function of the two plans. What is said of a carrier is about new sessions, and a carrier that is new among
//! those that serve, or that is held (a finding says so), is no transition.

use std::collections::BTreeMap;

use headgate_contract::ModelId;

use crate::{
    CarrierKey, Finding, LabelKeys, Plan, PlannedCarrier, PlannedModel, Severity, Standing, reason,
};

/// Everything that happened to carriers from one plan to the next, in their order.
#[must_use]
pub fn transitions(before: &Plan, after: &Plan, keys: &LabelKeys) -> Vec<Finding> {
    let mut told = Vec::new();
    for (namespace, view) in &after.namespaces {
        let old = before.namespaces.get(namespace);
        for (id, model) in &view.models {
            let old = old.and_then(|view| view.models.get(id));
            if old.is_some_and(|old| old.carriers == model.carriers) {
                continue;
            }
            told.extend(of_model(id, old, model, keys));
        }
    }
    told
}

fn of_model(
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
        let subject = Subject {
            carrier: now,
            what: format!("{} of model {id}", versions(after, &now.key)),
            keys,
        };
        subject.since(old.get(&now.key).copied(), before.is_some())
    };
    after.carriers.iter().filter_map(tell).collect()
}

/// The versions that a carrier brought.
fn versions(model: &PlannedModel, key: &CarrierKey) -> String {
    let own = model.variants.iter();
    let own: Vec<&str> = own
        .filter(|(_, variant)| variant.carriers.contains(key))
        .map(|(version, _)| version.as_str())
        .collect();
    format!("version {}", own.join(", "))
}

/// A carrier as it is now, and how it is called.
struct Subject<'a> {
    carrier: &'a PlannedCarrier,
    what: String,
    keys: &'a LabelKeys,
}

impl Subject<'_> {
    /// What happened to it; `known` says whether its model was there before.
    fn since(&self, before: Option<&PlannedCarrier>, known: bool) -> Option<Finding> {
        let (now, what) = (self.carrier, &self.what);
        let served = before.is_some_and(|before| before.share > 0);
        let was = before.map(|before| &before.standing);
        match &now.standing {
            Standing::Canary(_) if now.share > 0 => {
                if before.is_some_and(|b| b.standing == now.standing && b.share == now.share) {
                    return None;
                }
                // A model that came with a canary has no other sessions to take.
                let moved = served && matches!(was, Some(Standing::Canary(_)));
                let (reason, verb) = if moved {
                    (reason::CANARY_MOVED, "now takes")
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
            Standing::Base if now.share > 0 => match was? {
                Standing::Canary(_) | Standing::Held { .. } | Standing::Dark => {
                    let message = format!(
                        "{what} is promoted and takes {} of new sessions. To take it back: {}",
                        percent(now.share),
                        self.command("0")
                    );
                    Some(self.says(reason::PROMOTED, Severity::Info, message))
                }
                Standing::Standby => {
                    let message = format!(
                        "no promoted version is ready any more, so {what}, which stood by, takes {} of new sessions",
                        percent(now.share)
                    );
                    Some(self.says(reason::RESUMED, Severity::Warning, message))
                }
                Standing::Base => None,
            },
            _ if served && now.share == 0 => self.drained(),
            _ => None,
        }
    }

    /// It took new sessions, and takes none now.
    fn drained(&self) -> Option<Finding> {
        let (now, what) = (self.carrier, &self.what);
        let drained = |why: &str| {
            let message = format!(
                "{what} takes no new sessions any more, {why}: it is reachable by pin only. To give it 10 % of them: {}",
                self.command("10")
            );
            self.says(reason::DRAINED, Severity::Info, message)
        };
        match &now.standing {
            // Its finding says it.
            Standing::Held { .. } => None,
            Standing::Canary(_) | Standing::Base if now.ready == 0 => {
                let message = format!(
                    "none of the endpoints of {what} is ready: what it took goes to the others until one is. To see why: kubectl describe {} -n {}",
                    now.key.identity(),
                    now.key.namespace
                );
                Some(self.says(reason::UNREADY, Severity::Warning, message))
            }
            Standing::Dark => Some(drained("as its weight is 0")),
            Standing::Standby => Some(drained("as a promoted version takes its place")),
            Standing::Canary(_) | Standing::Base => {
                Some(drained("as the weights of the canaries leave nothing"))
            }
        }
    }

    fn says(&self, reason: &'static str, severity: Severity, message: String) -> Finding {
        Finding {
            object: self.carrier.key.to_string(),
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
