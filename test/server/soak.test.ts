/** Some hundred mixed requests; `node dist/bench/serve-soak.js` does ten thousand. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { soak } from "./soak.js";
import { chatModel, needsThreads, testFolder } from "./support.js";

describe("soak", { skip: needsThreads }, () => {
  it("answers every valid request among wrong, aborted and oversized ones", async (t) => {
    const modelPath = await chatModel();
    const options = {
      modelPath,
      dataFolder: testFolder(),
      concurrency: 12,
      engine: "real" as const,
      seed: 5,
      restMs: 100,
    };
    const report = await soak({ ...options, requests: 400, warmup: 100 });
    t.diagnostic(JSON.stringify(report));
    assert.deepEqual(report.faults, []);
    for (const kind of [
      "chat",
      "stream",
      "completion",
      "embedding",
      "aborted",
      "oversized",
      "otherApi",
      "otherWrong",
    ]) {
      assert.ok(Object.keys(report.outcomes[kind] ?? {}).length > 0, `no request of kind ${kind}`);
    }
    // A leak of every request's answer would show; the 5 % of the full run need its length.
    const grown = report.after.heapUsed - report.before.heapUsed;
    assert.ok(grown < 8e6, `the heap grew by ${(grown / 1e6).toFixed(1)} MB in 400 requests`);
  });
});
