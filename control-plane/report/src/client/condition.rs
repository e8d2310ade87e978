//! Conditions that `headgate wait` waits for, evaluated on the merged status document. Pure.

use std::fmt;
use std::str::FromStr;

use crate::view::options::{first_items, number};
use crate::{ModelReport, ProxyModelReport, Report, VersionReport};

/// Largest difference of two percentages that count as equal: half of the last digit that `status` prints.
const TOLERANCE: f64 = 0.005;

/// The condition of `--for`.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// `acked=[VERSION=]PERCENT`: the filters of every connected proxy ACKed this percent for the version.
    Acked(Target),
    /// `weight=[VERSION=]PERCENT`: this percent is planned for the version.
    Weight(Target),
    /// `converged`: the filters of every connected proxy ACKed the planned weights.
    Converged,
}

/// A version and its percent of new sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The version. `None`: the only version whose carrier has a weight label.
    pub version: Option<String>,
    /// Percent, 0–100.
    pub percent: f64,
}

/// State of a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It holds: what holds.
    Met(String),
    /// It does not hold yet: the reason.
    Unmet(String),
    /// It cannot be decided: the reason and the fix.
    Ambiguous(String),
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let forms = "write acked=PERCENT, acked=VERSION=PERCENT, weight=PERCENT, weight=VERSION=PERCENT or converged";
        match text.split_once('=') {
            None if text == "converged" => Ok(Self::Converged),
            Some(("acked", target)) => Ok(Self::Acked(target.parse()?)),
            Some(("weight", target)) => Ok(Self::Weight(target.parse()?)),
            _ => Err(format!("{text:?} is not a condition: {forms}")),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (version, percent) = match text.rsplit_once('=') {
            Some((version, percent)) => (Some(version), percent),
            None => (None, text),
        };
        if version == Some("") {
            return Err("the version is empty: write VERSION=PERCENT or PERCENT".to_owned());
        }
        let parsed = percent.parse::<f64>().ok();
        let percent = parsed
            .filter(|percent| (0.0..=100.0).contains(percent))
            .ok_or_else(|| format!("{percent:?} is not a percent: write a number from 0 to 100"))?;
        Ok(Self {
            version: version.map(str::to_owned),
            percent,
        })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acked(target) => write!(f, "acked={target}"),
            Self::Weight(target) => write!(f, "weight={target}"),
            Self::Converged => f.write_str("converged"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = &self.version {
            write!(f, "{version}=")?;
        }
        f.write_str(&number(self.percent))
    }
}

impl Goal {
    /// Evaluates the goal for every model of the document. `missing` are replicas that have not answered.
    pub fn evaluate(&self, report: &Report, missing: &[String]) -> Condition {
        if let Some(replica) = report.replicas.iter().find(|r| r.error.is_some()) {
            let error = replica.error.as_deref().unwrap_or_default();
            return Condition::Unmet(format!(
                "control plane {} does not answer: {error}",
                replica.address
            ));
        }
        if !missing.is_empty() {
            let missing = first_items(missing, 3);
            return Condition::Unmet(format!("replica {missing} has not answered"));
        }
        if report.models.is_empty() {
            return Condition::Unmet("the model is not declared".to_owned());
        }
        let mut met = Vec::new();
        for model in &report.models {
            match self.of_model(model) {
                Condition::Met(message) => met.push(message),
                other => return other,
            }
        }
        Condition::Met(met.join("; "))
    }

    fn of_model(&self, model: &ModelReport) -> Condition {
        let id = model.id();
        let (target, needs_proxies) = match self {
            Self::Converged => return converged(model),
            Self::Acked(target) => (target, true),
            Self::Weight(target) => (target, false),
        };
        let version = match target.version_of(model) {
            Ok(version) => version,
            Err(condition) => return condition,
        };
        let (name, wanted) = (&version.version, number(target.percent));
        if !needs_proxies {
            return match equal(version.weight_wanted, target.percent) {
                true => Condition::Met(format!("{id}: {name} is planned at {wanted} %")),
                false => Condition::Unmet(format!(
                    "{id}: {name} is planned at {} %",
                    number(version.weight_wanted)
                )),
            };
        }
        if model.proxies.is_empty() {
            return no_proxies(model);
        }
        let acked = |proxy: &ProxyModelReport| proxy.weights.as_ref()?.get(name).copied();
        let outdated: Vec<String> = model
            .proxies
            .iter()
            .filter(|proxy| !acked(proxy).is_some_and(|percent| equal(percent, target.percent)))
            .map(|proxy| {
                let has = match acked(proxy) {
                    Some(percent) => format!("{name} at {} %", number(percent)),
                    None => format!("nothing of {name}"),
                };
                with_error(format!("{} acked {has}", proxy.proxy), proxy)
            })
            .collect();
        let total = model.proxies.len();
        if outdated.is_empty() {
            return Condition::Met(format!(
                "{id}: {total} of {total} proxies acked {name} at {wanted} %"
            ));
        }
        Condition::Unmet(format!("{id}: {}", first_items(&outdated, 3)))
    }
}

