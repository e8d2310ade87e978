//! The decision about a request, and the part of it that its stream keeps.

use std::rc::Rc;

use headgate_contract::Realtime;
use headgate_dialect::Endpoint;

use crate::effects::{Effect, Reply};
use crate::limit::Admitted;
use crate::metrics::Series;
use crate::outages::Target;
use crate::pick::{self, Version};
use crate::rates::Served;

/// The decision.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Forward the request. Its answer does not matter.
    Pass(Vec<Effect>),
    /// Answer it here.
    Reply(Vec<Effect>, Box<Reply>),
    /// Forward the request. Its answer and its end need the ticket.
    Forward(Vec<Effect>, Box<Ticket>),
}

/// The part of a decision that a stream keeps for its answer and its end.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// The endpoint. Its format is that of the answer.
    pub(crate) endpoint: &'static Endpoint,
    /// The namespace.
    pub(crate) namespace: Rc<str>,
    /// The model's id.
    pub(crate) model: Rc<str>,
    /// The version that was picked, or read from the header.
    pub(crate) version: Option<Rc<Version>>,
    /// The metrics of that version.
    pub(crate) series: Option<Rc<Series>>,
    /// Whether this hop picked the version and had an alternative. If so, it records whether the version can be reached.
    pub(crate) learns: bool,
    /// The answer is tagged with the version that served it.
    pub(crate) tag_answer: bool,
    /// The answer shows the balance.
    pub(crate) shows_balance: bool,
    /// The reserve.
    pub(crate) admitted: Admitted,
    /// The time when it was forwarded, in ns; 0 if nothing is charged.
    pub(crate) forwarded_ns: u64,
    /// The request was amended to report usage. The client did not ask for it.
    pub(crate) usage_requested: bool,
    /// The model name to write into the body.
    pub(crate) rename: Option<Rc<str>>,
    /// It is a gRPC request: `grpc-status` is its outcome.
    pub(crate) grpc: bool,
    /// Bytes of the request body that the reservation covers, if the body is charged by its bytes as it passes.
    pub(crate) passing: Option<u64>,
    /// It is a realtime session with this price.
    pub(crate) session: Option<Realtime>,
    /// The answer is charged by its bytes, whatever it holds.
    pub(crate) counts_bytes: bool,
    /// Later requests may continue the response of this one, so its id is read.
    pub(crate) continues: bool,
    /// If there are statistics by tenant: the tenant, and the number of tenants with statistics of their own.
    pub(crate) tenant: Option<(Option<Rc<str>>, u32)>,
}

impl Ticket {
    /// The model version that serves it.
    pub(crate) fn served(&self) -> Served {
        let version = self.version.as_ref();
        let version = version.map_or_else(|| Rc::from(""), |v| Rc::clone(&v.name));
        (Rc::clone(&self.namespace), Rc::clone(&self.model), version)
    }

    /// Whether the answer matters before the stream ends.
    pub(crate) fn reads_answer(&self) -> bool {
        self.tag_answer || self.reads_headers()
    }

    /// Whether the headers of the answer matter.
    pub(crate) fn reads_headers(&self) -> bool {
        self.shows_balance || self.grpc || self.reads_body()
    }

    /// Whether the body of the answer matters.
    pub(crate) fn reads_body(&self) -> bool {
        self.admitted.meters() || self.continues
    }

    /// Whether the body of the answer matters to buckets in shadow mode alone, while others are charged, too.
    pub(crate) fn metered_only_in_shadow(&self) -> bool {
        !self.continues && self.admitted.meters_only_in_shadow()
    }

    /// Whether the trailers of the answer matter.
    pub(crate) fn reads_trailers(&self) -> bool {
        self.grpc && !self.admitted.charges.is_empty()
    }

    /// The version's name; empty if there is no version.
    pub(crate) fn version(&self) -> &str {
        pick::label(self.version.as_ref())
    }

    /// The version as a key of the outages.
    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            namespace: &self.namespace,
            model: &self.model,
            version: self.version(),
        }
    }
}
