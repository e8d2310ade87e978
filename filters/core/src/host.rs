//! What a stream asks of the proxy around it: the ports, and what it knows of the stream at hand.
//!
//! Every method that returns bytes costs a host call of about 2 µs, so each is asked only where its answer
//! decides something.

use crate::ports::{Cells, Clock, Entropy};

/// The proxy, as one stream sees it. Properties answer `None` where the host has none.
pub trait Host: Clock + Cells + Entropy {
    /// `xds.virtual_host_name`. Right in the request callbacks. Asked only with several namespaces.
    fn virtual_host(&self) -> Option<String>;

    /// The version of the endpoint that answered: `xds.upstream_host_metadata` → `filter_metadata` →
    /// `headgate` → `version`.
    fn served_version(&self) -> Option<String>;

    /// Bytes of all names and values of the request's headers, as they are now.
    fn request_headers_size(&self) -> Option<u32>;

    /// `response.code_details`: `via_upstream`, `response_timeout`, `direct_response`, …
    fn code_details(&self) -> Option<String>;

    /// `response.code`: the status that the client gets. `None` while there is none.
    fn status(&self) -> Option<u16>;

    /// `upstream.address`: the endpoint that was chosen. `None` while none is: nothing was sent.
    fn upstream_address(&self) -> Option<String>;
}
