/**
 * Samplers against what llama.cpp's own did with the same rows: test/golden/sampling.json, by
 * test/peer/sampler-golden.cc.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCheckpoint } from "../src/containers/index.js";
import { packageRoot } from "../src/package-root.js";
import { Candidates } from "../src/sampling/candidates.js";
import { Dry, type DrySettings } from "../src/sampling/dry.js";
import { Breakers } from "../src/sampling/dry-breakers.js";
import { minP } from "../src/sampling/min-p.js";
import { Mirostat } from "../src/sampling/mirostat.js";
import { Penalties } from "../src/sampling/penalties.js";
import { Rng } from "../src/sampling/rng.js";
import { dynamicTemperature } from "../src/sampling/temperature.js";
import { topK } from "../src/sampling/top-k.js";
import { topNSigma } from "../src/sampling/top-n-sigma.js";
import { topP } from "../src/sampling/top-p.js";
import { typical } from "../src/sampling/typical.js";
import { xtc } from "../src/sampling/xtc.js";
import { createTokenizer } from "../src/tokenizer/index.js";

type Numbers = Readonly<Record<string, number>>;
interface Golden {
  readonly sampler: string;
  /** Probabilities of what is left, by token. */
  readonly kept: Numbers;
  readonly history: readonly number[];
  readonly breakers: readonly (readonly number[])[];
}
interface TextGolden extends Golden {
  readonly penalties: Numbers;
}
interface MirostatGolden {
  readonly sampler: string;
  readonly size: number;
  readonly tau: number;
  readonly eta: number;
  readonly seeds: readonly number[];
  /** Candidates that were left before the draw, and the token llama.cpp drew. */
  readonly counts: readonly number[];
  readonly chosen: readonly number[];
}

const path = (...names: string[]): string => join(packageRoot(), ...names);
const goldens = JSON.parse(readFileSync(path("test", "golden", "sampling.json"), "utf8")) as Golden[];
const of = (sampler: string): (Golden & Numbers)[] =>
  goldens.filter((g) => g.sampler === sampler) as (Golden & Numbers)[];

/** The row of a seed, by the generator's rule. */
function load(seed: number, size: number): Candidates {
  const row = new Float32Array(size);
  for (let i = 0, x = seed; i < size; i++, x = (Math.imul(x, 1664525) + 1013904223) >>> 0)
    row[i] = (x / 2 ** 32) * 16 - 8;
  const candidates = new Candidates(size);
  candidates.load(row);
  return candidates;
}

function compare(candidates: Candidates, kept: Numbers): void {
  const sum = candidates.softmax();
  const got = [...candidates.ids.subarray(0, candidates.size)]
    .map((id, i) => [id, candidates.weights[i]! / sum] as const)
    .filter(([, p]) => p > 1e-300)
    .sort(([a], [b]) => a - b);
  // Numbers as keys are already in order. What underflows is not there to be compared.
  const wanted = Object.entries(kept).filter(([, p]) => p > 1e-300);
  const ids = wanted.map(([id]) => Number(id));
  assert.deepEqual(
    got.map(([id]) => id),
    ids,
  );
  // llama.cpp's logits are f32, up to 40 when divided or penalised: half an ulp each is 2e-6, and there are a few
  // steps.
  for (const [i, [id, p]] of got.entries())
    assert.ok(Math.abs(p - wanted[i]![1]) <= 2e-5 * p + 1e-9, `${id}: ${p} / ${wanted[i]![1]}`);
}

function each(sampler: string, apply: (candidates: Candidates, g: Golden & Numbers) => void): void {
  test(`llama.cpp's ${sampler}`, () => {
    const cases = of(sampler);
    assert.ok(cases.length >= 15);
    for (const g of cases) {
      const candidates = load(g.seed!, g.size!);
      apply(candidates, g);
      compare(candidates, g.kept);
    }
  });
}

