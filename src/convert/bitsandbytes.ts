/**
 * Matrices as bitsandbytes keeps 4 bits: blocks of 64 of the flattened matrix, a code book, and scales that may
 * themselves be codes of 8 bits.
 * @source bitsandbytes-foundation/bitsandbytes 0.50.2, backends/default/ops.py (quantize_4bit, quantize_blockwise),
 *   functional.py (create_dynamic_map, QuantState.as_dict)
 */
import { fp4Values, nf4Values } from "../formats/decode-planes.js";

export interface BookOptions {
  readonly codes: "nf4" | "fp4";
  /** Scales are codes of 8 bits in blocks of 256, less their mean. */
  readonly double: boolean;
}

export const bookBlock = 64;
const outerBlock = 256;
const least = Math.fround(1e-38);

/** Codes by size, and the middles between neighbours in F32. Of equal values the lower code comes first. */
function sorted(values: ArrayLike<number>): { readonly order: Uint8Array; readonly middles: Float32Array } {
  const order = Uint8Array.from(values, (_, i) => i).sort((a, b) => values[a]! - values[b]! || a - b);
  const middles = new Float32Array(values.length - 1);
  for (let i = 0; i < middles.length; i++)
    middles[i] = Math.fround(Math.fround(values[order[i]!]! + values[order[i + 1]!]!) / 2);
  return { order, middles };
}

/** How many of the middles are below: the place of the nearest value. */
function placeOf(value: number, middles: Float32Array): number {
  let [low, high] = [0, middles.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (middles[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const clamped = (value: number): number => Math.min(1, Math.max(-1, value));
const books = { nf4: sorted(nf4Values), fp4: sorted(fp4Values) };

/** Scales of whole blocks of these values; of a last one that is shorter as well. */
export function bookScales(values: Float32Array): Float32Array {
  const out = new Float32Array(Math.ceil(values.length / bookBlock));
  for (let i = 0; i < values.length; i++)
    out[Math.floor(i / bookBlock)] = Math.max(out[Math.floor(i / bookBlock)]!, Math.abs(values[i]!));
  if (values.length % bookBlock !== 0) out[out.length - 1] = Math.max(least, out.at(-1)!);
  return out;
}

/** Two codes a byte, the first in the upper half. `values` begin with a block, of an even number. */
export function bookCodes(values: Float32Array, codes: "nf4" | "fp4"): Uint8Array {
  const { order, middles } = books[codes];
  const scales = bookScales(values);
  const whole = values.length - (values.length % bookBlock);
  const codeOf = (i: number): number => {
    const scale = scales[Math.floor(i / bookBlock)]!;
    // The last block is divided, the others are multiplied, as there.
    const scaled = i < whole ? values[i]! * Math.fround(1 / Math.max(least, scale)) : Math.fround(values[i]! / scale);
    return order[placeOf(clamped(Math.fround(scaled)), middles)]!;
  };
  return Uint8Array.from({ length: values.length / 2 }, (_, i) => (codeOf(2 * i) << 4) | codeOf(2 * i + 1));
}

export interface NestedScales {
  readonly codes: Uint8Array;
  readonly outer: Float32Array;
  readonly offset: number;
}

/** The dynamic map: seven decades, each with twice as many values as the one below. */
export const dynamicMap: Float32Array = (() => {
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const items = 2 ** i;
    // As torch.linspace counts: from either end to the middle, in F32.
    const step = Math.fround(Math.fround(1 - Math.fround(0.1)) / items);
    const edge = (k: number): number =>
      k < (items + 1) / 2 ? Math.fround(Math.fround(0.1) + step * k) : Math.fround(1 - step * (items - k));
    for (let k = 0; k < items; k++) {
      const middle = Math.fround(Math.fround(edge(k) + edge(k + 1)) / 2);
      const value = Math.fround(Math.fround(10 ** (i - 6)) * middle);
      values.push(value, -value);
    }
  }
  return Float32Array.from(values).sort();
})();

/** @param mean of the scales, where it is known better than by a sum in double precision */
export function nestedScales(scales: Float32Array, mean?: number): NestedScales {
  const offset = Math.fround(mean ?? scales.reduce((sum, scale) => sum + scale, 0) / scales.length);
  const moved = scales.map((scale) => scale - offset);
  const outer = new Float32Array(Math.ceil(scales.length / outerBlock));
  for (const [i, value] of moved.entries()) outer[i >> 8] = Math.max(outer[i >> 8]!, Math.abs(value));
  const { order, middles } = sorted(dynamicMap);
  const codes = moved.map((value, i) => Math.fround(value / Math.max(least, outer[i >> 8]!)));
  return { codes: Uint8Array.from(codes, (value) => order[placeOf(clamped(value), middles)]!), outer, offset };
}

/** The description of a matrix beside it, as Python writes it. */
export function bookState(
  { codes, double }: BookOptions,
  dtype: string,
  shape: readonly [rows: number, cols: number],
  offset: number,
): Uint8Array {
  const fields = [`"quant_type": "${codes}"`, `"blocksize": ${bookBlock}`, `"dtype": "${dtype}"`];
  fields.push(`"shape": [${shape.join(", ")}]`);
  if (double) fields.push('"nested_blocksize": 256', '"nested_dtype": "float32"', `"nested_offset": ${offset}`);
  return Buffer.from(`{${fields.join(", ")}}`);
}

/** The `quantization_config` of the library, as transformers writes it. @param own what a form says of itself */
export function bitsandbytesConfig(own: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return {
    _load_in_4bit: false,
    _load_in_8bit: false,
    bnb_4bit_compute_dtype: "float32",
    bnb_4bit_quant_storage: "uint8",
    bnb_4bit_quant_type: "fp4",
    bnb_4bit_use_double_quant: false,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: null,
    llm_int8_threshold: 6,
    load_in_4bit: false,
    load_in_8bit: false,
    quant_method: "bitsandbytes",
    ...own,
  };
}
