/**
 * Two factors of a matrix whose product errs least on its inputs: tr((W - BA) H (W - BA)') is least where the columns
 * of B span the largest eigenvectors of W H W', and A = B'W. That is the truncated SVD of W H^(1/2) without the root.
 * @source Wang et al. 2024, "SVD-LLM: Truncation-aware Singular Value Decomposition for LLM Compression"
 */
import { timesRows, turned } from "../ridge.js";
import { leadingDirections } from "../subspace.js";
import type { InputMoments } from "./input-moments.js";

export interface Factors {
  /** [rank][cols] */
  readonly first: Float32Array;
  /** [rows][rank] */
  readonly second: Float32Array;
  /** The share of tr(W H W') that is lost. */
  readonly lost: number;
}

/**
 * @param values [rows][cols]
 * @param moments of the inputs; absent: all columns alike, which is the plain SVD
 * @param rank at most the number of rows
 */
export function factorsOf(values: Float32Array, cols: number, rank: number, moments?: InputMoments): Factors {
  const rows = values.length / cols;
  const across = turned(values, cols);
  const weighed = (x: Float32Array): Float32Array => moments?.times(x) ?? x;
  const apply = (block: Float32Array): Float32Array => timesRows(values, cols, weighed(timesRows(across, rows, block)));
  const { rows: directions, values: kept } = leadingDirections(apply, rows, rank);
  const whole = weighed(values);
  let trace = 0;
  for (let i = 0; i < values.length; i++) trace += values[i]! * whole[i]!;
  const sum = kept.reduce((total, value) => total + value, 0);
  return {
    first: timesRows(across, rows, directions),
    second: turned(directions, rows),
    lost: trace > 0 ? Math.max(0, 1 - sum / trace) : 0,
  };
}
