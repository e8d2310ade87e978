//! The recording proxy, and configurations for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use headgate_core::effects::Reply;
use headgate_core::host::Host;
use headgate_core::metrics::{Metric, MetricKind};
use headgate_core::ports::{CasMismatch, Cells, Clock, Entropy};
use headgate_drive::{Actions, Message, Refused, Severity, Stats};

/// A proxy in memory. Its statistics have labels, unlike those of proxy-wasm.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    performed: RefCell<Vec<(Option<MetricKind>, String)>>,
    cells: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    pub(crate) request_body: RefCell<Vec<u8>>,
    /// Every action fails, with status 7.
    pub(crate) refuses: Cell<bool>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The actions since the last call, in order.
    pub(crate) fn performed(&self) -> Vec<String> {
        let performed = self.performed.take().into_iter();
        performed.map(|(_, text)| text).collect()
    }

    /// The number of actions of this kind since the last call of [`Self::performed`].
    pub(crate) fn kinds(&self, kind: MetricKind) -> usize {
        let performed = self.performed.borrow();
        performed.iter().filter(|(k, _)| *k == Some(kind)).count()
    }

    fn record(&self, text: String) -> Result<(), Refused> {
        if self.refuses.get() {
            return Err(Refused(7));
        }
        self.performed.borrow_mut().push((None, text));
        Ok(())
    }

    fn statistic(&self, metric: &Metric, change: &str) -> Result<(), Refused> {
        let family = metric.family().expect("a family");
        let values: Vec<_> = metric.label_values().collect();
        assert_eq!(family.labels.len(), values.len(), "{}", metric.rendered());
        if self.refuses.get() {
            return Err(Refused(7));
        }
        let text = format!("{} [{}] {change}", family.name, values.join(", "));
        let mut performed = self.performed.borrow_mut();
        performed.push((Some(family.kind), text));
        Ok(())
    }
}

fn name(message: Message) -> &'static str {
    match message {
        Message::Request => "request",
        Message::Response => "response",
    }
}

impl Actions for Recorder {
    fn add_header(&self, message: Message, header: &str, value: &str) -> Result<(), Refused> {
        self.record(format!("add {} {header}: {value}", name(message)))
    }
    fn set_header(&self, message: Message, header: &str, value: &str) -> Result<(), Refused> {
        self.record(format!("set {} {header}: {value}", name(message)))
    }
    fn remove_header(&self, message: Message, header: &str) -> Result<(), Refused> {
        self.record(format!("remove {} {header}", name(message)))
    }
    fn request_body(&self) -> Result<Vec<u8>, Refused> {
        Ok(self.request_body.borrow().clone())
    }
    fn replace_body(&self, message: Message, bytes: &[u8]) -> Result<(), Refused> {
        let text = String::from_utf8_lossy(bytes);
        self.record(format!("body {} {text}", name(message)))
    }
    fn set_state(&self, key: &str, value: &str) -> Result<(), Refused> {
        self.record(format!("state {key}: {value}"))
    }
    fn reply(&self, reply: &Reply) -> Result<(), Refused> {
        self.record(format!("reply {} {}", reply.status, reply.details))
    }
    fn log(&self, severity: Severity, line: &str) {
        let text = format!("log {severity:?} {line}");
        self.performed.borrow_mut().push((None, text));
    }
}

impl Stats for Recorder {
    fn count(&self, counter: &Metric, by: u64) -> Result<(), Refused> {
        self.statistic(counter, &format!("+{by}"))
    }
    fn observe(&self, histogram: &Metric, value: u64) -> Result<(), Refused> {
        self.statistic(histogram, &format!("= {value}"))
    }
}

impl Clock for Recorder {
    fn now(&self) -> u64 {
        1_000_000_000_000
    }
}

impl Entropy for Recorder {
    fn next(&self) -> u64 {
        7
    }
}

impl Cells for Recorder {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.cells.borrow().get(key).cloned()
    }
    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        let mut cells = self.cells.borrow_mut();
        let version = cells.get(key).map(|(_, version)| *version);
        if cas != version {
            return Err(CasMismatch);
        }
        let next = version.map_or(1, |version| version + 1);
        cells.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}

impl Host for Recorder {
    fn virtual_host(&self) -> Option<String> {
        None
    }
    fn served_version(&self) -> Option<String> {
        Some("v1".into())
    }
    fn istio(&self, _: headgate_core::host::IstioProperty<'_>) -> Option<String> {
        None
    }
    fn peer_uri(&self) -> Option<String> {
        None
    }

    fn source_address(&self) -> Option<String> {
        None
    }
    fn jwt_claim(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn held_body(&self, from: usize, length: usize) -> Option<Vec<u8>> {
        let body = self.request_body.borrow();
        let rest = body.get(from..)?;
        Some(rest.get(..length).unwrap_or(rest).to_vec())
    }

    fn request_headers_size(&self) -> Option<u32> {
        let all = super::CHAT
            .iter()
            .map(|(name, value)| name.len() + value.len());
        u32::try_from(all.sum::<usize>()).ok()
    }
    fn code_details(&self) -> Option<String> {
        Some("via_upstream".into())
    }
    fn status(&self) -> Option<u16> {
        Some(200)
    }
    fn upstream_address(&self) -> Option<String> {
        Some("127.0.0.1:8000".into())
    }
}

/// Namespace `default` with model `m` in version `v1`, and these buckets.
pub(crate) fn config(buckets: &[String]) -> String {
    format!(
        r#"{{"namespaces":{{"default":{{"models":{{"m":{{"base":[{{"carrier":"deployment/m","weight":1,"versions":[{{"version":"v1","endpoints":1}}]}}]}}}},"buckets":[{}]}}}}}}"#,
        buckets.join(",")
    )
}

/// A bucket of tokens per tenant, with a refill of 10 tokens per second.
pub(crate) fn budget(capacity: u64) -> String {
    format!(
        r#"{{"policy":"p","bucket":{{"name":"tokens","key":["tenant"],"profile":"tokens","tokens":{{"capacity":{capacity},"refillPerSecond":10}}}}}}"#
    )
}
