//! A proxy in memory: a clock that only the test advances, shared cells, and the properties of a stream.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use headgate_core::effects::{Effect, Flow, Reply, Step};
use headgate_core::headers::Headers;
use headgate_core::host::{Host, IstioProperty};
use headgate_core::ports::{CasMismatch, Cells, Clock, Entropy};
use headgate_core::stream::Stream;
use headgate_core::vm::{Stages, Vm};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const BOTH: Stages = Stages {
    tag: true,
    limit: true,
};

#[derive(Debug, Default)]
pub(crate) struct MemoryHost {
    pub(crate) now: Cell<u64>,
    pub(crate) drawn: Cell<u64>,
    pub(crate) contended: Cell<bool>,
    pub(crate) cells: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    pub(crate) virtual_host: RefCell<Option<String>>,
    /// By the `Debug` form of the property.
    pub(crate) istio: RefCell<BTreeMap<String, String>>,
    /// The URI in the certificate of the client.
    pub(crate) peer: RefCell<Option<String>>,
    /// The address of the client, with its port.
    pub(crate) source: RefCell<Option<String>>,
    /// The claims of a verified token, as the host gives them.
    pub(crate) claims: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(crate) served: RefCell<Option<String>>,
    pub(crate) details: RefCell<Option<String>>,
    pub(crate) upstream: RefCell<Option<String>>,
    pub(crate) headers_size: Cell<u32>,
    /// The request body that is held.
    pub(crate) body: RefCell<Vec<u8>>,
    /// Status of the answer, once there is one.
    pub(crate) status: Cell<Option<u16>>,
}

impl MemoryHost {
    pub(crate) fn new() -> Self {
        let host = Self::default();
        host.now.set(1_000 * SECOND);
        host
    }

    /// The upstream answers, from an endpoint of this version.
    pub(crate) fn serves(&self, version: &str) {
        *self.served.borrow_mut() = Some(version.into());
        *self.details.borrow_mut() = Some("via_upstream".into());
        *self.upstream.borrow_mut() = Some("127.0.0.1:8101".into());
    }

    /// The proxy itself ends the stream.
    pub(crate) fn ends(&self, details: &str, upstream: bool) {
        *self.served.borrow_mut() = None;
        *self.details.borrow_mut() = Some(details.into());
        *self.upstream.borrow_mut() = upstream.then(|| "127.0.0.1:8101".into());
    }

    pub(crate) fn sleep(&self, ns: u64) {
        self.now.set(self.now.get() + ns);
    }
}

impl Clock for MemoryHost {
    fn now(&self) -> u64 {
        self.now.get()
    }
}

impl Entropy for MemoryHost {
    fn next(&self) -> u64 {
        // splitmix64
        let n = self.drawn.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.drawn.set(n);
        let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        n ^ (n >> 31)
    }
}

impl Cells for MemoryHost {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.cells.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        let mut cells = self.cells.borrow_mut();
        let version = cells.get(key).map_or(0, |c| c.1);
        let matches = match cas {
            Some(cas) => cas == version,
            None => !cells.contains_key(key),
        };
        if !matches || self.contended.get() {
            return Err(CasMismatch);
        }
        cells.insert(key.into(), (value.into(), version + 1));
        Ok(())
    }
}

impl Host for MemoryHost {
    fn virtual_host(&self) -> Option<String> {
        self.virtual_host.borrow().clone()
    }
    fn served_version(&self) -> Option<String> {
        self.served.borrow().clone()
    }
    fn istio(&self, property: IstioProperty<'_>) -> Option<String> {
        self.istio.borrow().get(&format!("{property:?}")).cloned()
    }
    fn peer_uri(&self) -> Option<String> {
        self.peer.borrow().clone()
    }
    fn source_address(&self) -> Option<String> {
        self.source.borrow().clone()
    }
    fn jwt_claim(&self, name: &str) -> Option<Vec<u8>> {
        self.claims.borrow().get(name).cloned()
    }
    fn held_body(&self, from: usize, length: usize) -> Option<Vec<u8>> {
        let body = self.body.borrow();
        let rest = body.get(from..)?;
        Some(rest.get(..length).unwrap_or(rest).to_vec())
    }
    fn request_headers_size(&self) -> Option<u32> {
        Some(self.headers_size.get())
    }
    fn code_details(&self) -> Option<String> {
        self.details.borrow().clone()
    }
    fn status(&self) -> Option<u16> {
        self.status.get()
    }
    fn upstream_address(&self) -> Option<String> {
        self.upstream.borrow().clone()
    }
}

/// A proxy with one worker.
pub(crate) struct Proxy {
    pub(crate) host: MemoryHost,
    pub(crate) vm: Vm,
}

impl Proxy {
    pub(crate) fn new(config: &str) -> Self {
        Self::with(config, BOTH)
    }

