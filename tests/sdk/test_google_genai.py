"""The official `google-genai` SDK for Python, unmodified, through a real Envoy with Headgate."""

import pytest
from google import genai
from google.genai import errors, types

MODEL = "gpt-4"
GEMINI_TOKENS = 7 + 5 + 20


@pytest.fixture
def client(apis):
    options = types.HttpOptions(base_url=apis.url, timeout=30_000)
    with genai.Client(api_key="none", http_options=options) as client:
        yield client


@pytest.fixture
def beta(apis):
    """A client of `/v1beta`."""
    options = types.HttpOptions(base_url=apis.url, timeout=30_000, api_version="v1beta")
    with genai.Client(api_key="none", http_options=options) as client:
        yield client


def options(apis, tenant, answer=None):
    return types.HttpOptions(headers=apis.headers(tenant, answer))


def asked(apis, tenant, model=MODEL, answer=None, max_tokens=64):
    config = types.GenerateContentConfig(max_output_tokens=max_tokens, http_options=options(apis, tenant, answer))
    return {"model": model, "contents": "Hello", "config": config}


@pytest.mark.sdk("google-genai", "models.generate_content")
def test_content_is_generated_and_charged(apis, client, tenant):
    answer = client.models.generate_content(**asked(apis, tenant, answer="gemini"))
    assert answer.text == "Hello there"
    assert answer.usage_metadata.thoughts_token_count == 20
    assert apis.charged(tenant) == GEMINI_TOKENS


@pytest.mark.sdk("google-genai", "models.generate_content_stream")
def test_streamed_content_is_put_together_and_charged(apis, client, tenant):
    chunks = list(client.models.generate_content_stream(**asked(apis, tenant, answer="gemini-stream")))
    assert [chunk.text for chunk in chunks] == ["Hello", " there"]
    assert chunks[-1].usage_metadata.total_token_count == GEMINI_TOKENS
    assert apis.charged(tenant) == GEMINI_TOKENS


@pytest.mark.sdk("google-genai", "models.embed_content")
def test_a_text_is_embedded_and_charged(apis, client, tenant):
    config = types.EmbedContentConfig(http_options=options(apis, tenant, "gemini-embedding"))
    answer = client.models.embed_content(model=MODEL, contents="Hello", config=config)
    assert answer.embeddings[0].values == [0.5, 0.25]
    assert apis.charged(tenant) > 0


@pytest.mark.sdk("google-genai", "models.count_tokens")
def test_counting_tokens_is_free(apis, client, tenant):
    config = types.CountTokensConfig(http_options=options(apis, tenant, "gemini-count"))
    assert client.models.count_tokens(model=MODEL, contents="Hello", config=config).total_tokens == 11
    assert apis.charged(tenant) == 0


@pytest.mark.sdk("google-genai", "models.list")
def test_the_models_are_listed_by_both_versions(client, beta):
    for version in [client, beta]:
        listed = {model.name for model in version.models.list()}
        assert {"models/gpt-4", "models/llama3-70b", "models/phi-3"} <= listed


@pytest.mark.sdk("google-genai", "models.get")
def test_a_model_is_described_by_both_versions(client, beta):
    for version in [client, beta]:
        assert version.models.get(model="gpt-4").name == "models/gpt-4"


@pytest.mark.sdk("google-genai", "models.generate_content → ClientError 429")
def test_over_budget_raises_resource_exhausted(apis, client, tenant):
    client.models.generate_content(**asked(apis, tenant, "phi-3", "gemini", max_tokens=80))
    with pytest.raises(errors.ClientError) as refused:
        client.models.generate_content(**asked(apis, tenant, "phi-3", "gemini", max_tokens=80))
    # The SDK has one class for all statuses of clients.
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")


@pytest.mark.sdk("google-genai", "models.generate_content → ClientError 404")
def test_an_unknown_model_raises_not_found(apis, client, tenant):
    with pytest.raises(errors.ClientError) as refused:
        client.models.generate_content(**asked(apis, tenant, "gpt-17"))
    assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")
    assert "gpt-17" in refused.value.message
