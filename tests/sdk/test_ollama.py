"""The official `ollama` SDK for Python, unmodified, through a real Envoy with Headgate."""

import ollama
import pytest

MODEL = "gpt-4"
OLLAMA_TOKENS = 26 + 14


@pytest.fixture
def client(apis, tenant):
    """Makes a client. Its headers hold for all its requests."""
    clients = []

    def make(answer=None):
        clients.append(ollama.Client(apis.url, headers=apis.headers(tenant, answer), timeout=30))
        return clients[-1]

    yield make
    for made in clients:
        made.close()


def asked(model=MODEL, max_tokens=64):
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "options": {"num_predict": max_tokens},
    }


@pytest.mark.sdk("ollama", "Client.chat")
def test_a_chat_is_answered_and_charged(apis, client, tenant):
    answer = client("ollama").chat(**asked())
    assert answer.message.content == "Hello there"
    assert answer.eval_count == 14
    assert apis.charged(tenant) == OLLAMA_TOKENS


@pytest.mark.sdk("ollama", "Client.chat(stream=True)")
def test_a_streamed_chat_is_put_together_and_charged(apis, client, tenant):
    parts = list(client("ollama-stream").chat(**asked(), stream=True))
    assert [part.message.content for part in parts] == ["Hello", " there", ""]
    assert parts[-1].done and parts[-1].eval_count == 14
    assert apis.charged(tenant) == OLLAMA_TOKENS


@pytest.mark.sdk("ollama", "Client.embed")
def test_a_text_is_embedded_and_charged(apis, client, tenant):
    answer = client("ollama-embed").embed(model=MODEL, input="Hello")
    assert answer.embeddings == [[0.5, 0.25]]
    assert apis.charged(tenant) == 8


@pytest.mark.sdk("ollama", "Client.list")
def test_the_models_are_listed(client):
    listed = {model.model for model in client().list().models}
    assert {"gpt-4", "llama3-70b", "phi-3"} <= listed


@pytest.mark.sdk("ollama", "Client.chat → ResponseError 429")
def test_over_budget_raises_an_error_with_the_status(client):
    small = client("ollama")
    small.chat(**asked("phi-3", max_tokens=80))
    # The SDK has one class for all statuses.
    with pytest.raises(ollama.ResponseError) as refused:
        small.chat(**asked("phi-3", max_tokens=80))
    assert refused.value.status_code == 429
    assert isinstance(refused.value.error, str) and not refused.value.error.startswith("{")


@pytest.mark.sdk("ollama", "Client.chat → ResponseError 404")
def test_an_unknown_model_raises_an_error_with_the_status(client):
    with pytest.raises(ollama.ResponseError) as refused:
        client().chat(**asked("gpt-17"))
    assert refused.value.status_code == 404
    assert "gpt-17" in refused.value.error
