//! The bodies of inference requests: JSON with tensors, and messages of gRPC. It knows no path and no model server.

mod input;
mod messages;
mod protobuf;
mod status;
mod tensors;

pub(crate) use messages::MessageScanner;
pub use status::grpc_status_details;
pub(crate) use tensors::TensorScanner;
