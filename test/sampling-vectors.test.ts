/** The sampler rows of llama.cpp's own tests: probabilities in, arguments, probabilities out. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Candidates } from "../src/sampling/candidates.js";
import { Dry } from "../src/sampling/dry.js";
import { Breakers } from "../src/sampling/dry-breakers.js";
import { minP } from "../src/sampling/min-p.js";
import { Penalties } from "../src/sampling/penalties.js";
import { Rng } from "../src/sampling/rng.js";
import { dynamicTemperature, temperature } from "../src/sampling/temperature.js";
import { topK } from "../src/sampling/top-k.js";
import { topNSigma } from "../src/sampling/top-n-sigma.js";
import { topP } from "../src/sampling/top-p.js";
import { typical } from "../src/sampling/typical.js";
import { xtc } from "../src/sampling/xtc.js";

const folder = process.env.HUNDREDWEIGHT_VECTORS;
const path = join(folder ?? "", "vectors", "sampling", "sampler-cases.json");
const skip =
  folder === undefined || !existsSync(path)
    ? "SKIPPED: set HUNDREDWEIGHT_VECTORS to the folder with vectors/sampling/sampler-cases.json"
    : false;

type Row = readonly unknown[];

function check(probabilities: readonly number[], expected: readonly number[], apply: (c: Candidates) => void): void {
  const candidates = new Candidates(probabilities.length);
  candidates.load(Float32Array.from(probabilities, (p) => Math.log(p)));
  apply(candidates);
  const sum = candidates.softmax();
  const got = [...candidates.weights.subarray(0, candidates.size)].map((w) => w / sum).sort((a, b) => a - b);
  const wanted = [...expected].sort((a, b) => a - b);
  // A lone 0.97 in the table is a probability before renormalising; everything else sums to 1.
  const total = wanted.reduce((a, b) => a + b, 0);
  assert.equal(got.length, wanted.length);
  // The table has 5 or 6 digits.
  for (const [i, value] of got.entries()) assert.ok(Math.abs(value - wanted[i]! / total) < 1e-5, `${got} / ${wanted}`);
}

test("llama.cpp's sampler cases", { skip }, async (t) => {
  const cases = JSON.parse(readFileSync(path, "utf8")) as Record<string, readonly Row[]>;
  const run = (name: string, apply: (candidates: Candidates, row: Row) => void): Promise<void> =>
    t.test(name, () => {
      const rows = cases[name] ?? [];
      assert.ok(rows.length > 0);
      for (const row of rows) check(row[0] as number[], row[1] as number[], (c) => apply(c, row));
    });
  await run("test_temp", (c, row) => temperature(c, row[2] as number));
  await run("test_top_k", (c, row) => topK(c, row[2] as number));
  await run("test_top_p", (c, row) => topP(c, row[2] as number));
  await run("test_min_p", (c, row) => minP(c, row[2] as number));
  await run("test_typical", (c, row) => typical(c, row[2] as number));
  await run("test_temp_ext", (c, row) => {
    const [, , middle, range, exponent] = row as [unknown, unknown, number, number, number];
    dynamicTemperature(c, { temperature: middle, range, exponent });
  });
  await run("test_xtc", (c, row) => {
    const [, , probability, threshold] = row as [unknown, unknown, number, number];
    // The random number of this seed is below 0.99: it acts.
    xtc(c, { probability, threshold, minKeep: 0 }, new Rng(1));
  });
  await run("test_top_n_sigma", (c, row) => topNSigma(c, row[2] as number));
  await t.test("test_dry", () => {
    for (const row of cases.test_dry ?? []) {
      const [probabilities, last, expected, multiplier, base, allowedLength, lastTokens, breakers] = row as [
        number[],
        number[],
        number[],
        number,
        number,
        number,
        number,
        number[][],
      ];
      const settings = { multiplier, base, allowedLength, lastTokens };
      const dry = new Dry(settings, probabilities.length, 100, Breakers.ofTokens(breakers));
      for (const id of last) dry.accept(id);
      check(probabilities, expected, (c) => dry.apply(c));
    }
  });
  await t.test("test_penalties", () => {
    for (const row of cases.test_penalties ?? []) {
      const [probabilities, last, expected, repeat, frequency, presence] = row as [
        number[],
        number[],
        number[],
        number,
        number,
        number,
      ];
      const penalties = new Penalties(
        { lastTokens: last.length, repeat, frequency, presence },
        probabilities.length,
        100,
      );
      for (const id of last) penalties.accept(id);
      check(probabilities, expected, (c) => penalties.apply(c));
    }
  });
  await t.test("test_sampler_queue", () => {
    for (const row of cases.test_sampler_queue ?? []) {
      const [vocab, letters, k, p, m] = row as [number, string, number, number, number];
      const candidates = new Candidates(vocab);
      candidates.load(Float32Array.from({ length: vocab }, (_, i) => Math.log(Math.fround(i + 1))));
      // Probabilities are proportional to id + 1, so what is kept is always an upper range [least, vocab).
      let least = 0;
      for (const letter of letters) {
        if (letter === "k") {
          topK(candidates, k);
          least = Math.max(least, vocab - k);
        } else if (letter === "p") {
          topP(candidates, p);
          let total = 0;
          for (let i = least; i < vocab; i++) total += i + 1;
          let sum = 0;
          let i = vocab;
          while (sum < p * total && i > least) sum += i--;
          if (p < 1) least = i;
        } else {
          minP(candidates, m);
          while (least + 1 < m * vocab - 1e-3) least++;
        }
        const ids = [...candidates.ids.subarray(0, candidates.size)];
        // f32 logits: a boundary may move by one.
        assert.ok(
          Math.abs(candidates.size - (vocab - least)) <= 1,
          `${letters}: ${candidates.size} / ${vocab - least}`,
        );
        assert.equal(Math.max(...ids), vocab - 1);
        assert.equal(Math.min(...ids), vocab - ids.length);
        least = vocab - ids.length;
      }
    }
  });
});
