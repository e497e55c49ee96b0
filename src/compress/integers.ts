/** Rows as integers under scales of groups of columns: the native encoder on what a file holds. */
import { HundredweightError } from "../errors.js";
import type { Dtype } from "../formats/index.js";
import { requireAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import { defaultThreads } from "../native/threads.js";
import { ColumnFactors, type IntegerColumns } from "./integer-columns.js";
import type { Moments } from "./moments.js";

export interface IntegerForm {
  readonly bits: 2 | 3 | 4 | 8;
  /** Columns that share a scale. */
  readonly group: number;
  /** Zero is the middle of the codes; otherwise each group has a code for it. */
  readonly symmetric: boolean;
  /** Grids that are tried for each group by what they lose; 1: the one that spans the group's values. */
  readonly trials: number;
}

/** @shape codes [rows][cols]; scales, offsets [rows][groups], by the number of the group; errors [rows] */
export interface IntegerRows {
  readonly codes: Uint8Array;
  /** Numbers that F16 holds. */
  readonly scales: Float32Array;
  readonly offsets: Uint8Array;
  readonly errors: Float64Array;
}

export interface StoredRows {
  /** Name of the tensor, for errors. */
  readonly name: string;
  readonly dtype: Dtype;
  readonly bytes: Uint8Array;
  readonly rows: number;
  readonly cols: number;
  /** The number of the first row. */
  readonly first: number;
}

/**
 * @param multipliers of columns, before anything else
 * @throws MODEL_INVALID for a value that is no finite number, naming tensor and place
 */
export function encodeIntegers(
  addon: Pick<NativeAddon, "encodeIntegers">,
  { name, dtype, bytes, rows, cols, first }: StoredRows,
  { bits, group, symmetric, trials }: IntegerForm,
  { order, weights, factor, block, groups }: IntegerColumns,
  threads: number,
  multipliers: Float32Array | null = null,
  isa: string | null = null,
): IntegerRows {
  const count = cols / group;
  const codes = new Uint8Array(rows * cols);
  const scales = new Float32Array(rows * count);
  const offsets = new Uint8Array(rows * count);
  const errors = new Float64Array(rows);
  const bad = addon.encodeIntegers(
    dtype.id,
    bytes,
    rows,
    cols,
    bits,
    group,
    symmetric,
    trials,
    multipliers,
    weights,
    factor,
    block,
    order,
    codes,
    scales,
    offsets,
    errors,
    threads,
    isa,
  );
  if (bad >= 0) throw notFinite(name, first + Math.floor(bad / cols), bad % cols);
  return { codes, scales: byNumber(scales, groups), offsets: byNumber(offsets, groups), errors };
}

/** The encoder with its threads, for whoever writes files. */
export class IntegerEncoder {
  readonly #addon: NativeAddon = requireAddon();
  readonly #threads: number;

  /** @throws NATIVE_UNAVAILABLE */
  constructor(threads: number = defaultThreads()) {
    this.#threads = threads;
  }

  /** @throws MODEL_INVALID as encodeIntegers does */
  encode(source: StoredRows, form: IntegerForm, columns: IntegerColumns, multipliers?: Float32Array): IntegerRows {
    return encodeIntegers(this.#addon, source, form, columns, this.#threads, multipliers);
  }

  factors(moments: Moments): ColumnFactors {
    return new ColumnFactors(this.#addon, moments, this.#threads);
  }
}

/** Values of groups that came in the order of places, by the numbers of the groups. */
function byNumber<T extends Float32Array | Uint8Array>(values: T, groups: Int32Array): T {
  if (groups.every((number, place) => number === place)) return values;
  const out = values.slice() as T;
  for (let row = 0; row < values.length; row += groups.length)
    for (let place = 0; place < groups.length; place++) out[row + groups[place]!] = values[row + place]!;
  return out;
}

export function notFinite(name: string, row: number, column: number): HundredweightError {
  return new HundredweightError(
    "MODEL_INVALID",
    `tensor '${name}' has a value that is no finite number, in row ${row}, column ${column}: the model is damaged`,
    { tensor: name, row, column },
  );
}
