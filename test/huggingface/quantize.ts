/**
 * Small quantizers after the formulas of their libraries, for folders of tests: the tensors of a module, and the values
 * these stand for, computed from the codes before they are packed.
 */
import { fp4Values, fp8Values, nf4Values } from "../../src/formats/decode-planes.js";
import { dequantizeRow } from "../../src/formats/dequantize.js";
import { dtypeByName } from "../../src/formats/dtypes.js";
import { fromBf16, toBf16, toF16 } from "../../src/formats/float16.js";
import type { Entry } from "./folder.js";

/** A matrix [rows, cols]. */
export interface Values {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly values: Float32Array;
}

export interface Quantized {
  readonly entries: readonly Entry[];
  readonly values: Float32Array;
}

const entry = (name: string, dtype: string, shape: readonly number[], values: ArrayBufferView): Entry => ({
  name,
  dtype,
  shape,
  bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
});

const half = (value: number): number => {
  const out = new Float32Array(1);
  dequantizeRow(dtypeByName("F16")!, new Uint8Array(Uint16Array.of(toF16(value)).buffer), out);
  return out[0]!;
};

/** Codes of `bits` bits, low bits first, `count` of them by their place. */
function packed(count: number, bits: number, codeAt: (i: number) => number): Uint32Array {
  const words = new Uint32Array(Math.ceil((count * bits) / 32));
  for (let i = 0; i < count; i++)
    for (let b = 0; b < bits; b++) words[(i * bits + b) >> 5]! |= ((codeAt(i) >> b) & 1) << ((i * bits + b) & 31);
  return words;
}

interface Grouped {
  readonly codes: Uint8Array;
  /** [rows][groups] */
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
  readonly values: Float32Array;
}

/** Rounds to the nearest code; zeros are those of the smallest value, or the middle. */
function grouped(
  m: Values,
  bits: number,
  symmetric: boolean,
  groups: number,
  groupOf: (input: number) => number,
): Grouped {
  const most = 2 ** bits - 1;
  const codes = new Uint8Array(m.values.length);
  const values = new Float32Array(m.values.length);
  const scales = new Float32Array(m.rows * groups);
  const zeros = new Uint8Array(m.rows * groups);
  for (let r = 0; r < m.rows; r++) {
    const [low, high] = [new Float64Array(groups), new Float64Array(groups)];
    for (let c = 0; c < m.cols; c++) {
      const [g, v] = [groupOf(c), m.values[r * m.cols + c]!];
      low[g] = Math.min(low[g]!, v);
      high[g] = Math.max(high[g]!, v);
    }
    for (let g = 0; g < groups; g++) {
      const size = Math.max(-low[g]!, high[g]!);
      const scale = half(symmetric ? (2 * size) / most : (high[g]! - low[g]!) / most) || 1;
      scales[r * groups + g] = scale;
      zeros[r * groups + g] = symmetric ? 2 ** (bits - 1) : Math.round(-low[g]! / scale);
    }
    for (let c = 0; c < m.cols; c++) {
      const at = r * groups + groupOf(c);
      const code = Math.round(m.values[r * m.cols + c]! / scales[at]!) + zeros[at]!;
      codes[r * m.cols + c] = Math.min(most, Math.max(0, code));
      values[r * m.cols + c] = scales[at]! * (codes[r * m.cols + c]! - zeros[at]!);
    }
  }
  return { codes, scales, zeros, values };
}

const halves = (values: Float32Array): Uint16Array => Uint16Array.from(values, toF16);

/** [rows][groups] as [groups][rows]. */
function turned<T extends Float32Array | Uint8Array>(of: T, rows: number, groups: number): T {
  return of.map((_, i) => of[(i % rows) * groups + Math.floor(i / rows)]!) as T;
}

