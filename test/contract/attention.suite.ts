/** The KV cache and attention part of the contract. */
import assert from "node:assert/strict";
import { quantizeRow } from "../../src/compress/quantize.js";
import { dequantizeRow } from "../../src/formats/dequantize.js";
import { blocksBytes, dtypeByName } from "../../src/formats/dtypes.js";
import type { KvType } from "../../src/native/boundary.js";
import { hadamard, kvForm } from "../../src/ops/kv-form.js";
import { keyTurn } from "../../src/ops/moving-keys.js";
import type { AttentionSpec, Backend, KvCacheType, Tensor } from "../../src/ops/ops.js";
import { activationError, filled, near, randomValues, rowTable, ulp } from "./fixture.js";

type Shape = Pick<AttentionSpec, "heads" | "kvHeads" | "headDimK" | "headDimV" | "window" | "softcap" | "reach"> & {
  sinks: boolean;
  alibi?: boolean;
  /** Positions of the sequence. */
  total: number;
};

/** A value after a stay in the cache: ggml's own encoding of the type. */
function cached(type: KvType, head: Float32Array): Float32Array {
  const dtype = dtypeByName(type)!;
  const bytes = new Uint8Array(blocksBytes(dtype, head.length)!);
  const out = new Float32Array(head.length);
  quantizeRow(dtype, head, bytes);
  dequantizeRow(dtype, bytes, out);
  return out;
}

/**
 * @shape keys [position][headDimK], values [position][headDimV] of the head's own kv head, already through the cache
 */
function expected(
  query: Float32Array,
  keys: Float32Array[],
  values: Float32Array[],
  position: number,
  spec: Shape & { scale: number; keyType: KvType },
  sink: number,
  slope: number,
): { out: number[]; bound: number } {
  const back = spec.reach === "chunk" ? position % spec.window : spec.window - 1;
  const first = spec.window === 0 ? 0 : Math.max(0, position - back);
  const scores: number[] = [];
  let scoreError = 0;
  // Codes of quantized keys meet the query as they meet an activation: in 8 bits a block.
  const roundings = activationError(dtypeByName(spec.keyType)!, query);
  for (let p = first; p <= position; p++) {
    let score = 0;
    let magnitude = 0;
    let rounding = 0;
    for (let d = 0; d < spec.headDimK; d++) {
      score += query[d]! * keys[p]![d]!;
      magnitude += Math.abs(query[d]! * keys[p]![d]!);
      rounding += Math.abs(keys[p]![d]!) * roundings[d]!;
    }
    score *= spec.scale;
    scoreError = Math.max(scoreError, ((spec.headDimK + 8) * ulp * (magnitude + rounding) + rounding) * spec.scale);
    const capped = spec.softcap === 0 ? score : spec.softcap * Math.tanh(score / spec.softcap);
    scoreError += ulp * slope * (position - p);
    scores.push(capped - slope * (position - p));
  }
  const max = Math.max(sink, ...scores);
  const exps = scores.map((s) => Math.exp(s - max));
  const sum = exps.reduce((a, b) => a + b, Math.exp(sink - max));
  const out = new Array<number>(spec.headDimV).fill(0);
  let largest = 0;
  exps.forEach((e, i) => {
    for (let d = 0; d < spec.headDimV; d++) {
      const v = values[first + i]![d]!;
      out[d]! += (e / sum) * v;
      largest = Math.max(largest, Math.abs(v));
    }
  });
  // Weights are off by the score error twice (theirs and the sum's) and by a rounding for each key added.
  return { out, bound: (Math.expm1(2 * scoreError) + (scores.length + 32) * ulp) * largest };
}

