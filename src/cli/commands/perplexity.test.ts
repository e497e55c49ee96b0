import assert from "node:assert/strict";
import { test } from "node:test";
import type { Model } from "../../library/model.js";
import { perplexity } from "./perplexity.js";

/** Scores that depend on every token of a chunk. */
const model = (bos: number | undefined): Pick<Model, "info" | "logProbabilities"> => ({
  info: { addBos: bos !== undefined, special: { bos, eos: undefined } } as Model["info"],
  logProbabilities: async (tokens, { from = 0 } = {}) =>
    Float64Array.from({ length: tokens.length - 1 - from }, (_, i) => -(tokens[from + i]! + tokens[0]! + i / 7) / 100),
});
const { signal } = new AbortController();

test("figures do not depend on how the ids come in pieces", async () => {
  const ids = Int32Array.from({ length: 1003 }, (_, i) => (i * 37) % 101);
  for (const bos of [undefined, 5, 0]) {
    const whole = await perplexity(model(bos), [ids], 32, undefined, signal);
    assert.equal(whole.chunks, Math.floor((1003 + (bos === 5 ? 1 : 0)) / 32));
    for (const step of [1, 31, 32, 33, 500]) {
      const pieces = Array.from({ length: Math.ceil(1003 / step) }, (_, n) => ids.subarray(n * step, (n + 1) * step));
      const got = await perplexity(model(bos), [new Int32Array(0), ...pieces], 32, undefined, signal);
      assert.deepEqual(got, whole);
    }
    const few = await perplexity(model(bos), [ids], 32, 3, signal);
    assert.equal(few.chunks, 3);
  }
  await assert.rejects(perplexity(model(5), [ids.subarray(0, 30)], 32, undefined, signal), {
    code: "OPTION_INVALID",
    message: /31 tokens/,
  });
});
