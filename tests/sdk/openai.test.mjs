// The official `openai` SDK for Node through a real Envoy that Headgate drives: what an unchanged client sees.
//
// `test_openai_node.py` starts the world and runs each test by name: HEADGATE_URL says where the proxy is,
// HEADGATE_NODE_SDK where the SDK was installed.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const installed = createRequire(join(process.env.HEADGATE_NODE_SDK, "package.json"));
const { default: OpenAI } = await import(pathToFileURL(installed.resolve("openai")));

// A client, and every exchange it makes: when it was answered, how, and how long the request was.
function client(maxRetries) {
  const exchanges = [];
  const noting = async (url, init) => {
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
    fetch: noting,
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

test("a plain chat is answered and says what served it", async () => {
  const { chat, exchanges } = client(0);
  const answer = await chat("gpt-4", "node-plain", { max_tokens: 5 });
  assert.equal(answer.usage.completion_tokens, 5);
  assert.equal(exchanges[0].headers.get("x-model"), "gpt-4");
});

test("a drained bucket is an error at once", async () => {
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

test("over budget the SDK backs off as told and then succeeds", async () => {
  const { chat, exchanges } = client(2);
  await chat("phi-3", "node-patient", { max_tokens: 98 });
  await chat("phi-3", "node-patient", { max_tokens: 98 });
  assert.deepEqual(statuses(exchanges), [200, 429, 200]);
  const [, refused, answered] = exchanges;
  assert.equal(refused.headers.get("x-should-retry"), null);
  const told = Number(refused.headers.get("retry-after"));
  const waited = (answered.at - refused.at) / 1000;
  assert.ok(told <= waited && waited < told + 2, `told ${told} s, waited ${waited} s`);
});

test("a stream has no usage unless asked", async () => {
  const { chat, exchanges } = client(0);
  const chunks = await all(await chat("gpt-4", "node-stream", { max_tokens: 7, stream: true }));
  assert.equal(chunks.filter((chunk) => chunk.choices[0]?.delta.content).length, 7);
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0));
  assert.ok(chunks.every((chunk) => !chunk.usage));
  // The model was asked for it all the same.
  assert.ok(chunks[0].mock.body_bytes > exchanges[0].sent);
});

test("a stream that is asked for usage ends with it", async () => {
  const { chat, exchanges } = client(0);
  const more = { max_tokens: 7, stream: true, stream_options: { include_usage: true } };
  const chunks = await all(await chat("gpt-4", "node-usage", more));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 7);
  assert.equal(chunks[0].mock.body_bytes, exchanges[0].sent);
});
