/** Matrices as AWQ's "gemm" version keeps them, their scales folded into what comes before: `--method awq`. */
import { plainColumns } from "../compress/integer-columns.js";
import { IntegerEncoder } from "../compress/integers.js";
import type { Moments } from "../compress/moments.js";
import { dtypeOf } from "../formats/dtypes.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import { describeModel } from "../models/index.js";
import { encodeRow } from "./encode-rows.js";
import { type FolderMatrix, type FolderMethod, folderUnsupported, linearMatrices } from "./folder-method.js";
import { entryOf, integerRuns, madeOnce, noWholeGroups, partOf } from "./folder-parts.js";
import { Folds, floatsOf } from "./folds.js";
import { usualTrials } from "./gptq-folder.js";
import { AwqPlanes } from "./packed-integers.js";
import { fileIdentity } from "./planned.js";
import type { Sources } from "./stored-matrix.js";

export interface AwqOptions {
  readonly method: "awq";
  /** Columns that share a scale; 0: all of a row. */
  readonly group: number;
  readonly symmetric: boolean;
  readonly moments: Moments;
  readonly threads?: number;
  /** Grids that are tried for each group: how far its range is cut off. */
  readonly trials?: number;
  readonly onMatrix?: (name: string, error: number, fed: boolean) => void;
}

const bits = 4;

export function awqMethod(checkpoint: Checkpoint, options: AwqOptions, files: Sources): FolderMethod {
  const { group, symmetric, moments } = options;
  const encoder = new IntegerEncoder(options.threads);
  const trials = options.trials ?? usualTrials;
  const description = describeModel(checkpoint);
  const folds = new Folds(description, linearMatrices(checkpoint), moments, { bits, group, symmetric }, files, encoder);
  const make = madeOnce((matrix, wide): AwqPlanes => {
    const { module, info, names } = matrix;
    const [cols, rows] = info.shape as [number, number];
    const known = entryOf(moments, matrix) === undefined ? undefined : names.find((name) => moments.entries.has(name));
    const squares = known === undefined ? undefined : folds.weights(known);
    const multipliers = names.map((name) => folds.multipliers(name)).find((found) => found !== undefined);
    const plain = plainColumns(cols, wide);
    const weights = squares?.map((w, i) => w / (multipliers?.[i] ?? 1) ** 2) ?? plain.weights;
    const divisors = rowDivisors(matrix, rows, folds);
    const planes = new AwqPlanes(rows, cols, cols / wide);
    const form = { bits, group: wide, symmetric, trials } as const;
    const groups = cols / wide;
    let error = 0;
    const matrixOf = { name: `${module}.weight`, info };
    for (const run of integerRuns(encoder, matrixOf, files, form, { ...plain, weights }, multipliers)) {
      const scales = run.scales.map((scale, i) => scale / divisors[run.first + Math.floor(i / groups)]!);
      planes.add(run.first, run.codes, scales, run.offsets);
      error = run.errors.reduce((sum, one) => sum + one, error);
    }
    options.onMatrix?.(`${module}.weight`, error, squares !== undefined);
    return planes;
  });
  return {
    quantization: {
      quant_method: "awq",
      bits,
      group_size: group === 0 ? -1 : group,
      zero_point: true,
      version: "gemm",
      modules_to_not_convert: null,
    },
    identity: ["awq", group, symmetric, trials, fileIdentity(moments.path)],
    experts: true,
    tensors: (matrix) => {
      const { module, info } = matrix;
      const [cols, rows] = info.shape as [number, number];
      const wide = group === 0 ? cols : group;
      if (cols % wide !== 0) throw noWholeGroups(module, cols, wide);
      if (rows % 8 !== 0) throw folderUnsupported(`${module}.weight`, `of ${rows} rows, no whole words of eight`);
      const part = (name: string, type: "I32" | "F16", shape: number[], of: (planes: AwqPlanes) => ArrayBufferView) =>
        partOf(matrix, name, type, shape, () => of(make(matrix, wide)));
      return [
        part("qweight", "I32", [cols, rows / 8], ({ words }) => words),
        part("qzeros", "I32", [cols / wide, rows / 8], ({ offsets }) => offsets),
        part("scales", "F16", [cols / wide, rows], ({ scales }) => scales),
      ];
    },
    vector: (names, info) => {
      const divisors = names.map((name) => folds.divisors(name)).find((found) => found !== undefined);
      if (divisors === undefined) return undefined;
      return () => dividedBytes(info, divisors, files);
    },
  };
}

function rowDivisors({ parts }: FolderMatrix, rows: number, folds: Folds): Float32Array {
  const out = new Float32Array(rows).fill(1);
  for (const [name, runs] of parts) {
    const divisors = folds.divisors(name);
    if (divisors === undefined) continue;
    let at = 0;
    for (const [first, count] of runs) for (let i = 0; i < count; i++) out[first + i] = divisors[at++]!;
  }
  return out;
}

/** A vector divided value by value, in the type it has. */
function dividedBytes(info: TensorInfo, divisors: Float32Array, files: Sources): Uint8Array {
  const values = floatsOf(info, files);
  const less = info.change === "plus one" ? 1 : 0;
  for (let i = 0; i < values.length; i++) values[i] = values[i]! / divisors[i]! - less;
  const dtype = dtypeOf(info.layout)!;
  const out = new Uint8Array(values.length * dtype.blockBytes);
  encodeRow(info.name, dtype, values, out);
  return out;
}