each("top_n_sigma", (c, g) => topNSigma(c, g.n!));
each("top_p", (c, g) => topP(c, g.p!, g.minKeep));
each("min_p", (c, g) => minP(c, g.p!, g.minKeep));
each("typical", (c, g) => typical(c, g.p!, g.minKeep));
each("xtc", (c, g) => xtc(c, { probability: 1, threshold: g.threshold!, minKeep: g.minKeep! }, new Rng(1)));
each("temp_ext", (c, g) => dynamicTemperature(c, { temperature: g.t!, range: g.range!, exponent: g.exponent! }));

const drySettings = (g: Numbers): DrySettings => ({
  multiplier: g.multiplier!,
  base: g.base!,
  allowedLength: g.allowed!,
  lastTokens: g.last!,
});

each("dry", (c, g) => {
  const dry = new Dry(drySettings(g), g.size!, 100, Breakers.ofTokens(g.breakers));
  for (const id of g.history) dry.accept(id);
  dry.apply(c);
});

each("chain", (c, g) => {
  const factors = { repeat: g.repeat!, frequency: g.frequency!, presence: g.presence! };
  const penalties = new Penalties({ lastTokens: 64, ...factors }, g.size!, 100);
  const dry = new Dry({ multiplier: g.multiplier!, base: 1.75, allowedLength: 2, lastTokens: 64 }, g.size!, 100);
  for (const id of g.history) {
    penalties.accept(id);
    dry.accept(id);
  }
  penalties.apply(c);
  dry.apply(c);
  topNSigma(c, g.sigma!);
  topK(c, g.k!);
  typical(c, g.typical!, g.minKeep);
  topP(c, g.p!, g.minKeep);
  minP(c, g.m!, g.minKeep);
  xtc(c, { probability: g.xtcProbability!, threshold: g.xtcThreshold!, minKeep: g.minKeep! }, new Rng(1));
  dynamicTemperature(c, { temperature: g.t!, range: g.range!, exponent: g.exponent! });
});

test("llama.cpp's dry with breakers as texts, on the bundled model's vocabulary", async () => {
  const checkpoint = await openCheckpoint(path("models", "demo.gguf"));
  const tokenizer = createTokenizer(checkpoint.metadata);
  const cases = of("dry_texts") as unknown as (TextGolden & Numbers)[];
  assert.ok(cases.some((g) => Object.keys(g.penalties).length > 0));
  for (const g of cases) {
    const breakers = Breakers.ofTexts(tokenizer, g.breakers as unknown as string[]);
    const dry = new Dry(drySettings(g), tokenizer.size, 1000, breakers);
    for (const id of g.history) dry.accept(id);
    const candidates = new Candidates(tokenizer.size);
    candidates.load(new Float32Array(tokenizer.size));
    dry.apply(candidates);
    const got = [...candidates.logits].flatMap((logit, id) => (logit === 0 ? [] : [[id, -logit] as const]));
    const wanted = Object.entries(g.penalties).sort(([a], [b]) => Number(a) - Number(b));
    assert.deepEqual(
      got.map(([id]) => String(id)),
      wanted.map(([id]) => id),
      JSON.stringify(g),
    );
    for (const [i, [, penalty]] of got.entries()) assert.ok(Math.abs(penalty - wanted[i]![1]) <= 1e-5 * penalty);
  }
});

test("llama.cpp's mirostat and mirostat_v2: as many candidates, step by step, after the tokens it drew", () => {
  const cases = goldens.filter((g) => g.sampler.startsWith("mirostat")) as unknown as MirostatGolden[];
  assert.equal(cases.length, 6);
  for (const g of cases) {
    const mirostat = new Mirostat(g.sampler === "mirostat" ? 1 : 2, g.tau, g.eta, g.size);
    for (const [step, seed] of g.seeds.entries()) {
      const candidates = load(seed, g.size);
      mirostat.cut(candidates);
      assert.equal(candidates.size, g.counts[step]);
      const sum = candidates.softmax();
      const index = candidates.ids.indexOf(g.chosen[step]!);
      assert.ok(index >= 0 && index < candidates.size);
      mirostat.learn(-Math.log2(candidates.weights[index]! / sum));
    }
  }
});
