/**
 * Four-bit integers in 32-bit words with a scale and an offset for each group of inputs of an output row:
 * value = scale * (q - offset). Word: eight inputs of a row, low bits first. Offsets: eight rows of a group. In the
 * order of rows this is what compressed-tensors calls pack-quantized, in the order of inputs it is GPTQ.
 *
 * Act-order: groups are not neighbours, an index (`g_idx`) names that of each input. So every slice needs the whole
 * index, and in the order of inputs all scales and offsets.
 */
import { HundredweightError } from "../errors.js";
import { f16Table, readU16 } from "./float16.js";
import type { Layout, PlaneLayout } from "./layouts.js";

const groups = [32, 64, 128];
/** ggml's types are below. */
const firstId = 1000;

const kinds = [false, true].flatMap((actOrder) =>
  (["rows", "inputs"] as const).flatMap((order) => groups.map((group) => ({ actOrder, order, group }))),
);

export const int4Layouts: readonly Layout[] = kinds.map(({ actOrder, order, group }, i) => {
  const scattered = actOrder && order === "inputs" ? ({ whole: true } as const) : {};
  const index: PlaneLayout = { name: "index", rows: 0, cols: 1, bytes: 4, whole: true };
  return {
    id: firstId + i,
    name: `INT4_${order.toUpperCase()}_${group}${actOrder ? "_ACT_ORDER" : ""}`,
    order,
    planes: [
      { name: "words", rows: 1, cols: 8, bytes: 4 },
      { name: "scales", rows: 1, cols: group, bytes: 2, ...scattered },
      { name: "offsets", rows: 8, cols: group, bytes: 4, ...scattered },
      ...(actOrder ? [index] : []),
    ],
    acts: "q8_32",
    units: actOrder ? "int4-act-order" : "int4",
  };
});

/**
 * One row of a matrix of `rows` whose planes are `stored`.
 * @shape out [cols]
 * @throws MODEL_INVALID when the index names a group that is not there
 */
export function decodeInt4(
  layout: Layout,
  stored: readonly Uint8Array[],
  rows: number,
  row: number,
  out: Float32Array,
): void {
  const half = f16Table();
  const [words, scales, offsets, index] = stored as [Uint8Array, Uint8Array, Uint8Array, Uint8Array?];
  const group = layout.planes[1]!.cols;
  const all = out.length / group;
  const byRows = layout.order === "rows";
  const cell = (r: number, c: number, tall: number, wide: number) => (byRows ? r * wide + c : c * tall + r);
  const nibble = (bytes: Uint8Array, at: number, i: number) => (bytes[4 * at + (i >> 1)]! >> (4 * (i & 1))) & 15;
  for (let i = 0; i < out.length; i++) {
    const g = index === undefined ? Math.floor(i / group) : readU16(index, 4 * i) + 65536 * readU16(index, 4 * i + 2);
    if (g >= all)
      throw new HundredweightError("MODEL_INVALID", `input ${i} is of group ${g} of ${all}: the index is damaged`);
    const q = nibble(words, cell(row, i >> 3, rows, out.length / 8), i & 7);
    const offset = nibble(offsets, cell(row >> 3, g, rows / 8, all), row & 7);
    const scale = half[readU16(scales, 2 * cell(row, g, rows, all))]!;
    out[i] = scale * (q - offset);
  }
}
