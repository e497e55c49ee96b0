/** Some turns of the scripted agent on SmolLM2, too small for tools: held to the grammar it calls them all the same. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runAgent } from "../../bench/support/agent.js";
import { load } from "../../src/library/model.js";
import { needsThreads } from "../server/support.js";
import { fetchedModel } from "../support/peer.js";

const path = fetchedModel("SmolLM2-135M-Instruct.Q4_1.gguf");
const skip = needsThreads || (path === undefined ? "SmolLM2 is not fetched" : false);

test("an agent's calls parse and are valid where they have to come", { skip }, async () => {
  const model = await load(path!, { contextTokens: 2048, threads: 2 });
  try {
    const report = await runAgent(model, { turns: 3, mustCall: true, maxTokens: 160 });
    assert.deepEqual([report.turns, report.called, report.broken], [3, 3, 0]);
  } finally {
    await model.close();
  }
});