    pub(crate) fn with(config: &str, stages: Stages) -> Self {
        let host = MemoryHost::new();
        host.serves("v1");
        let mut vm = Vm::new(stages);
        vm.configure(config.as_bytes(), &host).unwrap();
        Self { host, vm }
    }

    /// A chat request with these extra headers; the body comes in one piece.
    pub(crate) fn chat(&mut self, headers: &[(&str, &str)], body: &str) -> (Stream, Step) {
        let mut all = vec![(":method", "POST"), (":path", "/v1/chat/completions")];
        all.extend_from_slice(headers);
        self.send(&all, Some(body.as_bytes()))
    }

    pub(crate) fn send(&mut self, headers: &[(&str, &str)], body: Option<&[u8]>) -> (Stream, Step) {
        let mut stream = Stream::new();
        let headers = Headers::from_pairs(headers);
        self.host.headers_size.set(headers.size());
        let mut step = stream.request_headers(&mut self.vm, &self.host, headers, body.is_none());
        if step.flow == Flow::Pause {
            assert!(
                step.effects.is_empty(),
                "nothing happens before the decision"
            );
            let body = body.unwrap_or_default();
            *self.host.body.borrow_mut() = body.to_vec();
            step = stream.request_body(&mut self.vm, &self.host, body, true);
        }
        (stream, step)
    }

    /// The complete answer of the upstream.
    pub(crate) fn answer(
        &mut self,
        stream: &mut Stream,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Step {
        let headers = Headers::from_pairs(headers);
        let status = headers.text(":status").and_then(|s| s.parse().ok());
        self.host.status.set(status);
        let step = stream.response_headers(&mut self.vm, &self.host, &headers, false);
        stream.response_body(&mut self.vm, &self.host, body.as_bytes(), true);
        step
    }

    pub(crate) fn end(&mut self, stream: &mut Stream) -> Vec<Effect> {
        stream.end(&mut self.vm, &self.host).effects
    }
}

#[track_caller]
pub(crate) fn reply(step: &Step) -> &Reply {
    match &step.flow {
        Flow::Reply(reply) => reply,
        other => panic!("not answered here: {other:?}"),
    }
}

pub(crate) fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

pub(crate) fn reply_header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut found = reply.headers.iter().filter(|(n, _)| n == name);
    found.next().map(|(_, v)| v.as_str())
}

pub(crate) fn request_header<'a>(step: &'a Step, name: &str) -> Option<&'a str> {
    step.effects.iter().rev().find_map(|e| match e {
        Effect::AddRequestHeader(n, v) | Effect::SetRequestHeader(n, v) if n == name => Some(&**v),
        _ => None,
    })
}

pub(crate) fn response_header<'a>(step: &'a Step, name: &str) -> Option<&'a str> {
    step.effects.iter().rev().find_map(|e| match e {
        Effect::SetResponseHeader(n, v) if n == name => Some(&**v),
        _ => None,
    })
}

pub(crate) fn removed(step: &Step, name: &str) -> bool {
    let gone = |e: &Effect| matches!(e, Effect::RemoveRequestHeader(n) if n == name);
    step.effects.iter().any(gone)
}

pub(crate) fn state<'a>(step: &'a Step, name: &str) -> Option<&'a str> {
    step.effects.iter().find_map(|e| match e {
        Effect::SetState(n, v) if n == name => Some(&**v),
        _ => None,
    })
}

/// The sum of the increments of a counter, or of the recorded values of a histogram.
pub(crate) fn counted(effects: &[Effect], rendered: &str) -> u64 {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Count(m, n) | Effect::Observe(m, n) if m.rendered() == rendered => Some(*n),
            _ => None,
        })
        .sum()
}

/// Configuration of one namespace with a model `m` (client name `Org/M`), version v1, and these buckets.
pub(crate) fn one_model(buckets: &str) -> String {
    format!(
        r#"{{"maxBodyBytes":4096,"namespaces":{{"default":{{"models":{{"m":{{"names":["Org/M"],
        "base":[{{"carrier":"deployment/a","weight":1,"versions":[{{"version":"v1","endpoints":1}}]}}]}}}},
        "buckets":[{buckets}]}}}}}}"#
    )
}

/// The configuration with buckets that the hop that follows charges.
pub(crate) fn at_inbound(config: &str) -> String {
    config.replace(r#""policy":"p","#, r#""policy":"p","at":"inbound","#)
}

/// A tokens bucket keyed by tenant.
pub(crate) fn tokens(capacity: u64, per_second: &str, more: &str) -> String {
    format!(
        r#"{{"policy":"p","bucket":{{"name":"budget","key":["tenant"],"profile":"tokens","tokens":{{"capacity":{capacity},"refillPerSecond":{per_second}}}{more}}}}}"#
    )
}
