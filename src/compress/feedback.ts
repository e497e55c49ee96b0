/** The needs of error feedback for a matrix: the order of its columns, and the factor of its moments. */
import { HundredweightError } from "../errors.js";
import type { Dtype } from "../formats/index.js";
import type { NativeAddon } from "../native/addon.types.js";
import { type MomentEntry, type Moments, momentTile, momentValues } from "./moments.js";

/** As encodeWithFeedback of the addon takes it. */
export interface Feedback {
  readonly factor: Float32Array;
  readonly block: number;
  readonly order: Int32Array;
  /** The mean square of each column's input. */
  readonly importance: Float32Array;
  /** The sums that the factor was made of, and how far their off-diagonals were taken back. */
  readonly sums: Float32Array;
  readonly shrink: number;
}

/** Means of the diagonal that are added to it, so that columns without inputs have a factor. */
const damp = 0.01;

/**
 * How far off-diagonals are taken back. Sums over few tokens say more of these tokens than of the model: a tenth when
 * there are many times more tokens than columns, everything where there are less than half as many.
 */
export function shrinkFor(rows: number, block: number): number {
  return rows <= 0 ? 1 : Math.min(1, 0.1 + (0.4 * block) / rows);
}

/** Columns that stay side by side: values that share a code or signs. */
const groups: Readonly<Record<string, 1 | 8>> = {
  ...Object.fromEntries(
    "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS".split(" ").map((name) => [name, 1] as const),
  ),
  ...Object.fromEntries("IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S".split(" ").map((name) => [name, 8] as const)),
};

/** Types whose codes are chosen one after the other. */
export const takesFeedback = (dtype: Dtype): boolean => groups[dtype.name] !== undefined;

const chunkOf = (dtype: Dtype): number => Math.max(32, dtype.blockValues);

/** Moments as one matrix takes them: of blocks that divide those of the entry. */
export interface MomentUse {
  readonly entry: MomentEntry;
  /** Columns of a block. */
  readonly block: number;
}

/** Bytes that lie in memory for one matrix: sums, factor, and what factoring takes. */
export function feedbackBytes({ entry: { cols }, block }: MomentUse): number {
  return 4 * (cols / block) * momentValues(block) + 4 * cols * block + 8 * block * (block + 65);
}

/** The memory of feedback where nobody says it; not the machine's, since the bytes of a file follow from it. */
export const usualFeedbackBytes = 6 * 2 ** 30;

/**
 * The widest blocks that take at most `bytes`; the narrowest there are where all take more.
 * @returns undefined where the type has no feedback, or its super-blocks do not fit the blocks
 */
export function momentUse(entry: MomentEntry, dtype: Dtype, bytes: number): MomentUse | undefined {
  const chunk = chunkOf(dtype);
  if (!takesFeedback(dtype) || entry.block % chunk !== 0) return undefined;
  const parts = entry.block / chunk;
  for (let part = 1; part < parts; part++) {
    const use = { entry, block: entry.block / part };
    if (parts % part === 0 && feedbackBytes(use) <= bytes) return use;
  }
  return { entry, block: chunk };
}

/** One after the other; matrices that share their inputs and come after one another share the factor. */
export class Factors {
  readonly #addon: Pick<NativeAddon, "makeFactor">;
  readonly #threads: number;
  readonly #moments: Moments;
  #made: { readonly key: string; readonly feedback: Feedback } | undefined;
  // Used again and again: memory that waits to be collected would come on top of what was promised.
  #sums = new Float32Array(0);
  #factor = new Float32Array(0);

  /** @param most of all uses to come */
  constructor(
    addon: Pick<NativeAddon, "makeFactor">,
    moments: Moments,
    threads: number,
    most: Iterable<MomentUse> = [],
  ) {
    this.#addon = addon;
    this.#moments = moments;
    this.#threads = threads;
    let [sums, factor] = [0, 0];
    for (const use of most) {
      sums = Math.max(sums, sumsOf(use));
      factor = Math.max(factor, use.entry.cols * use.block);
    }
    this.#sums = new Float32Array(sums);
    this.#factor = new Float32Array(factor);
  }

