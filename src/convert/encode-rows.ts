/** The bytes of a tensor in another type or order of rows than it is stored in, a few rows at a time. */
import { quantizeRow } from "../compress/quantize.js";
import { HundredweightError } from "../errors.js";
import { blocksBytes, type Dtype } from "../formats/dtypes.js";
import type { TensorInfo } from "../formats/types.js";
import { changedVector } from "../formats/vector-change.js";
import { exactType, repacker } from "./exact-types.js";
import { type Rotated, sourceRow } from "./rotated-rows.js";
import { type Sources, StoredMatrix, type StoredRun, storedPieces } from "./stored-matrix.js";

/** Bytes that are handed on at once, about. */
const pieceBytes = 4 * 2 ** 20;
/** A matrix that has to be turned round is read again for each part of its columns of so many bytes. */
const turnedBytes = 192 * 2 ** 20;

/** Encodes rows, and refuses what the type would make infinite.  @throws MODEL_INVALID */
export function encodeRow(name: string, dtype: Dtype, values: Float32Array, out: Uint8Array): void {
  quantizeRow(dtype, values, out);
  if (dtype.name !== "F16") return;
  for (let i = 0; i < values.length; i++)
    if ((out[2 * i + 1]! & 0x7c) === 0x7c && Number.isFinite(values[i]))
      throw new HundredweightError(
        "MODEL_INVALID",
        `tensor '${name}' holds ${values[i]}, which F16 cannot; use --type bf16 or f32`,
        { tensor: name },
      );
}

/** Bytes of a row.  @throws MODEL_INVALID where it is not whole blocks */
export function rowBytesOf(name: string, dtype: Dtype, cols: number): number {
  const bytes = blocksBytes(dtype, cols);
  if (bytes !== undefined) return bytes;
  const message = `tensor '${name}' has rows of ${cols} values, no whole blocks of ${dtype.name}`;
  throw new HundredweightError("MODEL_INVALID", message, { tensor: name });
}

/** A matrix, or a stack of them, in the order of GGUF. */
export function* matrixBytes(
  info: TensorInfo,
  dtype: Dtype,
  rotated: Rotated | undefined,
  files: Sources,
): Generator<Uint8Array> {
  const change = files.changes.get(info.name);
  if (info.layout === dtype && rotated === undefined && change === undefined) return yield* storedPieces(info, files);
  const matrix = new StoredMatrix(info, files, rotated?.headDim);
  const { cols, rows, experts } = matrix;
  const bytes = rowBytesOf(info.name, dtype, cols);
  const together = Math.max(1, Math.floor(pieceBytes / bytes));
  const repacks = info.layout.form !== undefined && exactType(matrix) === dtype;
  for (let expert = 0; expert < experts; expert++)
    for (let first = 0; first < rows; first += matrix.run) {
      const run = matrix.read(expert, first);
      const write = repacks ? repacker(matrix, run, dtype) : rowWriter(matrix, run, dtype, bytes, change !== undefined);
      const end = first + Math.min(matrix.run, rows - first);
      for (let from = first; from < end; from += together) {
        const count = Math.min(together, end - from);
        const out = new Uint8Array(count * bytes);
        for (let i = 0; i < count; i++)
          write(rotated === undefined ? from + i : sourceRow(rotated, from + i), out, i * bytes);
        yield out;
      }
    }
}

/** Writes one stored row as a row of the type; `changed`: it is not what is stored. */
function rowWriter(
  matrix: StoredMatrix,
  run: StoredRun,
  dtype: Dtype,
  bytes: number,
  changed: boolean,
): (row: number, out: Uint8Array, at: number) => void {
  const { info, cols } = matrix;
  if (info.layout === dtype && !changed)
    return (row, out, at) => {
      const from = (row - run.first) * bytes;
      out.set(run.stored[0]!.subarray(from, from + bytes), at);
    };
  const values = new Float32Array(cols);
  return (row, out, at) => {
    matrix.decode(run, row, values);
    encodeRow(info.name, dtype, values, out.subarray(at, at + bytes));
  };
}

/** A matrix that lies the other way round, [inputs][outputs]: columns become rows. */
export function* turnedBytesOf(info: TensorInfo, dtype: Dtype, files: Sources): Generator<Uint8Array> {
  const matrix = new StoredMatrix(info, files);
  const { cols: outputs, rows: inputs, experts } = matrix;
  const bytes = rowBytesOf(info.name, dtype, inputs);
  const wide = Math.max(1, Math.min(outputs, Math.floor(turnedBytes / (4 * inputs))));
  const values = new Float32Array(outputs);
  for (let expert = 0; expert < experts; expert++)
    for (let left = 0; left < outputs; left += wide) {
      const count = Math.min(wide, outputs - left);
      const turned = new Float32Array(count * inputs);
      for (let first = 0; first < inputs; first += matrix.run) {
        const run = matrix.read(expert, first);
        for (let input = first; input < Math.min(inputs, first + matrix.run); input++) {
          matrix.decode(run, input, values);
          for (let i = 0; i < count; i++) turned[i * inputs + input] = values[left + i]!;
        }
      }
      const together = Math.max(1, Math.floor(pieceBytes / bytes));
      for (let from = 0; from < count; from += together) {
        const out = new Uint8Array(Math.min(together, count - from) * bytes);
        for (let i = 0; i * bytes < out.length; i++)
          encodeRow(
            info.name,
            dtype,
            turned.subarray((from + i) * inputs, (from + i + 1) * inputs),
            out.subarray(i * bytes, (i + 1) * bytes),
          );
        yield out;
      }
    }
}

/** A vector's values in F32, in the order of GGUF. */
export function vectorBytes(info: TensorInfo, rotated: Rotated | undefined, files: Sources): Uint8Array {
  const values = info.values?.slice() ?? storedVector(info, files);
  changedVector(values, info.change);
  const out = rotated === undefined ? values : values.map((_, i) => values[sourceRow(rotated, i)]!);
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
}

function storedVector(info: TensorInfo, files: Sources): Float32Array {
  const matrix = new StoredMatrix(info, files);
  const out = new Float32Array(matrix.cols * matrix.rows * matrix.experts);
  for (let expert = 0, at = 0; expert < matrix.experts; expert++)
    for (let first = 0; first < matrix.rows; first += matrix.run) {
      const run = matrix.read(expert, first);
      for (let row = first; row < Math.min(matrix.rows, first + matrix.run); row++, at += matrix.cols)
        matrix.decode(run, row, out.subarray(at, at + matrix.cols));
    }
  return out;
}
