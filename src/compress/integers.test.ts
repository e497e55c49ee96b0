/** Integers under scales of groups: held against the published algorithm, and against plain loops. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { dtypeByName } from "../formats/dtypes.js";
import { loadAddon } from "../native/addon.js";
import { packageRoot } from "../package-root.js";
import { uniform } from "./encode-cases.js";
import { ColumnFactors, type IntegerColumns, plainColumns } from "./integer-columns.js";
import { encodeIntegers, type IntegerForm, type IntegerRows } from "./integers.js";
import { type MomentEntry, type Moments, momentValues } from "./moments.js";

const addon = loadAddon();
const f32 = dtypeByName("F32")!;
const bytesOf = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));

interface Case extends Pick<IntegerForm, "bits" | "group" | "symmetric"> {
  readonly descAct: boolean;
  readonly error: number;
  readonly nearest: number;
}

const golden = JSON.parse(readFileSync(join(packageRoot(), "test", "golden", "gptq.json"), "utf8"));
const { rows, cols, tokens, damp } = golden as Record<string, number> as {
  [key in "rows" | "cols" | "tokens" | "damp"]: number;
};
const weight = new Float32Array(bytes(golden.weight).buffer);
const inputs = Float32Array.from(new Int8Array(bytes(golden.inputs).buffer), (value) => value / 8);

/** Moments of rows of inputs, as calibrate would have written them. */
function momentsOf(x: Float32Array, block = cols): { readonly entry: MomentEntry; readonly moments: Moments } {
  const sums = new Float32Array((cols / block) * momentValues(block));
  addon!.addMoments(x, x.length / cols, cols, block, sums, 2, null);
  const entry = { input: "in", cols, block, rows: [x.length / cols] };
  const moments = {
    path: "moments",
    chunks: 1,
    chunkTokens: 1,
    entries: new Map([["w", entry]]),
    read: () => sums,
    readInto: (_e: MomentEntry, _m: number, _b: number, into: Float32Array) => into.set(sums),
  };
  return { entry, moments };
}

const encode = (x: Float32Array, form: IntegerForm, columns: IntegerColumns, threads = 1, isa: string | null = null) =>
  encodeIntegers(
    addon!,
    { name: "w", dtype: f32, bytes: bytesOf(x), rows: x.length / cols, cols, first: 0 },
    form,
    columns,
    threads,
    null,
    isa,
  );

/** Values that codes stand for. @param scattered groups are places of the order */
function decoded(
  { codes, scales, offsets }: IntegerRows,
  group: number,
  { order }: IntegerColumns,
  scattered: boolean,
) {
  const groupOf = Int32Array.from({ length: cols }, (_, i) => Math.floor(i / group));
  if (scattered) for (const [place, column] of order.entries()) groupOf[column] = Math.floor(place / group);
  return Float64Array.from(codes, (code, i) => {
    const at = Math.floor(i / cols) * (cols / group) + groupOf[i % cols]!;
    return scales[at]! * (code - offsets[at]!);
  });
}

/** The sum over rows of squares of what the outputs are off by. */
function outputError(made: Float64Array): number {
  let sum = 0;
  for (let r = 0; r < rows; r++)
    for (let t = 0; t < tokens; t++) {
      let y = 0;
      for (let j = 0; j < cols; j++) y += (made[r * cols + j]! - weight[r * cols + j]!) * inputs[t * cols + j]!;
      sum += y * y;
    }
  return sum;
}

