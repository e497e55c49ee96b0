/** States that are replaced, of the reference: slots of f32, recurrences and short convolutions row after row. */
import { HundredweightError } from "../errors.js";
import { keptRows, type RowTable, type SlotLayer, type SlotPool, type SlotPoolSpec } from "./ops.js";
import { keptFloats, slotFloats, slotPoolBytes } from "./paper.js";

type Matrix = Extract<SlotLayer, { readonly kind: "matrix" }>;
type Block = Extract<SlotLayer, { readonly kind: "block" }>;
type Rows = (t: number) => Float32Array;

interface RecurRow {
  /** Null: nothing is read. */
  readonly q: Float32Array | null;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly decay: Float32Array;
  /** Null: ones. */
  readonly beta: Float32Array | null;
}

/** The rows [first, end) of one sequence in a pass, and its places. */
interface Run {
  readonly first: number;
  readonly end: number;
  readonly from: number;
  readonly to: number;
  readonly keep: number;
  /** Row -> slot that gets the state after it. */
  readonly marks: ReadonlyMap<number, number>;
}

/**
 * One row of one head of a recurrence (ops.ts, `recur`); sums are doubles. @shape state [keys, values], out [values]
 * or null
 */
function step(layer: Matrix, head: number, state: Float32Array, row: RecurRow, skip: number, out: Float32Array | null) {
  const { heads, keys, values, keyHeads, pairing, decays, correct } = layer;
  const keyHead = pairing === "tiled" ? head % keyHeads : Math.floor(head / (heads / keyHeads));
  const k = row.k.subarray(keyHead * keys, (keyHead + 1) * keys);
  const v = row.v.subarray(head * values, (head + 1) * values);
  const predicted = new Float64Array(values);
  for (let i = 0; i < keys; i++) {
    const decay = row.decay[head * decays + (decays === 1 ? 0 : i)]!;
    for (let c = 0; c < values; c++) {
      state[i * values + c] = state[i * values + c]! * decay;
      predicted[c] = predicted[c]! + k[i]! * state[i * values + c]!;
    }
  }
  const beta = row.beta === null ? 1 : row.beta[head]!;
  const written = Float64Array.from(v, (value, c) => beta * (correct ? value - predicted[c]! : value));
  for (let i = 0; i < keys; i++)
    for (let c = 0; c < values; c++) state[i * values + c] = state[i * values + c]! + k[i]! * written[c]!;
  if (row.q === null || out === null) return;
  const q = row.q.subarray(keyHead * keys, (keyHead + 1) * keys);
  for (let c = 0; c < values; c++) {
    let sum = 0;
    for (let i = 0; i < keys; i++) sum += q[i]! * state[i * values + c]!;
    out[head * values + c] = sum + skip * v[c]!;
  }
}

/**
 * One row of a block (ops.ts, `compress`): values and gates, those of its place in the block among them. The state is
 * the number of rows that have come, then largest gates, sums of weights and of values: of the rows themselves, with
 * overlap also of their first halves, and of the first halves of the block before.
 */
function blockStep(
  { every, columns, overlap }: Block,
  state: Float32Array,
  row: Float32Array,
  out: Float32Array | null,
) {
  const width = row.length / 2;
  const sums = (which: number, what: number): number => (1 + 3 * which + what) * columns;
  const join = (which: number, c: number, gate: number, weight: number, value: number): void => {
    const [m, l, o] = [sums(which, 0) + c, sums(which, 1) + c, sums(which, 2) + c];
    const max = Math.max(state[m]!, gate);
    const [old, own] = [Math.exp(state[m]! - max), Math.exp(gate - max)];
    state[l] = state[l]! * old + weight * own;
    state[o] = state[o]! * old + value * own;
    state[m] = max;
  };
  for (let i = 0; i < width; i++) join(overlap && i < columns ? 1 : 0, i % columns, row[width + i]!, 1, row[i]!);
  out?.fill(0);
  state[0] = state[0]! + 1;
  if (state[0] < every) return;
  state[0] = 0;
  for (let c = 0; c < columns; c++) {
    if (overlap) {
      const before = [0, 1, 2].map((what) => state[sums(2, what) + c]!) as [number, number, number];
      if (before[1] > 0) join(0, c, ...before);
      for (const what of [0, 1, 2]) state[sums(2, what) + c] = state[sums(1, what) + c]!;
      clearSums(state, columns, c, 1);
    }
    if (out !== null) out[c] = state[sums(0, 2) + c]! / state[sums(0, 1) + c]!;
    clearSums(state, columns, c, 0);
  }
}

