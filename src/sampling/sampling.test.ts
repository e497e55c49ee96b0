import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import type { AllowedTokens } from "./allowed.js";
import { Candidates } from "./candidates.js";
import { defaultSampling, SamplerChain, type SamplingSettings } from "./chain.js";
import type { BreakerVocabulary } from "./dry-breakers.js";
import { minP } from "./min-p.js";
import { Rng } from "./rng.js";
import { temperature } from "./temperature.js";
import { topK } from "./top-k.js";
import { topP } from "./top-p.js";
import { typical } from "./typical.js";

const settings = (change: Partial<SamplingSettings>): SamplingSettings => ({ ...defaultSampling, seed: 1, ...change });

function load(row: ArrayLike<number>): Candidates {
  const candidates = new Candidates(row.length);
  candidates.load(Float32Array.from(row));
  return candidates;
}

/** No text: nothing here is cut by a breaker. */
const wordless: BreakerVocabulary = {
  size: 0,
  addSpacePrefix: false,
  pieceBytes: () => new Uint8Array(0),
  tokenKind: () => "normal",
  encode: () => new Int32Array(0),
};

function chainOf(change: SamplingSettings, candidates: Candidates, limit: number): SamplerChain {
  return new SamplerChain(change, candidates, limit, wordless);
}

const kept = (candidates: Candidates): number[] => [...candidates.ids.subarray(0, candidates.size)];

/** The order of the room, by a full sort. */
function order(row: ArrayLike<number>): number[] {
  return Array.from({ length: row.length }, (_, i) => i).sort((a, b) => row[b]! - row[a]! || a - b);
}

// Logits from a small set, so that ties are common.
const rows = fc.array(fc.integer({ min: -6, max: 6 }), { minLength: 1, maxLength: 60 }).map((r) => r.map((v) => v / 2));

test("xoshiro128** with the reference's state gives the reference's outputs", () => {
  // Computed from the published C code (prng.di.unimi.it/xoshiro128starstar.c) with the state 1, 2, 3, 4.
  const rng = new Rng(0);
  Object.assign(rng, { a: 1, b: 2, c: 3, d: 4 });
  assert.deepEqual([rng.bits(), rng.bits(), rng.bits(), rng.bits()], [11520, 0, 5927040, 70819200]);
});

test("seeds differ, also beyond 32 bits, and repeat", () => {
  const first = (seed: number): number => new Rng(seed).uniform();
  const seeds = [0, 1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1];
  assert.equal(new Set(seeds.map(first)).size, seeds.length);
  for (const seed of seeds) assert.equal(first(seed), first(seed));
});

test("top-k is the head of the full sort, whatever the ties", () => {
  fc.assert(
    fc.property(rows, fc.integer({ min: 0, max: 70 }), (row, k) => {
      const candidates = load(row);
      topK(candidates, k);
      const expected = order(row);
      if (k > 0) assert.deepEqual(kept(candidates), expected.slice(0, k));
      else assert.equal(candidates.size, row.length);
    }),
  );
});

test("loading the best of a row is loading it and keeping the best, and finds what is not a number anywhere", () => {
  fc.assert(
    fc.property(rows, fc.integer({ min: 1, max: 70 }), (row, k) => {
      const candidates = new Candidates(row.length);
      candidates.loadBest(Float32Array.from(row), k);
      const expected = order(row).slice(0, k);
      assert.deepEqual(kept(candidates), expected);
      assert.deepEqual(
        [...candidates.logits.subarray(0, candidates.size)],
        expected.map((id) => row[id]),
      );
      assert.ok(candidates.sorted);
    }),
  );
  fc.assert(
    fc.property(
      rows,
      fc.nat(59),
      fc.constantFrom(Number.NaN, Infinity),
      fc.integer({ min: 1, max: 70 }),
      (row, at, wrong, k) => {
        const damaged = Float32Array.from(row);
        const token = at % row.length;
        damaged[token] = wrong;
        const candidates = new Candidates(row.length);
        const expected = { code: "MODEL_INVALID", details: { token, logit: String(wrong) } };
        assert.throws(() => candidates.loadBest(damaged, k), expected);
        assert.throws(() => candidates.load(damaged), expected);
      },
    ),
  );
});

