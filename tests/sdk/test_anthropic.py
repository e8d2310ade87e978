"""The official `anthropic` SDK for Python, unmodified, through a real Envoy with Headgate."""

import anthropic
import pytest

MODEL = "gpt-4"


@pytest.fixture
def client(apis):
    with anthropic.Anthropic(base_url=apis.url, api_key="none", timeout=30, max_retries=0) as client:
        yield client


def asked(apis, tenant, model=MODEL, answer=None, max_tokens=64):
    return {
        "model": model,
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": "Hello"}],
        "extra_headers": apis.headers(tenant, answer),
    }


@pytest.mark.sdk("anthropic", "messages.create")
def test_a_message_is_answered_and_charged(apis, client, tenant):
    message = client.messages.create(**asked(apis, tenant, answer="anthropic"))
    assert message.content[0].text == "Hello there"
    assert message.usage.output_tokens == 15
    assert apis.charged(tenant) == 25 + 5 + 15


@pytest.mark.sdk("anthropic", "messages.create(stream=True)")
def test_the_events_of_a_stream_arrive(apis, client, tenant):
    stream = client.messages.create(**asked(apis, tenant, answer="anthropic-stream"), stream=True)
    kinds = [event.type for event in stream]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert apis.charged(tenant) == 25 + 5 + 15


@pytest.mark.sdk("anthropic", "messages.stream")
def test_a_stream_of_text_is_put_together_and_charged(apis, client, tenant):
    with client.messages.stream(**asked(apis, tenant, answer="anthropic-stream")) as stream:
        assert list(stream.text_stream) == ["Hello", " there"]
        assert stream.get_final_message().usage.output_tokens == 15
    assert apis.charged(tenant) == 25 + 5 + 15


@pytest.mark.sdk("anthropic", "messages.count_tokens")
def test_counting_tokens_is_free(apis, client, tenant):
    count = asked(apis, tenant, answer="anthropic-count")
    del count["max_tokens"]
    assert client.messages.count_tokens(**count).input_tokens == 11
    assert apis.charged(tenant) == 0


@pytest.mark.sdk("anthropic", "models.list")
def test_the_models_are_listed(client):
    listed = [model.id for model in client.models.list()]
    assert {"gpt-4", "llama3-70b", "phi-3"} <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.sdk("anthropic", "models.retrieve")
def test_a_model_is_described(client):
    assert client.models.retrieve("gpt-4").id == "gpt-4"


@pytest.mark.sdk("anthropic", "messages.create → RateLimitError")
def test_over_budget_raises_rate_limit_error(apis, client, tenant):
    client.messages.create(**asked(apis, tenant, "phi-3", "anthropic", max_tokens=80))
    with pytest.raises(anthropic.RateLimitError) as refused:
        client.messages.create(**asked(apis, tenant, "phi-3", "anthropic", max_tokens=80))
    assert refused.value.body["error"]["type"] == "rate_limit_error"
    assert int(refused.value.response.headers["retry-after"]) > 60


@pytest.mark.sdk("anthropic", "messages.create → NotFoundError")
def test_an_unknown_model_raises_not_found(apis, client, tenant):
    with pytest.raises(anthropic.NotFoundError) as refused:
        client.messages.create(**asked(apis, tenant, "gpt-17"))
    assert refused.value.body["error"]["type"] == "not_found_error"
    assert "gpt-17" in refused.value.body["error"]["message"]