describe("integers", { skip: addon === undefined ? "the addon is not built" : false }, () => {
  for (const c of golden.cases as Case[]) {
    const name = `${c.bits} bits, groups of ${c.group || "a row"}${c.symmetric ? ", symmetric" : ""}`;
    const order = c.descAct ? ", act-order" : "";
    test(`${name}${order}: outputs are off no further than under the published algorithm`, () => {
      const group = c.group || cols;
      const form = { bits: c.bits, group, symmetric: c.symmetric, trials: 24 };
      const { entry, moments } = momentsOf(inputs);
      const wishes = { group, descAct: c.descAct, damp };
      const plain = new ColumnFactors(addon!, moments, 2).of(entry, 0, { ...wishes, shrink: 0 })!;
      const fed = encode(weight, form, plain, 2);
      const error = outputError(decoded(fed, group, plain, c.descAct));
      assert.ok(error <= c.error, `${error} beyond ${c.error}`);
      // Where moments are shrunk the tokens of the calibration count less.
      const shrunk = new ColumnFactors(addon!, moments, 2).of(entry, 0, wishes)!;
      const usual = outputError(decoded(encode(weight, form, shrunk), group, shrunk, c.descAct));
      assert.ok(usual < c.nearest, `${usual} beyond ${c.nearest}`);
      for (const isa of addon!.isas()) assert.deepEqual(encode(weight, form, plain, 3, isa), fed, isa);
    });
  }

  test("a code is the nearest to what its column has become", () => {
    const group = 32;
    const { entry, moments } = momentsOf(inputs, 64);
    const columns = new ColumnFactors(addon!, moments, 1).of(entry, 0, { group, descAct: false, damp })!;
    const made = encode(weight, { bits: 4, group, symmetric: false, trials: 1 }, columns);
    const values = decoded(made, group, columns, false);
    const { order, factor, block } = columns;
    for (let r = 0; r < rows; r++)
      for (let base = 0; base < cols; base += block)
        for (let j = 0; j < block; j++) {
          const column = order[base + j]!;
          let wanted = weight[r * cols + column]!;
          for (let i = 0; i < j; i++) {
            const from = r * cols + order[base + i]!;
            const at = base * block + Math.floor(j / 16) * block * 16 + i * 16 + (j % 16);
            wanted += (weight[from]! - values[from]!) * factor![at]!;
          }
          const g = r * (cols / group) + Math.floor(column / group);
          const [scale, offset, code] = [made.scales[g]!, made.offsets[g]!, made.codes[r * cols + column]!];
          const exact = wanted / scale + offset;
          assert.ok(Math.abs(Math.min(15, Math.max(0, exact)) - code) < 0.5 + 1e-3, `${r} ${column}: ${exact} ${code}`);
        }
  });

  test("more grids lose no more, and one spans its values", () => {
    for (const symmetric of [true, false]) {
      const columns = plainColumns(cols, 32);
      const sum = (trials: number) =>
        encode(weight, { bits: 3, group: 32, symmetric, trials }, columns).errors.reduce((a, b) => a + b, 0);
      assert.ok(sum(24) < sum(1), `${sum(24)} ${sum(1)}`);
      const { scales } = encode(weight, { bits: 8, group: 32, symmetric, trials: 1 }, columns);
      for (let g = 0; g < scales.length; g++) {
        const own = weight.subarray(g * 32, g * 32 + 32);
        const [low, high] = [Math.min(0, ...own), Math.max(0, ...own)];
        const range = symmetric ? 2 * Math.max(-low, high) : high - low;
        assert.ok(Math.abs(scales[g]! / (range / 255) - 1) < 2 ** -10);
      }
    }
  });

  test("columns that are left out are made good as least squares has it", () => {
    const { entry, moments } = momentsOf(inputs);
    const gone = Array.from({ length: 48 }, (_, i) => (i * 5 + 3) % cols);
    const order = Int32Array.from([
      ...gone,
      ...Array.from({ length: cols }, (_, i) => i).filter((i) => !gone.includes(i)),
    ]);
    const factor = new Float32Array(cols * cols);
    addon!.makeFactor(moments.read(entry, 0), cols, order, 0, 1e-4, factor, 2, null);
    const dropped = Uint8Array.from({ length: cols }, (_, place) => (place < gone.length ? 1 : 0));
    const repair = (mask: Uint8Array | null, isa: string | null = null) => {
      const [out, errors] = [new Float32Array(rows * cols), new Float64Array(rows)];
      const bad = addon!.repairColumns(
        f32.id,
        bytesOf(weight),
        rows,
        cols,
        factor,
        cols,
        order,
        mask,
        out,
        errors,
        2,
        isa,
      );
      assert.equal(bad, -1);
      return { out, errors };
    };
    const { out } = repair(dropped);
    for (const isa of addon!.isas()) assert.deepEqual(repair(dropped, isa).out, out, isa);
    const lost = Float64Array.from(out, (value, i) => value - weight[i]!);
    const cut = Float64Array.from(weight, (value, i) => (gone.includes(i % cols) ? -value : 0));
    const outputs = (d: Float64Array, r: number, t: number) => {
      let y = 0;
      for (let j = 0; j < cols; j++) y += d[r * cols + j]! * inputs[t * cols + j]!;
      return y;
    };
    let [error, plain] = [0, 0];
    for (let r = 0; r < rows; r++) {
      for (const column of gone) assert.equal(out[r * cols + column], 0);
      const off = Array.from({ length: tokens }, (_, t) => outputs(lost, r, t));
      error += off.reduce((sum, y) => sum + y * y, 0);
      plain += Array.from({ length: tokens }, (_, t) => outputs(cut, r, t) ** 2).reduce((a, b) => a + b, 0);
      // What is left is at right angles to every column that stays.
      for (let j = 0; j < cols; j += 3) {
        if (gone.includes(j)) continue;
        let [along, a, b] = [0, 0, 0];
        for (let t = 0; t < tokens; t++) {
          along += off[t]! * inputs[t * cols + j]!;
          a += off[t]! ** 2;
          b += inputs[t * cols + j]! ** 2;
        }
        assert.ok(Math.abs(along) <= 0.01 * Math.sqrt(a * b), `${r} ${j}: ${along / Math.sqrt(a * b)}`);
      }
    }
    assert.ok(error < 0.6 * plain, `${error} ${plain}`);
    // Two of each four, where nothing says which.
    const sparse = repair(null).out;
    for (let r = 0; r < rows; r++)
      for (let place = 0; place < cols; place += 4) {
        const four = [0, 1, 2, 3].map((k) => sparse[r * cols + order[place + k]!]!);
        assert.equal(four.filter((value) => value === 0).length, 2);
      }
  });

  test("whatever finite values come, scales are finite and codes within their bits", () => {
    const count = process.env.HUNDREDWEIGHT_SWEEPS === "whole" ? 20000 : 480;
    const next = uniform(23);
    const kinds: readonly (() => number)[] = [
      () => 0,
      () => 1e-41 * (next() - 0.5),
      () => 0.25,
      () => (next() - 0.5) * 1e38,
      () => next() - 0.5,
      () => -3e38 * next(),
      () => (next() < 0.01 ? 3.4e38 : next() - 0.5),
    ];
    const x = new Float32Array(count * cols);
    for (let r = 0; r < count; r++) {
      const kind = kinds[r % kinds.length]!;
      for (let j = 0; j < cols; j++) x[r * cols + j] = kind();
      if (r % 5 === 0) x[r * cols + (r % cols)] = 3.4e38;
    }
    const wild = inputs.slice();
    for (let t = 0; t < tokens; t++) wild[t * cols + 3] = 1e15;
    const fed = [inputs, wild, new Float32Array(4 * cols)].map((rowsOf) => {
      const { entry, moments } = momentsOf(rowsOf);
      return new ColumnFactors(addon!, moments, 2).of(entry, 0, { group: 32, descAct: true, damp })!;
    });
    for (const bits of [2, 3, 4, 8] as const)
      for (const symmetric of [true, false])
        for (const columns of [plainColumns(cols, 32), ...fed]) {
          const { codes, scales, offsets } = encode(x, { bits, group: 32, symmetric, trials: 8 }, columns, 2);
          assert.ok(scales.every((scale) => scale >= 0 && scale <= 65504));
          assert.ok(codes.every((code) => code < 2 ** bits) && offsets.every((offset) => offset < 2 ** bits));
        }
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const broken = weight.slice();
      broken[7 * cols + 5] = wrong;
      assert.throws(() => encode(broken, { bits: 4, group: 32, symmetric: true, trials: 1 }, plainColumns(cols, 32)), {
        code: "MODEL_INVALID",
        message: /row 7, column 5/,
      });
    }
  });
});
