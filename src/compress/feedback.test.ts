/** Moments, factors and error feedback of the addon against plain loops in F64. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { dequantizeRow } from "../formats/dequantize.js";
import { blocksBytes, type Dtype, dtypeByName } from "../formats/dtypes.js";
import { loadAddon } from "../native/addon.js";
import { uniform } from "./encode-cases.js";
import { diagonalOf, feedbackOrder, shrinkFor, takesFeedback } from "./feedback.js";
import { momentTile, momentValues } from "./moments.js";

const addon = loadAddon();
const f32 = dtypeByName("F32")!;
const names = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS".split(" ");
const grids = "IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S".split(" ");
const [cols, block, tokens, rows] = [512, 256, 700, 19];
const [shrink, damp] = [0.1, 0.01];
const next = uniform(11);
const bell = () => next() + next() + next() + next() - 2;

/** Inputs that go together, and columns of very different size; column 5 never hears anything. */
const inputs = new Float32Array(tokens * cols);
const mixing = Float32Array.from({ length: 24 * cols }, bell);
for (let t = 0; t < tokens; t++) {
  const hidden = Array.from({ length: 24 }, bell);
  for (let j = 0; j < cols; j++)
    inputs[t * cols + j] =
      j === 5 ? 0 : (1 + (j % 9)) * hidden.reduce((sum, h, k) => sum + h * mixing[k * cols + j]!, bell());
}
const weights = Float32Array.from({ length: rows * cols }, () => bell() * 0.04);
const bytesOf = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/** X'X of a block, in full. */
function plainMoments(first: number): Float64Array {
  const h = new Float64Array(block * block);
  for (let t = 0; t < tokens; t++)
    for (let i = 0; i < block; i++)
      for (let j = 0; j < block; j++)
        h[i * block + j]! += inputs[t * cols + first + i]! * inputs[t * cols + first + j]!;
  return h;
}

function gather(isa: string | null = null): Float32Array {
  const sums = new Float32Array((cols / block) * momentValues(block));
  for (const [from, to] of [
    [0, 300],
    [300, tokens],
  ] as const)
    addon!.addMoments(inputs.subarray(from * cols, to * cols), to - from, cols, block, sums, 2, isa);
  return sums;
}

const sumAt = (sums: Float32Array, of: number, i: number, j: number): number => {
  const [p, q] = [Math.floor(Math.min(i, j) / momentTile), Math.floor(Math.max(i, j) / momentTile)];
  const tile = p * (block / momentTile) - (p * (p - 1)) / 2 + q - p;
  const [a, b] =
    p === q ? [i % momentTile, j % momentTile] : [Math.min(i, j) % momentTile, Math.max(i, j) % momentTile];
  return sums[of * momentValues(block) + (tile * momentTile + a) * momentTile + b]!;
};
const factorAt = (factor: Float32Array, of: number, i: number, j: number): number =>
  factor[of * block * block + Math.floor(j / 16) * block * 16 + i * 16 + (j % 16)]!;

function prepare(dtype: Dtype) {
  const sums = gather();
  const importance = diagonalOf(sums, cols, block, tokens);
  const order = feedbackOrder(importance, Math.max(32, dtype.blockValues), grids.includes(dtype.name) ? 8 : 1);
  const factor = new Float32Array(cols * block);
  addon!.makeFactor(sums, block, order, shrink, damp, factor, 2, null);
  return { importance, order, factor };
}

function encode(dtype: Dtype, x: Float32Array, p: ReturnType<typeof prepare>, threads = 1, isa: string | null = null) {
  const count = x.length / cols;
  const out = new Uint8Array(count * blocksBytes(dtype, cols)!);
  const { importance, factor, order } = p;
  const bad = addon!.encodeWithFeedback(
    f32.id,
    bytesOf(x),
    dtype.id,
    count,
    cols,
    importance,
    factor,
    block,
    order,
    out,
    threads,
    isa,
  );
  const decoded = new Float32Array(x.length);
  dequantizeRow(dtype, out, decoded);
  return { out, bad, decoded };
}

