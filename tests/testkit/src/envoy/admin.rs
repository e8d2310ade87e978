//! A client of Envoy's admin interface.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use super::{EnvoyError, PromSample, parse_prometheus};
use crate::client::{HttpClient, HttpRequest, Reply};

/// A client of one Envoy's admin interface. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    addr: SocketAddr,
    client: HttpClient,
}

impl Admin {
    /// The admin interface at `addr`.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            client: HttpClient::new(),
        }
    }

    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `GET path`, query included.
    ///
    /// # Errors
    /// [`EnvoyError::Admin`] without a response, [`EnvoyError::Unexpected`] for a status other than 200.
    pub async fn get(&self, path: &str) -> Result<Reply, EnvoyError> {
        self.request(path, HttpRequest::get(self.url(path))).await
    }

    /// `POST path`, query included.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(&self, path: &str) -> Result<Reply, EnvoyError> {
        self.request(path, HttpRequest::post(self.url(path), ""))
            .await
    }

    /// Counters and gauges whose names begin with `prefix`, without histograms and text readouts.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>, EnvoyError> {
        let path = format!("/stats?filter={}", as_pattern(prefix));
        Ok(parse_stats(&self.get(&path).await?.text()))
    }

    /// One counter or gauge; `None` when it does not exist.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn stat(&self, name: &str) -> Result<Option<u64>, EnvoyError> {
        Ok(self.stats(name).await?.remove(name))
    }

    /// `/stats/prometheus`, parsed.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn prometheus(&self) -> Result<Vec<PromSample>, EnvoyError> {
        Ok(parse_prometheus(
            &self.get("/stats/prometheus").await?.text(),
        ))
    }

    /// `/config_dump`, endpoints included.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn config_dump(&self) -> Result<Value, EnvoyError> {
        self.json("/config_dump?include_eds").await
    }

    /// `/clusters`, as JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn clusters(&self) -> Result<Value, EnvoyError> {
        self.json("/clusters?format=json").await
    }

    /// The addresses that listeners are bound to, by listener name.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn listeners(&self) -> Result<BTreeMap<String, SocketAddr>, EnvoyError> {
        let answer = self.json("/listeners?format=json").await?;
        let listeners = answer["listener_statuses"].as_array();
        Ok(listeners
            .into_iter()
            .flatten()
            .filter_map(bound_listener)
            .collect())
    }

    async fn json(&self, path: &str) -> Result<Value, EnvoyError> {
        let reply = self.get(path).await?;
        reply.json().map_err(|source| EnvoyError::Admin {
            path: path.to_owned(),
            source,
        })
    }

    async fn request(&self, path: &str, request: HttpRequest) -> Result<Reply, EnvoyError> {
        match self.client.send(request).await {
            Ok(reply) if reply.status == 200 => Ok(reply),
            Ok(reply) => Err(EnvoyError::Unexpected {
                path: path.to_owned(),
                status: reply.status,
                body: reply.text(),
            }),
            Err(source) => Err(EnvoyError::Admin {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

fn bound_listener(status: &Value) -> Option<(String, SocketAddr)> {
    let name = status["name"].as_str()?.to_owned();
    let socket = &status["local_address"]["socket_address"];
    let ip = socket["address"].as_str()?.parse().ok()?;
    let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
    Some((name, SocketAddr::new(ip, port)))
}

/// A prefix as an anchored regular expression, percent-encoded for a query.
fn as_pattern(prefix: &str) -> String {
    let mut query = String::from("%5E");
    for byte in prefix.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => query.push(byte.into()),
            // A backslash makes any other ASCII character literal.
            _ => {
                if byte.is_ascii() {
                    query.push_str("%5C");
                }
                // Writing to a string cannot fail.
                let _ = write!(query, "%{byte:02X}");
            }
        }
    }
    query
}

/// `name: value` lines. A name may contain colons and spaces; a number cannot.
fn parse_stats(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_literally() {
        assert_eq!(as_pattern("cluster.a-b"), "%5Ecluster%5C%2Ea-b");
        assert_eq!(
            as_pattern("model/x (1)"),
            "%5Emodel%5C%2Fx%5C%20%5C%281%5C%29"
        );
    }

    #[test]
    fn stats_keep_counters_and_leave_histograms_out() {
        let stats = parse_stats("a: b.c: 7\nd.e: 0\nh: P0(nan,1.05)\nt: \"text\"\n");
        let expected = [("a: b.c".to_owned(), 7), ("d.e".to_owned(), 0)];
        assert_eq!(stats, BTreeMap::from(expected));
    }
}
