/** Pieces that ways of quantizing a folder share: tensors of a matrix, its integers run by run, its moments. */
import type { IntegerColumns } from "../compress/integer-columns.js";
import type { IntegerEncoder, IntegerForm, IntegerRows } from "../compress/integers.js";
import { type MomentEntry, type Moments, misfitMoments } from "../compress/moments.js";
import { HundredweightError } from "../errors.js";
import { dtypeOf } from "../formats/dtypes.js";
import type { TensorInfo } from "../formats/types.js";
import type { FolderMatrix } from "./folder-method.js";
import type { FolderTensor } from "./safetensors-file.js";
import { type Sources, StoredMatrix } from "./stored-matrix.js";

const cells = { I64: 8, I32: 4, F32: 4, F16: 2, I8: 1, U8: 1 } as const;

/** A tensor of a quantized matrix, which is made when its turn comes. */
export function partOf(
  { module, info }: FolderMatrix,
  name: string,
  type: "I64" | "I32" | "F32" | "F16" | "I8" | "U8",
  shape: readonly number[],
  values: () => ArrayBufferView,
): FolderTensor {
  const cellBytes = cells[type];
  return {
    name: `${module}.${name}`,
    dtype: { name: type },
    stored: type,
    cellBytes,
    bytes: cellBytes * shape.reduce((product, size) => product * size, 1),
    shape: shape.toReversed(),
    from: [{ name: `${module}.weight`, layout: info.layout }],
    changes: [],
    rounded: true,
    part: true,
    together: module,
    data: function* () {
      const { buffer, byteOffset, byteLength } = values();
      yield new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
    },
  };
}

/**
 * A matrix of floats as integers, some rows at a time.
 * @param name of the matrix, for errors
 * @param multipliers of columns, before anything else
 * @throws MODEL_INVALID for a value that is no finite number
 */
export function* integerRuns(
  encoder: IntegerEncoder,
  { name, info }: { readonly name: string; readonly info: TensorInfo },
  files: Sources,
  form: IntegerForm,
  columns: IntegerColumns,
  multipliers?: Float32Array,
): Generator<IntegerRows & { readonly first: number }> {
  const [cols, rows] = info.shape as [number, number];
  const dtype = dtypeOf(info.layout)!;
  const matrix = new StoredMatrix(info, files);
  for (let first = 0; first < rows; first += matrix.run) {
    const { stored, count } = matrix.read(0, first);
    const source = { name, dtype, bytes: stored[0]!, rows: count, cols, first };
    yield { first, ...encoder.encode(source, form, columns, multipliers) };
  }
}

/** Keeps what was made of the last matrix: its tensors are written one after the other. */
export function madeOnce<Made>(
  make: (matrix: FolderMatrix, group: number) => Made,
): (matrix: FolderMatrix, group: number) => Made {
  let last: { readonly module: string; readonly made: Made } | undefined;
  return (matrix, group) => {
    if (last?.module !== matrix.module) {
      // Two of them never lie in memory at the same time.
      last = undefined;
      last = { module: matrix.module, made: make(matrix, group) };
    }
    return last.made;
  };
}

export function noWholeGroups(module: string, cols: number, group: number): HundredweightError {
  return new HundredweightError(
    "OPTION_INVALID",
    `'${module}' has rows of ${cols} values, no whole groups of ${group}; take --group-size 32, 64 or -1`,
  );
}

/** @throws OPTION_INVALID where there are other columns than the matrix has */
export function entryOf(moments: Moments, { module, info, names }: FolderMatrix): MomentEntry | undefined {
  const entry = names.map((name) => moments.entries.get(name)).find((found) => found !== undefined);
  if (entry === undefined || entry.cols === info.shape[0]) return entry;
  throw misfitMoments(moments, entry, module, info.shape[0]);
}
