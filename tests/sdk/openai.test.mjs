// The official `openai` SDK for Node, unmodified, through a real Envoy with Headgate.
//
// `test_openai_node.py` starts the testbed and runs each test by name. HEADGATE_URL is the URL of the proxy,
// HEADGATE_NODE_SDK the directory of the SDK.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const installed = createRequire(join(process.env.HEADGATE_NODE_SDK, "package.json"));
const { default: OpenAI } = await import(pathToFileURL(installed.resolve("openai")));

// A client, and a record of its exchanges: time, status and headers of the response, and length of the request.
function client(maxRetries) {
  const exchanges = [];
  const recordingFetch = async (url, init) => {
    const response = await fetch(url, init);
    const { status, headers } = response;
    exchanges.push({ at: performance.now(), status, headers, sent: init.body?.length });
    return response;
  };
  const openai = new OpenAI({
    baseURL: `${process.env.HEADGATE_URL}/v1`,
    apiKey: "none",
    timeout: 30_000,
    maxRetries,
    fetch: recordingFetch,
  });
  const chat = (model, tenant, more) =>
    openai.chat.completions.create(
      { model, messages: [{ role: "user", content: "Hello" }], ...more },
      { headers: { "x-tenant-id": tenant } },
    );
  return { chat, exchanges };
}

const statuses = (exchanges) => exchanges.map(({ status }) => status);

async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

test("a chat is answered and tagged with the model", async () => {
  const { chat, exchanges } = client(0);
  const answer = await chat("gpt-4", "node-plain", { max_tokens: 5 });
  assert.equal(answer.usage.completion_tokens, 5);
  assert.equal(exchanges[0].headers.get("x-model"), "gpt-4");
});

test("a bucket that refills slowly is an error at once", async () => {
  const { chat, exchanges } = client(2);
  await chat("llama3-70b", "node-drained", { max_tokens: 900 });
  const began = performance.now();
  await assert.rejects(chat("llama3-70b", "node-drained", { max_tokens: 900 }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError, String(error));
    assert.equal(error.code, "rate_limit_exceeded");
    assert.equal(error.headers.get("x-should-retry"), "false");
    assert.ok(Number(error.headers.get("retry-after")) > 60);
    return true;
  });
  const took = performance.now() - began;
  assert.ok(took < 5000, `${took} ms`);
  assert.deepEqual(statuses(exchanges), [200, 429]);
});

test("over budget the SDK waits for retry-after and then succeeds", async () => {
  const { chat, exchanges } = client(2);
  await chat("phi-3", "node-patient", { max_tokens: 98 });
  await chat("phi-3", "node-patient", { max_tokens: 98 });
  assert.deepEqual(statuses(exchanges), [200, 429, 200]);
  const [, refused, answered] = exchanges;
  assert.equal(refused.headers.get("x-should-retry"), null);
  const retryAfter = Number(refused.headers.get("retry-after"));
  const waited = (answered.at - refused.at) / 1000;
  assert.ok(retryAfter <= waited && waited < retryAfter + 2, `retry-after ${retryAfter} s, waited ${waited} s`);
});

test("a stream has no usage unless requested", async () => {
  const { chat, exchanges } = client(0);
  const chunks = await all(await chat("gpt-4", "node-stream", { max_tokens: 7, stream: true }));
  assert.equal(chunks.filter((chunk) => chunk.choices[0]?.delta.content).length, 7);
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0));
  assert.ok(chunks.every((chunk) => !chunk.usage));
  // The filter requested it from the model nevertheless.
  assert.ok(chunks[0].mock.body_bytes > exchanges[0].sent);
});

test("a stream with requested usage ends with it", async () => {
  const { chat, exchanges } = client(0);
  const more = { max_tokens: 7, stream: true, stream_options: { include_usage: true } };
  const chunks = await all(await chat("gpt-4", "node-usage", more));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 7);
  assert.equal(chunks[0].mock.body_bytes, exchanges[0].sent);
});