export function attentionSuite(withOps: (title: string, body: (ops: Backend) => void | Promise<void>) => void): void {
  const plain: Shape = {
    heads: 4,
    kvHeads: 2,
    headDimK: 32,
    headDimV: 32,
    window: 0,
    softcap: 0,
    sinks: false,
    total: 275,
  };
  const cases: [string, KvCacheType, Partial<Shape>][] = [
    ["f16, grouped queries, three pages", "f16", { total: 530 }],
    ["f16, one kv head, wide heads", "f16", { heads: 3, kvHeads: 1, headDimK: 128, headDimV: 64 }],
    ["f16, head size 80", "f16", { headDimK: 80, headDimV: 80 }],
    ["f16, window", "f16", { window: 40 }],
    ["f16, window over a page", "f16", { window: 300, total: 530, heads: 2, kvHeads: 1 }],
    ["f16, stretches over a page", "f16", { window: 300, reach: "chunk", total: 530, heads: 2, kvHeads: 1 }],
    ["q8_0, short stretches", "q8_0", { window: 24, reach: "chunk" }],
    ["f16, softcap", "f16", { softcap: 5 }],
    ["f16, sinks and window", "f16", { sinks: true, window: 16 }],
    ["f16, ALiBi over pages", "f16", { alibi: true, total: 530 }],
    ["q8_0, ALiBi and a window", "q8_0", { alibi: true, window: 40 }],
    ["q8_0", "q8_0", {}],
    ["q4_0", "q4_0", { sinks: true }],
    ["q8_0:q4_0", "q8_0:q4_0", { total: 530 }],
    ["q4_0:f16, head size of values 80", "q4_0:f16", { headDimV: 80 }],
    ["f16:q8_0, head size of keys 80", "f16:q8_0", { headDimK: 80, headDimV: 64 }],
    ["f16:q4_0, many queries", "f16:q4_0", { heads: 12, kvHeads: 1 }],
    ["q8_0:f16, window", "q8_0:f16", { window: 40 }],
    ["q4_0:q8_0, ALiBi", "q4_0:q8_0", { alibi: true }],
    ["f16, Hadamard", "f16+h", { headDimK: 16, headDimV: 128 }],
    ["q4_0, Hadamard, sinks", "q4_0+h", { sinks: true, headDimK: 128, headDimV: 64 }],
    ["q8_0:q4_0, Hadamard, window", "q8_0:q4_0+h", { window: 40 }],
  ];
  for (const [title, type, change] of cases)
    withOps(`attention: ${title}`, async (ops) => {
      const { keys: keyType, values: valueType, hadamard: isMixed } = kvForm(type);
      const spec = { ...plain, ...change, keyType, scale: 1 / Math.sqrt(change.headDimK ?? 32) };
      const [heads, kvHeads, dk, dv] = [spec.heads, spec.kvHeads, spec.headDimK, spec.headDimV];
      const layer = { kvHeads, headDimK: dk, headDimV: dv };
      const pool = ops.kvPool({ layers: [layer, layer], type, pages: 7 });
      const { total } = spec;
      const sinkValues = randomValues(heads, 30, 2);
      const sinks = spec.sinks ? ops.vector(sinkValues) : null;
      const falls = Float32Array.from({ length: heads }, (_, h) => (spec.alibi ? 2 ** -(h + 2) : 0));
      const slopes = spec.alibi ? ops.vector(falls) : null;
      const [k, v, q, out] = [
        ops.tensor(256, kvHeads * dk),
        ops.tensor(256, kvHeads * dv),
        ops.tensor(256, heads * dk),
        ops.tensor(256, heads * dv),
      ];
      await ops.seal();
      const [allK, allV, allQ] = [
        randomValues(total * kvHeads * dk, 31),
        randomValues(total * kvHeads * dv, 32),
        randomValues(total * heads * dk, 33, 2),
      ];
      // Pages in no particular order; sequence 1 shares none with sequence 0.
      const tables = [[Int32Array.from([5, 0, 3]), Int32Array.from([2, 6, -1])]];
      const pass = async (positions: number[], sequences: number[]) => {
        const n = positions.length;
        const take = (all: Float32Array, cols: number) => {
          const rows = new Float32Array(n * cols);
          for (const [i, p] of positions.entries()) rows.set(all.subarray(p * cols, (p + 1) * cols), i * cols);
          return rows;
        };
        ops.begin(rowTable({ pools: 1 }, positions, { sequences, tables }));
        ops.write(k, take(allK, kvHeads * dk));
        ops.write(v, take(allV, kvHeads * dv));
        ops.write(q, take(allQ, heads * dk));
        ops.kvStore(pool, 1, k, v, n);
        ops.attention(out, q, pool, 1, n, { ...spec, sinks, slopes });
        return (await ops.read(out, n)).slice();
      };
      const run = async (chunks: number[]) => {
        const rows: Float32Array[] = [];
        let from = 0;
        for (const n of chunks) {
          const got = await pass(
            Array.from({ length: n }, (_, i) => from + i),
            new Array<number>(n).fill(0),
          );
          for (let t = 0; t < n; t++) rows.push(got.slice(t * heads * dv, (t + 1) * heads * dv));
          from += n;
        }
        return rows;
      };
      const whole = await run(total > 512 ? [256, 256, total - 512] : [256, total - 256]);

      const mix = <T extends Float32Array | Float64Array>(head: T): T => {
        if (isMixed) hadamard(head, 0, head.length);
        return head;
      };
      const headsOf = (own: KvType, all: Float32Array, width: number, h: number) =>
        Array.from({ length: total }, (_, p) =>
          cached(own, mix(all.slice((p * kvHeads + h) * width, (p * kvHeads + h + 1) * width))),
        );
      const keys = Array.from({ length: kvHeads }, (_, h) => headsOf(keyType, allK, dk, h));
      const values = Array.from({ length: kvHeads }, (_, h) => headsOf(valueType, allV, dv, h));
      // What is mixed back takes a share of every value's error, and adds roundings of its own.
      const spread = isMixed ? Math.sqrt(dv) * (1 + 8 * ulp) : 1;
      for (const p of [0, 1, 15, 16, 39, 40, 200, 255, 256, 257, 299, 300, 511, 512, 529].filter((at) => at < total))
        for (let h = 0; h < heads; h++) {
          const kv = Math.floor(h / (heads / kvHeads));
          const query = mix(allQ.slice((p * heads + h) * dk, (p * heads + h + 1) * dk));
          const sink = spec.sinks ? sinkValues[h]! : -Infinity;
          const want = expected(query, keys[kv]!, values[kv]!, p, spec, sink, falls[h]!);
          mix(Float64Array.from(want.out)).forEach((e, d) => {
            near(whole[p]![h * dv + d]!, e, spread * want.bound, `position ${p}, head ${h}, value ${d}`);
          });
        }

      // Other chunks, with another sequence's rows in the pass, give the same bits.
      const last = total - 1;
      const chunks = [1, 2, 17, 31, 64, 141, 18, 255];
      let left = total;
      const cut = chunks.map((n) => {
        const rows = Math.min(n, left);
        left -= rows;
        return rows;
      });
      assert.deepEqual((await run([...cut, left].filter((n) => n > 0))).at(-1), whole.at(-1));
      const mixed = await pass([last - 2, last - 1, last, 0, 1], [0, 0, 0, 1, 1]);
      const width = heads * dv;
      assert.deepEqual(mixed.slice(2 * width, 3 * width), whole[last]);
      assert.deepEqual(mixed.slice(3 * width, 4 * width), whole[0]);
      assert.deepEqual(mixed.slice(4 * width, 5 * width), whole[1]);
    });

  for (const [type, dk, dv] of [
    ["f16", 72, 50],
    ["f16", 64, 64],
    ["q8_0", 96, 64],
    ["q4_0", 96, 64],
  ] as const)
    withOps(
      `attention: a latent layer has the bits of its vectors as keys and as values, ${type} ${dk}`,
      async (ops) => {
        const [heads, total] = [11, 300];
        const shape = { kvHeads: 1, headDimK: dk, headDimV: dv };
        const pool = ops.kvPool({ layers: [shape, { ...shape, latent: true }], type, pages: 2 });
        const rows = randomValues(total * dk, 41);
        const first = Float32Array.from({ length: total * dv }, (_, i) => rows[Math.floor(i / dv) * dk + (i % dv)]!);
        const [row, v] = [filled(ops, total, dk, rows), filled(ops, total, dv, first)];
        const queries = randomValues(total * heads * dk, 42, 2);
        const [q, out] = [filled(ops, total, heads * dk, queries), ops.tensor(total, heads * dv)];
        ops.seal();
        const spec = { ...plain, ...shape, heads, scale: 1 / Math.sqrt(dk), sinks: null };
        const table = { tables: [[Int32Array.of(1, 0)]] };
        const everyone = Array.from({ length: total }, (_, p) => p);
        ops.begin(rowTable({ pools: 1 }, everyone, table));
        ops.kvStore(pool, 0, row, v, total);
        ops.kvStore(pool, 1, row, null, total);
        const [apart, latent] = [new Float32Array(total * heads * dv), new Float32Array(total * heads * dv)];
        for (const [layer, into] of [apart, latent].entries()) {
          ops.attention(out, q, pool, layer, total, spec);
          into.set(await ops.read(out, total));
        }
        assert.deepEqual(latent, apart);
        // The last row alone: as one token of an answer is.
        ops.begin(rowTable({ pools: 1 }, [total - 1], table));
        ops.write(q, queries.slice((total - 1) * heads * dk));
        ops.attention(out, q, pool, 1, 1, spec);
        assert.deepEqual(await ops.read(out, 1), apart.slice((total - 1) * heads * dv));
      },
    );

  for (const type of ["f16+h", "q8_0:f16+h"] as const)
    withOps(`attention: a latent layer sees the same through Hadamard matrices, ${type}`, async (ops) => {
      const [heads, total, dk, dv] = [5, 40, 96, 64];
      const layers = [{ kvHeads: 1, headDimK: dk, headDimV: dv, latent: true }];
      const pools = [ops.kvPool({ layers, type: "f16", pages: 1 }), ops.kvPool({ layers, type, pages: 1 })];
      const row = filled(ops, total, dk, randomValues(total * dk, 41));
      const [q, out] = [
        filled(ops, total, heads * dk, randomValues(total * heads * dk, 42)),
        ops.tensor(total, 5 * dv),
      ];
      await ops.seal();
      const spec = { ...plain, heads, kvHeads: 1, headDimK: dk, headDimV: dv, scale: 1 / Math.sqrt(dk), sinks: null };
      const positions = Array.from({ length: total }, (_, p) => p);
      ops.begin(rowTable({ pools: 2 }, positions, { tables: [[Int32Array.of(0)], [Int32Array.of(0)]] }));
      const [plainly, mixed] = await Promise.all(
        pools.map(async (pool) => {
          ops.kvStore(pool, 0, row, null, total);
          ops.attention(out, q, pool, 0, total, spec);
          return (await ops.read(out, total)).slice();
        }),
      );
      // Of values up to 1: half a step of 1/127 of the largest, of keys as well, or some 2^-11.
      const bound = type === "f16+h" ? 0.004 : 0.04;
      for (const [i, value] of plainly!.entries()) near(mixed![i]!, value, bound, `value ${i}`);
      assert.notDeepEqual(mixed, plainly);
    });

  for (const type of ["f16", "q8_0", "q4_0"] as const)
    for (const interleaved of [false, true])
      withOps(
        `kvTurn: keys as if they were stored turned, ${type}${interleaved ? ", neighbours" : ""}`,
        async (ops) => {
          const [kvHeads, dk, dv, total] = [2, 64, 32, 40];
          const pool = ops.kvPool({ layers: [{ kvHeads, headDimK: dk, headDimV: dv }], type, pages: 3 });
          const [from, to, pairs, first] = [5, 37, 12, interleaved ? 0 : 40];
          const frequencies = Float64Array.from({ length: pairs }, (_, i) => 0.3 * 0.6 ** i);
          const spec = { dims: 2 * pairs, frequencies, magnitude: 1, interleaved, first };
          const turn = keyTurn(spec, -512);
          const keys = randomValues(total * kvHeads * dk, 21);
          const turned = keys.slice();
          for (let head = 0; head < total * kvHeads; head++) {
            if (head < from * kvHeads || head >= to * kvHeads) continue;
            const x = cached(type, keys.slice(head * dk, (head + 1) * dk));
            for (let i = 0; i < pairs; i++) {
              const a = first + (interleaved ? 2 * i : i);
              const b = a + (interleaved ? 1 : pairs);
              const [xa, xb, cos, sin] = [
                x[a]!,
                x[b]!,
                Math.cos(-512 * frequencies[i]!),
                Math.sin(-512 * frequencies[i]!),
              ];
              x[a] = xa * cos - xb * sin;
              x[b] = xa * sin + xb * cos;
            }
            turned.set(x, head * dk);
          }
          const [k, wanted] = [filled(ops, total, kvHeads * dk, keys), filled(ops, total, kvHeads * dk, turned)];
          const v = filled(ops, total, kvHeads * dv, randomValues(total * kvHeads * dv, 22));
          const q = filled(ops, total, 4 * dk, randomValues(total * 4 * dk, 23));
          const out = ops.tensor(total, 4 * dv);
          await ops.seal();
          const shape = { ...plain, heads: 4, kvHeads, headDimK: dk, headDimV: dv, scale: 0.3, sinks: null };
          const positions = Array.from({ length: total }, (_, p) => p);
          const attend = async (page: number, stored?: Tensor): Promise<Float32Array> => {
            ops.begin(rowTable({ pools: 1 }, positions, { tables: [[Int32Array.of(page)]] }));
            if (stored !== undefined) ops.kvStore(pool, 0, stored, v, total);
            ops.attention(out, q, pool, 0, total, shape);
            return (await ops.read(out, total)).slice();
          };
          const before = await attend(0, k);
          ops.kvTurn(pool, 0, 0, [from, to], turn);
          const found = await attend(0);
          assert.deepEqual(found, await attend(1, wanted));
          assert.notDeepEqual(found, before);
          // Rows of a page in the place of others, keys and values.
          ops.write(k, randomValues(total * kvHeads * dk, 24));
          ops.write(v, randomValues(total * kvHeads * dv, 25));
          const other = await attend(2, k);
          ops.kvCopyRows(pool, 0, 2, 3);
          const mixed = await attend(2);
          assert.deepEqual(mixed.slice(0, 3 * 4 * dv), found.slice(0, 3 * 4 * dv));
          assert.notDeepEqual(mixed, other);
          ops.kvCopyRows(pool, 0, 2, total);
          assert.deepEqual(await attend(2), found);
        },
      );

  withOps("kvCopyPage copies every layer", async (ops) => {
    const layer = { kvHeads: 1, headDimK: 32, headDimV: 32 };
    const pool = ops.kvPool({ layers: [layer, layer], type: "f16", pages: 3 });
    const spec = { ...plain, heads: 1, kvHeads: 1, scale: 0.2, sinks: null };
    const [k, v, q] = [1, 2, 3].map((seed) => filled(ops, 4, 32, randomValues(128, seed))) as [never, never, never];
    const out = ops.tensor(4, 32);
    await ops.seal();
    const results: Float32Array[] = [];
    for (const page of [0, 2]) {
      ops.begin(rowTable({ pools: 1 }, [0, 1, 2, 3], { tables: [[Int32Array.from([page])]] }));
      for (const l of [0, 1]) {
        if (page === 0) ops.kvStore(pool, l, k, v, 4);
        ops.attention(out, q, pool, l, 4, spec);
        results.push((await ops.read(out, 4)).slice());
      }
      if (page === 0) ops.kvCopyPage(pool, 0, 2);
    }
    assert.deepEqual(results.slice(2), results.slice(0, 2));
    assert.ok(results[0]!.some((value) => value !== 0));
  });
}
