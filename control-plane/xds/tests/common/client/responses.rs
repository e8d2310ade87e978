//! Application of a response by the client, and the violations that it finds in it.

use std::collections::BTreeSet;
use std::time::Instant;

use headgate_xds::session::{Item, Protocol, Response};
use headgate_xds::{Kind, Options};

use super::{Body, Client};

impl Client {
    pub fn receive(&mut self, response: &Response, now: Instant) {
        self.check_removals(response);
        let error = match response.kind {
            Kind::Cluster => self.apply_clusters(response, now),
            Kind::Listener => self.apply_listeners(response),
            kind => self.apply_others(kind, response, now),
        };
        self.note_use(now);
        let answer = self.answer(response, error);
        if response.kind == Kind::Cluster {
            self.withheld.push(answer);
        } else {
            self.outbox.push_back(answer);
        }
        self.end_warming();
    }

    fn check_removals(&mut self, response: &Response) {
        if matches!(response.kind, Kind::Route | Kind::Extension | Kind::Secret)
            && !response.removed.is_empty()
        {
            self.violations.push(format!(
                "removal of {}: {:?}",
                response.kind, response.removed
            ));
        }
    }

    fn removed(&self, response: &Response) -> Vec<String> {
        match self.protocol {
            Protocol::Delta => response.removed.iter().map(ToString::to_string).collect(),
            Protocol::StateOfTheWorld => {
                let sent: BTreeSet<&str> = response
                    .items
                    .iter()
                    .map(|item| item.resource.name())
                    .collect();
                let applied = self.kinds[&response.kind].applied.keys();
                applied
                    .filter(|name| !sent.contains(name.as_str()))
                    .cloned()
                    .collect()
            }
        }
    }

    fn apply_clusters(&mut self, response: &Response, now: Instant) -> Option<String> {
        let removed = self.removed(response);
        let mut errors = Vec::new();
        let (mut added, mut dropped) = (Vec::new(), Vec::new());
        for (name, body) in bodies(response) {
            let state = self.kinds.get_mut(&Kind::Cluster).unwrap();
            if body.bad {
                self.rejected.insert((name.clone(), body.version));
                errors.push(name);
                continue;
            }
            if state.applied.get(&name) != Some(&body) {
                state.applied.insert(name.clone(), body);
                self.warming.insert(name.clone(), now);
                if !self.kinds[&Kind::Endpoints].names.contains(&name) {
                    added.push(name);
                }
            }
        }
        for name in removed {
            self.check_removal(&name, now);
            let known = self
                .kinds
                .get_mut(&Kind::Cluster)
                .unwrap()
                .applied
                .remove(&name)
                .is_some();
            self.active.remove(&name);
            self.warming.remove(&name);
            if known {
                dropped.push(name);
            }
        }
        if !added.is_empty() || !dropped.is_empty() {
            self.resubscribe(Kind::Endpoints, &added, &dropped);
        }
        (!errors.is_empty()).then(|| format!("bad clusters {errors:?}"))
    }

    fn check_removal(&mut self, cluster: &str, now: Instant) {
        // A state-of-the-world client cannot say what it has when it reconnects.
        let sotw = self.protocol == Protocol::StateOfTheWorld;
        let excused = sotw && self.routed_early.contains(cluster);
        let applied = self.kinds[&Kind::Cluster].applied.contains_key(cluster);
        if applied && self.routes_to(cluster) && !excused {
            self.violations
                .push(format!("cluster {cluster} removed under a route"));
        }
        let linger = Options::default().linger;
        let used = self
            .last_used
            .get(cluster)
            .is_some_and(|at| now < *at + linger);
        if used && !excused {
            self.violations
                .push(format!("cluster {cluster} removed without linger"));
        }
    }

    fn apply_listeners(&mut self, response: &Response) -> Option<String> {
        let removed = self.removed(response);
        let state = self.kinds.get_mut(&Kind::Listener).unwrap();
        let mut error = None;
        for (name, body) in bodies(response) {
            if body.bad {
                error = Some(format!("bad listener {name}"));
            } else {
                state.applied.insert(name, body);
            }
        }
        for name in removed {
            state.applied.remove(&name);
        }
        error
    }

    fn apply_others(&mut self, kind: Kind, response: &Response, now: Instant) -> Option<String> {
        for (name, body) in bodies(response) {
            if !self.kinds[&kind].names.contains(&name) {
                continue;
            }
            if kind == Kind::Endpoints && self.warming.remove(&name).is_some() {
                // Rejected endpoints end the warming too, with no host.
                self.active.insert(name.clone());
            }
            if body.bad {
                return Some(format!("bad {kind} {name}"));
            }
            self.check_clusters(response, &name, &body, now);
            self.kinds
                .get_mut(&kind)
                .unwrap()
                .applied
                .insert(name, body);
        }
        for name in &response.removed {
            self.kinds.get_mut(&kind).unwrap().applied.remove(&**name);
        }
        None
    }

    /// A route or filter configuration names only clusters that take traffic. The exception is a client that has no version of
    /// it and a cluster that is late, or that the client rejects and has no version of.
    fn check_clusters(&mut self, response: &Response, name: &str, body: &Body, now: Instant) {
        let kind = response.kind;
        let applied = self.kinds[&kind].applied.get(name);
        if applied == Some(body) {
            return;
        }
        let is_first = applied.is_none();
        let late = now >= self.connected_at + Options::default().warm_timeout;
        let rejected = self.wanted_rejected.get(&response.nonce);
        let rejected = rejected.cloned().unwrap_or_default();
        if is_first && (late || body.clusters.iter().any(|c| rejected.contains(c))) {
            self.routed_early.extend(body.clusters.iter().cloned());
        }
        let has = &self.kinds[&Kind::Cluster].applied;
        for cluster in body.clusters.iter().filter(|c| !self.active.contains(*c)) {
            let never_comes = rejected.contains(cluster) && !has.contains_key(cluster);
            if !(is_first && (late || never_comes)) {
                let violation = format!("{kind} {name} ({}) routes to {cluster}", body.text);
                self.violations.push(violation);
            }
        }
    }
}

fn bodies(response: &Response) -> Vec<(String, Body)> {
    let body = |item: &Item| {
        let raw = String::from_utf8(item.body().to_vec()).unwrap();
        let mut parts = raw.splitn(3, '|');
        let text = parts.next().unwrap().to_owned();
        let bad = parts.next() == Some("bad");
        let clusters = parts.next().unwrap_or_default();
        let clusters = clusters
            .split(',')
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect();
        Body {
            version: item.version().to_string(),
            text,
            bad,
            clusters,
        }
    };
    response
        .items
        .iter()
        .map(|item| (item.resource.name().to_owned(), body(item)))
        .collect()
}
