/**
 * The trained mini model stories260K against llama.cpp's goldens, on the reference ops: the whole chain file ->
 * declaration -> forward, with no native code. Needs HUNDREDWEIGHT_VECTORS.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { ReferenceOps } from "../src/ops/reference.js";
import { evaluate, meanKl, openModel } from "./support/evaluate.js";

interface Golden {
  readonly greedy: Record<string, { readonly prompt_tokens: number[]; readonly tokens: number[] }>;
  readonly probs: { readonly tokens: number[]; readonly next: number[][] };
}

const folder = join(process.env.HUNDREDWEIGHT_VECTORS ?? "", "models", "stories260K");
const path = join(folder, "golden_llamacpp.json.gz");
const skip =
  process.env.HUNDREDWEIGHT_VECTORS !== undefined && existsSync(path)
    ? false
    : "HUNDREDWEIGHT_VECTORS does not name a folder with models/stories260K";

/**
 * llama.cpp keeps an F16 cache and, for quantized weights, rounds activations to 8 bits, which the reference does not:
 * there the distributions differ by about 1e-4 and greedy paths part at near ties.
 */
const cases: [string, number, boolean][] = [
  ["f32", 1e-5, true],
  ["f16", 1e-5, true],
  ["q8_0", 1e-3, true],
  ["q4_k_m", 1e-3, false],
  ["q5_1", 1e-3, false],
  ["q5_0", 1e-3, false],
  ["q4_1", 1e-3, false],
  ["q4_0", 1e-3, false],
  ["iq4_nl", 1e-3, false],
];

for (const [type, limit, greedy] of cases)
  test(`stories260K ${type}: distributions${greedy ? " and greedy continuations" : ""} of llama.cpp`, {
    skip,
  }, async (t) => {
    const all = JSON.parse(gunzipSync(readFileSync(path)).toString()) as { models: Record<string, Golden> };
    const golden = all.models[`stories260K-${type}.gguf`]!;
    const model = await openModel(join(folder, `stories260K-${type}.gguf`), new ReferenceOps(), { contextTokens: 512 });
    try {
      const ours = await evaluate(model, golden.probs.tokens);
      const theirs = golden.probs.next.map((row) => Float32Array.from(row, (p) => Math.log(Math.max(p, 1e-38))));
      const kl = meanKl(theirs, ours);
      t.diagnostic(`KL ${kl.toExponential(2)}`);
      assert.ok(kl < limit, `KL ${kl}`);
      if (!greedy) return;
      for (const { prompt_tokens: prompt, tokens } of Object.values(golden.greedy)) {
        // Teacher forcing: every golden token must be the likeliest one after those before it.
        const logits = await evaluate(model, [...prompt, ...tokens.slice(0, -1)]);
        const likeliest = logits
          .slice(prompt.length - 1)
          .map((row) => row.indexOf(row.reduce((a, b) => Math.max(a, b))));
        assert.deepEqual(likeliest, tokens);
      }
    } finally {
      model.close();
    }
  });
