/** The rows of one tensor in another type, some megabytes at a time. */
import { HundredweightError } from "../errors.js";
import { blocksBytes, type Dtype, onlyExtent, type TensorInfo } from "../formats/index.js";
import { requireAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import { Factors, type MomentUse } from "./feedback.js";
import type { Moments } from "./moments.js";
import type { SourceFiles } from "./source-files.js";

/** Source bytes of a piece; at least one row. */
const pieceBytes = 8 << 20;

export interface EncodeJob {
  readonly tensor: TensorInfo;
  readonly from: Dtype;
  readonly to: Dtype;
  /** A value a column, of each matrix of a stack one after the other. */
  readonly importance: Float32Array | undefined;
  /** Moments of what goes in: codes are chosen with error feedback. */
  readonly moments?: MomentUse | undefined;
}

export interface EncodeMeans {
  readonly addon: Pick<NativeAddon, "encode" | "encodeWithFeedback">;
  readonly threads: number;
  /** For jobs with moments. */
  readonly factors?: Factors | undefined;
  readonly files: SourceFiles;
}

/** @param uses of the moments, by all jobs to come @throws NATIVE_UNAVAILABLE */
export function encodeMeans(
  files: SourceFiles,
  threads: number,
  moments?: Moments,
  uses: readonly MomentUse[] = [],
): EncodeMeans {
  const addon = requireAddon();
  return { addon, threads, files, ...(moments && { factors: new Factors(addon, moments, threads, uses) }) };
}

interface Piece {
  readonly rows: number;
  readonly at: number;
  readonly matrix: number;
}

/** A piece never has rows of two matrices. */
function* piecesOf(rows: number, matrices: number, rowBytes: number): Generator<Piece> {
  const most = Math.max(1, Math.floor(pieceBytes / rowBytes));
  for (let matrix = 0; matrix < matrices; matrix++)
    for (let row = 0; row < rows; row += most)
      yield { rows: Math.min(most, rows - row), at: (matrix * rows + row) * rowBytes, matrix };
}

/**
 * The next piece is read while one is encoded.
 * @throws MODEL_INVALID for a value that is no number, naming tensor and place; FILE_IO, MODEL_CHANGED
 */
export async function* encodeTensor(job: EncodeJob, means: EncodeMeans): AsyncGenerator<Uint8Array> {
  const { tensor, from, to, importance } = job;
  const [cols = 1, rows = 1] = tensor.shape;
  const matrices = tensor.shape.slice(2).reduce((product, size) => product * size, 1);
  const rowBytes = blocksBytes(from, cols)!;
  const { file: path, offset } = onlyExtent(tensor);
  const read = async (piece: Piece): Promise<Uint8Array> => {
    const bytes = new Uint8Array(piece.rows * rowBytes);
    await means.files.read(path, offset + piece.at, bytes);
    return bytes;
  };
  const pieces = [...piecesOf(rows, matrices, rowBytes)];
  let coming = read(pieces[0]!);
  for (const [i, piece] of pieces.entries()) {
    const bytes = await coming;
    const next = pieces[i + 1];
    if (next !== undefined) {
      coming = read(next);
      // Its failure is told when its turn comes.
      coming.catch(() => {});
    }
    if (from === to) {
      yield bytes;
      continue;
    }
    const out = new Uint8Array(piece.rows * blocksBytes(to, cols)!);
    const columns = importance?.subarray(piece.matrix * cols, (piece.matrix + 1) * cols) ?? null;
    const feedback = job.moments && means.factors?.of(job.moments, piece.matrix, to);
    const { addon, threads } = means;
    const bad =
      feedback === undefined
        ? addon.encode(from.id, bytes, to.id, piece.rows, cols, columns, out, threads, null)
        : addon.encodeWithFeedback(
            from.id,
            bytes,
            to.id,
            piece.rows,
            cols,
            columns ?? feedback.importance,
            feedback.factor,
            feedback.block,
            feedback.order,
            out,
            threads,
            null,
          );
    if (bad >= 0) {
      const row = piece.at / rowBytes + Math.floor(bad / cols);
      throw new HundredweightError(
        "MODEL_INVALID",
        `tensor '${tensor.name}' has a value that is no finite number, in row ${row}, column ${bad % cols}: ` +
          "the model is damaged",
        { tensor: tensor.name, row, column: bad % cols },
      );
    }
    yield out;
  }
}
