import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../package-root.js";
import { dequantizeRow } from "./dequantize.js";
import { dtypeByName, dtypes } from "./dtypes.js";
import { toBf16, toF16 } from "./float16.js";

const computable = dtypes.filter((d) => d.acts !== undefined);
const vectors = process.env.HUNDREDWEIGHT_VECTORS;
/** ggml's encoders of these want an importance matrix. */
const needImportance = new Set(["IQ1_S", "IQ2_XXS", "IQ2_XS"]);
const skipVectors =
  vectors === undefined ? "HUNDREDWEIGHT_VECTORS is not set: llama.cpp's vectors NOT compared" : false;

test("every type that weights come in can be decoded", () => {
  const others = dtypes.filter((d) => d.acts === undefined).map((d) => d.name);
  assert.deepEqual(others, ["Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"]);
});

interface Golden {
  readonly f16At: Readonly<Record<string, number>>;
  readonly bytesAt?: Readonly<Record<string, number>>;
  readonly first: readonly number[];
  readonly last: readonly number[];
  readonly sha256: string;
}
const golden = JSON.parse(readFileSync(join(packageRoot(), "test/golden/dequant.json"), "utf8")) as {
  types: Record<string, Golden>;
};

for (const [name, want] of Object.entries(golden.types)) {
  test(`golden block of ${name}`, () => {
    const dtype = dtypeByName(name)!;
    const block = Uint8Array.from({ length: dtype.blockBytes }, (_, i) => (73 * i + 41) % 256);
    for (const [at, bits] of Object.entries(want.f16At)) {
      block[Number(at)] = bits & 255;
      block[Number(at) + 1] = bits >> 8;
    }
    for (const [at, byte] of Object.entries(want.bytesAt ?? {})) block[Number(at)] = byte;
    const out = new Float32Array(dtype.blockValues);
    dequantizeRow(dtype, block, out);
    assert.deepEqual([...out.subarray(0, 6)], want.first);
    assert.deepEqual([...out.subarray(-2)], want.last);
    for (let i = 0; i < out.length; i++) if (out[i] === 0) out[i] = 0; // the hash knows no -0
    assert.equal(createHash("sha256").update(new Uint8Array(out.buffer)).digest("hex"), want.sha256);
  });
}

test("every 16-bit pattern of F16 and BF16", () => {
  const bytes = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
  const out = new Float32Array(65536);
  dequantizeRow(dtypeByName("F16")!, bytes, out);
  // By the definition of binary16, written apart from the table's code.
  const data = new DataView(new ArrayBuffer(8));
  for (let h = 0; h < 65536; h++) {
    const fraction = h & 1023;
    const exponent = (h >> 10) & 31;
    if (exponent === 31 && fraction !== 0) {
      assert.ok(Number.isNaN(out[h]));
      continue;
    }
    let want: number;
    if (exponent === 31) want = Number.POSITIVE_INFINITY;
    else if (exponent === 0) want = fraction / 16777216;
    else {
      data.setUint32(0, ((exponent - 15 + 127) << 23) | (fraction << 13));
      want = data.getFloat32(0);
    }
    assert.ok(Object.is(out[h], h & 0x8000 ? -want : want), `f16 ${h}`);
  }
  dequantizeRow(dtypeByName("BF16")!, bytes, out);
  const words = new Uint32Array(out.buffer);
  for (let h = 0; h < 65536; h++) assert.equal(words[h], h * 65536);
});

test("every number of F16 and BF16 is written as it was read", () => {
  const bytes = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
  const out = new Float32Array(65536);
  for (const [name, write] of [
    ["F16", toF16],
    ["BF16", toBf16],
  ] as const) {
    dequantizeRow(dtypeByName(name)!, bytes, out);
    const isNaNCode = (h: number) => (name === "F16" ? (h & 0x7fff) > 0x7c00 : (h & 0x7fff) > 0x7f80);
    for (let h = 0; h < 65536; h++)
      if (Number.isNaN(out[h])) assert.ok(isNaNCode(write(out[h]!)), `${name} ${h}`);
      else assert.equal(write(out[h]!), h, `${name} ${h}`);
  }
});

test("wrong lengths and listed-only types are refused", () => {
  const q8 = dtypeByName("Q8_0")!;
  assert.throws(() => dequantizeRow(q8, new Uint8Array(33), new Float32Array(32)), { code: "INTERNAL" });
  assert.throws(() => dequantizeRow(q8, new Uint8Array(34), new Float32Array(31)), { code: "INTERNAL" });
  const q8k = dtypeByName("Q8_K")!;
  assert.throws(() => dequantizeRow(q8k, new Uint8Array(292), new Float32Array(256)), { code: "FORMAT_UNSUPPORTED" });
});

for (const dtype of computable) {
  // File names keep ggml's spelling: q4_K, but iq4_nl.
  const stem = dtype.name.toLowerCase().replace(/_k$/, "_K");
  const fitted = needImportance.has(dtype.name) ? "imat" : "noimat";
  for (const kind of [fitted, "rand"]) {
    if (kind === "rand" && dtype.blockValues === 1) continue; // only block types have random patterns
    test(`${dtype.name} ${kind}: bit-equal to ggml`, { skip: skipVectors }, () => {
      const folder = join(vectors!, "vectors/quant");
      const q = join(folder, `${stem}.${kind}.q.bin`);
      assert.ok(existsSync(q), q);
      const bytes = new Uint8Array(readFileSync(q));
      const want = new Uint8Array(readFileSync(join(folder, `${stem}.${kind}.f32.bin`)));
      const out = new Float32Array(want.length / 4);
      dequantizeRow(dtype, bytes, out);
      assert.equal(Buffer.compare(new Uint8Array(out.buffer), want), 0);
    });
  }
}
