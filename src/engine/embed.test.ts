/** Vectors and scores as jobs: poolings, norms, cuts, and texts that have to be whole in a pass. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type FakeOptions, fakeDim, fakeParts } from "../../test/support/fake-model.js";
import { HundredweightError } from "../errors.js";
import { EngineClient } from "../link/client.js";
import type { EmbedRequest } from "./jobs.js";
import type { VectorInfo } from "./options.js";

const encoder: VectorInfo = {
  pooling: "mean",
  only: true,
  whole: true,
  pools: false,
  projects: false,
  labels: [],
  softmax: false,
};

interface Setting extends FakeOptions {
  readonly vectors?: Partial<VectorInfo>;
}

async function withModel<T>(
  { vectors, ...options }: Setting,
  use: (client: EngineClient, passes: number[][]) => Promise<T>,
): Promise<T> {
  const parts = fakeParts(options);
  /** Rows of each sequence, pass by pass. */
  const passes: number[][] = [];
  parts.model.onPass = ({ count, sequences }) => {
    const rows: number[] = [];
    for (let t = 0; t < count; t++) rows[sequences[t]!] = (rows[sequences[t]!] ?? 0) + 1;
    passes.push(rows);
  };
  const info = vectors === undefined ? parts.info : { ...parts.info, vectors: { ...encoder, ...vectors } };
  const client = await EngineClient.open("fake", {}, async () => ({ ...parts, info }));
  try {
    return await use(client, passes);
  } finally {
    await client.close();
  }
}

const embed = async (client: EngineClient, tokens: readonly number[], how: Partial<EmbedRequest> = {}) => {
  const prompt = { kind: "tokens", tokens: Int32Array.from(tokens) } as const;
  return (await client.submit({ kind: "embed", prompt, ...how }).result).embedding;
};

const text = (length: number, seed = 1): number[] => Array.from({ length }, (_, i) => (i * 31 + seed * 7) % 250);
const fails = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof HundredweightError && error.code === code && message.test(error.message);

test("what is pooled, cut and normalized follows from the rows", async () => {
  await withModel({ chunkRows: 7 }, async (client) => {
    const ids = text(23);
    const rows = await embed(client, ids, { pooling: "none", normalize: -1 });
    assert.equal(rows.length, 23 * fakeDim);
    const row = (i: number) => rows.slice(i * fakeDim, (i + 1) * fakeDim);
    assert.deepEqual(await embed(client, ids, { pooling: "cls", normalize: -1 }), row(0));
    assert.deepEqual(await embed(client, ids, { pooling: "last", normalize: -1 }), row(22));
    const mean = Float64Array.from({ length: fakeDim }, (_, d) => {
      let sum = 0;
      for (let i = 0; i < 23; i++) sum += row(i)[d]!;
      return sum / 23;
    });
    assert.deepEqual(await embed(client, ids, { pooling: "mean", normalize: -1 }), Float32Array.from(mean));
    for (const [normalize, size] of [
      [1, (v: Float64Array) => v.reduce((sum, x) => sum + Math.abs(x), 0)],
      [2, (v: Float64Array) => Math.hypot(...v)],
      [3, (v: Float64Array) => v.reduce((sum, x) => sum + Math.abs(x) ** 3, 0) ** (1 / 3)],
      [0, (v: Float64Array) => Math.max(...v.map(Math.abs)) / 32760],
    ] as const)
      for (const dimensions of [fakeDim, 3]) {
        const cut = mean.slice(0, dimensions);
        const found = await embed(client, ids, { pooling: "mean", normalize, dimensions });
        assert.equal(found.length, dimensions);
        for (const [d, value] of found.entries())
          assert.ok(Math.abs(value - cut[d]! / size(cut)) < 1e-6 * Math.abs(value) + 1e-9, `norm ${normalize}`);
      }
    // Without a word in the file a text's vector is the mean of its rows.
    assert.deepEqual(await embed(client, ids), await embed(client, ids, { pooling: "mean" }));
  });
});

test("wrong wishes are refused with what would be right", async () => {
  await withModel({}, async (client) => {
    await assert.rejects(embed(client, text(3), { dimensions: 9 }), fails("OPTION_INVALID", /of 9 numbers.*have 8/));
    await assert.rejects(embed(client, text(3), { normalize: 0.5 }), fails("OPTION_INVALID", /norm of 0.5/));
    const prompt = { kind: "tokens", tokens: Int32Array.of(1) } as const;
    await assert.rejects(client.submit({ kind: "rank", prompt }).result, fails("OPTION_INVALID", /does not rerank/));
  });
  await withModel({ vectors: { pooling: "rank" } }, async (client) => {
    await assert.rejects(embed(client, text(3)), fails("OPTION_INVALID", /scores of pairs/));
  });
  await withModel({ vectors: { pooling: "mean", pools: true, projects: true } }, async (client) => {
    await assert.rejects(embed(client, text(3), { pooling: "cls" }), fails("OPTION_INVALID", /projects/));
  });
  await withModel({ vectors: {}, chunkRows: 20 }, async (client) => {
    await assert.rejects(embed(client, text(21)), fails("CONTEXT_EXCEEDED", /21 tokens.*20/));
    const score = { kind: "score", tokens: Int32Array.of(1, 2), from: 0, output: "logprobs" } as const;
    await assert.rejects(client.submit(score).result, fails("OPTION_INVALID", /makes no text but vectors/));
  });
});

test("texts that have to be whole are, many in a pass, and nobody waits for ever", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 14 }),
      fc.integer({ min: 1, max: 6 }),
      async (lengths, sequences) => {
        await withModel({ vectors: {}, chunkRows: 40, sequences, window: 0 }, async (client, passes) => {
          const found = await Promise.all(lengths.map((length, i) => embed(client, text(length, i))));
          const rows = passes.flat().sort((a, b) => a - b);
          assert.deepEqual(
            rows,
            lengths.slice().sort((a, b) => a - b),
            "each text is in one pass, and in one only",
          );
          for (const pass of passes) assert.ok(pass.reduce((a, b) => a + b, 0) <= 40 && pass.length <= sequences);
          for (const [i, length] of lengths.entries())
            assert.deepEqual(found[i], await embed(client, text(length, i)), "neighbours change nothing");
        });
      },
    ),
    { numRuns: 25 },
  );
});
