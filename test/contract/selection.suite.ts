/** The part of the contract for attention over chosen positions and over several sources. */
import assert from "node:assert/strict";
import type { AttentionSpec, Ops, Tensor } from "../../src/ops/ops.js";
import { near, randomValues, rowTable } from "./fixture.js";

const [heads, kvHeads, dim, total, topK, indexHeads, indexDim] = [4, 2, 32, 530, 300, 3, 32] as const;
const tables = [[Int32Array.from([4, 0, 2])]];
const base: AttentionSpec = {
  heads,
  kvHeads,
  headDimK: dim,
  headDimV: dim,
  scale: 1 / Math.sqrt(dim),
  window: 0,
  softcap: 0,
  sinks: null,
};

/** Sums of such numbers are exact in single precision, so that whoever is best is best for all implementations. */
const eighths = (count: number, seed: number): Float32Array =>
  randomValues(count, seed).map((v) => Math.round(v * 8) / 8);

interface Made {
  readonly q: Tensor;
  readonly out: Tensor;
  /** Stores positions [from, to) and leaves queries of those rows. */
  store(from: number, to: number): void;
}

export function selectionSuite(withOps: (title: string, body: (ops: Ops) => void | Promise<void>) => void): void {
  const [allK, allV, allQ] = [
    eighths(total * kvHeads * dim, 1),
    eighths(total * kvHeads * dim, 2),
    eighths(total * heads * dim, 3),
  ];
  const [indexK, indexQ, indexW] = [
    eighths(total * indexDim, 4),
    eighths(total * indexHeads * indexDim, 5),
    eighths(total * indexHeads, 6).map(Math.abs),
  ];
  // Equal keys have equal scores: the earlier position wins.
  indexK.copyWithin(7 * indexDim, 3 * indexDim, 4 * indexDim);

  const scoreOf = (position: number, key: number): number => {
    let score = 0;
    for (let h = 0; h < indexHeads; h++) {
      let product = 0;
      for (let d = 0; d < indexDim; d++)
        product += indexQ[(position * indexHeads + h) * indexDim + d]! * indexK[key * indexDim + d]!;
      score += indexW[position * indexHeads + h]! * Math.max(product, 0);
    }
    return score;
  };
  const bestOf = (position: number): number[] => {
    const scores = Array.from({ length: position + 1 }, (_, key) => scoreOf(position, key));
    const order = scores.map((_, key) => key).sort((a, b) => scores[b]! - scores[a]! || a - b);
    return order.slice(0, topK).sort((a, b) => a - b);
  };
  /** Attention of a head over some positions, in double precision. */
  const expected = (
    position: number,
    head: number,
    positions: readonly number[],
    sink = -Infinity,
    slope = 0,
  ): number[] => {
    const kv = Math.floor(head / (heads / kvHeads));
    const at = (all: Float32Array, p: number, d: number): number => all[(p * kvHeads + kv) * dim + d]!;
    const scores = positions.map((p) => {
      let product = 0;
      for (let d = 0; d < dim; d++) product += allQ[(position * heads + head) * dim + d]! * at(allK, p, d);
      return product * base.scale - slope * (position - p);
    });
    const max = Math.max(sink, ...scores);
    const weights = scores.map((score) => Math.exp(score - max));
    const sum = weights.reduce((a, b) => a + b, Math.exp(sink - max));
    return Array.from({ length: dim }, (_, d) =>
      weights.reduce((value, weight, i) => value + (weight / sum) * at(allV, positions[i]!, d), 0),
    );
  };

  const rowsOf = (all: Float32Array, cols: number, from: number, to: number) => all.slice(from * cols, to * cols);

  withOps("select: the best positions in order, the earlier of equal ones; the same in any chunk", async (ops) => {
    const pool = ops.kvPool({
      layers: [{ kvHeads: 1, headDimK: indexDim, headDimV: 0, latent: true }],
      type: "f16",
      pages: 5,
    });
    const routing = ops.routing(256, topK);
    const [k, q, w] = [ops.tensor(256, indexDim), ops.tensor(256, indexHeads * indexDim), ops.tensor(256, indexHeads)];
    await ops.seal();
    const run = (from: number, to: number): Int32Array => {
      ops.begin(
        rowTable(
          { pools: 1 },
          Array.from({ length: to - from }, (_, i) => from + i),
          { tables },
        ),
      );
      ops.write(k, rowsOf(indexK, indexDim, from, to));
      ops.write(q, rowsOf(indexQ, indexHeads * indexDim, from, to));
      ops.write(w, rowsOf(indexW, indexHeads, from, to));
      ops.kvStore(pool, 0, k, null, to - from);
      ops.select(routing, q, w, pool, 0, to - from);
      return ops.readRouting(routing, to - from).ids.slice();
    };
    const chosen = [run(0, 256), run(256, 512), run(512, total)];
    for (const position of [0, 9, 255, 299, 300, 320, 511, 529]) {
      const ids = chosen[position >> 8]!.subarray((position % 256) * topK, (position % 256) * topK + topK);
      const best = bestOf(position);
      assert.deepEqual([...ids.subarray(0, best.length)], best, `position ${position}`);
      assert.ok(ids.subarray(best.length).every((id) => id === -1));
    }
    assert.deepEqual(run(500, 501), chosen[1]!.slice(244 * topK, 245 * topK));
    assert.throws(() => ops.select(routing, q, k, pool, 0, 1));
  });

  withOps("select: positions of the best rows of four, and those behind the last whole row", async (ops) => {
    const [every, most, last] = [4, 5, 70];
    const layers = [{ kvHeads: 1, headDimK: indexDim, headDimV: 0, latent: true }] as const;
    const pool = ops.kvPool({ every, layers, type: "f16", pages: 2 });
    const [routing, narrow] = [ops.routing(last, every * most + every - 1), ops.routing(last, every * most)];
    const [k, q] = [ops.tensor(last, indexDim), ops.tensor(last, indexHeads * indexDim)];
    await ops.seal();
    const positions = Array.from({ length: last }, (_, p) => p);
    ops.begin(rowTable({ pools: 1 }, positions, { tables: [[Int32Array.from([1])]] }));
    ops.write(k, rowsOf(indexK, indexDim, 0, last));
    ops.write(q, rowsOf(indexQ, indexHeads * indexDim, 0, last));
    ops.kvStore(pool, 0, k, null, last);
    ops.select(routing, q, null, pool, 0, last, true);
    const { ids } = ops.readRouting(routing, last);
    for (const p of positions) {
      // The key of a row is that of its last position; without weights all heads count alike.
      const scores = Array.from({ length: Math.floor((p + 1) / every) }, (_, row) => {
        let score = 0;
        for (let h = 0; h < indexHeads; h++) {
          let product = 0;
          for (let d = 0; d < indexDim; d++)
            product += indexQ[(p * indexHeads + h) * indexDim + d]! * indexK[(row * every + 3) * indexDim + d]!;
          score += Math.max(product, 0);
        }
        return score;
      });
      const order = scores.map((_, row) => row).sort((a, b) => scores[b]! - scores[a]! || a - b);
      const best = order.slice(0, most).sort((a, b) => a - b);
      const expected = best.flatMap((row) => [0, 1, 2, 3].map((i) => row * every + i));
      for (let i = scores.length * every; i <= p; i++) expected.push(i);
      const got = [...ids.subarray(p * routing.topK, (p + 1) * routing.topK)];
      assert.deepEqual(got, [...expected, ...new Array(routing.topK - expected.length).fill(-1)], `position ${p}`);
    }
    assert.throws(() => ops.select(narrow, q, null, pool, 0, last, true));
  });

  const make = (ops: Ops, layers = 1, pools = 1): Made & { readonly pool: ReturnType<Ops["kvPool"]> } => {
    const layer = { kvHeads, headDimK: dim, headDimV: dim };
    const pool = ops.kvPool({ layers: Array.from({ length: layers }, () => layer), type: "f16", pages: 5 });
    const [k, v] = [ops.tensor(256, kvHeads * dim), ops.tensor(256, kvHeads * dim)];
    const [q, out] = [ops.tensor(256, heads * dim), ops.tensor(256, heads * dim)];
    const store = (from: number, to: number): void => {
      const ofAll = Array.from({ length: pools }, () => tables[0]!);
      ops.begin(
        rowTable(
          { pools },
          Array.from({ length: to - from }, (_, i) => from + i),
          { tables: ofAll },
        ),
      );
      ops.write(k, rowsOf(allK, kvHeads * dim, from, to));
      ops.write(v, rowsOf(allV, kvHeads * dim, from, to));
      ops.write(q, rowsOf(allQ, heads * dim, from, to));
      for (let i = 0; i < layers; i++) ops.kvStore(pool, i, k, v, to - from);
    };
    return { pool, q, out, store };
  };

  withOps("attention over chosen positions: more than a page of them, the same alone and together", async (ops) => {
    const { pool, q, out, store } = make(ops, 1, 2);
    const index = ops.kvPool({
      layers: [{ kvHeads: 1, headDimK: indexDim, headDimV: 0, latent: true }],
      type: "f16",
      pages: 5,
    });
    const selection = ops.routing(256, topK);
    const [ik, iq, iw] = [
      ops.tensor(256, indexDim),
      ops.tensor(256, indexHeads * indexDim),
      ops.tensor(256, indexHeads),
    ];
    const slopes = ops.vector(new Float32Array(heads));
    await ops.seal();
    const pass = async (from: number, to: number): Promise<Float32Array> => {
      store(from, to);
      ops.write(ik, rowsOf(indexK, indexDim, from, to));
      ops.write(iq, rowsOf(indexQ, indexHeads * indexDim, from, to));
      ops.write(iw, rowsOf(indexW, indexHeads, from, to));
      ops.kvStore(index, 0, ik, null, to - from);
      ops.select(selection, iq, iw, index, 0, to - from);
      ops.attention(out, q, pool, 0, to - from, { ...base, selection });
      return (await ops.read(out, to - from)).slice();
    };
    await pass(0, 256);
    await pass(256, 512);
    const last = await pass(512, total);
    for (const position of [512, 529])
      for (let h = 0; h < heads; h++) {
        const want = expected(position, h, bestOf(position));
        for (const [d, value] of want.entries())
          near(last[((position - 512) * heads + h) * dim + d]!, value, 2e-5, `position ${position}, head ${h}`);
      }
    const row = heads * dim;
    assert.deepEqual(await pass(520, 521), last.slice(8 * row, 9 * row));
    assert.throws(() => ops.attention(out, q, pool, 0, 1, { ...base, window: 5, selection }));
    assert.throws(() => ops.attention(out, q, pool, 0, 1, { ...base, slopes, selection }));
  });

  withOps("attention over several sources: one softmax over what each shows, with slopes", async (ops) => {
    const { pool, q, out, store } = make(ops, 3);
    const carry = ops.tensor(256, 2 * heads);
    const sinkValues = randomValues(heads, 9);
    const sinks = ops.vector(sinkValues);
    const falls = Float32Array.from({ length: heads }, (_, h) => 2 ** (-2 - 2 * h));
    const slopes = ops.vector(falls);
    await ops.seal();
    const windows = [5, 0, 40];
    const attend = async (n: number, order: readonly number[]): Promise<Float32Array> => {
      for (const [i, window] of order.entries()) {
        const place = i === 0 ? "first" : i < order.length - 1 ? "next" : "last";
        ops.attention(out, q, pool, i, n, { ...base, window, sinks, slopes, part: { carry, place } });
      }
      return (await ops.read(out, n)).slice();
    };
    store(0, 256);
    store(256, 300);
    const together = await attend(44, windows);
    for (const t of [0, 43])
      for (let h = 0; h < heads; h++) {
        const position = 256 + t;
        const seen = windows.flatMap((window) =>
          Array.from({ length: position + 1 }, (_, p) => p).filter((p) => window === 0 || position - p < window),
        );
        const want = expected(position, h, seen, sinkValues[h], falls[h]);
        for (const [d, value] of want.entries())
          near(together[(t * heads + h) * dim + d]!, value, 2e-5, `row ${t}, head ${h}`);
      }
    store(299, 300);
    assert.deepEqual(await attend(1, windows), together.slice(43 * heads * dim));
  });

  withOps(
    "rows of several positions: one at each last position, seen from there on; chosen and beside others",
    async (ops) => {
      const every = 4;
      const { q, out, store, pool: raw } = make(ops, 1, 2);
      const layer = { kvHeads, headDimK: dim, headDimV: dim };
      const index = { kvHeads: 1, headDimK: indexDim, headDimV: 0, latent: true };
      const pool = ops.kvPool({ layers: [layer, index], every, type: "f16", pages: 5 });
      const [k, v, ik] = [ops.tensor(256, kvHeads * dim), ops.tensor(256, kvHeads * dim), ops.tensor(256, indexDim)];
      const [iq, iw] = [ops.tensor(256, indexHeads * indexDim), ops.tensor(256, indexHeads)];
      const [carry, selection, chosen] = [ops.tensor(256, 2 * heads), ops.routing(256, 9), 9];
      const slopes = ops.vector(new Float32Array(heads));
      await ops.seal();
      const pass = async (from: number, to: number) => {
        store(from, to);
        for (const [tensor, all, cols] of [
          [k, allK, kvHeads * dim],
          [v, allV, kvHeads * dim],
          [ik, indexK, indexDim],
          [iq, indexQ, indexHeads * indexDim],
          [iw, indexW, indexHeads],
        ] as const)
          ops.write(tensor, rowsOf(all, cols, from, to));
        const n = to - from;
        ops.kvStore(pool, 0, k, v, n);
        ops.kvStore(pool, 1, ik, null, n);
        const read = async () => (await ops.read(out, n)).slice();
        ops.attention(out, q, pool, 0, n, base);
        const alone = await read();
        ops.attention(out, q, raw, 0, n, { ...base, window: 6, part: { carry, place: "first" } });
        ops.attention(out, q, pool, 0, n, { ...base, part: { carry, place: "last" } });
        const beside = await read();
        // What shows nothing may come first.
        ops.attention(out, q, pool, 0, n, { ...base, part: { carry, place: "first" } });
        ops.attention(out, q, raw, 0, n, { ...base, window: 6, part: { carry, place: "last" } });
        const behind = await read();
        ops.select(selection, iq, iw, pool, 1, n);
        ops.attention(out, q, pool, 0, n, { ...base, selection });
        return { alone, beside, behind, best: await read(), ids: ops.readRouting(selection, n).ids.slice() };
      };
      const first = await pass(0, 256);
      const whole = { 0: first, 256: await pass(256, 512), 512: await pass(512, total) };
      const lastOf = (row: number): number => row * every + every - 1;
      for (const position of [0, 2, 3, 4, 63, 255, 256, 511, 529]) {
        const at = (position & ~255) as 0 | 256 | 512;
        const rows = Array.from({ length: Math.floor((position + 1) / every) }, (_, i) => i);
        const ids = [...rows].sort((a, b) => scoreOf(position, lastOf(b)) - scoreOf(position, lastOf(a)) || a - b);
        const best = ids.slice(0, chosen).sort((a, b) => a - b);
        const { alone, beside, behind, best: selected, ids: found } = whole[at];
        const t = position - at;
        const left = Array.from({ length: chosen - best.length }, () => -1);
        assert.deepEqual([...found.subarray(t * chosen, (t + 1) * chosen)], [...best, ...left], `position ${position}`);
        const own = Array.from({ length: Math.min(6, position + 1) }, (_, i) => position - i);
        for (let h = 0; h < heads; h++)
          for (const [what, values, seen] of [
            ["alone", alone, rows.map(lastOf)],
            ["beside", beside, [...own, ...rows.map(lastOf)]],
            ["behind", behind, [...own, ...rows.map(lastOf)]],
            ["chosen", selected, best.map(lastOf)],
          ] as const) {
            const want = seen.length === 0 ? new Array<number>(dim).fill(0) : expected(position, h, seen);
            for (const [d, value] of want.entries())
              near(values[(t * heads + h) * dim + d]!, value, 2e-5, `${what}, position ${position}, head ${h}`);
          }
      }
      const row = heads * dim;
      const again = await pass(300, 303);
      for (const name of ["alone", "beside", "behind", "best"] as const)
        assert.deepEqual(again[name], whole[256][name].slice(44 * row, 47 * row), name);
      assert.throws(() => ops.attention(out, q, pool, 0, 1, { ...base, window: 5 }));
      assert.throws(() => ops.attention(out, q, pool, 0, 1, { ...base, slopes }));
    },
  );
}
