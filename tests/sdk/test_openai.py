"""The official `openai` SDK for Python, unmodified, through a real Envoy with Headgate."""

import time

import openai
import pytest


@pytest.fixture
def exchanges():
    """Every exchange of the SDK: time, status and response headers."""
    return []


@pytest.fixture
def sent():
    """The length of each request body."""
    return []


@pytest.fixture
def client(testbed, exchanges, sent):
    def record(response):
        sent.append(len(response.request.content))
        exchanges.append((time.monotonic(), response.status_code, response.headers))

    with openai.OpenAI(
        base_url=f"{testbed['url']}/v1",
        api_key="none",
        timeout=30,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(event_hooks={"response": [record]}),
    ) as client:
        yield client


def chat(client, model, tenant, **more):
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Hello"}],
        extra_headers={"x-tenant-id": tenant, **more.pop("extra_headers", {})},
        **more,
    )


@pytest.mark.sdk("openai", "chat.completions.create")
def test_a_chat_is_answered_and_tagged_with_model_and_version(client, exchanges):
    answer = chat(client, "gpt-4", "plain", max_tokens=5)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens == 5
    _, status, headers = exchanges[-1]
    assert status == 200
    assert headers["x-model"] == "gpt-4"
    assert headers["x-model-version"] == "2024-08-06"


@pytest.mark.sdk("openai", "chat.completions.create(stream=True), with include_usage")
def test_a_streamed_chat_ends_with_its_usage(client):
    stream = chat(
        client, "gpt-4", "streamed", max_tokens=7, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert len([part for part in text if part]) == 7
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 7


@pytest.mark.sdk("openai", "models.list")
def test_the_models_are_listed_by_name(client):
    listed = {model.id for model in client.models.list()}
    assert {"gpt-4", "llama3-70b", "phi-3"} <= listed
    assert "meta-llama/Llama-3-70B-Instruct" in listed


def test_an_alias_reaches_the_model(client, exchanges):
    chat(client, "microsoft/Phi-3-mini-4k-instruct", "by-name", max_tokens=5)
    assert exchanges[-1][2]["x-model"] == "phi-3"


@pytest.mark.sdk("openai", "chat.completions.create → NotFoundError")
def test_an_unknown_model_raises_not_found(client):
    with pytest.raises(openai.NotFoundError) as refused:
        chat(client, "gpt-17", "lost", max_tokens=5)
    assert refused.value.code == "model_not_found"


@pytest.mark.sdk("openai", "chat.completions.create → BadRequestError")
def test_a_request_above_the_capacity_raises_bad_request(client):
    with pytest.raises(openai.BadRequestError) as refused:
        chat(client, "phi-3", "greedy", max_tokens=1000)
    assert refused.value.code == "cost_exceeds_capacity"


@pytest.mark.sdk("openai", "chat.completions.create → RateLimitError")
def test_over_budget_without_retries_raises_rate_limit_error(client):
    chat(client, "phi-3", "twice", max_tokens=98)
    with pytest.raises(openai.RateLimitError) as refused:
        chat(client, "phi-3", "twice", max_tokens=98)
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "tokens"
    headers = refused.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 2
    assert headers["x-ratelimit-limit-tokens"] == "100"


@pytest.mark.sdk("openai", "chat.completions.create, with retries")
def test_over_budget_the_sdk_waits_for_retry_after_and_then_succeeds(client, exchanges):
    patient = client.with_options(max_retries=2)
    chat(patient, "phi-3", "patient", max_tokens=98)
    answer = chat(patient, "phi-3", "patient", max_tokens=98)
    assert answer.choices[0].message.content
    statuses = [status for _, status, _ in exchanges]
    # One refusal, one wait of Retry-After, one success: the wait is long enough and not longer than needed.
    assert statuses == [200, 429, 200], statuses
    refused_at, _, headers = exchanges[1]
    waited = exchanges[2][0] - refused_at
    retry_after = int(headers["retry-after"])
    assert retry_after <= waited < retry_after + 2, (retry_after, waited)


def test_a_bucket_that_refills_slowly_raises_an_error_at_once(client, exchanges):
    patient = client.with_options(max_retries=2)
    chat(patient, "llama3-70b", "drained", max_tokens=900)
    began = time.monotonic()
    with pytest.raises(openai.RateLimitError) as refused:
        chat(patient, "llama3-70b", "drained", max_tokens=900)
    assert time.monotonic() - began < 5
    headers = refused.value.response.headers
    assert int(headers["retry-after"]) > 60
    assert headers["x-should-retry"] == "false"
    assert [status for _, status, _ in exchanges] == [200, 429]


@pytest.mark.sdk("openai", "chat.completions.create(stream=True)")
def test_a_streamed_chat_has_no_usage_unless_requested(client, sent):
    chunks = list(chat(client, "gpt-4", "unasked", max_tokens=7, stream=True))
    text = [chunk.choices[0].delta.content for chunk in chunks]
    assert len([part for part in text if part]) == 7
    assert all(chunk.usage is None for chunk in chunks)
    # The filter requested it from the model nevertheless.
    assert chunks[0].mock["body_bytes"] > sent[-1]
