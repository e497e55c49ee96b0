/** Random weights in layouts of several planes, every plane in a file of its own, and what their bytes mean. */
import { readFileSync, writeFileSync } from "node:fs";
import { decodeRow } from "../../src/formats/decode-row.js";
import { toBf16, toF16, writeU16 } from "../../src/formats/float16.js";
import { cellsOf, type Extent, expertPlaneBytes, type Layout, slicesOf } from "../../src/formats/layouts.js";
import type { MatrixSource } from "../../src/ops/ops.js";
import type { WeightPlacement } from "../../src/ops/placement.js";
import { seededWords } from "../../src/synth/random.js";

export interface PlaneWeights {
  readonly source: MatrixSource;
  /** [experts * rows * cols] */
  readonly values: Float32Array;
}

/**
 * Planes begin at odd places. Of stacked experts each lies apart, behind those of later experts, when `scattered`.
 * @param path files are named after it
 */
export function planeWeights(
  path: string,
  layout: Layout,
  { rows, cols, experts = 1, scattered = false }: { rows: number; cols: number; experts?: number; scattered?: boolean },
  seed: number,
): PlaneWeights {
  const fill = planeFiller(layout, cols, seed);
  const slices = slicesOf(layout, rows, cols);
  const stored = Array.from({ length: experts }, () =>
    layout.planes.map((_, p) => fill(p, expertPlaneBytes(slices, p))),
  );
  // Decoding takes longer than all else, and most tests compare bits with bits.
  let values: Float32Array | undefined;
  const decoded = () => {
    const out = new Float32Array(experts * rows * cols);
    for (const [e, of] of stored.entries())
      for (let r = 0; r < rows; r++)
        decodeRow(layout, of, rows, r, out.subarray((e * rows + r) * cols, (e * rows + r + 1) * cols));
    return out;
  };
  const planes = Object.fromEntries(
    layout.planes.map(({ name }, p) => {
      const file = `${path}.${name}`;
      const extents: Extent[] = [];
      const parts: Uint8Array[] = [];
      let end = 0;
      const append = (bytes: Uint8Array) => {
        parts.push(bytes);
        end += bytes.length;
        return end - bytes.length;
      };
      append(new Uint8Array(36 + 52 * p));
      if (scattered) {
        for (let e = experts - 1; e >= 0; e--) {
          append(new Uint8Array(20));
          extents.unshift({ file, offset: append(stored[e]![p]!), bytes: stored[e]![p]!.length });
        }
      } else {
        const whole = Buffer.concat(stored.map((of) => of[p]!));
        extents.push({ file, offset: append(whole), bytes: whole.length });
      }
      writeFileSync(file, Buffer.concat(parts));
      return [name, extents];
    }),
  );
  return {
    source: { name: `${layout.name} ${seed}`, layout, rows, cols, experts, planes },
    get values() {
      values ??= decoded();
      return values;
    },
  };
}

/** Makes planes, by their place in the layout, whose values products of so many inputs can take. */
export function planeFiller(layout: Layout, cols: number, seed: number): (plane: number, bytes: number) => Uint8Array {
  const words = seededWords(seed, layout.name);
  return (p, bytes) => {
    const { name } = layout.planes[p]!;
    const out = new Uint8Array(bytes);
    if (name === "index") {
      const groups = Math.ceil(cols / layout.planes[1]!.cols);
      const index = Uint32Array.from({ length: cols }, () => words() % groups);
      out.set(new Uint8Array(index.buffer));
      return out;
    }
    for (let i = 0; i < out.length; i++) out[i] = words();
    if (layout.name === "BF16") fillNumbers(out, words, 0.1 / Math.sqrt(cols));
    if (layout.form === undefined) return out;
    if (name === "values") for (let i = 0; i < out.length; i++) out[i] = finiteCode(layout, out[i]!);
    else if (name !== "offsets") fillScales(layout, name, out, words, 0.1 / Math.sqrt(cols));
    return out;
  };
}

