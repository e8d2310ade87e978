"""The official `tritonclient` SDK for Python, unmodified, through a real Envoy with Headgate.

The mock models speak no gRPC, so the client for gRPC meets only the answers of the filter.
"""

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

MODEL = "gpt-4"


@pytest.fixture
def client(apis):
    with tritonclient.http.InferenceServerClient(apis.authority) as client:
        yield client


def tensor(module, numbers):
    data = numpy.ones((1, numbers), dtype=numpy.float32)
    made = module.InferInput("INPUT0", list(data.shape), "FP32")
    made.set_data_from_numpy(data)
    return made


def infer(apis, client, tenant, model=MODEL, numbers=64, **more):
    # Binary tensors after the JSON, which is the default of the client.
    return client.infer(
        model, [tensor(tritonclient.http, numbers)], headers=apis.headers(tenant, "triton"), **more
    )


@pytest.mark.sdk("tritonclient", "http infer")
def test_binary_tensors_pass_both_ways_and_are_charged(apis, client, tenant):
    result = infer(apis, client, tenant)
    assert result.as_numpy("OUTPUT0").tolist() == [[1.5, 2.5]]
    # 64 numbers of 4 bytes are 256 bytes; a token is 4 bytes.
    assert apis.charged(tenant) >= 64


@pytest.mark.sdk("tritonclient", "http infer → InferenceServerException 429")
def test_over_budget_raises_an_error_with_the_status(apis, client, tenant):
    infer(apis, client, tenant, "phi-3", numbers=60)
    # The SDK has one class for all statuses.
    with pytest.raises(InferenceServerException) as refused:
        infer(apis, client, tenant, "phi-3", numbers=60)
    assert refused.value.status() == "429"
    assert "decoding" not in refused.value.message()


@pytest.mark.sdk("tritonclient", "http infer → InferenceServerException 404")
def test_an_unknown_model_raises_an_error_with_the_status(apis, client, tenant):
    with pytest.raises(InferenceServerException) as refused:
        infer(apis, client, tenant, "gpt-17")
    assert refused.value.status() == "404"
    assert "gpt-17" in refused.value.message()


@pytest.mark.sdk("tritonclient", "http is_server_live", fails="needs the header `x-model`")
def test_the_server_is_live_only_with_a_model(client):
    # The filter has no answer of its own, and cannot choose a server.
    assert not client.is_server_live()
    assert client.is_server_live(headers={"x-model": MODEL, "x-mock-answer": "empty"})


@pytest.mark.sdk("tritonclient", "http is_model_ready")
def test_a_model_is_ready(client):
    assert client.is_model_ready(MODEL, headers={"x-mock-answer": "empty"})


@pytest.fixture
def grpc_client(apis):
    with tritonclient.grpc.InferenceServerClient(apis.authority) as client:
        yield client


@pytest.mark.sdk("tritonclient", "grpc infer → InferenceServerException NOT_FOUND")
def test_an_unknown_model_raises_not_found_in_grpc(apis, grpc_client, tenant):
    with pytest.raises(InferenceServerException) as refused:
        grpc_client.infer("gpt-17", [tensor(tritonclient.grpc, 64)], headers=apis.headers(tenant), client_timeout=30)
    assert refused.value.status() == "StatusCode.NOT_FOUND"
    assert "gpt-17" in refused.value.message()


@pytest.mark.sdk("tritonclient", "grpc infer → InferenceServerException INVALID_ARGUMENT")
def test_more_than_the_capacity_raises_invalid_argument_in_grpc(apis, grpc_client, tenant):
    with pytest.raises(InferenceServerException) as refused:
        grpc_client.infer("phi-3", [tensor(tritonclient.grpc, 200)], headers=apis.headers(tenant), client_timeout=30)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "200 tokens" in refused.value.message()


@pytest.mark.sdk("tritonclient", "grpc infer → InferenceServerException RESOURCE_EXHAUSTED")
def test_over_budget_raises_resource_exhausted_in_grpc(apis, grpc_client, tenant):
    def status():
        with pytest.raises(InferenceServerException) as raised:
            grpc_client.infer(
                "phi-3", [tensor(tritonclient.grpc, 60)], headers=apis.headers(tenant, "triton"), client_timeout=30
            )
        return raised.value.status()

    # The mock model answers the first, but not in gRPC.
    assert status() != "StatusCode.RESOURCE_EXHAUSTED"
    assert status() == "StatusCode.RESOURCE_EXHAUSTED"
