/**
 * Columns of a matrix in the order in which integers are chosen for them (GPTQ): groups that share a scale, what errors
 * weigh, and the factor by which later columns take over errors of earlier ones.
 * @source Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
 */
import { HundredweightError } from "../errors.js";
import type { NativeAddon } from "../native/addon.types.js";
import { diagonalOf, fillFactor, shrinkFor } from "./feedback.js";
import type { MomentEntry, Moments } from "./moments.js";

export interface IntegerColumns {
  /** The column at each place. */
  readonly order: Int32Array;
  /** Weights of errors, at each place. */
  readonly weights: Float32Array;
  /** Null: each code is chosen for itself. */
  readonly factor: Float32Array | null;
  /** Columns that hear of each other. */
  readonly block: number;
  /** The number of the group at each place of a group. */
  readonly groups: Int32Array;
}

/** Columns as they stand, all of the same weight. */
export function plainColumns(cols: number, group: number): IntegerColumns {
  return {
    order: Int32Array.from({ length: cols }, (_, i) => i),
    weights: new Float32Array(cols).fill(1),
    factor: null,
    block: cols,
    groups: Int32Array.from({ length: cols / group }, (_, i) => i),
  };
}

export interface ColumnWishes {
  /** Columns that share a scale. */
  readonly group: number;
  /** Groups are of columns that matter alike, wherever they stand; an index says which. */
  readonly descAct: boolean;
  /** Means of the diagonal that are added to it. */
  readonly damp: number;
  /** How far off-diagonals are taken back, from 0 to 1; default: by the tokens there were (feedback.ts). */
  readonly shrink?: number | undefined;
}

/** Ascending by what a place weighs less, equal ones as they stand. */
const byWeight = (items: number[], weight: (item: number) => number): number[] =>
  items.sort((a, b) => weight(b) - weight(a) || a - b);

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

/**
 * The most important columns first, since many can make good what they get wrong. Without an index groups stay what
 * they are: whole ones change places, and columns within them.
 */
export function integerOrder(importance: Float32Array, block: number, { group, descAct }: ColumnWishes) {
  const order: number[] = [];
  const groups: number[] = [];
  const sum = (first: number) => importance.subarray(first, first + group).reduce((a, b) => a + b, 0);
  for (let base = 0; base < importance.length; base += block) {
    if (descAct || group >= block) {
      order.push(...byWeight(range(base, block), (column) => importance[column]!));
      continue;
    }
    const weights = new Map(range(0, block / group).map((k) => [base + k * group, sum(base + k * group)]));
    for (const first of byWeight([...weights.keys()], (at) => weights.get(at)!)) {
      groups.push(first / group);
      order.push(...byWeight(range(first, group), (column) => importance[column]!));
    }
  }
  const plain = descAct || group >= block;
  return {
    order: Int32Array.from(order),
    groups: Int32Array.from(plain ? range(0, importance.length / group) : groups),
  };
}

/** Those of one input after the other; matrices that share one and come after one another share its factor. */
export class ColumnFactors {
  readonly #addon: Pick<NativeAddon, "makeFactor">;
  readonly #moments: Moments;
  readonly #threads: number;
  #made: { readonly key: string; readonly columns: IntegerColumns } | undefined;

  constructor(addon: Pick<NativeAddon, "makeFactor">, moments: Moments, threads: number) {
    this.#addon = addon;
    this.#moments = moments;
    this.#threads = threads;
  }

  /**
   * @param matrix of a stack whose matrices may have inputs of their own
   * @returns undefined where no token went in
   * @throws FORMAT_INVALID for sums that are no finite numbers, OPTION_INVALID for groups that blocks of moments cut
   */
  of(entry: MomentEntry, matrix: number, wishes: ColumnWishes): IntegerColumns | undefined {
    const own = entry.rows.length > 1 ? matrix : 0;
    const rows = entry.rows[own] ?? 0;
    if (rows === 0) return undefined;
    const { group, descAct, damp, shrink } = wishes;
    const key = [entry.input, own, group, descAct, damp, shrink].join(" ");
    if (this.#made?.key === key) return this.#made.columns;
    // Two factors never lie in memory at the same time.
    this.#made = undefined;
    const { cols, block } = entry;
    if (block % group !== 0 && group % block !== 0)
      throw new HundredweightError(
        "OPTION_INVALID",
        `groups of ${group} columns do not fit moments that were summed in blocks of ${block}: ` +
          "calibrate with more --moments-memory, or take groups that divide a block",
      );
    const sums = this.#moments.read(entry, own);
    const importance = diagonalOf(sums, cols, block, rows);
    const { order, groups } = integerOrder(importance, block, wishes);
    const factor = new Float32Array(cols * block);
    fillFactor(
      this.#addon,
      this.#moments,
      { input: entry.input, sums, block, order, shrink: shrink ?? shrinkFor(rows, block), damp, factor },
      this.#threads,
    );
    const weights = Float32Array.from(order, (column) => importance[column]!);
    const columns = { order, weights, factor, block, groups };
    this.#made = { key, columns };
    return columns;
  }
}
