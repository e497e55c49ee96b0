/** Pairs of matrices, and the rows that they are for. */

/**
 * Two matrices in place of one: A [rank, cols] and B [rows, rank]. Of a pair that is looked up by token ids A has a row
 * for each, [ids, rank].
 */
export interface LowRankPair<M> {
  readonly a: M;
  readonly b: M;
}

/** The matrices of an expert. */
export const expertSides = ["gate", "up", "down"] as const;
export type ExpertSide = (typeof expertSides)[number];

/** A pair beside one of the matrices of all experts of a layer: A [experts, rank, cols] and B [experts, rows, rank]. */
export interface ExpertPair<M> {
  readonly side: ExpertSide;
  readonly pair: LowRankPair<M>;
  /** One for each row of the verb's, 0 where the pair is not for it. */
  readonly factors: Float32Array;
}

/** Some rows of a verb's, ascending, each with a factor. */
export interface ChosenRows {
  readonly rows: Int32Array;
  readonly factors: Float32Array;
}
