/** Which rows of a pass an adapter is for, and how much it counts there: filled when rows are about to be walked. */
import type { ChosenRows, RowTable } from "../ops/ops.js";
import type { RowSet } from "./flow/flow.js";

export class AdapterRows {
  readonly slot: number;
  readonly set: RowSet;
  readonly #rows: Int32Array;
  readonly #scales: Float32Array;
  #count = 0;
  /** By the scale of a pair. */
  readonly #chosen = new Map<number, ChosenRows>();
  readonly #factors = new Map<number, Float32Array>();

  /** @param slot number of the adapter among those of the model @param most rows of the set */
  constructor(slot: number, set: RowSet, most: number) {
    this.slot = slot;
    this.set = set;
    this.#rows = new Int32Array(most);
    this.#scales = new Float32Array(most);
  }

  /** @param of the rows of the table that the set has, in its order; null: all */
  fill({ count, sequences, adapters }: RowTable, of: Int32Array | null): void {
    this.#count = 0;
    this.#chosen.clear();
    this.#factors.clear();
    const rows = of?.length ?? count;
    for (let i = 0; i < rows; i++) {
      const scale = adapters?.[sequences[of === null ? i : of[i]!]!]?.[this.slot] ?? 0;
      if (scale === 0) continue;
      this.#rows[this.#count] = i;
      this.#scales[this.#count++] = scale;
    }
  }

  /** @returns null when the adapter is for none of the rows */
  of(scale: number): ChosenRows | null {
    if (this.#count === 0) return null;
    const known = this.#chosen.get(scale);
    if (known !== undefined) return known;
    const rows = this.#rows.subarray(0, this.#count);
    const factors = this.#scales.slice(0, this.#count);
    for (let i = 0; i < factors.length; i++) factors[i] = factors[i]! * Math.fround(scale);
    const made = { rows, factors };
    this.#chosen.set(scale, made);
    return made;
  }

  /** The factor of each of `count` rows, 0 where the adapter is not for it.  @returns null when it is for none */
  factors(scale: number, count: number): Float32Array | null {
    const chosen = this.of(scale);
    if (chosen === null) return null;
    const known = this.#factors.get(scale);
    if (known?.length === count) return known;
    const made = new Float32Array(count);
    for (const [i, row] of chosen.rows.entries()) made[row] = chosen.factors[i]!;
    this.#factors.set(scale, made);
    return made;
  }
}
