//! The proxy, as one of its callbacks sees it: the core's ports and the driver's traits over the ABI.
//!
//! Invariant: one [`Call`] per callback, and one reading of the clock in it, so a callback decides everything at one instant.

use std::cell::{OnceCell, RefCell};

use headgate_core::effects::Reply;
use headgate_core::host::{Host, IstioProperty};
use headgate_core::metrics::{Metric, MetricKind};
use headgate_core::ports::{CasMismatch, Cells, Clock, Entropy};
use headgate_drive::{Actions, Message, Refused, Severity, Stats};

use crate::abi::{self, Buffer, Level, Map, Statistic, Status};
use crate::pairs;
use crate::worker::WORKER;

/// One callback of the proxy.
#[derive(Debug, Default)]
pub(crate) struct Call {
    now: OnceCell<u64>,
}

impl Clock for Call {
    fn now(&self) -> u64 {
        *self.now.get_or_init(|| {
            abi::monotonic_ns().unwrap_or_else(|status| {
                log_host_error("read the clock", status);
                // Long ago: nothing was refilled since, so nothing is given away.
                0
            })
        })
    }
}

impl Cells for Call {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        match abi::shared(key.as_bytes()) {
            Ok(found) => Some(found),
            Err(Status::NOT_FOUND) => None,
            Err(status) => {
                log_host_error("read a shared cell", status);
                None
            }
        }
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        abi::set_shared(key.as_bytes(), value, cas.unwrap_or(abi::ABSENT)).map_err(|status| {
            // For whatever reason, nothing was written: bounded retries and the policy for contention apply in either case.
            match status {
                Status::CAS_MISMATCH => WORKER.with(|worker| worker.count_lost_attempt()),
                status => log_host_error("write a shared cell", status),
            }
            CasMismatch
        })
    }
}

impl Entropy for Call {
    fn next(&self) -> u64 {
        abi::random().unwrap_or_else(|status| {
            log_host_error("draw a random number", status);
            self.now().wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    }
}

impl Host for Call {
    fn virtual_host(&self) -> Option<String> {
        text(b"xds\0virtual_host_name")
    }

    fn served_version(&self) -> Option<String> {
        // Down to the leaf: a few bytes instead of a serialized message.
        text(b"xds\0upstream_host_metadata\0filter_metadata\0headgate\0version")
    }

    fn istio(&self, property: IstioProperty<'_>) -> Option<String> {
        text(match property {
            IstioProperty::Workload => {
                b"xds\0upstream_host_metadata\0filter_metadata\0istio\0workload"
            }
            IstioProperty::Subset => b"xds\0cluster_metadata\0filter_metadata\0istio\0subset",
            IstioProperty::NodeNamespace => b"xds\0node\0metadata\0NAMESPACE",
            IstioProperty::NodeWorkload => b"xds\0node\0metadata\0WORKLOAD_NAME",
            IstioProperty::NodeLabel(key) => {
                return text(&[b"xds\0node\0metadata\0LABELS\0", key.as_bytes()].concat());
            }
        })
    }

    fn peer_uri(&self) -> Option<String> {
        text(b"connection\0uri_san_peer_certificate")
    }

    fn source_address(&self) -> Option<String> {
        text(b"source\0address")
    }

    fn jwt_claim(&self, name: &str) -> Option<Vec<u8>> {
        // Listeners of Headgate keep the payload under the first key, a RequestAuthentication of Istio under the second one.
        let keys: [&[u8]; 2] = [b"headgate\0", b"payload\0"];
        keys.into_iter().find_map(|key| {
            let claims = b"metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0";
            abi::property(&[claims, key, name.as_bytes()].concat()).ok()
        })
    }

    fn held_body(&self, from: usize, length: usize) -> Option<Vec<u8>> {
        abi::buffer(Buffer::RequestBody, from, length)
            .inspect_err(|status| log_host_error("return the held body", *status))
            .ok()
    }

    fn request_headers_size(&self) -> Option<u32> {
        abi::headers_size(Map::Request).ok()
    }

    fn code_details(&self) -> Option<String> {
        text(b"response\0code_details")
    }

    fn status(&self) -> Option<u16> {
        // Envoy returns numbers as eight bytes.
        let bytes = abi::property(b"response\0code").ok()?;
        let number = u64::from_le_bytes(bytes.try_into().ok()?);
        u16::try_from(number).ok().filter(|status| *status > 0)
    }

    fn upstream_address(&self) -> Option<String> {
        text(b"upstream\0address")
    }
}

fn text(path: &[u8]) -> Option<String> {
    // A property that does not exist (yet) is an answer, not a fault.
    let bytes = abi::property(path).ok()?;
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty())
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status.0)
    }
}

