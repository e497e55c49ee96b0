/** Values against what bitsandbytes itself makes of its codes (test/golden/bitsandbytes.json). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../package-root.js";
import { fp4Values, fp8Values, nf4Values } from "./decode-planes.js";
import { decodeRow } from "./decode-row.js";
import type { Layout } from "./layouts.js";
import { bnb4Layout, fp8Layout, llmInt8Layout } from "./plane-layouts.js";

interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly values: string;
  readonly scales: string;
  readonly dequantized: string;
}
interface Case extends Matrix {
  readonly codes: "nf4" | "fp4";
  readonly block: number;
  readonly state: { readonly nested_offset?: number };
  readonly book: string;
  readonly nestedScales?: string;
  readonly nestedTable?: string;
}

const golden = JSON.parse(readFileSync(join(packageRoot(), "test/golden/bitsandbytes.json"), "utf8")) as {
  readonly cases: Readonly<Record<string, Case>>;
  readonly int8: Matrix;
};

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const floats = (text: string): Float32Array => new Float32Array(bytes(text).buffer);

/** Zeroes are of either sign in one and not in the other. */
const positive = (values: Float32Array) => values.map((v) => v + 0);

function decoded(layout: Layout, { rows, cols }: Matrix, stored: readonly Uint8Array[]): Float32Array {
  const out = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) decodeRow(layout, stored, rows, r, out.subarray(r * cols, (r + 1) * cols));
  return out;
}

for (const [name, one] of Object.entries(golden.cases))
  test(`${name}: the values of bitsandbytes, bit for bit`, () => {
    const book = one.codes === "nf4" ? nf4Values : fp4Values;
    assert.deepEqual(positive(floats(one.book)), positive(book));
    const offset = one.state.nested_offset;
    const layout = bnb4Layout({
      codes: one.codes,
      block: one.block,
      across: one.cols % one.block !== 0,
      ...(offset !== undefined && { nestedOffset: Math.fround(offset) }),
    });
    const more = offset === undefined ? [] : [bytes(one.nestedScales!), bytes(one.nestedTable!)];
    const got = decoded(layout, one, [bytes(one.values), bytes(one.scales), ...more]);
    assert.deepEqual(positive(got), positive(floats(one.dequantized)));
  });

test("LLM.int8(): the values of bitsandbytes", () => {
  const { int8 } = golden;
  const got = decoded(llmInt8Layout, int8, [bytes(int8.values), bytes(int8.scales)]);
  // It multiplies with a reciprocal that is rounded, and may round the result to halves.
  for (const [i, expected] of floats(int8.dequantized).entries())
    assert.ok(Math.abs(got[i]! - expected) <= Math.abs(expected) * 2 ** -11 + 2 ** -25, `${i}: ${got[i]}, ${expected}`);
});

test("every code of FP8, by the definition of its type", () => {
  const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
  for (const [type, fractionBits, bias] of [
    ["e4m3", 3, 7],
    ["e5m2", 2, 15],
  ] as const) {
    const got = new Float32Array(256);
    const one = new Uint8Array(Float32Array.of(1).buffer);
    decodeRow(fp8Layout({ codes: type, by: "tensor", scales: "f32" }), [codes, one], 1, 0, got);
    for (let code = 0; code < 256; code++) {
      const fraction = code & (2 ** fractionBits - 1);
      const exponent = (code & 127) >> fractionBits;
      const most = 2 ** (7 - fractionBits) - 1;
      const size =
        exponent === 0
          ? fraction * 2 ** (1 - bias - fractionBits)
          : type === "e5m2" && exponent === most
            ? fraction === 0
              ? Number.POSITIVE_INFINITY
              : Number.NaN
            : type === "e4m3" && (code & 127) === 127
              ? Number.NaN
              : (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
      const want = code & 128 ? -size : size;
      assert.ok(Number.isNaN(want) ? Number.isNaN(got[code]) : got[code] === want, `${type} ${code}: ${got[code]}`);
      assert.ok(Object.is(fp8Values[type][code], got[code]) || Number.isNaN(want) || want === 0);
    }
  }
});