export function gptq(
  m: Values,
  o: { bits: number; group: number; symmetric: boolean; format: 1 | 2; scatter?: boolean },
): Quantized {
  const { bits, group, symmetric, format, scatter = false } = o;
  const { rows, cols } = m;
  const groups = cols / group;
  const groupOf = (c: number) => (scatter ? (c * 7 + 3) % groups : Math.floor(c / group));
  const { codes, scales, zeros, values } = grouped(m, bits, symmetric, groups, groupOf);
  const words = new Uint32Array((rows * cols * bits) / 32);
  const tall = (cols * bits) / 32;
  for (let r = 0; r < rows; r++) {
    const column = packed(cols, bits, (i) => codes[r * cols + i]!);
    for (let w = 0; w < tall; w++) words[w * rows + r] = column[w]!;
  }
  const stored = turned(zeros, rows, groups).map((z) => (format === 1 ? (z - 1) & (2 ** bits - 1) : z));
  return {
    entries: [
      entry(`${m.name}.qweight`, "I32", [tall, rows], words),
      entry(
        `${m.name}.qzeros`,
        "I32",
        [groups, (rows * bits) / 32],
        packed(rows * groups, bits, (i) => stored[i]!),
      ),
      entry(`${m.name}.scales`, "F16", [groups, rows], halves(turned(scales, rows, groups))),
      entry(
        `${m.name}.g_idx`,
        "I32",
        [cols],
        Int32Array.from({ length: cols }, (_, c) => groupOf(c)),
      ),
    ],
    values,
  };
}

export function awq(m: Values, group: number): Quantized {
  const { rows, cols } = m;
  const groups = cols / group;
  const { codes, scales, zeros, values } = grouped(m, 4, false, groups, (c) => Math.floor(c / group));
  const order = [0, 2, 4, 6, 1, 3, 5, 7];
  const words = (lines: number, codeAt: (line: number, row: number) => number) =>
    packed(lines * rows, 4, (i) => codeAt(Math.floor(i / rows), (i % rows) - (i % 8) + order[i % 8]!));
  return {
    entries: [
      entry(
        `${m.name}.qweight`,
        "I32",
        [cols, rows / 8],
        words(cols, (c, r) => codes[r * cols + c]!),
      ),
      entry(
        `${m.name}.qzeros`,
        "I32",
        [groups, rows / 8],
        words(groups, (g, r) => zeros[r * groups + g]!),
      ),
      entry(`${m.name}.scales`, "F16", [groups, rows], halves(turned(scales, rows, groups))),
    ],
    values,
  };
}

/** compressed-tensors' pack-quantized. @param group 0: all inputs of a row */
export function packQuantized(m: Values, bits: number, group: number, symmetric: boolean): Quantized {
  const { rows, cols } = m;
  const groups = group === 0 ? 1 : cols / group;
  const { codes, scales, zeros, values } = grouped(m, bits, symmetric, groups, (c) => Math.floor((c * groups) / cols));
  const weight = `${m.name}.weight`;
  const entries = [
    entry(
      `${weight}_packed`,
      "I32",
      [rows, (cols * bits) / 32],
      packed(rows * cols, bits, (i) => codes[i]!),
    ),
    entry(`${weight}_scale`, "F16", [rows, groups], halves(scales)),
    entry(`${weight}_shape`, "I64", [2], BigInt64Array.of(BigInt(rows), BigInt(cols))),
  ];
  if (!symmetric) {
    // Packed along rows: word w of a group holds rows w * 32 / bits and on.
    const each = 32 / bits;
    const words = new Uint32Array((rows / each) * groups);
    for (let r = 0; r < rows; r++)
      for (let g = 0; g < groups; g++)
        words[Math.floor(r / each) * groups + g]! |= zeros[r * groups + g]! << (bits * (r % each));
    entries.push(entry(`${weight}_zero_point`, "I32", [rows / each, groups], words));
  }
  return { entries, values };
}

/** LLM.int8(): a row's largest value is 127. */
export function llmInt8(m: Values): Quantized {
  const { rows, cols } = m;
  const largest = Float32Array.from({ length: rows }, (_, r) =>
    m.values.subarray(r * cols, (r + 1) * cols).reduce((most, v) => Math.max(most, Math.abs(v)), 0),
  );
  const codes = Int8Array.from(m.values, (v, i) => Math.round((v / largest[Math.floor(i / cols)]!) * 127));
  return {
    entries: [
      entry(`${m.name}.weight`, "I8", [rows, cols], codes),
      entry(`${m.name}.SCB`, "F32", [rows], largest),
      entry(`${m.name}.weight_format`, "U8", [], Uint8Array.of(0)),
    ],
    values: Float32Array.from(codes, (q, i) => (q * largest[Math.floor(i / cols)]!) / 127),
  };
}

/** The place of the nearest of some values. */
function nearest(table: Float32Array, value: number): number {
  let best = 0;
  for (let i = 1; i < table.length; i++) if (Math.abs(table[i]! - value) < Math.abs(table[best]! - value)) best = i;
  return best;
}