fn map(message: Message) -> Map {
    match message {
        Message::Request => Map::Request,
        Message::Response => Map::Response,
    }
}

impl Actions for Call {
    fn add_header(&self, message: Message, name: &str, value: &str) -> Result<(), Refused> {
        Ok(abi::add_header(
            map(message),
            name.as_bytes(),
            value.as_bytes(),
        )?)
    }

    fn set_header(&self, message: Message, name: &str, value: &str) -> Result<(), Refused> {
        Ok(abi::set_header(
            map(message),
            name.as_bytes(),
            value.as_bytes(),
        )?)
    }

    fn remove_header(&self, message: Message, name: &str) -> Result<(), Refused> {
        Ok(abi::remove_header(map(message), name.as_bytes())?)
    }

    fn request_body(&self) -> Result<Vec<u8>, Refused> {
        Ok(abi::buffer(Buffer::RequestBody, 0, i32::MAX as usize)?)
    }

    fn replace_body(&self, message: Message, bytes: &[u8]) -> Result<(), Refused> {
        let buffer = match message {
            Message::Request => Buffer::RequestBody,
            Message::Response => Buffer::ResponseBody,
        };
        Ok(abi::set_buffer(buffer, bytes)?)
    }

    fn set_state(&self, name: &str, value: &str) -> Result<(), Refused> {
        Ok(abi::set_property(name.as_bytes(), value.as_bytes())?)
    }

    /// Envoy sends it once the callback has returned.
    fn reply(&self, reply: &Reply) -> Result<(), Refused> {
        let details = reply.details.as_bytes();
        // The body of a gRPC reply becomes `grpc-message`.
        let body = match reply.grpc {
            Some(_) => reply.message.as_bytes(),
            None => &reply.body,
        };
        let headers = pairs::write(&reply.headers);
        Ok(abi::send_reply(
            reply.status,
            details,
            &headers,
            body,
            reply.grpc,
        )?)
    }

    fn log(&self, severity: Severity, line: &str) {
        let level = match severity {
            Severity::Warning => Level::Warn,
            Severity::Error => Level::Error,
        };
        abi::log(level, line);
    }
}

thread_local! {
    /// The host's id of each statistic, sorted by name. Valid for the life of the VM.
    static IDS: RefCell<Vec<(String, u32)>> = const { RefCell::new(Vec::new()) };
}

impl Stats for Call {
    fn count(&self, counter: &Metric, by: u64) -> Result<(), Refused> {
        Ok(abi::count(id(counter)?, by)?)
    }

    fn observe(&self, histogram: &Metric, value: u64) -> Result<(), Refused> {
        Ok(abi::observe(id(histogram)?, value)?)
    }
}

/// The host's id of a metric. Each name is defined once: the host keeps what is defined for the life of the VM.
fn id(metric: &Metric) -> Result<u32, Status> {
    if let Some(id) = metric.id().get() {
        return Ok(*id);
    }
    let name = metric.rendered();
    let id = IDS.with_borrow_mut(|ids| {
        match ids.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(place) => Ok(ids[place].1),
            Err(place) => {
                let kind = match metric.kind() {
                    MetricKind::Counter => Statistic::Counter,
                    MetricKind::Histogram => Statistic::Histogram,
                };
                let id = abi::define_metric(kind, name)?;
                ids.insert(place, (name.to_owned(), id));
                Ok(id)
            }
        }
    })?;
    Ok(*metric.id().get_or_init(|| id))
}

/// Logs that the host refused an action. The stream goes on; an operator should know.
#[cold]
pub(crate) fn log_host_error(action: &str, status: Status) {
    let line = format!(
        "headgate: the host refused to {action} (status {})",
        status.0
    );
    abi::log(Level::Warn, &line);
}
