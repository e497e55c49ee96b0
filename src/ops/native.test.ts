/**
 * Bit-identity of the native implementation: a token row gives the same bits alone or among others, on any number of
 * threads, with any instruction set. That the bits are right is the contract suite's business (test/contract).
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { addon, skipAddon } from "../../test/support/addon.js";
import { quantizeRow } from "../compress/quantize.js";
import { blocksBytes, type Dtype, dtypeByName, dtypes } from "../formats/dtypes.js";
import { addonStatus } from "../native/addon.js";
import { NativeOps } from "./native.js";
import type { AttentionSpec, KvType, Matrix, MatrixSource, RowTable, Tensor } from "./ops.js";
import { WorkingSpace } from "./working-space.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-native-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Variant {
  readonly threads: number;
  readonly isa: string;
  /** Passes of one row run on as many of the threads. */
  readonly oneRow?: number;
  /** As if the CPUs were of so many memory nodes. */
  readonly nodes?: number;
}
const isas = addonStatus().isas ?? [];
const best = addonStatus().isa ?? "scalar";
const variants: Variant[] = [
  ...isas.flatMap((isa) => [1, 2, 3].map((threads) => ({ threads, isa }))),
  { isa: best, threads: 3, oneRow: 2 },
  { isa: best, threads: 4, nodes: 2 },
  { isa: best, threads: 5, nodes: 4, oneRow: 3 },
];
const label = ({ threads, isa, oneRow = threads, nodes = 0 }: Variant) =>
  `${isa}, ${threads} threads, ${oneRow} of them for one row, ${nodes} nodes`;

/** Runs `body` on fresh ops and closes them. */
function using<T>(variant: Variant, body: (ops: NativeOps) => T): T {
  const { isa, threads, oneRow = threads, nodes = 0 } = variant;
  const cpuList = Array.from({ length: nodes }, (_, i) => i % availableParallelism());
  const layout = { threads: oneRow, threadsBatch: threads, most: threads, cpuList, nodes };
  const ops = new NativeOps(addon, { isa, threads: layout });
  try {
    return body(ops);
  } finally {
    ops.close();
  }
}

function randoms(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  };
}
const values = (count: number, seed: number) => Float32Array.from({ length: count }, randoms(seed));

let files = 0;
function weightFile(dtype: Dtype, rows: number, cols: number, experts = 1): MatrixSource {
  const bytes = new Uint8Array(rows * experts * blocksBytes(dtype, cols)!);
  const each = bytes.length / (rows * experts);
  const random = randoms(files + 11);
  for (let r = 0; r < rows * experts; r++) {
    const row = Float32Array.from({ length: cols }, random);
    quantizeRow(dtype, row, bytes.subarray(r * each, (r + 1) * each));
  }
  const file = join(folder, `${files++}.bin`);
  writeFileSync(file, bytes);
  return {
    name: "test",
    layout: dtype,
    rows,
    cols,
    experts,
    planes: { blocks: [{ file, offset: 0, bytes: bytes.length }] },
  };
}

function same(actual: Float32Array, expected: Float32Array, what: string): void {
  const [a, b] = [new Uint32Array(actual.buffer), new Uint32Array(expected.buffer)];
  const at = a.findIndex((bits, i) => bits !== b[i]);
  assert.ok(a.length === b.length && at < 0, `${what}: value ${at} is ${actual[at]}, expected ${expected[at]}`);
}

function filled(ops: NativeOps, rows: number, cols: number, from: Float32Array): Tensor {
  const tensor = ops.tensor(rows, cols);
  ops.write(tensor, from);
  return tensor;
}

/** First n rows of x times the weight, `add`ed to what out held. */
function product(variant: Variant, source: MatrixSource, x: Float32Array, n: number, add: boolean): Float32Array {
  return using(variant, (ops) => {
    const input = filled(ops, n, source.cols, x.subarray(0, n * source.cols));
    const out = filled(ops, n, source.rows, new Float32Array(n * source.rows).fill(0.25));
    const bias = ops.vector(values(source.rows, 5));
    const products = [{ out, weight: ops.matrix(source), bias, add }];
    ops.seal();
    ops.matmul(products, input, n);
    return ops.read(out, n);
  });
}

for (const dtype of dtypes.filter((d) => d.acts !== undefined)) {
  test(`matmul ${dtype.name}: the same bits alone, among others, on any threads and instruction set`, {
    skip: skipAddon,
  }, () => {
    const counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 64, 65];
    const random = randoms(dtype.id + 1);
    const pick = (list: readonly number[]) => list[Math.floor(((random() + 1) / 2) * list.length)]!;
    for (const add of [false, true]) {
      const rows = pick([1, 15, 33, 70, 131]);
      const source = weightFile(dtype, rows, dtype.blockValues > 32 ? 512 : pick([96, 288]));
      const x = values(65 * source.cols, dtype.id + 3);
      const alone = Array.from({ length: 65 }, (_, t) => x.slice(t * source.cols, (t + 1) * source.cols)).map((row) =>
        product({ threads: 1, isa: "scalar" }, source, row, 1, add),
      );
      for (const n of counts) {
        const variant = variants[Math.floor(((random() + 1) / 2) * variants.length)]!;
        const together = product(variant, source, x, n, add);
        for (let t = 0; t < n; t++)
          same(together.slice(t * rows, (t + 1) * rows), alone[t]!, `${label(variant)}, row ${t} of ${n}`);
      }
    }
  });
}