function clearSums(state: Float32Array, columns: number, c: number, which: number): void {
  for (const what of [0, 1, 2]) state[(1 + 3 * which + what) * columns + c] = what === 0 ? -Infinity : 0;
}

export class ReferenceSlotPool implements SlotPool {
  readonly id: number;
  readonly slots: number;
  readonly slotBytes: number;
  readonly keeps: number;
  readonly keepBytes: number;
  readonly layers: readonly SlotLayer[];
  /** By slot, by layer; made when they are first written. */
  readonly #states: Float32Array[][];
  /** By place, by layer: [32, values of a row]. */
  readonly #kept: Float32Array[][];

  constructor(id: number, { layers, slots, keeps }: SlotPoolSpec) {
    this.id = id;
    this.slots = slots;
    this.keeps = keeps;
    this.layers = layers;
    ({ slotBytes: this.slotBytes, keepBytes: this.keepBytes } = slotPoolBytes(layers));
    this.#states = Array.from({ length: slots }, () => []);
    this.#kept = Array.from({ length: keeps }, () => []);
  }

  #state(slot: number, layer: number): Float32Array {
    const states = this.#states[slot];
    if (states === undefined) throw new HundredweightError("INTERNAL", `state slot ${slot} of ${this.slots}`);
    states[layer] ??= new Float32Array(slotFloats(this.layers[layer]!));
    return states[layer];
  }

  /** The bytes of a slot, layer after layer: a copy. */
  bytes(slot: number): Uint8Array {
    const bytes = new Uint8Array(this.slotBytes);
    let at = 0;
    for (const layer of this.layers.keys()) {
      const { buffer } = this.#state(slot, layer);
      bytes.set(new Uint8Array(buffer), at);
      at += buffer.byteLength;
    }
    return bytes;
  }

  /** Gives a slot other bytes. */
  setBytes(slot: number, bytes: Uint8Array): void {
    let at = 0;
    for (const layer of this.layers.keys()) {
      const own = new Uint8Array(this.#state(slot, layer).buffer);
      own.set(bytes.subarray(at, at + own.length));
      at += own.length;
    }
  }

  /** The state of slot `to` as it is before its first row: that of `from`, or zeros. */
  #begin(from: number, to: number, layer: number): Float32Array {
    const state = this.#state(to, layer);
    if (from < 0) this.#clear(state, this.layers[layer]!);
    else state.set(this.#state(from, layer));
    return state;
  }

  #clear(state: Float32Array, shape: SlotLayer): void {
    state.fill(0);
    if (shape.kind !== "block") return;
    for (let which = 0; which < (shape.overlap ? 3 : 1); which++)
      for (let c = 0; c < shape.columns; c++) clearSums(state, shape.columns, c, which);
  }

  #mark(slot: number | undefined, layer: number, state: Float32Array): void {
    if (slot !== undefined) this.#state(slot, layer).set(state);
  }

  #keptRow(keep: number, layer: number, i: number): Float32Array {
    const width = keptFloats(this.layers[layer]!);
    this.#kept[keep]![layer] ??= new Float32Array(keptRows * width);
    return this.#kept[keep]![layer]!.subarray(i * width, (i + 1) * width);
  }

  shortConv(
    layer: number,
    rows: RowTable,
    n: number,
    x: Rows,
    out: Rows,
    weight: Float32Array,
    bias: Float32Array | null,
  ): void {
    const { columns } = this.layers[layer] as { readonly columns: number };
    for (const { first, end, from, to, keep, marks } of runsOf(rows, n)) {
      const state = this.#begin(from, to, layer);
      for (let t = first; t < end; t++) {
        const y = out(t);
        const all = [...state, ...x(t)];
        for (let c = 0; c < columns; c++) {
          let sum = 0;
          for (let i = c; i < all.length; i += columns) sum += weight[i]! * all[i]!;
          y[c] = sum + (bias?.[c] ?? 0);
        }
        if (keep >= 0) this.#keptRow(keep, layer, t - first).set(x(t));
        push(state, x(t));
        this.#mark(marks.get(t), layer, state);
      }
    }
  }

  recur(
    layer: number,
    rows: RowTable,
    n: number,
    input: (t: number) => RecurRow,
    out: Rows,
    skip: Float32Array | null,
  ): void {
    const shape = this.layers[layer] as Matrix;
    for (const { first, end, from, to, keep, marks } of runsOf(rows, n)) {
      const state = this.#begin(from, to, layer);
      for (let t = first; t < end; t++) {
        const given = input(t);
        this.#step(shape, state, given, skip, out(t));
        this.#mark(marks.get(t), layer, state);
        if (keep < 0) continue;
        const { k, v, decay } = given;
        const beta = given.beta ?? new Float32Array(shape.heads).fill(1);
        this.#keptRow(keep, layer, t - first).set([...k, ...v, ...decay, ...beta]);
      }
    }
  }

  block(layer: number): Block {
    return this.layers[layer] as Block;
  }

  compress(
    layer: number,
    rows: RowTable,
    n: number,
    values: Rows,
    gates: Rows,
    out: Rows,
    positions: Float32Array | null,
  ): void {
    const shape = this.block(layer);
    for (const { first, end, from, to, keep, marks } of runsOf(rows, n)) {
      const state = this.#begin(from, to, layer);
      for (let t = first; t < end; t++) {
        const [v, g] = [values(t), gates(t)];
        const gate = g.map((value, i) => value + (positions?.[state[0]! * g.length + i] ?? 0));
        const row = Float32Array.from([...v, ...gate]);
        blockStep(shape, state, row, out(t));
        if (keep >= 0) this.#keptRow(keep, layer, t - first).set(row);
        this.#mark(marks.get(t), layer, state);
      }
    }
  }

  #step(shape: Matrix, state: Float32Array, row: RecurRow, skip: Float32Array | null, out: Float32Array | null): void {
    const each = shape.keys * shape.values;
    for (let h = 0; h < shape.heads; h++)
      step(shape, h, state.subarray(h * each, (h + 1) * each), row, skip?.[h] ?? 0, out);
  }

  replay(from: number, to: number, keep: number, rows: number): void {
    for (const [layer, shape] of this.layers.entries()) {
      const state = this.#begin(from, to, layer);
      for (let i = 0; i < rows; i++) {
        const row = this.#keptRow(keep, layer, i);
        if (shape.kind === "tail") {
          push(state, row);
          continue;
        }
        if (shape.kind === "block") {
          blockStep(shape, state, row, null);
          continue;
        }
        const widths = [shape.keyHeads * shape.keys, shape.heads * shape.values, shape.heads * shape.decays];
        const ends = widths.map((_, w) => widths.slice(0, w + 1).reduce((sum, width) => sum + width, 0));
        const [k, v, decay] = ends.map((end, w) => row.subarray(end - widths[w]!, end)) as [
          Float32Array,
          Float32Array,
          Float32Array,
        ];
        this.#step(shape, state, { q: null, k, v, decay, beta: row.subarray(ends[2]!) }, null, null);
      }
    }
  }
}

/** The oldest row goes, a new one comes. */
function push(tail: Float32Array, row: Float32Array): void {
  if (tail.length === 0) return;
  tail.copyWithin(0, row.length);
  tail.set(row, tail.length - row.length);
}

function runsOf({ sequences, slots, marks: marked = new Int32Array(0) }: RowTable, n: number): Run[] {
  if (slots === undefined) throw new HundredweightError("INTERNAL", "a pass without slots");
  const marks = new Map(Array.from({ length: marked.length / 2 }, (_, i) => [marked[2 * i]!, marked[2 * i + 1]!]));
  const runs: Run[] = [];
  for (let first = 0, end = 0; first < n; first = end) {
    const sequence = sequences[first]!;
    while (end < n && sequences[end] === sequence) end++;
    const [from, to, keep] = slots.subarray(3 * sequence, 3 * sequence + 3) as unknown as [number, number, number];
    runs.push({ first, end, from, to, keep, marks });
  }
  return runs;
}
