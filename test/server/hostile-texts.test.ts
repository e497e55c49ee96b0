/**
 * One hostile template of each kind and some hostile texts at once: a good chat is answered meanwhile. All of them:
 * bench/hostile-texts.ts.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import { hostileTemplates, hostileTexts, onDemand } from "../support/hostile-templates.js";
import { FakeEngine, plainTemplate } from "./fake-engine.js";
import { chatModel, type FailureBody, postJson, serveFake } from "./support.js";

it("hostile templates and texts fail alone, by name, and nobody waits for them", async () => {
  const chosen = hostileTemplates.filter(({ whole, name }) => !whole && name.endsWith(" 2"));
  assert.equal(chosen.length, 8);
  const engine = new FakeEngine((job) => {
    job.token("yes");
    job.finish();
  });
  const path = await chatModel(onDemand(chosen, plainTemplate), "on-demand");
  const server = await serveFake(engine, { textTimeoutMs: 5000 }, path);
  const chat = (content: string): Promise<Response> =>
    postJson(`${server.url}/v1/chat/completions`, { messages: [{ role: "user", content }] });
  assert.equal((await chat("hello")).status, 200);
  let ended = 0;
  const bad = [...chosen.map((_, n) => `boom ${n}.`), ...hostileTexts.filter((text) => text.length < 100_000)].map(
    async (content) => {
      const answer = await chat(content);
      ended++;
      return answer;
    },
  );
  // Most bad ones are still there when a good one, which came last, has its answer.
  const good = await chat("hello");
  assert.equal(good.status, 200);
  assert.ok(ended < bad.length, "somebody waited for the last of the bad ones");
  for (const answer of await Promise.all(bad)) {
    if (answer.status === 200) continue;
    const { error } = (await answer.json()) as FailureBody;
    const known =
      "template_timeout text_timeout text_memory text_crowded template_invalid context_length_exceeded queue_full";
    assert.ok(known.split(" ").includes(String(error.code)), `${answer.status} ${error.code}: ${error.message}`);
  }
  assert.equal((await chat("hello")).status, 200);
});
