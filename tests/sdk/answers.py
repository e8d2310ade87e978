"""Answers of model servers, in the forms of their APIs. Each is a content type, further headers, and a body."""

import json
import struct

JSON = "application/json"


def whole(body):
    return JSON, {}, json.dumps(body).encode()


def events(*items, named=False):
    """Server-sent events; `named` ones have their `type` as `event:`."""
    out = []
    for item in items:
        name = f"event: {item['type']}\n" if named else ""
        out.append(f"{name}data: {json.dumps(item)}\n\n")
    return "text/event-stream", {}, "".join(out).encode()


def lines(*items):
    return "application/x-ndjson", {}, "".join(json.dumps(item) + "\n" for item in items).encode()


def anthropic_message(**more):
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "gpt-4",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 1},
        **more,
    }


def gemini_part(text, **more):
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if more:
        candidate["finishReason"] = "STOP"
    return {"candidates": [candidate], "modelVersion": "gpt-4", **more}


def ollama_line(text, done):
    line = {
        "model": "gpt-4",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "message": {"role": "assistant", "content": text},
        "done": done,
    }
    if done:
        line |= {
            "done_reason": "stop",
            "total_duration": 900,
            "load_duration": 100,
            "prompt_eval_count": 26,
            "prompt_eval_duration": 300,
            "eval_count": 14,
            "eval_duration": 500,
        }
    return line


def tensors_in_binary():
    """Two numbers after the JSON, as Triton answers a request for binary outputs."""
    data = struct.pack("<2f", 1.5, 2.5)
    output = {"name": "OUTPUT0", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"model_name": "gpt-4", "model_version": "1", "outputs": [output]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    return "application/octet-stream", headers, head + data


COHERE_USAGE = {
    "billed_units": {"input_tokens": 3, "output_tokens": 4},
    "tokens": {"input_tokens": 70, "output_tokens": 9},
}
GEMINI_USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 20, "totalTokenCount": 32}

ANSWERS = {
    "anthropic": whole(
        anthropic_message(
            content=[{"type": "text", "text": "Hello there"}],
            stop_reason="end_turn",
            usage={"input_tokens": 25, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 15},
        )
    ),
    "anthropic-stream": events(
        {"type": "message_start", "message": anthropic_message()},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 15},
        },
        {"type": "message_stop"},
        named=True,
    ),
    "anthropic-count": whole({"input_tokens": 11}),
    "gemini": whole(gemini_part("Hello there", usageMetadata=GEMINI_USAGE)),
    "gemini-stream": events(gemini_part("Hello"), gemini_part(" there", usageMetadata=GEMINI_USAGE)),
    "gemini-embedding": whole({"embeddings": [{"values": [0.5, 0.25]}]}),
    "gemini-count": whole({"totalTokens": 11}),
    "cohere": whole(
        {
            "id": "c1",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello there"}]},
            "usage": COHERE_USAGE,
        }
    ),
    "cohere-stream": events(
        {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " there"}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_USAGE}},
        named=True,
    ),
    "cohere-rerank": whole(
        {
            "id": "r1",
            "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
        }
    ),
    "cohere-embed": whole(
        {
            "id": "e1",
            "embeddings": {"float": [[0.5, 0.25]]},
            "texts": ["Hello"],
            "meta": {"billed_units": {"input_tokens": 3}, "tokens": {"input_tokens": 3}},
            "response_type": "embeddings_by_type",
        }
    ),
    "ollama": whole(ollama_line("Hello there", done=True)),
    "ollama-stream": lines(ollama_line("Hello", done=False), ollama_line(" there", done=False), ollama_line("", done=True)),
    "ollama-embed": whole({"model": "gpt-4", "embeddings": [[0.5, 0.25]], "prompt_eval_count": 8}),
    "empty": whole({}),
    "triton": tensors_in_binary(),
}