  /**
   * Good until the next call.
   * @param matrix of a stack whose matrices may have inputs of their own
   * @returns undefined where nothing is known of the inputs
   * @throws FORMAT_INVALID for sums that are no finite numbers
   */
  of(use: MomentUse, matrix: number, dtype: Dtype): Feedback | undefined {
    const { entry, block } = use;
    const { cols } = entry;
    const own = entry.rows.length > 1 ? matrix : 0;
    const rows = entry.rows[own] ?? 0;
    if (rows === 0) return undefined;
    const chunk = chunkOf(dtype);
    const group = groups[dtype.name] ?? 1;
    const key = `${entry.input} ${own} ${block} ${chunk} ${group}`;
    if (this.#made?.key === key) return this.#made.feedback;
    this.#made = undefined;
    if (this.#sums.length < sumsOf(use)) this.#sums = new Float32Array(sumsOf(use));
    if (this.#factor.length < cols * block) this.#factor = new Float32Array(cols * block);
    const sums = this.#sums.subarray(0, sumsOf(use));
    const factor = this.#factor.subarray(0, cols * block);
    this.#moments.readInto(entry, own, block, sums);
    const importance = diagonalOf(sums, cols, block, rows);
    const order = feedbackOrder(importance, chunk, group);
    const shrink = shrinkFor(rows, block);
    fillFactor(
      this.#addon,
      this.#moments,
      { input: entry.input, sums, block, order, shrink, damp, factor },
      this.#threads,
    );
    this.#made = { key, feedback: { factor, block, order, importance, sums, shrink } };
    return this.#made.feedback;
  }
}

/** The sums that a factor is made of, and how. */
export interface FactorJob {
  readonly input: string;
  readonly sums: Float32Array;
  readonly block: number;
  readonly order: Int32Array;
  /** How far off-diagonals are taken back, from 0 to 1. */
  readonly shrink: number;
  /** Means of the diagonal that are added to it. */
  readonly damp: number;
  /** [cols][block], filled. */
  readonly factor: Float32Array;
}

/** @throws FORMAT_INVALID for sums that are no finite numbers */
export function fillFactor(
  addon: Pick<NativeAddon, "makeFactor">,
  { path }: Pick<Moments, "path">,
  { input, sums, block, order, shrink, damp, factor }: FactorJob,
  threads: number,
): void {
  try {
    addon.makeFactor(sums, block, order, shrink, damp, factor, threads, null);
  } catch (cause) {
    throw new HundredweightError(
      "FORMAT_INVALID",
      `${path}: the moments of '${input}' are of no use: ${(cause as Error).message}`,
      {},
      { cause },
    );
  }
}

const sumsOf = ({ entry: { cols }, block }: MomentUse): number => (cols / block) * momentValues(block);

/** Mean squares. @throws nothing: what is not finite is found where the factor is made */
export function diagonalOf(sums: Float32Array, cols: number, block: number, rows: number): Float32Array {
  const tiles = block / momentTile;
  return Float32Array.from({ length: cols }, (_, column) => {
    const inBlock = column % block;
    const p = Math.floor(inBlock / momentTile);
    const tile = p * tiles - (p * (p - 1)) / 2;
    const at = Math.floor(column / block) * momentValues(block) + tile * momentTile ** 2;
    return sums[at + (inBlock % momentTile) * (momentTile + 1)]! / rows;
  });
}

/** The most important first, within each chunk; of groups the sum counts, and equal ones stay as they stand. */
export function feedbackOrder(importance: Float32Array, chunk: number, group: number): Int32Array {
  const order = new Int32Array(importance.length);
  const weight = (first: number) => importance.subarray(first, first + group).reduce((a, b) => a + b, 0);
  for (let at = 0; at < order.length; at += chunk) {
    const firsts = Array.from({ length: chunk / group }, (_, k) => at + k * group);
    const weights = new Map(firsts.map((first) => [first, weight(first)]));
    firsts.sort((i, j) => weights.get(j)! - weights.get(i)! || i - j);
    for (const [k, first] of firsts.entries()) for (let i = 0; i < group; i++) order[at + k * group + i] = first + i;
  }
  return order;
}
