/** Float matrices of a file whose columns may go, and what calibration says of their inputs. */
import type { MomentEntry, Moments } from "../../compress/moments.js";
import { ColumnRepair } from "../../compress/repair.js";
import { SourceFiles } from "../../compress/source-files.js";
import type { HundredweightError } from "../../errors.js";
import { decodeRow, dtypeOf, onlyExtent, type TensorInfo } from "../../formats/index.js";
import type { PrunedTensor } from "./layers.js";

export interface ColumnOptions {
  readonly threads?: number;
  /** Whether the columns that stay make good what went; default true. */
  readonly repair?: boolean;
}

const pieceRows = 256;

export class ColumnCut {
  readonly #moments: Moments;
  readonly #repair: ColumnRepair;
  readonly #repairs: boolean;
  readonly #refuse: (what: string) => HundredweightError;

  /**
   * @param refuse makes the error that names the option
   * @throws NATIVE_UNAVAILABLE
   */
  constructor(moments: Moments, options: ColumnOptions, refuse: (what: string) => HundredweightError) {
    this.#moments = moments;
    this.#repair = new ColumnRepair(moments, options.threads);
    this.#repairs = options.repair !== false;
    this.#refuse = refuse;
  }

  /**
   * The share of each column in the output, alone: the squares of its weights times those of its inputs.
   * @throws OPTION_INVALID for a quantized matrix and moments of another model
   */
  async shares(matrix: TensorInfo): Promise<Float64Array> {
    const squares = this.#repair.squares(this.#entry(matrix));
    const weights = new Float64Array(squares.length);
    for await (const values of rowsOf(matrix))
      for (let i = 0; i < values.length; i++) weights[i % squares.length]! += values[i]! ** 2;
    return weights.map((weight, column) => weight * squares[column]!);
  }

  /**
   * The matrix without the other columns.
   * @param kept columns that stay, ascending
   */
  without(matrix: TensorInfo, kept: Int32Array): PrunedTensor {
    const shape = [kept.length, matrix.shape[1] ?? 1];
    const entry = this.#entry(matrix);
    const data = () => bytesOf(matrix, kept, this.#repairs ? this.#repair.for(entry, kept) : undefined);
    return { name: matrix.name, tensor: { ...matrix, shape }, data };
  }

  #entry(matrix: TensorInfo): MomentEntry {
    const dtype = dtypeOf(matrix.layout);
    if (dtype === undefined || dtype.blockValues > 1)
      throw this.#refuse(`'${matrix.name}' is quantized; take F16, BF16 or F32`);
    const entry = this.#moments.entries.get(matrix.name);
    if (entry?.cols !== matrix.shape[0] || entry.rows.length !== 1 || !(entry.rows[0]! > 0))
      throw this.#refuse(`${this.#moments.path} says nothing of '${matrix.name}'`);
    return entry;
  }
}

/** The indexes of the largest, ascending; of equal ones the first. */
export function largest(scores: ArrayLike<number>, count: number): Int32Array {
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b);
  return Int32Array.from(order.slice(0, count)).sort();
}

/** Bytes of some rows of a matrix, one part after the other. */
async function* partsOf(matrix: TensorInfo): AsyncGenerator<{ first: number; rows: number; bytes: Uint8Array }> {
  const [cols = 1, rows = 1] = matrix.shape;
  const rowBytes = cols * dtypeOf(matrix.layout)!.blockBytes;
  const { file, offset } = onlyExtent(matrix);
  const files = new SourceFiles();
  try {
    for (let first = 0; first < rows; first += pieceRows) {
      const bytes = new Uint8Array(Math.min(pieceRows, rows - first) * rowBytes);
      await files.read(file, offset + first * rowBytes, bytes);
      yield { first, rows: bytes.length / rowBytes, bytes };
    }
  } finally {
    await files.close();
  }
}

async function* rowsOf(matrix: TensorInfo): AsyncGenerator<Float32Array> {
  const cols = matrix.shape[0]!;
  for await (const { rows, bytes } of partsOf(matrix)) {
    const values = new Float32Array(rows * cols);
    for (let row = 0; row < rows; row++)
      decodeRow(matrix.layout, [bytes], rows, row, values.subarray(row * cols, (row + 1) * cols));
    yield values;
  }
}

async function* bytesOf(
  matrix: TensorInfo,
  kept: Int32Array,
  repaired: ReturnType<ColumnRepair["for"]> | undefined,
): AsyncGenerator<Uint8Array> {
  const dtype = dtypeOf(matrix.layout)!;
  const cols = matrix.shape[0]!;
  for await (const part of partsOf(matrix)) {
    if (repaired !== undefined) {
      yield repaired({ name: matrix.name, dtype, cols, ...part });
      continue;
    }
    const cell = dtype.blockBytes;
    const out = new Uint8Array(part.rows * kept.length * cell);
    for (let row = 0, at = 0; row < part.rows; row++)
      for (const column of kept) {
        const from = (row * cols + column) * cell;
        out.set(part.bytes.subarray(from, from + cell), at);
        at += cell;
      }
    yield out;
  }
}
