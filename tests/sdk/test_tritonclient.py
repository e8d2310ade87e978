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