test("top-p is the shortest head of the full sort that reaches p", () => {
  fc.assert(
    fc.property(rows, fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 0, max: 70 }), (row, p, k) => {
      const candidates = load(row);
      topK(candidates, k);
      const before = kept(candidates);
      topP(candidates, p);
      const best = k > 0 ? before : order(row);
      const weights = best.map((id) => Math.exp(row[id]!));
      const total = weights.reduce((a, b) => a + b, 0);
      if (p >= 1) return assert.equal(candidates.size, best.length);
      const size = candidates.size;
      assert.deepEqual(kept(candidates), best.slice(0, size));
      const mass = (n: number): number => weights.slice(0, n).reduce((a, b) => a + b, 0) / total;
      // Sums of at most 60 terms in different orders: 60 roundings.
      const slack = 60 * Number.EPSILON;
      assert.ok(size === best.length || mass(size) >= p - slack);
      assert.ok(size === 1 || mass(size - 1) < p + slack);
    }),
  );
});

test("min-p keeps what is likely enough, in place", () => {
  fc.assert(
    fc.property(rows, fc.double({ min: 0.001, max: 1, noNaN: true }), (row, p) => {
      const candidates = load(row);
      minP(candidates, p);
      const best = Math.max(...row);
      const expected = [...row.keys()].filter((i) => row[i]! >= best + Math.log(p));
      assert.deepEqual(kept(candidates), expected);
    }),
  );
});

test("typical keeps the nearest to the entropy and ends up in the room's order", () => {
  fc.assert(
    fc.property(rows, fc.double({ min: 0, max: 0.99, noNaN: true }), (row, p) => {
      const candidates = load(row);
      typical(candidates, p);
      const ids = kept(candidates);
      assert.ok(ids.length >= 1);
      assert.deepEqual(
        ids,
        order(row).filter((id) => ids.includes(id)),
      );
      for (const [i, id] of ids.entries()) assert.equal(candidates.logits[i], row[id]);
      const total = row.reduce((a, v) => a + Math.exp(v), 0);
      const surprise = row.map((v) => Math.log(total) - v);
      const entropy = surprise.reduce((a, s) => a + s * Math.exp(-s), 0);
      const distance = surprise.map((s) => Math.abs(s - entropy));
      const farthest = Math.max(...ids.map((id) => distance[id]!));
      for (const id of row.keys()) if (!ids.includes(id)) assert.ok(distance[id]! >= farthest - 1e-12);
    }),
  );
});

test("a tiny temperature is greedy, not NaN", () => {
  const candidates = load([1, 5, 3]);
  temperature(candidates, 1e-310);
  assert.deepEqual([...candidates.logits.subarray(0, 3)], [-Infinity, 0, -Infinity]);
});

test("greedy: the lowest id of the best, after bias and penalties", () => {
  const row = Float32Array.of(1, 3, 3, 2);
  const choose = (change: Partial<SamplingSettings>, past: number[] = []): number => {
    const chain = chainOf(settings({ temperature: 0, ...change }), new Candidates(4), 100);
    for (const id of past) chain.accept(id);
    return chain.sample(row);
  };
  assert.equal(choose({}), 1);
  assert.equal(choose({ logitBias: [[1, -1]] }), 2);
  assert.equal(choose({ logitBias: [[3, 1.5]] }), 3);
  assert.equal(choose({ repeatPenalty: 2 }, [1, 2]), 3);
  assert.equal(choose({ presencePenalty: 0.5 }, [1]), 2);
  assert.equal(choose({ frequencyPenalty: 0.6 }, [1, 2, 2]), 1);
  // The window forgets: only the last token counts.
  assert.equal(choose({ presencePenalty: 0.5, penaltyLastTokens: 1 }, [1, 3]), 1);
  assert.equal(choose({ presencePenalty: 0.5, penaltyLastTokens: 0 }, [1]), 1);
  assert.equal(choose({ presencePenalty: 0.5, penaltyLastTokens: -1 }, [1, 3, 0, 3, 0]), 2);
  assert.throws(() => choose({ logitBias: [0, 1, 2, 3].map((id) => [id, -Infinity] as const) }), {
    code: "OPTION_INVALID",
  });
});

