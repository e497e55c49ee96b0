/**
 * Pruned matrices as their libraries keep them: plain values and, in a second plane, which of them count. They can be
 * listed and converted; kernels take what a conversion makes of them.
 */
import { HundredweightError } from "../errors.js";
import { dequantizeRow } from "./dequantize.js";
import { dtypeByName } from "./dtypes.js";
import type { Layout } from "./layouts.js";

const valueBytes = { F32: 4, F16: 2, BF16: 2 } as const;
export type FoldedValues = keyof typeof valueBytes;

const maskBytes = { ...valueBytes, BOOL: 1, U8: 1 } as const;
export type FoldedMask = keyof typeof maskBytes;

const made = new Map<string, Layout>();

function known(name: string, layout: () => Omit<Layout, "id" | "name" | "order">): Layout {
  let found = made.get(name);
  if (found === undefined) {
    found = { id: -1, name, order: "rows", ...layout() };
    made.set(name, found);
  }
  return found;
}

/** A matrix as torch.nn.utils.prune keeps it: all values, and a mask of zeros and ones of the same shape. */
export function maskedLayout(values: FoldedValues, mask: FoldedMask): Layout {
  return known(`${values}_MASKED_${mask}`, () => ({
    planes: [
      { name: "values", rows: 1, cols: 1, bytes: valueBytes[values] },
      { name: "mask", rows: 1, cols: 1, bytes: maskBytes[mask] },
    ],
    folded: { values, mask },
  }));
}

/** compressed-tensors' sparse-24-bitmask: two values of each four inputs, and a bit for each input, low bits first. */
export function twoOfFourLayout(values: FoldedValues): Layout {
  return known(`${values}_2_OF_4`, () => ({
    planes: [
      { name: "values", rows: 1, cols: 2, bytes: valueBytes[values] },
      { name: "bitmask", rows: 1, cols: 8, bytes: 1 },
    ],
    folded: { values },
  }));
}

/**
 * One row of a pruned matrix.
 * @param stored values and marks of `rows` rows
 * @shape out [cols]
 * @throws MODEL_INVALID for a mask of other numbers than zero and one, or not two values of four
 */
export function decodeFolded(
  { folded }: Layout,
  [values, marks]: readonly Uint8Array[],
  rows: number,
  row: number,
  out: Float32Array,
): void {
  const of = (plane: Uint8Array) => plane.subarray((row * plane.length) / rows, ((row + 1) * plane.length) / rows);
  const decoded = (type: string, bytes: Uint8Array, to: Float32Array): Float32Array => {
    dequantizeRow(dtypeByName(type)!, bytes, to);
    return to;
  };
  const { mask } = folded!;
  if (mask !== undefined) {
    decoded(folded!.values, of(values!), out);
    const bytes = of(marks!);
    const factors = mask === "BOOL" || mask === "U8" ? bytes : decoded(mask, bytes, new Float32Array(out.length));
    for (let i = 0; i < out.length; i++) {
      if (factors[i] !== 0 && factors[i] !== 1) throw damaged(`a mask holds ${factors[i]}`);
      out[i]! *= factors[i]!;
    }
    return;
  }
  const kept = decoded(folded!.values, of(values!), new Float32Array(out.length / 2));
  const bits = of(marks!);
  for (let i = 0, next = 0; i < out.length; i++) {
    out[i] = (bits[i >> 3]! >> (i & 7)) & 1 && next < kept.length ? kept[next++]! : 0;
    if (i % 4 === 3 && next !== (i + 1) / 2) throw damaged(`inputs ${i - 3} to ${i} of a row are not two of four`);
  }
}

function damaged(what: string): HundredweightError {
  return new HundredweightError("MODEL_INVALID", `a pruned matrix is damaged: ${what}`);
}