impl Target {
    /// The version that it names, or the only version whose carrier has a weight label.
    fn version_of<'a>(&self, model: &'a ModelReport) -> Result<&'a VersionReport, Condition> {
        let id = model.id();
        let names = |versions: &[&VersionReport]| -> Vec<String> {
            versions.iter().map(|v| v.version.clone()).collect()
        };
        if let Some(wanted) = &self.version {
            let found = model.versions.iter().find(|v| v.version == *wanted);
            return found.ok_or_else(|| {
                let all: Vec<&VersionReport> = model.versions.iter().collect();
                let all = first_items(&names(&all), 5);
                Condition::Unmet(format!(
                    "{id}: version {wanted} is not declared (declared: {all})"
                ))
            });
        }
        let with_role = |roles: &[&str]| -> Vec<&VersionReport> {
            let versions = model.versions.iter();
            versions
                .filter(|version| {
                    let first = version.carriers.first();
                    let carrier =
                        first.and_then(|f| model.carriers.iter().find(|c| c.carrier == *f));
                    carrier.is_some_and(|carrier| roles.contains(&carrier.role.as_str()))
                })
                .collect()
        };
        let mut found = with_role(&["canary"]);
        if found.is_empty() {
            found = with_role(&["promoted", "dark"]);
        }
        match found.as_slice() {
            [only] => Ok(only),
            [] => Err(Condition::Unmet(format!(
                "{id}: no version has a weight label"
            ))),
            several => Err(Condition::Ambiguous(format!(
                "{id} has several versions with a weight label ({}): name one, as in acked=VERSION={}",
                names(several).join(", "),
                number(self.percent)
            ))),
        }
    }
}

fn converged(model: &ModelReport) -> Condition {
    let id = model.id();
    match model.has_converged() {
        None => no_proxies(model),
        Some(true) => {
            let total = model.proxies.len();
            Condition::Met(format!(
                "{id}: {total} of {total} proxies acked the planned weights"
            ))
        }
        Some(false) => {
            let outdated = model.proxies.iter().filter(|proxy| proxy.state != "acked");
            let outdated: Vec<String> = outdated
                .map(|proxy| with_error(format!("{} is {}", proxy.proxy, proxy.state), proxy))
                .collect();
            Condition::Unmet(format!("{id}: {}", first_items(&outdated, 3)))
        }
    }
}

fn with_error(text: String, proxy: &ProxyModelReport) -> String {
    match &proxy.message {
        Some(message) => format!("{text} ({}: {message})", proxy.state),
        None => text,
    }
}

fn no_proxies(model: &ModelReport) -> Condition {
    Condition::Unmet(format!(
        "{}: no proxy that serves namespace {} is connected",
        model.id(),
        model.namespace
    ))
}