interface AttentionCase {
  readonly type: KvType;
  readonly positions: number;
  readonly window: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly sinks: boolean;
  readonly softcap: number;
}

/** Keys of all positions in passes of `chunk` rows; returns the outputs of all rows. */
function attend(variant: Variant, c: AttentionCase, chunk: number): Float32Array {
  return using(variant, (ops) => {
    const { positions: total, heads, kvHeads, dim } = c;
    const pages = Math.ceil(total / 256);
    const pool = ops.kvPool({ layers: [{ kvHeads, headDimK: dim, headDimV: dim }], type: c.type, pages: pages + 1 });
    const rows = Math.min(chunk, total);
    const [q, k, v] = [ops.tensor(rows, heads * dim), ops.tensor(rows, kvHeads * dim), ops.tensor(rows, kvHeads * dim)];
    const out = ops.tensor(rows, heads * dim);
    const sinks = c.sinks ? ops.vector(values(heads, 8)) : null;
    ops.seal();
    const spec: AttentionSpec = {
      heads,
      kvHeads,
      headDimK: dim,
      headDimV: dim,
      scale: 0.4,
      window: c.window,
      softcap: c.softcap,
      sinks,
    };
    const [allQ, allK, allV] = [heads, kvHeads, kvHeads].map((h, i) => values(total * h * dim, 20 + i)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const result = new Float32Array(total * heads * dim);
    const table = Int32Array.from({ length: pages }, (_, i) => pages - i); // pages in no natural order
    for (let first = 0; first < total; first += rows) {
      const n = Math.min(rows, total - first);
      const pass: RowTable = {
        count: n,
        ids: new Int32Array(n),
        positions: Int32Array.from({ length: n }, (_, i) => first + i),
        sequences: new Int32Array(n),
        blockTables: [[table]],
      };
      ops.begin(pass);
      ops.write(q, allQ.subarray(first * heads * dim, (first + n) * heads * dim));
      ops.write(k, allK.subarray(first * kvHeads * dim, (first + n) * kvHeads * dim));
      ops.write(v, allV.subarray(first * kvHeads * dim, (first + n) * kvHeads * dim));
      ops.kvStore(pool, 0, k, v, n);
      ops.attention(out, q, pool, 0, n, spec);
      result.set(ops.read(out, n), first * heads * dim);
    }
    return result;
  });
}

const attentionCases: AttentionCase[] = [
  { type: "f16", positions: 530, window: 0, heads: 6, kvHeads: 2, dim: 24, sinks: false, softcap: 0 },
  { type: "f16", positions: 530, window: 200, heads: 4, kvHeads: 4, dim: 16, sinks: true, softcap: 0 },
  { type: "q8_0", positions: 300, window: 0, heads: 8, kvHeads: 1, dim: 32, sinks: true, softcap: 20 },
  { type: "q4_0", positions: 300, window: 37, heads: 2, kvHeads: 1, dim: 64, sinks: false, softcap: 0 },
  { type: "f16", positions: 259, window: 256, heads: 66, kvHeads: 1, dim: 8, sinks: false, softcap: 0 },
  // Three spans of 1,024 positions, whole and behind a window that begins within one.
  { type: "f16", positions: 2100, window: 0, heads: 2, kvHeads: 1, dim: 8, sinks: true, softcap: 0 },
  { type: "q8_0", positions: 2100, window: 1100, heads: 1, kvHeads: 1, dim: 32, sinks: false, softcap: 0 },
];
for (const c of attentionCases) {
  const name = `${c.type}, ${c.heads}/${c.kvHeads} heads of ${c.dim}, window ${c.window}${c.sinks ? ", sinks" : ""}`;
  test(`attention ${name}: the same bits for any chunking, threads, instruction set`, { skip: skipAddon }, () => {
    const expected = attend({ threads: 1, isa: "scalar" }, c, 1);
    assert.ok(expected.every(Number.isFinite));
    const chunks = [1, 17, 64, 65, 256, 1000];
    // Scalar attention is slow: once is enough.
    const tried = variants.filter((v) => v.isa !== "scalar" || v.threads === 2);
    tried.forEach((variant, i) => {
      const chunk = chunks[i % chunks.length]!;
      same(attend(variant, c, chunk), expected, `${label(variant)}, chunks of ${chunk}`);
    });
    // One row per pass and threads to spare: the walk that is split over pages.
    same(attend({ threads: 3, isa: isas.at(-1)! }, c, 1), expected, "row by row, 3 threads");
  });
}

interface MoeShape {
  readonly gate: MatrixSource;
  readonly up: MatrixSource;
  readonly down: MatrixSource;
}
const [moeExperts, moeDim, moeHidden, topK] = [6, 256, 256, 3];

function runExperts(variant: Variant, shape: MoeShape, x: Float32Array, logits: Float32Array): Float32Array {
  const n = x.length / moeDim;
  return using(variant, (ops) => {
    const [input, out] = [filled(ops, n, moeDim, x), ops.tensor(n, moeDim)];
    const scores = filled(ops, n, moeExperts, logits);
    const routing = ops.routing(n, topK);
    const matrix = (source: MatrixSource): Matrix => ops.matrix(source);
    const weights = {
      gate: matrix(shape.gate),
      up: matrix(shape.up),
      down: matrix(shape.down),
      gateBias: ops.vector(values(moeExperts * moeHidden, 31)),
      upBias: null,
      downBias: ops.vector(values(moeExperts * moeDim, 32)),
    };
    const space = new WorkingSpace(n, []);
    const kinds = [shape.gate, shape.up].map(({ layout }) => layout.acts!);
    space.linear(n, moeDim, kinds, "store");
    const shapes = { topK, experts: moeExperts, dim: moeDim, hidden: moeHidden };
    space.experts(n, shapes, [shape.down.layout.acts!]);
    ops.seal(space);
    const { allocations } = ops.counters();
    const spec = { topK, score: "softmax", renormalize: true, scale: 1.5, selectionBias: null } as const;
    ops.route(routing, scores, n, spec);
    ops.experts(out, input, routing, n, weights, "oai");
    assert.equal(ops.counters().allocations, allocations, "experts allocate after seal");
    return ops.read(out, n);
  });
}

for (const [gate, down] of [
  ["MXFP4", "MXFP4"],
  ["Q4_K", "Q6_K"],
  ["F16", "Q8_0"],
] as const) {
  test(`experts ${gate}/${down}: the same bits alone, among others, in waves`, { skip: skipAddon }, () => {
    const shape: MoeShape = {
      gate: weightFile(dtypeByName(gate)!, moeHidden, moeDim, moeExperts),
      up: weightFile(dtypeByName(gate)!, moeHidden, moeDim, moeExperts),
      down: weightFile(dtypeByName(down)!, moeDim, moeHidden, moeExperts),
    };
    const most = 200; // 600 pairs: several waves of hidden rows
    const [x, logits] = [values(most * moeDim, 41), values(most * moeExperts, 42)];
    const all = runExperts({ threads: 2, isa: isas.at(-1)! }, shape, x, logits);
    const random = randoms(43);
    for (const variant of variants) {
      const n = 1 + Math.floor((random() + 1) * 8);
      const first = Math.floor(((random() + 1) / 2) * (most - n));
      const part = runExperts(
        variant,
        shape,
        x.slice(first * moeDim, (first + n) * moeDim),
        logits.slice(first * moeExperts, (first + n) * moeExperts),
      );
      same(part, all.slice(first * moeDim, (first + n) * moeDim), `${label(variant)}, ${n} rows from ${first}`);
    }
  });
}

test("elementwise verbs: rows split over threads give the same bits", { skip: skipAddon }, () => {
  const [n, cols, heads] = [67, 640, 10];
  const x = values(n * cols, 51);
  const run = (variant: Variant, count: number): Float32Array[] =>
    using(variant, (ops) => {
      const [a, b, c] = [
        filled(ops, n, cols, x),
        filled(
          ops,
          n,
          cols,
          x.map((v) => 3 - v),
        ),
        ops.tensor(n, cols),
      ];
      const weight = ops.vector(values(cols, 52));
      const headWeight = ops.vector(values(cols / heads, 53));
      const frequencies = Float64Array.from({ length: 16 }, (_, i) => 10000 ** (-i / 16));
      const rope = ops.ropeTable({ dims: 32, frequencies, magnitude: 1.1, interleaved: false }, n);
      ops.seal();
      const sequence = Int32Array.from({ length: count }, (_, i) => 1000 + i);
      ops.begin({ count, ids: sequence, positions: sequence, sequences: new Int32Array(count), blockTables: [] });
      ops.rmsNorm(c, a, weight, count, 1e-5);
      ops.headNorm(c, headWeight, count, heads, cols / heads, 1e-6);
      ops.rope(c, count, heads, cols / heads, rope);
      ops.glu(a, a, b, count, "gelu-tanh");
      ops.add(c, a, count);
      ops.softcap(c, 4, count);
      return [ops.read(c, count), ops.read(a, count)];
    });
  const [expectedC, expectedA] = run({ threads: 1, isa: "scalar" }, n) as [Float32Array, Float32Array];
  for (const variant of variants)
    for (const count of [1, 2, n]) {
      const [c, a] = run(variant, count) as [Float32Array, Float32Array];
      same(c, expectedC.slice(0, count * cols), `${label(variant)}, ${count} rows`);
      same(a, expectedA.slice(0, count * cols), `${label(variant)}, ${count} rows of glu`);
    }
});
