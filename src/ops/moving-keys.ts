/** Stored keys that go to other positions. */
import type { RopeSpec } from "./rope-spec.js";

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

interface Pool {
  readonly id: number;
}

/** Works on pages between passes; for pools with a row a position and without `+h` only. */
export interface MovingKeys {
  /**
   * Turns the keys of rows [from, to) of a page of one layer: each is decoded, turned in double and stored once more in
   * its type; values stay.
   */
  kvTurn(pool: Pool, layer: number, page: number, rows: readonly [from: number, to: number], turn: KeyTurn): void;
  /** Copies the first `rows` rows of a page, all layers. */
  kvCopyRows(pool: Pool, from: number, to: number, rows: number): void;
}
