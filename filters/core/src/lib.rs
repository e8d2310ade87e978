//! The data plane's decisions: facts → tags and version → cost → reserve → effects, and usage → settle.
//!
//! Pure: no clock, no I/O, no ABI. A [`stream::Stream`] receives the callbacks of a proxy and returns [`effects`]; what it needs from
//! outside comes through [`ports`] and [`host`]. So the same code runs inside Envoy, in tests, and in the control plane, which checks
//! a configuration before it is pushed.
//!
//! ```text
//! request   endpoint ▶ facts ▶ session ▶ pick ▶ tags ▶ cost ▶ limit ▶ effects      (decide, stream)
//!                                   rendezvous            scale  ledger  ratelimit_headers, refusal
//! answer    answer ▶ served ▶ settle ▶ ledger ▶ metrics
//!              └─▶ outages: versions that the pick passes over
//! once per configuration    compiled, counters            once per worker    vm
//! ```

mod answer;
mod attributes;
mod body_fields;
mod compiled;
pub mod cost;
mod counters;
mod decide;
mod decision;
pub mod effects;
pub mod endpoint;
mod evictions;
pub mod facts;
pub mod failure;
pub mod headers;
pub mod host;
mod hosts;
mod labels;
pub mod ledger;
mod limit;
mod mesh;
pub mod metrics;
mod models_list;
mod outages;
mod outcome;
mod overrides;
mod passing;
mod periodic;
pub mod pick;
pub mod ports;
pub mod ratelimit_headers;
mod rates;
pub mod refusal;
pub mod rendezvous;
mod responses;
pub mod scale;
pub mod schemas;
mod served;
pub mod session;
mod sessions;
pub mod settle;
mod skew;
pub mod stream;
mod tag_rules;
pub mod tags;
mod tenants;
mod usage_refusals;
pub mod vm;
