/**
 * Four-bit integers in 32-bit words with a scale and an offset for each group of inputs of an output row:
 * value = scale * (q - offset). Word: eight inputs of a row, low bits first. Offsets: eight rows of a group. In the order
 * of rows this is what compressed-tensors calls pack-quantized, in the order of inputs it is GPTQ without act-order.
 */
import { f16Table, readU16 } from "./float16.js";
import type { Layout } from "./layouts.js";

const groups = [32, 64, 128];
/** ggml's types are below. */
const firstId = 1000;

const rowsOfTable = (["rows", "inputs"] as const).flatMap((order) => groups.map((group) => ({ order, group })));

export const int4Layouts: readonly Layout[] = rowsOfTable.map(({ order, group }, i) => ({
  id: firstId + i,
  name: `INT4_${order.toUpperCase()}_${group}`,
  order,
  planes: [
    { name: "words", rows: 1, cols: 8, bytes: 4 },
    { name: "scales", rows: 1, cols: group, bytes: 2 },
    { name: "offsets", rows: 8, cols: group, bytes: 4 },
  ],
  acts: "q8_32",
}));

/** One row of a matrix of `rows` whose planes are `stored`.  @shape out [cols] */
export function decodeInt4(
  layout: Layout,
  stored: readonly Uint8Array[],
  rows: number,
  row: number,
  out: Float32Array,
): void {
  const half = f16Table();
  const [words, scales, offsets] = stored as [Uint8Array, Uint8Array, Uint8Array];
  const group = layout.planes[1]!.cols;
  const byRows = layout.order === "rows";
  const cell = (r: number, c: number, tall: number, wide: number) => (byRows ? r * wide + c : c * tall + r);
  const nibble = (bytes: Uint8Array, at: number, i: number) => (bytes[4 * at + (i >> 1)]! >> (4 * (i & 1))) & 15;
  for (let i = 0; i < out.length; i++) {
    const g = Math.floor(i / group);
    const q = nibble(words, cell(row, i >> 3, rows, out.length / 8), i & 7);
    const offset = nibble(offsets, cell(row >> 3, g, rows / 8, out.length / group), row & 7);
    const scale = half[readU16(scales, 2 * cell(row, g, rows, out.length / group))]!;
    out[i] = scale * (q - offset);
  }
}