/** FP8. @param block rows and inputs that share a scale; scales of whole rows are BF16, others F32 */
export function fp8(m: Values, codes: "e4m3" | "e5m2", block: "tensor" | "row" | readonly [number, number]): Quantized {
  const { rows, cols } = m;
  const [tall, wide] = block === "tensor" ? [rows, cols] : block === "row" ? [1, cols] : block;
  const across = Math.ceil(cols / wide);
  const scales = new Float32Array(Math.ceil(rows / tall) * across);
  const cell = (i: number) => Math.floor(Math.floor(i / cols) / tall) * across + Math.floor((i % cols) / wide);
  const most = codes === "e4m3" ? 448 : 57344;
  for (const [i, v] of m.values.entries()) scales[cell(i)] = Math.max(scales[cell(i)]!, Math.abs(v) / most);
  if (block === "row") for (const [i, s] of scales.entries()) scales[i] = fromBf16(toBf16(s));
  const table = fp8Values[codes].map((v) => (Number.isFinite(v) ? v : 1e30));
  const bytes = Uint8Array.from(m.values, (v, i) => nearest(table, v / scales[cell(i)]!));
  const inverse = typeof block !== "string";
  const [name, shape] = inverse
    ? ["weight_scale_inv", [scales.length / across, across]]
    : ["weight_scale", block === "row" ? [rows, 1] : [1]];
  const stored = block === "row" ? Uint16Array.from(scales, toBf16) : scales;
  return {
    entries: [
      entry(`${m.name}.weight`, codes === "e4m3" ? "F8_E4M3" : "F8_E5M2", [rows, cols], bytes),
      entry(`${m.name}.${name}`, block === "row" ? "BF16" : "F32", shape as number[], stored),
    ],
    values: Float32Array.from(bytes, (b, i) => scales[cell(i)]! * table[b]!),
  };
}

/** bitsandbytes' 4 bits in blocks of 64 of the flattened matrix. @param nested scales are bytes of a table */
export function bnb4(m: Values, kind: "nf4" | "fp4", nested: boolean): Quantized {
  const { rows, cols } = m;
  const table = kind === "nf4" ? nf4Values : fp4Values;
  const scales = new Float32Array(Math.ceil((rows * cols) / 64));
  for (const [i, v] of m.values.entries()) scales[i >> 6] = Math.max(scales[i >> 6]!, Math.abs(v));
  const weight = `${m.name}.weight`;
  const state: Record<string, unknown> = { quant_type: kind, blocksize: 64, dtype: "float32", shape: [rows, cols] };
  const entries: Entry[] = [];
  if (nested) {
    const offset = Math.fround(scales.reduce((sum, s) => sum + s, 0) / scales.length);
    const outer = new Float32Array(Math.ceil(scales.length / 256));
    for (const [i, s] of scales.entries()) outer[i >> 8] = Math.max(outer[i >> 8]!, Math.abs(s - offset));
    const places = Float32Array.from({ length: 256 }, (_, i) => (i - 127.5) / 127.5);
    const bytes = Uint8Array.from(scales, (s, i) => nearest(places, (s - offset) / outer[i >> 8]!));
    for (const [i, b] of bytes.entries()) scales[i] = Math.fround(places[b]! * outer[i >> 8]!) + offset;
    Object.assign(state, { nested_blocksize: 256, nested_dtype: "float32", nested_offset: offset });
    entries.push(
      entry(`${weight}.absmax`, "U8", [bytes.length], bytes),
      entry(`${weight}.nested_absmax`, "F32", [outer.length], outer),
      entry(`${weight}.nested_quant_map`, "F32", [256], places),
    );
  } else entries.push(entry(`${weight}.absmax`, "F32", [scales.length], scales.slice()));
  const codes = Uint8Array.from(m.values, (v, i) => nearest(table, v / scales[i >> 6]!));
  const pairs = Uint8Array.from({ length: codes.length / 2 }, (_, i) => (codes[2 * i]! << 4) | codes[2 * i + 1]!);
  const json = new Uint8Array(Buffer.from(JSON.stringify(state)));
  entries.push(
    entry(weight, "U8", [pairs.length, 1], pairs),
    entry(`${weight}.quant_map`, "F32", [16], table.slice()),
    entry(`${weight}.quant_state.bitsandbytes__${kind}`, "U8", [json.length], json),
  );
  return { entries, values: Float32Array.from(codes, (q, i) => table[q]! * scales[i >> 6]!) };
}
