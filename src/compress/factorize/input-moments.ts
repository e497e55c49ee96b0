/** H of a matrix's inputs, as one matrix that is only multiplied with. */
import { diagonalOf, shrinkFor } from "../feedback.js";
import { fillSquare, type MomentEntry, type Moments, momentTile, momentValues } from "../moments.js";
import { timesRows } from "../ridge.js";

/** Bytes that H may take; it is taken in narrower blocks where it takes more. */
const mostBytes = 2 ** 30;
/** Means of the diagonal that are added to it, as for error feedback. */
const damp = 0.01;

export class InputMoments {
  readonly #cols: number;
  readonly #block: number;
  readonly #squares: readonly Float32Array[];

  /** H with off-diagonals taken back as for error feedback: they say little where tokens were few. */
  constructor(moments: Moments, entry: MomentEntry) {
    let block = entry.block;
    for (let part = 2; 4 * entry.cols * block > mostBytes && entry.block / part >= momentTile; part++)
      if ((entry.block / part) % momentTile === 0) block = entry.block / part;
    [this.#cols, this.#block] = [entry.cols, block];
    const rows = entry.rows[0]!;
    const sums = new Float32Array((entry.cols / block) * momentValues(block));
    moments.readInto(entry, 0, block, sums);
    const diagonal = diagonalOf(sums, entry.cols, block, 1);
    const mean = diagonal.reduce((sum, value) => sum + value, 0) / entry.cols;
    this.#squares = Array.from({ length: entry.cols / block }, (_, at) => {
      const square = new Float32Array(block * block);
      fillSquare(sums.subarray(at * momentValues(block)), block, 1 - shrinkFor(rows, block), square);
      for (let i = 0; i < block; i++) square[i * block + i]! += damp * mean;
      return square;
    });
  }

  /** @shape x and result [rows][cols] */
  times(x: Float32Array): Float32Array {
    const [cols, block] = [this.#cols, this.#block];
    if (block === cols) return timesRows(this.#squares[0]!, cols, x);
    const rows = x.length / cols;
    const out = new Float32Array(x.length);
    const part = new Float32Array(rows * block);
    for (const [at, square] of this.#squares.entries()) {
      const first = at * block;
      for (let row = 0; row < rows; row++)
        part.set(x.subarray(row * cols + first, row * cols + first + block), row * block);
      const made = timesRows(square, block, part);
      for (let row = 0; row < rows; row++) out.set(made.subarray(row * block, (row + 1) * block), row * cols + first);
    }
    return out;
  }
}
