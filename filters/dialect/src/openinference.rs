//! The Open Inference Protocol, version 2, over REST and gRPC, with Triton's additions. The path or the message names the model.

use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::openai;
use crate::operation::{Access, Api, Operation};
use crate::plain;
use crate::triton;

/// `POST …/infer`, and MLServer's `…/infer_stream`
static INFER: Endpoint = Endpoint {
    request: Form::Tensors,
    ..BASE
};

/// `ModelInfer` and `ModelStreamInfer`
static GRPC_INFER: Endpoint = Endpoint {
    request: Form::Messages,
    ..BASE
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = BASE;

const BASE: Endpoint = Endpoint {
    dialect: &plain::DIALECT,
    request: Form::Headers,
    answer: &openai::answer::TENSORS,
    price: Price::Facts,
    costs: Costs {
        param: "inputs",
        fix: "send smaller `inputs`, or split them over several requests",
        alternative: "with smaller `inputs`",
    },
};

const fn row(
    name: &'static str,
    method: &'static str,
    pattern: &'static str,
    access: Access,
    endpoint: &'static Endpoint,
) -> Operation {
    Operation {
        name,
        api: Api::OpenInference,
        method,
        pattern,
        access,
        endpoint,
    }
}

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    row("openinference.infer", "POST", "/v2/models/{model}/versions/{version}/infer", Access::Charged, &INFER),
    row("openinference.infer", "POST", "/v2/models/{model}/infer", Access::Charged, &INFER),
    row("openinference.infer", "POST", "/v2/models/{model}/versions/{version}/infer_stream", Access::Charged, &INFER),
    row("openinference.infer", "POST", "/v2/models/{model}/infer_stream", Access::Charged, &INFER),
    row("triton.generate", "POST", "/v2/models/{model}/versions/{version}/generate", Access::Charged, &triton::GENERATE),
    row("triton.generate", "POST", "/v2/models/{model}/versions/{version}/generate_stream", Access::Charged, &triton::GENERATE_STREAM),
    row("triton.generate", "POST", "/v2/models/{model}/generate", Access::Charged, &triton::GENERATE),
    row("triton.generate", "POST", "/v2/models/{model}/generate_stream", Access::Charged, &triton::GENERATE_STREAM),
    row("openinference.model", "GET", "/v2/models/{model}/versions/{version}/ready", Access::Free, &HEADERS_ONLY),
    row("openinference.model", "GET", "/v2/models/{model}/versions/{version}/config", Access::Free, &HEADERS_ONLY),
    row("openinference.model", "GET", "/v2/models/{model}/versions/{version}/stats", Access::Free, &HEADERS_ONLY),
    row("openinference.model", "GET", "/v2/models/{model}/versions/{version}", Access::Free, &HEADERS_ONLY),
    row("openinference.model", "GET", "/v2/models/{model}/ready", Access::Free, &HEADERS_ONLY),
    row("openinference.model", "GET", "/v2/models/{model}/config", Access::Free, &HEADERS_ONLY),
    row("openinference.model", "GET", "/v2/models/{model}/stats", Access::Free, &HEADERS_ONLY),
    row("openinference.server", "GET", "/v2/models/stats", Access::Free, &HEADERS_ONLY),
    row("openinference.model", "GET", "/v2/models/{model}", Access::Free, &HEADERS_ONLY),
    row("openinference.server", "GET", "/v2", Access::Free, &HEADERS_ONLY),
    row("openinference.server", "GET", "/v2/health/live", Access::Free, &HEADERS_ONLY),
    row("openinference.server", "GET", "/v2/health/ready", Access::Free, &HEADERS_ONLY),
    row("openinference.repository", "*", "/v2/repository/{rest}", Access::Management, &HEADERS_ONLY),
    row("openinference.grpc.infer", "POST", "/inference.GRPCInferenceService/ModelInfer", Access::Charged, &GRPC_INFER),
    row("openinference.grpc.infer", "POST", "/inference.GRPCInferenceService/ModelStreamInfer", Access::Charged, &GRPC_INFER),
    row("openinference.grpc.repository", "POST", "/inference.GRPCInferenceService/RepositoryIndex", Access::Management, &HEADERS_ONLY),
    row("openinference.grpc.repository", "POST", "/inference.GRPCInferenceService/RepositoryModelLoad", Access::Management, &HEADERS_ONLY),
    row("openinference.grpc.repository", "POST", "/inference.GRPCInferenceService/RepositoryModelUnload", Access::Management, &HEADERS_ONLY),
    row("openinference.grpc.read", "POST", "/inference.GRPCInferenceService/{id}", Access::Free, &HEADERS_ONLY),
];