/** Numbers of about `size`: what the smallest ones cost, and those that are no numbers, is no matter of speed. */
function fillNumbers(out: Uint8Array, words: () => number, size: number): void {
  for (let i = 0; i < out.length; i += 2) writeU16(out, i, toBf16(((words() % 1000) / 500 - 1) * size));
}

/** FP8 has codes that are no numbers. */
function finiteCode({ form }: Layout, code: number): number {
  if (form!.codes === "e4m3" && (code & 127) === 127) return code - 1;
  return form!.codes === "e5m2" && (code & 127) >= 124 ? code - 64 : code;
}

/** Scales of about `size`, of either sign where they have one: as small as sums of products want them. */
function fillScales(layout: Layout, plane: string, out: Uint8Array, words: () => number, size: number): void {
  const view = new DataView(out.buffer);
  const { scales, codes } = layout.form!;
  const largest = { e4m3: 1 / 448, e5m2: 1 / 57344 }[codes as string] ?? (codes === "nf4" || codes === "fp4" ? 5 : 1);
  const next = () => (((words() % 1000) - 500) / 500) * size * largest;
  if (plane !== "scales") {
    // Nested: 256 numbers up to one, and what they are multiplied with.
    const most = plane === "nested table" ? 1 : size * largest;
    for (let i = 0; i < out.length; i += 4) view.setFloat32(i, ((words() % 1000) / 500 - 1) * most, true);
  } else if (scales === "f32") for (let i = 0; i < out.length; i += 4) view.setFloat32(i, next(), true);
  else if (scales === "f16") for (let i = 0; i < out.length; i += 2) writeU16(out, i, toF16(next()));
  else if (scales === "bf16") for (let i = 0; i < out.length; i += 2) writeU16(out, i, toBf16(next()));
  else if (scales === "e8m0") for (let i = 0; i < out.length; i++) out[i] = 114 + (words() % 6);
}

/** The same matrix with the cells of every plane in the other order: what lies by rows by inputs. */
export function inOtherOrder({ source }: PlaneWeights, other: Layout, path: string): MatrixSource {
  const { name, rows, cols, layout } = source;
  const planes = Object.fromEntries(
    layout.planes.map(({ name: plane, rows: cellRows, cols: cellCols, bytes }) => {
      const [extent] = source.planes[plane]!;
      const from = readFileSync(extent!.file).subarray(extent!.offset, extent!.offset + extent!.bytes);
      const to = new Uint8Array(from.length);
      const [tall, wide] = [cellsOf(rows, cellRows), cellsOf(cols, cellCols)];
      for (let r = 0; r < tall; r++)
        for (let c = 0; c < wide; c++) {
          const at = bytes * (r * wide + c);
          to.set(from.subarray(at, at + bytes), bytes * (c * tall + r));
        }
      const file = `${path}.${plane}`;
      writeFileSync(file, to);
      return [plane, [{ file, offset: 0, bytes: to.length }]];
    }),
  );
  return { name: `${name} in the other order`, layout: other, rows, cols, experts: 1, planes };
}

/** Slices [0, pinned) in memory, the rest in tiles of `tile` slices through the least ring that works. */
export function placedInTiles(
  { name, layout, rows, cols }: MatrixSource,
  pinned: number,
  tile: number,
): WeightPlacement {
  const { count: slices, bytes } = slicesOf(layout, rows, cols);
  const tiles: WeightPlacement["tiles"][number][] = [];
  for (let from = pinned; from < slices; from += tile) tiles.push({ name, from, to: Math.min(slices, from + tile) });
  return {
    io: "direct",
    depth: 3,
    pinned: new Map([[name, pinned]]),
    packed: true,
    tiles,
    // Four tiles, each plane with the pages around it.
    ringBytes: tiles.length === 0 ? 0 : 4 * (tile * bytes + layout.planes.length * 2 * 4096),
    experts: undefined,
    lock: false,
  };
}
