/** The chain against an obvious one: every logit loaded and changed, everything sorted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Candidates } from "./candidates.js";
import { defaultSampling, SamplerChain, type SamplingSettings } from "./chain.js";
import { draw } from "./draw.js";
import type { BreakerVocabulary } from "./dry-breakers.js";
import { minP } from "./min-p.js";
import { Rng } from "./rng.js";
import { temperature } from "./temperature.js";
import { topP } from "./top-p.js";
import { typical } from "./typical.js";

const vocab = 40;

/** Token n is the letter of that number; token 39 is "xy", which contains the breaker "x" or begins "yz". */
const letters: BreakerVocabulary = {
  size: vocab,
  addSpacePrefix: false,
  pieceBytes: (id) => Buffer.from(textOf(id)),
  tokenKind: () => "normal",
  encode: (text) => Int32Array.from(Buffer.from(text), (byte) => byte - 0x41),
};
const textOf = (id: number): string => (id === 39 ? "xy" : String.fromCharCode(0x41 + id));

/** Penalties of DRY by comparing every end with every other, breakers by their text. */
function obviousDry(history: readonly number[], s: SamplingSettings): Map<number, number> {
  const found = new Map<number, number>();
  const last = s.dryPenaltyLastTokens < 0 ? history : history.slice(-s.dryPenaltyLastTokens);
  if (s.dryMultiplier === 0 || s.dryPenaltyLastTokens === 0 || last.length <= s.dryAllowedLength) return found;
  let reach = last.length;
  for (let at = last.length - 1; at >= 0; at--) {
    const text = textOf(last[at]!);
    let longest = -1;
    for (const breaker of s.drySequenceBreakers) {
      if (text.includes(breaker)) longest = Math.max(longest, 0);
      for (let overlap = 1; overlap < breaker.length; overlap++) {
        if (text.includes(breaker) || !text.endsWith(breaker.slice(0, overlap))) continue;
        const tail = [...letters.encode(breaker.slice(overlap), { addSpecial: false, parseSpecial: false })];
        if (tail.every((id, k) => last[at + 1 + k] === id)) longest = Math.max(longest, tail.length);
      }
    }
    if (longest >= 0) {
      reach = last.length - 1 - at - longest;
      break;
    }
  }
  if (reach < s.dryAllowedLength) return found;
  for (let end = 0; end + 1 < last.length; end++) {
    let length = 0;
    while (length < reach && end - length >= 0 && last[end - length] === last[last.length - 1 - length]) length++;
    if (length < s.dryAllowedLength) continue;
    found.set(last[end + 1]!, Math.max(length, found.get(last[end + 1]!) ?? 0));
  }
  for (const id of found.keys())
    if (s.drySequenceBreakers.some((breaker) => textOf(id).includes(breaker))) found.delete(id);
  for (const [id, length] of found) found.set(id, s.dryMultiplier * s.dryBase ** (length - s.dryAllowedLength));
  return found;
}

/** The candidates a chain keeps, and its draw. */
function obvious(row: Float32Array, history: readonly number[], s: SamplingSettings, rng: Rng): [number, Candidates] {
  const logits = Array.from(row);
  for (const [id, bias] of s.logitBias) logits[id] = logits[id]! + bias;
  const last = s.penaltyLastTokens < 0 ? history : s.penaltyLastTokens === 0 ? [] : history.slice(-s.penaltyLastTokens);
  const { repeatPenalty, frequencyPenalty, presencePenalty } = s;
  if (repeatPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0) {
    for (const id of new Set(last)) {
      const count = last.filter((other) => other === id).length;
      const logit = logits[id]!;
      logits[id] =
        (logit <= 0 ? logit * repeatPenalty : logit / repeatPenalty) - count * frequencyPenalty - presencePenalty;
    }
  }
  for (const [id, penalty] of obviousDry(history, s)) logits[id] = logits[id]! - penalty;
  const order = logits
    .map((_, i) => i)
    .sort((a, b) => (logits[b]! > logits[a]! ? 1 : logits[b]! < logits[a]! ? -1 : a - b));
  const best = order.slice(0, s.temperature === 0 ? 1 : s.topK);
  const candidates = new Candidates(vocab);
  candidates.size = best.length;
  candidates.sorted = true;
  for (const [i, id] of best.entries()) {
    candidates.ids[i] = id;
    candidates.logits[i] = logits[id]!;
  }
  if (s.temperature > 0) {
    typical(candidates, s.typical);
    topP(candidates, s.topP);
    minP(candidates, s.minP);
    if (s.temperature !== 1) temperature(candidates, s.temperature);
  }
  return [draw(candidates, rng), candidates];
}

