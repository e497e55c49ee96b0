/**
 * `Ops` that allocate nothing and only write down what was asked for: binding a model to them tells what binding it for
 * real will take. Their verbs refuse.
 */
import { HundredweightError } from "../errors.js";
import { checkPlanes, layoutBytes } from "../formats/layouts.js";
import { stagedParts } from "./cold-sizes.js";
import { kvPositionBytes } from "./kv-form.js";
import { keptRows, type Ops, pagePositions, type SlotLayer, type SlotPool } from "./ops.js";
import { mapVerbs } from "./verbs.js";

export interface PaperRecord {
  /** Bytes of tensors, arenas and routings. */
  readonly activationBytes: number;
  readonly vectorBytes: number;
  /** Matrices of pairs. */
  readonly heldBytes: number;
  readonly ropes: readonly { readonly pairs: number; readonly maxRows: number }[];
  /** Bytes of pages in memory, and of what is read of the others; and bytes of those. */
  readonly kvBytes: number;
  readonly coldBytes: number;
  /** Pools of states that are replaced: slots and places for inputs. */
  readonly slotPools: readonly SlotPool[];
}

/** Rows of a block's state: how many rows have come; largest gates, sums of weights and of values of each half. */
export const blockRows = ({ overlap }: { readonly overlap: boolean }): number => (overlap ? 10 : 4);

/** f32 values of a layer in a slot. */
export function slotFloats(layer: SlotLayer): number {
  if (layer.kind === "block") return blockRows(layer) * layer.columns;
  return layer.kind === "tail" ? layer.rows * layer.columns : layer.heads * layer.keys * layer.values;
}

/** f32 values of a row that is kept for a layer. */
export function keptFloats(layer: SlotLayer): number {
  if (layer.kind === "tail") return layer.columns;
  if (layer.kind === "block") return layer.columns * (layer.overlap ? 4 : 2);
  return layer.keyHeads * layer.keys + layer.heads * (layer.values + layer.decays + 1);
}

/** Bytes of a slot and of a place for inputs. */
export function slotPoolBytes(layers: readonly SlotLayer[]): {
  readonly slotBytes: number;
  readonly keepBytes: number;
} {
  const sum = (floats: (layer: SlotLayer) => number): number => layers.reduce((all, layer) => all + floats(layer), 0);
  return { slotBytes: 4 * sum(slotFloats), keepBytes: 4 * keptRows * sum(keptFloats) };
}

const unavailable = (): never => {
  throw new HundredweightError("INTERNAL", "a model on paper cannot be run");
};

export function paperOps(): Ops & { readonly record: PaperRecord } {
  const record = {
    activationBytes: 0,
    vectorBytes: 0,
    heldBytes: 0,
    ropes: [] as { pairs: number; maxRows: number }[],
    kvBytes: 0,
    coldBytes: 0,
    slotPools: [] as SlotPool[],
  };
  let ids = 0;
  /** Ones by length, shared: biases of many experts would be hundreds of megabytes. */
  const ones = new Map<number, Float32Array>();
  return {
    name: "paper",
    record,
    arena(floats) {
      record.activationBytes += 4 * floats;
      return { id: ++ids, floats };
    },
    tensor(rows, cols, arena) {
      if (arena === undefined) record.activationBytes += 4 * rows * cols;
      return { id: ++ids, rows, cols };
    },
    routing(rows, topK) {
      record.activationBytes += 8 * rows * topK;
      return { id: ++ids, rows, topK };
    },
    vector(values) {
      record.vectorBytes += values.byteLength;
      return { id: ++ids, length: values.length };
    },
    matrix(source) {
      const { name, layout, rows, cols, experts } = source;
      if (source.held === undefined) checkPlanes(source);
      else record.heldBytes += experts * layoutBytes(layout, rows, cols)!;
      return { id: ++ids, name, layout, rows, cols, experts };
    },
    loadVector(source) {
      const length = source.cols * source.rows * source.experts;
      const known = ones.get(length) ?? new Float32Array(length).fill(1);
      ones.set(length, known);
      return known;
    },
    kvPool(spec) {
      let position = 0;
      for (const layer of spec.layers) position += kvPositionBytes(spec.type, layer);
      const pageBytes = position * pagePositions;
      const frames = spec.cold?.frames ?? spec.pages;
      record.kvBytes += frames * pageBytes + (spec.cold === undefined ? 0 : stagedParts(spec).bytes);
      record.coldBytes += (spec.pages - frames) * pageBytes;
      return { id: ++ids, pages: spec.pages, layers: spec.layers.length, pageBytes };
    },
    slotPool({ layers, slots, keeps }) {
      const pool = { id: ++ids, slots, keeps, ...slotPoolBytes(layers) };
      record.slotPools.push(pool);
      return pool;
    },
    ropeTable(spec, maxRows) {
      record.ropes.push({ pairs: spec.frequencies.length, maxRows });
      return { id: ++ids };
    },
    async seal(): Promise<void> {},
    close: () => {},
    // Hints are for experts that are read from a disk.
    ...mapVerbs((verb) => (verb === "expectExperts" ? undefined : unavailable)),
  };
}
