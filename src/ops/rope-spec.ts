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

/** By which angles stored keys are turned that go to other positions; cosines and sines [pairs] in double. */
export interface KeyTurn {
  readonly cosines: Float64Array;
  readonly sines: Float64Array;
  /** As in the rotation that made them. */
  readonly interleaved: boolean;
  /** Values of a head before those that are turned. */
  readonly first: number;
}

/** The angles from a position to the one `by` behind it: keys have their magnitude already. */
export function keyTurn({ frequencies, interleaved, first = 0 }: RopeSpec, by: number): KeyTurn {
  return {
    cosines: frequencies.map((frequency) => Math.cos(by * frequency)),
    sines: frequencies.map((frequency) => Math.sin(by * frequency)),
    interleaved,
    first,
  };
}