test("a logit that is no number is an error, with the token named", () => {
  for (const bad of [Number.NaN, Infinity]) {
    const chain = chainOf(settings({}), new Candidates(3), 10);
    assert.throws(() => chain.sample(Float32Array.of(1, bad, 2)), { code: "MODEL_INVALID", message: /token 1/ });
  }
});

test("-Infinity is a token that cannot come, under every sampler; a row of nothing else is an error", () => {
  const row = Float32Array.of(-Infinity, 1, -Infinity, 2, -Infinity);
  for (const change of [
    {},
    { temperature: 0 },
    { topK: 0, typical: 0.8 },
    { topNSigma: 1, dynamicTemperatureRange: 0.5 },
    { xtcProbability: 1, xtcThreshold: 0.1 },
    { mirostat: 1 },
    { mirostat: 2 },
    { repeatPenalty: 1.5, presencePenalty: 1 },
  ] as const) {
    const chain = chainOf(settings(change), new Candidates(5), 100);
    for (let i = 0; i < 50; i++) {
      const id = chain.sample(row);
      assert.ok(id === 1 || id === 3, JSON.stringify(change));
      chain.accept(id);
    }
    const none = new Float32Array(5).fill(-Infinity);
    assert.throws(() => chain.sample(none), { code: "MODEL_INVALID", message: /every token/ });
  }
});

test("the best allowed tokens are those of a row where no others are possible; a number is drawn for each", () => {
  fc.assert(
    fc.property(rows, fc.integer({ min: 0, max: 45 }), fc.nat(), fc.boolean(), (values, topK, seed, few) => {
      const row = Float32Array.from(values);
      const may = Array.from(row, (_, id) => (id * 7 + seed) % 3 > 0 || row.length < 3);
      const bits = new Uint32Array(Math.ceil(row.length / 32));
      may.forEach((yes, id) => {
        if (yes) bits[id >> 5]! |= 1 << (id & 31);
      });
      const ids = Int32Array.from([...row.keys()].filter((id) => may[id]));
      const allowed = allowedTokens(bits, ids.length, few ? ids : undefined);
      const only = row.map((logit, id) => (may[id] ? logit : -Infinity));
      for (const logitBias of [[], [[0, 2.5]]] as const) {
        const given = settings({ topK, topP: 0.9, logitBias, seed });
        const one = chainOf(given, new Candidates(row.length), 10);
        const other = chainOf(given, new Candidates(row.length), 10);
        // Before them a draw with one candidate: it takes a number, too.
        const single = allowedTokens(Uint32Array.of(1), 1, Int32Array.of(0));
        assert.equal(one.sample(row, single), 0);
        other.sample(row);
        for (let i = 0; i < 3; i++) assert.equal(one.sample(row, allowed), other.sample(only));
      }
    }),
  );
});

function allowedTokens(bits: Uint32Array, count: number, ids: Int32Array | undefined): AllowedTokens {
  return { bits, count, ids, bytes: 0, has: (id) => (bits[id >> 5]! & (1 << (id & 31))) !== 0 };
}

test("settings out of range are named", () => {
  const bad: Partial<SamplingSettings>[] = [
    { temperature: -1 },
    { temperature: Number.NaN },
    { topP: 1.5 },
    { minP: -0.1 },
    { repeatPenalty: 0 },
    { seed: -1 },
    { logitBias: [[9, 1]] },
    { logitBias: [[0, Number.NaN]] },
  ];
  for (const change of bad) {
    const name = Object.keys(change)[0]!;
    assert.throws(() => chainOf(settings(change), new Candidates(4), 10), {
      code: "OPTION_INVALID",
      message: new RegExp(`^${name}`),
    });
  }
});

