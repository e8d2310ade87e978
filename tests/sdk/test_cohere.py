"""The official `cohere` SDK for Python, unmodified, through a real Envoy with Headgate."""

import cohere
import pytest

MODEL = "gpt-4"
COHERE_TOKENS = 70 + 9


@pytest.fixture
def client(apis):
    return cohere.ClientV2(api_key="none", base_url=apis.url, timeout=30)


def options(apis, tenant, answer=None):
    return {"additional_headers": apis.headers(tenant, answer), "max_retries": 0}


def asked(apis, tenant, model=MODEL, answer=None, max_tokens=64):
    return {
        "model": model,
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": "Hello"}],
        "request_options": options(apis, tenant, answer),
    }


@pytest.mark.sdk("cohere", "ClientV2.chat")
def test_a_chat_is_answered_and_charged(apis, client, tenant):
    answer = client.chat(**asked(apis, tenant, answer="cohere"))
    assert answer.message.content[0].text == "Hello there"
    assert answer.usage.tokens.output_tokens == 9
    assert apis.charged(tenant) == COHERE_TOKENS


@pytest.mark.sdk("cohere", "ClientV2.chat_stream")
def test_a_streamed_chat_is_put_together_and_charged(apis, client, tenant):
    events = list(client.chat_stream(**asked(apis, tenant, answer="cohere-stream")))
    text = [event.delta.message.content.text for event in events if event.type == "content-delta"]
    assert text == ["Hello", " there"]
    assert events[-1].type == "message-end"
    assert events[-1].delta.usage.tokens.output_tokens == 9
    assert apis.charged(tenant) == COHERE_TOKENS


@pytest.mark.sdk("cohere", "ClientV2.rerank")
def test_documents_are_ranked_and_charged(apis, client, tenant):
    answer = client.rerank(
        model=MODEL,
        query="Hello",
        documents=["one", "two"],
        request_options=options(apis, tenant, "cohere-rerank"),
    )
    assert [result.index for result in answer.results] == [1, 0]
    assert apis.charged(tenant) > 0


@pytest.mark.sdk("cohere", "ClientV2.embed")
def test_a_text_is_embedded_and_charged(apis, client, tenant):
    answer = client.embed(
        model=MODEL,
        texts=["Hello"],
        input_type="search_query",
        embedding_types=["float"],
        request_options=options(apis, tenant, "cohere-embed"),
    )
    assert answer.embeddings.float_ == [[0.5, 0.25]]
    assert apis.charged(tenant) == 3


@pytest.mark.sdk("cohere", "ClientV2.models.list")
def test_the_models_are_listed(client):
    listed = {model.name for model in client.models.list().models}
    assert {"gpt-4", "llama3-70b", "phi-3"} <= listed


@pytest.mark.sdk("cohere", "ClientV2.chat → TooManyRequestsError")
def test_over_budget_raises_too_many_requests(apis, client, tenant):
    client.chat(**asked(apis, tenant, "phi-3", "cohere", max_tokens=80))
    with pytest.raises(cohere.TooManyRequestsError) as refused:
        client.chat(**asked(apis, tenant, "phi-3", "cohere", max_tokens=80))
    assert int(refused.value.headers["retry-after"]) > 60


@pytest.mark.sdk("cohere", "ClientV2.chat → NotFoundError")
def test_an_unknown_model_raises_not_found(apis, client, tenant):
    with pytest.raises(cohere.NotFoundError) as refused:
        client.chat(**asked(apis, tenant, "gpt-17"))
    assert "gpt-17" in str(refused.value.body)