fn equal(one: f64, other: f64) -> bool {
    (one - other).abs() < TOLERANCE
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{CarrierReport, Count, ReplicaReport};

    fn carrier(version: &str, role: &str) -> CarrierReport {
        CarrierReport {
            carrier: format!("deployment default/m-{version}"),
            labels: BTreeMap::new(),
            refused: Vec::new(),
            seen_since: None,
            standing: String::new(),
            role: role.to_owned(),
            why: String::new(),
            weight: 0.0,
            ready: Count::default(),
            ports: Vec::new(),
        }
    }

    fn version(version: &str, percent: f64) -> VersionReport {
        VersionReport {
            version: version.to_owned(),
            weight_wanted: percent,
            planned_since: None,
            weight_acked: BTreeMap::new(),
            endpoints: Count::default(),
            carriers: vec![format!("deployment default/m-{version}")],
            unreachable: None,
            waits_for_routes: false,
        }
    }

    fn proxy(id: &str, weights: &[(&str, f64)], message: Option<&str>) -> ProxyModelReport {
        ProxyModelReport {
            proxy: id.to_owned(),
            state: if message.is_some() {
                "nacked"
            } else {
                "pending"
            }
            .to_owned(),
            message: message.map(str::to_owned),
            config: String::new(),
            acked_at: None,
            weights: Some(weights.iter().map(|(v, p)| ((*v).to_owned(), *p)).collect()),
        }
    }

    fn report(roles: &[(&str, &str, f64)], proxies: Vec<ProxyModelReport>) -> Report {
        let model = ModelReport {
            namespace: "default".to_owned(),
            model: "m".to_owned(),
            carriers: roles.iter().map(|(v, role, _)| carrier(v, role)).collect(),
            versions: roles.iter().map(|(v, _, p)| version(v, *p)).collect(),
            proxies,
            ..ModelReport::default()
        };
        Report {
            models: vec![model],
            ..Report::default()
        }
    }

    fn evaluate(goal: &str, report: &Report) -> Condition {
        goal.parse::<Goal>().unwrap().evaluate(report, &[])
    }

    fn unmet(goal: &str, report: &Report) -> String {
        match evaluate(goal, report) {
            Condition::Unmet(why) => why,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_connected_proxy_must_have_acked_the_percent() {
        let roles = [("v1", "stable", 70.0), ("v2", "canary", 30.0)];
        let old = [("v1", 90.0), ("v2", 10.0)];
        let new = [("v1", 70.0), ("v2", 30.0)];
        let half = report(&roles, vec![proxy("a", &new, None), proxy("b", &old, None)]);
        for goal in ["acked=30", "acked=v2=30"] {
            assert_eq!(unmet(goal, &half), "default/m: b acked v2 at 10 %");
        }
        let all = report(&roles, vec![proxy("a", &new, None), proxy("b", &new, None)]);
        for goal in [
            "acked=30",
            "acked=v2=30",
            "acked=v1=70",
            "weight=30",
            "weight=v1=70.0",
        ] {
            assert!(matches!(evaluate(goal, &all), Condition::Met(_)), "{goal}");
        }
        assert_eq!(unmet("weight=50", &all), "default/m: v2 is planned at 30 %");
        let nack = report(&roles, vec![proxy("a", &old, Some("bad cluster"))]);
        assert!(unmet("acked=30", &nack).contains("(nacked: bad cluster)"));
    }

    #[test]
    fn without_proxies_models_or_answers_a_condition_is_unmet_with_a_reason() {
        let roles = [("v2", "canary", 30.0)];
        let mut none = report(&roles, Vec::new());
        assert!(unmet("acked=30", &none).contains("no proxy that serves namespace default"));
        assert!(unmet("converged", &none).contains("no proxy"));
        assert!(unmet("acked=v3=30", &none).contains("version v3 is not declared (declared: v2)"));
        let goal: Goal = "weight=30".parse().unwrap();
        let missing = goal.evaluate(&none, &["headgate-1".to_owned()]);
        assert!(matches!(missing, Condition::Unmet(why) if why.contains("headgate-1")));
        none.replicas = vec![ReplicaReport {
            address: "10.0.0.2:18001".to_owned(),
            error: Some("connection refused".to_owned()),
            head: None,
        }];
        assert!(unmet("weight=30", &none).contains("10.0.0.2:18001 does not answer"));
        none.replicas.clear();
        none.models.clear();
        assert_eq!(unmet("weight=30", &none), "the model is not declared");
    }

    #[test]
    fn the_version_may_be_left_out_if_only_one_has_a_weight_label() {
        let promoted = report(
            &[("v1", "held", 0.0), ("v2", "promoted", 100.0)],
            Vec::new(),
        );
        assert!(matches!(
            evaluate("weight=100", &promoted),
            Condition::Met(_)
        ));
        let dark = report(&[("v1", "stable", 100.0), ("v2", "dark", 0.0)], Vec::new());
        assert!(matches!(evaluate("weight=0", &dark), Condition::Met(_)));
        let several = report(
            &[("v2", "canary", 10.0), ("v3", "canary", 10.0)],
            Vec::new(),
        );
        let Condition::Ambiguous(why) = evaluate("weight=10", &several) else {
            unreachable!()
        };
        assert!(
            why.contains("v2, v3") && why.contains("acked=VERSION=10"),
            "{why}"
        );
        let plain = report(&[("v1", "stable", 100.0)], Vec::new());
        assert!(unmet("weight=100", &plain).contains("no version has a weight label"));
    }

    #[test]
    fn an_invalid_condition_is_an_error_that_names_the_mistake() {
        for (text, part) in [
            ("acked", "is not a condition"),
            ("ready=1", "is not a condition"),
            ("acked=", "is not a percent"),
            ("acked=v2=101", "\"101\" is not a percent"),
            ("acked==30", "the version is empty"),
            ("acked=NaN", "is not a percent"),
        ] {
            let error = text.parse::<Goal>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in ["acked=30", "acked=v2=12.5", "weight=v2=0", "converged"] {
            assert_eq!(text.parse::<Goal>().unwrap().to_string(), text);
        }
    }
}