/** The sum over rows of d H d', d the error of a row, block by block. */
function outputError(decoded: Float32Array): number {
  const d = decoded.map((v, i) => v - weights[i]!);
  let sum = 0;
  for (let r = 0; r < rows; r++)
    for (let t = 0; t < tokens; t++)
      for (let b = 0; b < cols; b += block) {
        let y = 0;
        for (let j = 0; j < block; j++) y += d[r * cols + b + j]! * inputs[t * cols + b + j]!;
        sum += y * y;
      }
  return sum;
}

describe("error feedback", { skip: addon === undefined ? "the addon is not built" : false }, () => {
  test("moments are X'X, the same on every instruction set", () => {
    const sums = gather();
    for (const isa of addon!.isas()) assert.deepEqual(gather(isa), sums, isa);
    const plain = plainMoments(block);
    for (let i = 0; i < block; i += 7)
      for (let j = 0; j < block; j += 5) {
        const scale = Math.sqrt(plain[i * block + i]! * plain[j * block + j]!);
        assert.ok(Math.abs(sumAt(sums, 1, i, j) - plain[i * block + j]!) < 1e-5 * scale, `${i} ${j}`);
      }
  });

  test("a factor times what errors weigh is the shrunk moments again", () => {
    const { order, factor } = prepare(dtypeByName("Q4_K")!);
    const h = plainMoments(0);
    const mean = Array.from({ length: block }, (_, i) => h[i * block + i]!).reduce((a, b) => a + b, 0) / block;
    const at = (i: number, j: number) => (i === j ? 1 : i < j ? factorAt(factor, 0, i, j) : 0);
    for (let i = 0; i < block; i += 11)
      for (let k = 0; k < block; k += 13) {
        let sum = 0;
        for (let j = 0; j < block; j++) sum += at(i, j) * factorAt(factor, 0, j, j) * at(k, j);
        const [p, q] = [order[i]!, order[k]!];
        const wanted = p === q ? h[p * block + q]! / mean + damp : ((1 - shrink) * h[p * block + q]!) / mean;
        const scale = Math.sqrt((h[p * block + p]! / mean + damp) * (h[q * block + q]! / mean + damp));
        assert.ok(Math.abs(sum - wanted) < 1e-4 * scale, `${i} ${k}: ${sum} instead of ${wanted}`);
      }
  });

  for (const name of names) {
    test(`${name}: every value is the nearest to what its column has become`, () => {
      const dtype = dtypeByName(name)!;
      const p = prepare(dtype);
      const { out, decoded } = encode(dtype, weights, p);
      for (const isa of addon!.isas()) assert.deepEqual(encode(dtype, weights, p, 3, isa).out, out, isa);
      // Until the first feedback the scales are those of the plain search.
      const chunk = Math.max(32, dtype.blockValues);
      const first = new Uint8Array(blocksBytes(dtype, chunk)!);
      addon!.encode(
        f32.id,
        bytesOf(weights.subarray(0, chunk)),
        dtype.id,
        1,
        chunk,
        p.importance.subarray(0, chunk),
        first,
        1,
        null,
      );
      for (const at of [dtype.scaleAt, dtype.minAt])
        if (at !== undefined) assert.deepEqual(out.slice(at, at + 2), first.slice(at, at + 2));
      const sub = ["Q2_K", "Q3_K", "Q6_K"].includes(name) ? 16 : 32;
      let far = 0;
      for (let r = 0; r < rows; r++)
        for (let j = 0; j < cols; j++) {
          const of = Math.floor(j / block);
          let wanted = weights[r * cols + p.order[j]!]!;
          for (let i = of * block; i < j; i++) {
            const column = r * cols + p.order[i]!;
            wanted += (weights[column]! - decoded[column]!) * factorAt(p.factor, of, i % block, j % block);
          }
          // What others of the sub-block became lies on the same grid.
          const begin = r * cols + p.order[j]! - (p.order[j]! % sub);
          const got = decoded[r * cols + p.order[j]!]!;
          const nearest = Math.min(...decoded.subarray(begin, begin + sub).map((v) => Math.abs(v - wanted)));
          if (Math.abs(got - wanted) > nearest * 1.001 + 1e-6) far++;
        }
      assert.equal(far, 0);
    });
  }

  for (const name of [...names, ...grids]) {
    test(`${name}: outputs are closer than those of the plain search`, () => {
      const dtype = dtypeByName(name)!;
      const p = prepare(dtype);
      const { out, decoded } = encode(dtype, weights, p);
      for (const isa of addon!.isas()) assert.deepEqual(encode(dtype, weights, p, 3, isa).out, out, isa);
      const plain = new Uint8Array(out.length);
      addon!.encode(f32.id, bytesOf(weights), dtype.id, rows, cols, p.importance, plain, 1, null);
      const before = new Float32Array(weights.length);
      dequantizeRow(dtype, plain, before);
      const ratio = outputError(decoded) / outputError(before);
      assert.ok(ratio < 0.75, `${ratio}`);
    });
  }

  test("rows of any finite values become finite ones, on every instruction set", () => {
    const count = Number(process.env.HUNDREDWEIGHT_CASES ?? 32);
    const kinds: readonly ((i: number) => number)[] = [
      () => 0,
      () => -0.75,
      (i) => (i === 17 ? 3.4e38 : next()),
      () => (next() - 0.5) * 6.8e38,
      () => (next() - 0.5) * 1e-44,
      (i) => (i % 2 === 0 ? 1e-38 : -1e38),
      () => (next() - 0.5) * 2 ** Math.floor(250 * next() - 125),
      (i) => (i === 3 ? -1e-30 : 0),
    ];
    const x = Float32Array.from({ length: count * cols }, (_, i) =>
      kinds[Math.floor(i / cols) % kinds.length]!(i % cols),
    );
    for (const name of [...names, ...grids]) {
      const dtype = dtypeByName(name)!;
      const p = prepare(dtype);
      const { out, bad, decoded } = encode(dtype, x, p, 2);
      assert.equal(bad, -1);
      assert.ok(decoded.every(Number.isFinite), name);
      for (const isa of addon!.isas()) assert.equal(Buffer.compare(encode(dtype, x, p, 1, isa).out, out), 0, isa);
    }
    const p = prepare(dtypeByName("Q4_K")!);
    x[9 * cols + 7] = Number.NaN;
    for (const threads of [1, 2]) assert.equal(encode(dtypeByName("Q4_K")!, x, p, threads).bad, 9 * cols + 7);
  });

  test("moments that no inputs have are refused or harmless", () => {
    const dtype = dtypeByName("Q3_K")!;
    const { importance, order } = prepare(dtype);
    const factor = new Float32Array(cols * block);
    const make = (value: (i: number) => number) =>
      addon!.makeFactor(
        gather().map((_, i) => value(i)),
        block,
        order,
        shrink,
        damp,
        factor,
        1,
        null,
      );
    assert.throws(() => make((i) => (i === 77 ? Number.POSITIVE_INFINITY : 1)), { code: "NATIVE_ARGUMENT" });
    for (const value of [() => 0, () => -1, () => 3e38, (i: number) => (i % 2 === 0 ? 1e30 : -1e30)]) {
      make(value);
      const { decoded } = encode(dtype, weights, { importance, order, factor });
      assert.ok(decoded.every(Number.isFinite));
    }
  });

  test("arguments that do not fit together are refused", () => {
    const dtype = dtypeByName("IQ3_S")!;
    const p = prepare(dtype);
    const wrong = { code: "NATIVE_ARGUMENT" };
    const swapped = p.order.slice();
    [swapped[0], swapped[1]] = [swapped[1]!, swapped[0]!];
    assert.throws(() => encode(dtype, weights, { ...p, order: swapped }), wrong);
    for (const order of [p.order.slice(1), p.order.slice().reverse(), p.order.slice().fill(0)])
      assert.throws(() => encode(dtype, weights, { ...p, order }), wrong);
    assert.throws(() => encode(dtype, weights, { ...p, factor: p.factor.slice(1) }), wrong);
    assert.throws(() => encode(dtypeByName("TQ1_0")!, weights, p), wrong);
    assert.throws(() => addon!.addMoments(inputs, tokens, cols, 96, gather(), 1, null), wrong);
  });

  test("few tokens count for less", () => {
    assert.deepEqual([shrinkFor(0, 256), shrinkFor(100, 512)], [1, 1]);
    assert.ok(shrinkFor(1 << 20, 1536) < 0.101 && shrinkFor(4096, 1024) === 0.2);
    assert.ok(!takesFeedback(dtypeByName("MXFP4")!));
  });
});
