//! How the client takes a response, and what it holds against the server.

use std::collections::BTreeSet;
use std::time::Instant;

use headgate_xds::session::{Item, Protocol, Response};
use headgate_xds::{Kind, Options};

use super::{Body, Client};

impl Client {
    pub fn take(&mut self, response: &Response, now: Instant) {
        self.check_offers(response);
        let error = match response.kind {
            Kind::Cluster => self.take_clusters(response, now),
            Kind::Listener => self.take_listeners(response),
            kind => self.take_others(kind, response, now),
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

    fn check_offers(&mut self, response: &Response) {
        if matches!(response.kind, Kind::Route | Kind::Extension | Kind::Secret)
            && !response.removed.is_empty()
        {
            self.breaches.push(format!(
                "removal of {}: {:?}",
                response.kind, response.removed
            ));
        }
    }

    fn gone(&self, response: &Response) -> Vec<String> {
        match self.protocol {
            Protocol::Delta => response.removed.clone(),
            Protocol::StateOfTheWorld => {
                let sent: BTreeSet<&str> = response
                    .items
                    .iter()
                    .map(|item| item.resource.name())
                    .collect();
                let held = self.kinds[&response.kind].held.keys();
                held.filter(|name| !sent.contains(name.as_str()))
                    .cloned()
                    .collect()
            }
        }
    }

    fn take_clusters(&mut self, response: &Response, now: Instant) -> Option<String> {
        let gone = self.gone(response);
        let mut errors = Vec::new();
        let (mut come, mut left) = (Vec::new(), Vec::new());
        for (name, body) in bodies(response) {
            let state = self.kinds.get_mut(&Kind::Cluster).unwrap();
            if body.bad {
                self.refused.insert((name.clone(), body.version));
                errors.push(name);
                continue;
            }
            if state.held.get(&name) != Some(&body) {
                state.held.insert(name.clone(), body);
                self.warming.insert(name.clone(), now);
                if !self.kinds[&Kind::Endpoints].names.contains(&name) {
                    come.push(name);
                }
            }
        }
        for name in gone {
            self.check_removal(&name, now);
            let known = self
                .kinds
                .get_mut(&Kind::Cluster)
                .unwrap()
                .held
                .remove(&name)
                .is_some();
            self.active.remove(&name);
            self.warming.remove(&name);
            if known {
                left.push(name);
            }
        }
        if !come.is_empty() || !left.is_empty() {
            self.resubscribe(Kind::Endpoints, &come, &left);
        }
        (!errors.is_empty()).then(|| format!("bad clusters {errors:?}"))
    }

    fn check_removal(&mut self, cluster: &str, now: Instant) {
        // A state-of-the-world client cannot say what it has when it reconnects.
        let sotw = self.protocol == Protocol::StateOfTheWorld;
        let excused = sotw && self.without.contains(cluster);
        let held = self.kinds[&Kind::Cluster].held.contains_key(cluster);
        if held && self.routes_to(cluster) && !excused {
            self.breaches
                .push(format!("cluster {cluster} removed under a route"));
        }
        let linger = Options::default().linger;
        let used = self
            .last_used
            .get(cluster)
            .is_some_and(|at| now < *at + linger);
        if used && !excused {
            self.breaches
                .push(format!("cluster {cluster} removed without linger"));
        }
    }

    fn take_listeners(&mut self, response: &Response) -> Option<String> {
        let gone = self.gone(response);
        let state = self.kinds.get_mut(&Kind::Listener).unwrap();
        let mut error = None;
        for (name, body) in bodies(response) {
            if body.bad {
                error = Some(format!("bad listener {name}"));
            } else {
                state.held.insert(name, body);
            }
        }
        for name in gone {
            state.held.remove(&name);
        }
        error
    }

    fn take_others(&mut self, kind: Kind, response: &Response, now: Instant) -> Option<String> {
        for (name, body) in bodies(response) {
            if !self.kinds[&kind].names.contains(&name) {
                continue;
            }
            if kind == Kind::Endpoints && self.warming.remove(&name).is_some() {
                // Refused endpoints end the warming too, with no host.
                self.active.insert(name.clone());
            }
            if body.bad {
                return Some(format!("bad {kind} {name}"));
            }
            self.check_clusters(response, &name, &body, now);
            self.kinds.get_mut(&kind).unwrap().held.insert(name, body);
        }
        for name in &response.removed {
            self.kinds.get_mut(&kind).unwrap().held.remove(name);
        }
        None
    }

    /// A route or filter configuration names only clusters that take traffic, but for a client that
    /// has no version of it and a cluster that is late, or that it refuses and has no version of.
    fn check_clusters(&mut self, response: &Response, name: &str, body: &Body, now: Instant) {
        let kind = response.kind;
        let held = self.kinds[&kind].held.get(name);
        if held == Some(body) {
            return;
        }
        let fresh = held.is_none();
        let late = now >= self.connected_at + Options::default().warm_timeout;
        let refused = self.without_hope.get(&response.nonce);
        let refused = refused.cloned().unwrap_or_default();
        if fresh && (late || body.clusters.iter().any(|c| refused.contains(c))) {
            self.without.extend(body.clusters.iter().cloned());
        }
        let has = &self.kinds[&Kind::Cluster].held;
        for cluster in body.clusters.iter().filter(|c| !self.active.contains(*c)) {
            let never_comes = refused.contains(cluster) && !has.contains_key(cluster);
            if !(fresh && (late || never_comes)) {
                let breach = format!("{kind} {name} ({}) routes to {cluster}", body.text);
                self.breaches.push(breach);
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
            version: item.version(),
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
