import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { dequantizeRow } from "../formats/dequantize.js";
import { blocksBytes, dtypeByName, dtypes } from "../formats/dtypes.js";
import { f16Table, toF16 } from "../formats/float16.js";
import { quantizeRow } from "./quantize.js";

const computable = dtypes.filter((d) => d.acts !== undefined);
const exact = new Set("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 MXFP4 Q1_0 Q2_0 TQ1_0 TQ2_0 NVFP4".split(" "));
/** ggml searches these longer, and some with an importance matrix. */
const codeBook = /^IQ[123]/;
const vectors = process.env.HUNDREDWEIGHT_VECTORS;
const skip = vectors === undefined ? "HUNDREDWEIGHT_VECTORS is not set: llama.cpp's vectors NOT compared" : false;

function quantized(name: string, x: Float32Array): Uint8Array {
  const dtype = dtypeByName(name)!;
  const out = new Uint8Array(blocksBytes(dtype, x.length)!);
  quantizeRow(dtype, x, out);
  return out;
}

function roundTrip(name: string, x: Float32Array): Float32Array {
  const y = new Float32Array(x.length);
  dequantizeRow(dtypeByName(name)!, quantized(name, x), y);
  return y;
}

const rmse = (x: Float32Array, y: Float32Array) => Math.sqrt(x.reduce((s, v, i) => s + (v - y[i]!) ** 2, 0) / x.length);

for (const dtype of computable) {
  test(`${dtype.name} against ggml's encoder`, { skip }, () => {
    const folder = join(vectors!, "vectors/quant");
    const x = new Float32Array(new Uint8Array(readFileSync(join(folder, "input_f32_4x1024.bin"))).buffer);
    const stem = dtype.name.toLowerCase().replace(/_k$/, "_K");
    const got = quantized(dtype.name, x);
    if (exact.has(dtype.name)) {
      assert.equal(Buffer.compare(got, readFileSync(join(folder, `${stem}.noimat.q.bin`))), 0);
      return;
    }
    const index = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
      name: string;
      noimat?: { rmse: number[] };
      imat: { rmse: number[] };
    }[];
    const entry = index.find((e) => e.name === stem)!;
    const theirs = (entry.noimat ?? entry.imat).rmse;
    const y = roundTrip(dtype.name, x);
    for (let row = 0; row < 4; row++) {
      const ours = rmse(x.subarray(1024 * row, 1024 * (row + 1)), y.subarray(1024 * row, 1024 * (row + 1)));
      assert.ok(
        ours <= (codeBook.test(dtype.name) ? 1.12 : 1.05) * theirs[row]!,
        `row ${row}: ${ours} against ${theirs[row]}`,
      );
    }
  });

  test(`${dtype.name}: zeros stay zeros, constants and signs survive`, () => {
    const n = Math.max(256, dtype.blockValues);
    assert.deepEqual(
      roundTrip(dtype.name, new Float32Array(n)).map((v) => Math.abs(v)),
      new Float32Array(n),
    );
    for (const value of [1, -1]) {
      for (const got of roundTrip(dtype.name, new Float32Array(n).fill(value))) {
        // A constant block is as easy as it gets: only the rounding of f16 scales and of 6-bit sub-scales is left.
        // NVFP4's scale is the sixth of the largest value in three bits: 3 %.
        assert.ok(Math.abs(got - value) < (dtype.name === "NVFP4" ? 0.04 : 0.02), `${value} became ${got}`);
      }
    }
  });
}

test("F16 rounds to the nearest half, ties to even", () => {
  const half = f16Table();
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const got = half[toF16(value)]!;
      if (Math.abs(value) >= 65520) return !Number.isFinite(got) && Math.sign(got) === Math.sign(value);
      const bits = toF16(value) & 0x7fff;
      // Neighbours of the chosen half are no nearer; when one is as near, the chosen one is even.
      for (const other of [bits - 1, bits + 1]) {
        if (other < 0 || other > 0x7bff) continue;
        const mine = Math.abs(Math.abs(value) - half[bits]!);
        const its = Math.abs(Math.abs(value) - half[other]!);
        if (its < mine || (its === mine && (bits & 1) === 1)) return false;
      }
      return true;
    }),
    { numRuns: 2000 },
  );
  for (let bits = 0; bits < 65536; bits++) {
    if (!Number.isNaN(half[bits]!)) assert.equal(toF16(half[bits]!), bits);
  }
});

test("values that are not finite are refused, not encoded as something", () => {
  const x = new Float32Array(256);
  x[7] = Number.NaN;
  assert.throws(() => quantized("Q4_K", x), { code: "MODEL_INVALID" });
  x[7] = Number.POSITIVE_INFINITY;
  assert.throws(() => quantized("Q8_0", x), { code: "MODEL_INVALID" });
  assert.throws(() => quantizeRow(dtypeByName("Q8_0")!, x, new Uint8Array(34)), { code: "INTERNAL" });
  assert.throws(() => quantizeRow(dtypeByName("Q8_K")!, new Float32Array(256), new Uint8Array(292)), {
    code: "FORMAT_UNSUPPORTED",
  });
});
