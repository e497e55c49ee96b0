/** Nobody finds what another API key's requests left in memory: neither tokens that are reused nor their number. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeEngine } from "./fake-engine.js";
import { chatModel, needsThreads, postJson, serveFake, serveForTests } from "./support.js";

const apiKeys = ["one", "two"];
const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
const secret = "Once upon a time there was a king who had a daughter. ".repeat(6);

interface Counted {
  readonly usage: {
    readonly prompt_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number };
  };
}

test("a key's requests go on with its own, and with nobody else's", { skip: needsThreads }, async () => {
  const { url } = await serveForTests({ modelPath: await chatModel(), config: { apiKeys } });
  const ask = async (key: string, content = secret) => {
    const body = { messages: [{ role: "user", content }], max_tokens: 2, temperature: 0 };
    const response = await postJson(`${url}/v1/chat/completions`, body, as(key));
    assert.equal(response.status, 200);
    const { usage } = (await response.json()) as Counted;
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    return { cached, prompt: usage.prompt_tokens, told: response.headers.get("x-hundredweight-prefix") };
  };
  const first = await ask("one");
  assert.equal(first.cached, 0);
  assert.equal((await ask("one")).cached, first.prompt - 1);
  const other = await ask("two");
  assert.deepEqual([other.cached, other.prompt], [0, first.prompt]);
  assert.doesNotMatch(other.told ?? "", /^[1-9]/);
  assert.equal((await ask("two")).cached, first.prompt - 1);

  // What was embedded is no other past.
  const embedded = await postJson(`${url}/v1/embeddings`, { input: `user: ${secret.slice(20)}` }, as("one"));
  assert.equal(embedded.status, 200);
  assert.ok((await ask("one", secret.slice(20))).cached > 50);
  assert.ok((await ask("two", secret.slice(20))).cached < 10);
});

test("requests of a key are of the same owner, whichever API they speak", async () => {
  const engine = new FakeEngine((job) => job.finish(), { contextTokens: 1024 });
  const { url } = await serveFake(engine, { apiKeys });
  for (const [path, body] of [
    ["/v1/chat/completions", { messages: [{ role: "user", content: "a" }] }],
    ["/v1/completions", { prompt: "a" }],
    ["/completion", { prompt: "a" }],
    ["/v1/messages", { messages: [{ role: "user", content: "a" }], max_tokens: 4 }],
    ["/api/chat", { model: "fake", messages: [{ role: "user", content: "a" }], stream: false }],
  ] as const)
    for (const key of apiKeys) assert.equal((await postJson(`${url}${path}`, body, as(key))).status, 200, path);
  const scopes = engine.jobs.map(({ request }) => request.scope);
  assert.equal(scopes.length, 10);
  assert.equal(new Set(scopes).size, 2);
  assert.ok(scopes.every((scope, i) => scope !== "" && scope === scopes[i % 2]));
});
