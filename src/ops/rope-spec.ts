/** How positions turn queries and keys. */

export interface RopeSpec {
  /** Rotated values of a head (<= headDim); the rest pass through. */
  readonly dims: number;
  /** Angle per position of each pair, f64 [dims / 2]: everything that scales frequencies is already in here. */
  readonly frequencies: Float64Array;
  /** Multiplies cos and sin (YaRN, LongRoPE); 1 otherwise. */
  readonly magnitude: number;
  /** Pairs (2i, 2i+1) when true, (i, i + dims/2) when false. */
  readonly interleaved: boolean;
  /** Rotates as at the position so far before a row's own, or as at 0; default 0. */
  readonly back?: number;
  /** Values of a head before those that are rotated; default 0. */
  readonly first?: number;
}

export interface RopeTable {
  readonly id: number;
}