test("banned tokens are never drawn, by any sampler", () => {
  const row = Float32Array.from({ length: 50 }, (_, i) => Math.sin(i));
  for (const change of [{}, { typical: 0.9 }, { topK: 0 }, { topK: 0, topP: 1, minP: 0 }, { temperature: 0 }]) {
    const ban = Array.from({ length: 49 }, (_, i) => [i, -Infinity] as const);
    const chain = chainOf(settings({ ...change, logitBias: ban }), new Candidates(50), 10);
    for (let i = 0; i < 20; i++) assert.equal(chain.sample(row), 49);
  }
});

test("draws follow the distribution (chi-square, fixed seed)", () => {
  const probabilities = Array.from({ length: 10 }, (_, i) => (i + 1) / 55);
  const row = Float32Array.from(probabilities, (p) => Math.log(p));
  const draws = 100_000;
  const count = (seed: number, change: Partial<SamplingSettings>): number[] => {
    const plain = { temperature: 1, topK: 0, topP: 1, minP: 0, seed };
    const chain = chainOf(settings({ ...plain, ...change }), new Candidates(10), 10);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < draws; i++) counts[chain.sample(row)]!++;
    return counts;
  };
  const chiSquare = (counts: number[], expected: number[]): number =>
    counts.reduce(
      (sum, c, i) => sum + (expected[i]! > 0 ? (c - draws * expected[i]!) ** 2 / (draws * expected[i]!) : c * 1e9),
      0,
    );
  // 9 degrees of freedom: 27.88 is the 99.9 % quantile. The seeds are fixed, so this cannot be flaky.
  for (const seed of [1, 2, 3]) assert.ok(chiSquare(count(seed, {}), probabilities) < 27.88);
  // Temperature 0.5 squares the probabilities.
  const squared = probabilities.map((p) => p * p);
  const total = squared.reduce((a, b) => a + b, 0);
  assert.ok(
    chiSquare(
      count(4, { temperature: 0.5 }),
      squared.map((p) => p / total),
    ) < 27.88,
  );
  // Top-k 3: the three best, renormalised (2 degrees of freedom, 99.9 %: 13.82).
  const three = probabilities.map((p, i) => (i >= 7 ? p / (27 / 55) : 0));
  assert.ok(chiSquare(count(5, { topK: 3 }), three) < 13.82);
  // The wrong distribution is noticed.
  assert.ok(chiSquare(count(6, {}), new Array<number>(10).fill(0.1)) > 1000);
});

test("a vocabulary of 262,144 is sampled without heap growth", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const row = Float32Array.from({ length: 262_144 }, (_, i) => 5 * Math.sin(i * 12.9898));
  const candidates = new Candidates(row.length);
  for (const change of [{}, { topK: 0 }, { temperature: 0, repeatPenalty: 1.1 }]) {
    const chain = chainOf(settings(change), candidates, 1000);
    const run = (n: number): void => {
      for (let i = 0; i < n; i++) chain.accept(chain.sample(row));
    };
    run(5);
    collect();
    const before = process.memoryUsage();
    run(10);
    collect();
    const after = process.memoryUsage();
    // A copy of the row would be 1 MiB a token; what a closure costs stays below 4 KiB.
    assert.ok(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers < 10 * 4096);
  }
});

test("a bias of any size is a finite one, also twice, with a draw behind it", () => {
  const row = Float32Array.of(1, 3, 3, 2);
  const most = Number.MAX_VALUE;
  for (const topK of [0, 1, 40]) {
    const choose = (logitBias: [number, number][]): number =>
      chainOf(settings({ temperature: 1, topK, logitBias }), new Candidates(4), 100).sample(row);
    assert.equal(
      choose([
        [3, most],
        [3, most],
      ]),
      3,
    );
    const all = [0, 1, 2].flatMap((id): [number, number][] => [
      [id, -most],
      [id, -most],
    ]);
    assert.equal(choose(all), 3);
  }
});