const penalty = fc.constantFrom(0, 0, 0.5, -0.25);
const cases = fc.record({
  // Few values: ties are common.
  row: fc.array(fc.integer({ min: -8, max: 8 }), { minLength: vocab, maxLength: vocab }),
  history: fc.array(fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: vocab - 1 })), {
    maxLength: 60,
  }),
  settings: fc.record({
    temperature: fc.constantFrom(0, 0.7, 1, 1.3),
    topK: fc.integer({ min: 1, max: 45 }),
    typical: fc.constantFrom(1, 1, 0.8),
    repeatPenalty: fc.constantFrom(1, 1.3, 0.8),
    frequencyPenalty: penalty,
    presencePenalty: penalty,
    penaltyLastTokens: fc.constantFrom(-1, 0, 1, 5, 64, 2 ** 31 - 1),
    dryMultiplier: fc.constantFrom(0, 0.8),
    dryBase: fc.constantFrom(1, 1.75),
    dryAllowedLength: fc.integer({ min: 0, max: 4 }),
    dryPenaltyLastTokens: fc.constantFrom(-1, 0, 1, 9, 64),
    drySequenceBreakers: fc.constantFrom([], ["D"], ["AB"], ["CBA", "x"], ["yC", "z"]),
    logitBias: fc.array(fc.tuple(fc.integer({ min: 0, max: vocab - 2 }), fc.constantFrom(-Infinity, -1.5, 0.25, 3)), {
      maxLength: 50,
    }),
  }),
});

test("changing few logits gives, bit for bit, what changing all of them gives", () => {
  fc.assert(
    fc.property(cases, fc.nat(1000), (c, seed) => {
      // Greedy is the best of all only while nothing can drop it.
      const typicalP = c.settings.temperature === 0 ? 1 : c.settings.typical;
      const settings = { ...defaultSampling, ...c.settings, typical: typicalP, seed };
      const row = Float32Array.from(c.row, (v) => v / 2);
      const before = row.slice();
      const candidates = new Candidates(vocab);
      const chain = new SamplerChain(settings, candidates, 100, letters);
      const rng = new Rng(seed);
      const history: number[] = [];
      for (const id of c.history) {
        chain.accept(id);
        history.push(id);
      }
      for (let i = 0; i < 3; i++) {
        const [id, expected] = obvious(row, history, settings, rng);
        assert.equal(chain.sample(row), id);
        assert.equal(candidates.size, expected.size);
        for (let k = 0; k < expected.size; k++) {
          assert.equal(candidates.ids[k], expected.ids[k]);
          assert.equal(candidates.logits[k], expected.logits[k]);
        }
        chain.accept(id);
        history.push(id);
      }
      assert.deepEqual(row, before);
    }),
    { numRuns: 2000 },
  );
});

test("a row that is refused leaves nothing behind", () => {
  const candidates = new Candidates(vocab);
  const settings = { ...defaultSampling, temperature: 0, seed: 1 };
  const biased = new SamplerChain({ ...settings, logitBias: [[3, 5]] }, candidates, 10, letters);
  const row = new Float32Array(vocab);
  assert.throws(() => biased.sample(row.slice().fill(Number.NaN, 7, 8)), { code: "MODEL_INVALID" });
  assert.equal(biased.sample(row), 3);
  assert.equal(new SamplerChain({ ...settings, logitBias: [[5, 5]] }, candidates, 10, letters).sample(row), 5);
  assert.equal(new SamplerChain(settings, candidates, 10, letters).sample(row), 0);
});

test("a history of 131,072 equal tokens costs linear time, whatever the settings", () => {
  const limit = 131_072;
  const long = {
    ...defaultSampling,
    seed: 1,
    penaltyLastTokens: -1,
    dryPenaltyLastTokens: -1,
    drySequenceBreakers: [],
  };
  const row = Float32Array.from({ length: vocab }, (_, i) => (i === 38 ? 5 : i / 8));
  for (const change of [{ dryMultiplier: 0.5 }, { repeatPenalty: 1.5 }, { dryMultiplier: 1e6, dryBase: 1e6 }]) {
    const chain = new SamplerChain({ ...long, ...change }, new Candidates(vocab), limit + 20, letters);
    for (let i = 0; i < limit; i++) chain.accept(38);
    const began = performance.now();
    for (let i = 0; i < 20; i++) {
      // The best token is the one that was said; every penalty is finite.
      assert.notEqual(chain.sample(row), 38);
      chain.accept(38);
    }
    // About 50 ms; comparing every end with every other would take minutes.
    assert.ok(performance.now() - began < 10_000);
  }
});
