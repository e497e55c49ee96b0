/** Pairs of matrices, and the rows that they are for. */

/**
 * Two matrices in place of one: A [rank, cols] and B [rows, rank]. Of a pair that is looked up by token ids A has a row
 * for each, [ids, rank].
 */
export interface LowRankPair<M> {
  readonly a: M;
  readonly b: M;
}

/** Some rows of a verb's, ascending, each with a factor. */
export interface ChosenRows {
  readonly rows: Int32Array;
  readonly factors: Float32Array;
}
