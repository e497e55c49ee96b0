/** Encoders of the addon against llama.cpp's bytes, and against one another on every instruction set. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { dequantizeRow } from "../formats/dequantize.js";
import { blocksBytes, type Dtype, dtypeByName, dtypes } from "../formats/dtypes.js";
import { loadAddon } from "../native/addon.js";
import { packageRoot } from "../package-root.js";
import { encodeCases, uniform } from "./encode-cases.js";

const addon = loadAddon();
const f32 = dtypeByName("F32")!;
const blocks = dtypes.filter(({ acts, blockValues }) => acts !== undefined && blockValues > 1);
const golden = JSON.parse(readFileSync(join(packageRoot(), "test/golden/encode.json"), "utf8")) as {
  readonly cols: number;
  readonly plain: Readonly<Record<string, string>>;
  readonly weighed: Readonly<Record<string, string>>;
};
const vectors = process.env.HUNDREDWEIGHT_VECTORS;

function encode(dtype: Dtype, x: Float32Array, cols: number, weights: Float32Array | null, threads = 1, isa?: string) {
  const rows = x.length / cols;
  const out = new Uint8Array(rows * blocksBytes(dtype, cols)!);
  const bytes = new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  const bad = addon!.encode(f32.id, bytes, dtype.id, rows, cols, weights, out, threads, isa ?? null);
  return { out, bad };
}
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("encoders", { skip: addon === undefined ? "the addon is not built" : false }, () => {
  const { x, importance } = encodeCases(golden.cols);
  for (const dtype of blocks) {
    test(`${dtype.name}: ggml's bytes, on every instruction set and for any number of threads`, () => {
      for (const isa of addon!.isas()) {
        const plain = encode(dtype, x, golden.cols, null, 1, isa).out;
        const weighed = encode(dtype, x, golden.cols, importance, 3, isa).out;
        // Three types ggml refuses to make without importance.
        if (golden.plain[dtype.name] !== undefined) assert.equal(sha256(plain), golden.plain[dtype.name], isa);
        assert.equal(sha256(weighed), golden.weighed[dtype.name], isa);
      }
    });
  }

  const folder = join(vectors ?? "", "vectors/quant");
  const skip = vectors === undefined ? "HUNDREDWEIGHT_VECTORS is not set: llama.cpp's vectors NOT compared" : false;
  test("llama.cpp's vectors, with and without importance", { skip }, () => {
    const floats = (name: string) => new Float32Array(new Uint8Array(readFileSync(join(folder, name))).buffer);
    const [values, weights] = [floats("input_f32_4x1024.bin"), floats("imatrix_f32_1024.bin")];
    let compared = 0;
    for (const dtype of dtypes) {
      const stem = dtype.name.toLowerCase().replace(/_k$/, "_K");
      for (const [kind, w] of [["noimat", null] as const, ["imat", weights] as const]) {
        const path = join(folder, `${stem}.${kind}.q.bin`);
        if (!existsSync(path) || dtype.acts === undefined) continue;
        assert.equal(Buffer.compare(encode(dtype, values, 1024, w).out, readFileSync(path)), 0, `${stem} ${kind}`);
        compared++;
      }
    }
    assert.ok(compared >= 48, `${compared} files`);
  });

  test("rows of any finite values become finite ones", () => {
    const next = uniform(7);
    const rows = Number(process.env.HUNDREDWEIGHT_CASES ?? 48);
    const cols = 256;
    const values = new Float32Array(rows * cols);
    const largest = 3.4e38;
    const kinds: readonly ((i: number) => number)[] = [
      () => 0,
      () => -0.75,
      (i) => (i === 17 ? largest : next()),
      () => (next() - 0.5) * 2 * largest,
      () => (next() - 0.5) * 1e-44,
      (i) => (i % 2 === 0 ? 1e-38 : -1e38),
      () => (next() - 0.5) * 2 ** Math.floor(250 * next() - 125),
      (i) => (i === 3 ? -1e-30 : 0),
    ];
    for (let r = 0; r < rows; r++) for (let i = 0; i < cols; i++) values[r * cols + i] = kinds[r % kinds.length]!(i);
    const weights = Float32Array.from({ length: cols }, (_, i) => (i % 5 === 0 ? 0 : next() * 1e6));
    const decoded = new Float32Array(values.length);
    for (const dtype of blocks) {
      for (const w of [null, weights]) {
        const { out, bad } = encode(dtype, values, cols, w, 2);
        assert.equal(bad, -1);
        dequantizeRow(dtype, out, decoded);
        assert.ok(decoded.every(Number.isFinite), `${dtype.name} ${w === null ? "" : "weighed"}`);
        for (const isa of addon!.isas())
          assert.equal(Buffer.compare(encode(dtype, values, cols, w, 1, isa).out, out), 0, `${dtype.name} ${isa}`);
      }
    }
  });

  test("IQ3_S: what stands behind a block of zeros stays where it is, unlike ggml's", () => {
    const dtype = dtypeByName("IQ3_S")!;
    const values = x.slice(0, 256);
    const whole = new Float32Array(256);
    const holed = new Float32Array(256);
    dequantizeRow(dtype, encode(dtype, values, 256, null).out, whole);
    dequantizeRow(dtype, encode(dtype, values.fill(0, 32, 64), 256, null).out, holed);
    assert.ok(holed.subarray(32, 64).every((v) => v === 0 || Math.abs(v) < 0.02));
    const error = (y: Float32Array) => y.reduce((sum, v, i) => sum + (i < 64 ? 0 : (v - values[i]!) ** 2), 0);
    assert.ok(error(holed) < 1.5 * error(whole), `${error(holed)} against ${error(whole)}`);
  });

  test("a value that is not finite is named, the first one whatever the threads", () => {
    const values = new Float32Array(40 * 256).fill(1);
    values[37 * 256 + 9] = Number.NaN;
    values[30 * 256 + 4] = Number.NEGATIVE_INFINITY;
    for (const dtype of blocks)
      for (const threads of [1, 2]) assert.equal(encode(dtype, values, 256, null, threads).bad, 30 * 256 + 4);
  });

  test("arguments that do not fit together are refused", () => {
    const dtype = dtypeByName("Q4_K")!;
    const bytes = new Uint8Array(4 * 256);
    const call = (rows: number, cols: number, out: number, w: Float32Array | null, threads = 1, to = dtype.id) =>
      addon!.encode(f32.id, bytes, to, rows, cols, w, new Uint8Array(out), threads, null);
    assert.equal(call(1, 256, 144, null), -1);
    for (const [rows, cols, out, w, threads, to] of [
      [2, 256, 288, null],
      [1, 256, 143, null],
      [1, 128, 144, null],
      [1, 256, 144, new Float32Array(255)],
      [1, 256, 144, null, 0],
      [1, 256, 292, null, 1, 15],
      [0, 256, 144, null],
    ] as const)
      assert.throws(() => call(rows, cols, out, w, threads, to), { code: "NATIVE_ARGUMENT" });
  });
});
