/** A stored weight as rows that can be read a few at a time, whatever its layout and however many files it lies in. */
import { HundredweightError } from "../errors.js";
import { decodeRow } from "../formats/decode-row.js";
import { dtypeOf } from "../formats/dtypes.js";
import { type Extent, expertPlaneBytes, type Slices, slicesOf } from "../formats/layouts.js";
import type { TensorInfo } from "../formats/types.js";
import { WeightFiles } from "../ops/reference-weights.js";
import type { MatrixChange } from "./merged-pairs.js";

/** Bytes that are read at once, about. */
const runBytes = 4 * 2 ** 20;

/** The files that the tensors of a conversion are read from. */
export class Sources extends WeightFiles {
  /** Changes by adapters, by the name of the tensor. */
  readonly changes: Map<string, MatrixChange>;

  constructor(changes: ReadonlyMap<string, MatrixChange> = new Map()) {
    super();
    this.changes = new Map(changes);
  }
}

/** Rows of one expert in memory: plane by plane, in the order of the layout. */
export interface StoredRun {
  readonly expert: number;
  readonly stored: readonly Uint8Array[];
  /** The first row, and how many; in the order of inputs all of them. */
  readonly first: number;
  readonly count: number;
}

export class StoredMatrix {
  readonly info: TensorInfo;
  /** As the file has it: columns vary fastest. */
  readonly cols: number;
  readonly rows: number;
  readonly experts: number;
  /** Rows that are read together. */
  readonly run: number;
  readonly #files: Sources;
  readonly #slices: Slices;
  #kept: { readonly expert: number; readonly run: StoredRun } | undefined;

  /** @param whole rows that have to be read together, a divisor of all: those of a head */
  constructor(info: TensorInfo, files: Sources, whole = 1) {
    this.info = info;
    this.#files = files;
    const [cols = 1, rows = 1, ...rest] = info.shape;
    this.cols = cols;
    this.rows = rows;
    this.experts = rest.reduce((product, size) => product * size, 1);
    this.#slices = slicesOf(info.layout, rows, cols);
    const { bytes, step } = this.#slices;
    const wanted = Math.max(1, Math.floor(runBytes / bytes)) * step;
    const unit = leastCommon(step, whole);
    this.run = info.layout.order === "inputs" ? rows : Math.min(rows, Math.max(unit, Math.floor(wanted / unit) * unit));
  }

  /**
   * The stored bytes of rows from `first` on, `run` of them or what is left.
   * @throws FILE_NOT_FOUND, MODEL_CHANGED
   */
  read(expert: number, first: number): StoredRun {
    const { layout } = this.info;
    if (layout.order === "inputs" && this.#kept?.expert === expert) return this.#kept.run;
    const count = Math.min(this.run, this.rows - first);
    const { step } = this.#slices;
    const [from, to] = layout.order === "inputs" ? [0, this.#slices.count] : [first / step, (first + count) / step];
    const stored = layout.planes.map(({ name, whole }, i) => {
      const each = this.#slices.planeBytes[i]!;
      const start = expert * expertPlaneBytes(this.#slices, i) + (whole ? 0 : from * each);
      const bytes = whole ? this.#slices.wholePlaneBytes[i]! : (to - from) * each;
      return this.#bytes(this.info.planes[name] ?? [], start, bytes);
    });
    const run = { expert, stored, first, count };
    if (layout.order === "inputs") this.#kept = { expert, run };
    return run;
  }

  /** All bytes of a plane of one expert. */
  plane(expert: number, index: number): Uint8Array {
    const bytes = expertPlaneBytes(this.#slices, index);
    const { name } = this.info.layout.planes[index]!;
    return this.#bytes(this.info.planes[name] ?? [], expert * bytes, bytes);
  }

  /** One row of a run, with what adapters add to it.  @shape out [cols] */
  decode(run: StoredRun, row: number, out: Float32Array): void {
    this.#decode(run, row, out);
    const change = this.#files.changes.get(this.info.name);
    if (change === undefined) return;
    if (!this.info.transposed) change.addToRow(run.expert * this.rows + row, out);
    else if (this.experts === 1) change.addToInput(row, out);
    else throw new HundredweightError("ADAPTER_UNSUPPORTED", `'${this.info.name}' is a stack that lies turned round`);
  }

  #decode({ stored, first, count }: StoredRun, row: number, out: Float32Array): void {
    const { layout } = this.info;
    const dtype = dtypeOf(layout);
    if (dtype !== undefined) decodeRow(layout, stored, count, row - first, out);
    else if (layout.order === "inputs") decodeRow(layout, stored, this.rows, row, out);
    else decodeRow(layout, stored, count, row - first, out, first);
  }

  /** Bytes [start, start + count) of what the extents hold one after the other. */
  #bytes(extents: readonly Extent[], start: number, count: number): Uint8Array {
    const out = new Uint8Array(count);
    let [skip, done] = [start, 0];
    for (const { file, offset, bytes } of extents) {
      const taken = Math.min(count - done, bytes - skip);
      if (taken > 0) {
        this.#files.read(file, offset + skip, out.subarray(done, done + taken));
        done += taken;
      }
      skip = Math.max(0, skip - bytes);
      if (done === count) break;
    }
    return out;
  }
}

/** The bytes of a tensor as they lie, in pieces. */
export function* storedPieces(info: TensorInfo, files: Sources): Generator<Uint8Array> {
  for (const { file, offset, bytes } of Object.values(info.planes).flat())
    for (let at = 0; at < bytes; at += runBytes) {
      const piece = new Uint8Array(Math.min(runBytes, bytes - at));
      files.read(file, offset + at, piece);
      yield piece;
    }
}

function leastCommon(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
