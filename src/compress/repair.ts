/** Matrices without some of their columns, the others changed so that outputs change least. */
import { requireAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import { defaultThreads } from "../native/threads.js";
import { encodeValues } from "./encode-values.js";
import { diagonalOf, fillFactor, shrinkFor } from "./feedback.js";
import { notFinite, type StoredRows } from "./integers.js";
import type { MomentEntry, Moments } from "./moments.js";

/** Means of the diagonal that are added to it. */
const damp = 0.01;

export class ColumnRepair {
  readonly #addon: NativeAddon = requireAddon();
  readonly #moments: Moments;
  readonly #threads: number;

  /** @throws NATIVE_UNAVAILABLE */
  constructor(moments: Moments, threads: number = defaultThreads()) {
    [this.#moments, this.#threads] = [moments, threads];
  }

  /** The mean squares of a matrix's inputs. */
  squares(entry: MomentEntry): Float32Array {
    return diagonalOf(this.#moments.read(entry, 0), entry.cols, entry.block, entry.rows[0]!);
  }

  /**
   * A function that leaves columns out of rows: least squares by X'X, block by block where it is in blocks.
   * @param kept columns that stay, ascending
   * @returns rows of the kept columns, encoded as they were
   */
  for(entry: MomentEntry, kept: Int32Array): (rows: StoredRows) => Uint8Array {
    const { cols, block } = entry;
    const stays = new Uint8Array(cols);
    for (const column of kept) stays[column] = 1;
    const columns = Array.from({ length: cols }, (_, i) => i);
    const of = (column: number) => Math.floor(column / block) * 2 + stays[column]!;
    const order = Int32Array.from(columns.sort((a, b) => of(a) - of(b) || a - b));
    const dropped = Uint8Array.from(order, (column) => 1 - stays[column]!);
    const factor = new Float32Array(cols * block);
    const shrink = shrinkFor(entry.rows[0]!, block);
    const sums = this.#moments.read(entry, 0);
    fillFactor(
      this.#addon,
      this.#moments,
      { input: entry.input, sums, block, order, shrink, damp, factor },
      this.#threads,
    );
    return (source) => {
      const { name, dtype, bytes, rows, first } = source;
      const out = new Float32Array(rows * cols);
      const errors = new Float64Array(rows);
      const args = [
        dtype.id,
        bytes,
        rows,
        cols,
        factor,
        block,
        order,
        dropped,
        out,
        errors,
        this.#threads,
        null,
      ] as const;
      const bad = this.#addon.repairColumns(...args);
      if (bad >= 0) throw notFinite(name, first + Math.floor(bad / cols), bad % cols);
      return encodeValues(dtype, keptColumns(out, cols, kept), kept.length, this.#threads).bytes;
    };
  }
}

/** @shape out [values.length / cols][kept] */
function keptColumns(values: Float32Array, cols: number, kept: Int32Array): Float32Array {
  const out = new Float32Array((values.length / cols) * kept.length);
  for (let row = 0, at = 0; row * cols < values.length; row++)
    for (const column of kept) out[at++] = values[row * cols + column]!;
  return out;
}
