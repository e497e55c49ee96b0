/**
 * Matrices as GPTQ keeps them, with or without error feedback: what `quantize --method gptq` writes, and transformers,
 * gptqmodel and vLLM load.
 */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { type IntegerColumns, plainColumns } from "../compress/integer-columns.js";
import { IntegerEncoder, type IntegerForm } from "../compress/integers.js";
import type { MomentEntry, Moments } from "../compress/moments.js";
import { HundredweightError } from "../errors.js";
import { dtypeOf } from "../formats/dtypes.js";
import type { Checkpoint } from "../formats/types.js";
import { type FolderMatrix, type FolderMethod, folderUnsupported } from "./folder-method.js";
import { GptqPlanes } from "./packed-integers.js";
import type { FolderTensor } from "./safetensors-file.js";
import { type Sources, StoredMatrix } from "./stored-matrix.js";

export interface GptqOptions {
  readonly method: "gptq";
  readonly bits: IntegerForm["bits"];
  /** Columns that share a scale; 0: all of a row. */
  readonly group: number;
  readonly symmetric: boolean;
  /** Groups are of columns that matter alike, and an index says which. */
  readonly descAct: boolean;
  /** Means of the diagonal that are added to it. */
  readonly damp: number;
  readonly shrink?: number;
  readonly moments?: Moments;
  readonly threads?: number;
  /** Grids that are tried for each group. */
  readonly trials?: number;
  /** Told of each matrix: how far its outputs are off, as moments weigh it, and whether it had any. */
  readonly onMatrix?: (name: string, error: number, fed: boolean) => void;
}

/** As many as find a scale within a hundredth of the best one's error. */
export const usualTrials = 24;

/** A matrix as it is written. */
interface Made {
  readonly planes: GptqPlanes;
  readonly index: Int32Array;
}

export function gptqMethod(_: Checkpoint, options: GptqOptions, files: Sources): FolderMethod {
  const { bits, group, symmetric, descAct, damp, moments } = options;
  const encoder = new IntegerEncoder(options.threads);
  const factors = moments && encoder.factors(moments);
  const trials = options.trials ?? usualTrials;
  /** The version whose offsets are stored less one knows no zero of its own. */
  const format = symmetric ? 1 : 2;
  let last: { readonly module: string; readonly made: Made } | undefined;
  const make = (matrix: FolderMatrix, wide: number): Made => {
    if (last?.module === matrix.module) return last.made;
    last = undefined;
    const made = quantized(matrix, wide);
    last = { module: matrix.module, made };
    return made;
  };
  const columnsOf = (matrix: FolderMatrix, wide: number): { columns: IntegerColumns; fed: boolean } => {
    const entry = moments && entryOf(moments, matrix);
    const found = entry && factors?.of(entry, matrix.expert ?? 0, { ...options, group: wide });
    return { columns: found ?? plainColumns(matrix.info.shape[0]!, wide), fed: found !== undefined };
  };
  const quantized = (matrix: FolderMatrix, wide: number): Made => {
    const { module, info } = matrix;
    const [cols, rows] = info.shape as [number, number];
    const { columns, fed } = columnsOf(matrix, wide);
    const planes = new GptqPlanes(rows, cols, cols / wide, bits, format === 1 ? 1 : 0);
    const stored = new StoredMatrix(info, files);
    const form = { bits, group: wide, symmetric, trials };
    let error = 0;
    for (let first = 0; first < rows; first += stored.run) {
      const { stored: bytes, count } = stored.read(0, first);
      const source = {
        name: `${module}.weight`,
        dtype: dtypeOf(info.layout)!,
        bytes: bytes[0]!,
        rows: count,
        cols,
        first,
      };
      const made = encoder.encode(source, form, columns);
      planes.add(first, made.codes, made.scales, made.offsets);
      error = made.errors.reduce((sum, one) => sum + one, error);
    }
    options.onMatrix?.(`${module}.weight`, error, fed);
    const index = Int32Array.from({ length: cols }, (_, i) => Math.floor(i / wide));
    if (descAct && fed) for (const [place, column] of columns.order.entries()) index[column] = Math.floor(place / wide);
    return { planes, index };
  };
  return {
    quantization: {
      quant_method: "gptq",
      bits,
      group_size: group === 0 ? -1 : group,
      desc_act: descAct,
      sym: symmetric,
      damp_percent: damp,
      static_groups: false,
      true_sequential: false,
      lm_head: false,
      pack_dtype: "int32",
      checkpoint_format: format === 1 ? "gptq" : "gptq_v2",
      meta: { quantizer: ["hundredweight"] },
    },
    identity: [
      "gptq",
      bits,
      group,
      symmetric,
      descAct,
      damp,
      options.shrink,
      trials,
      moments && momentsIdentity(moments),
    ],
    experts: true,
    tensors: (matrix) => {
      const { module, info } = matrix;
      const [cols, rows] = info.shape as [number, number];
      const wide = group === 0 ? cols : group;
      checkShape(module, rows, cols, wide, bits);
      const part = (name: string, type: "I32" | "F16", shape: number[], of: (made: Made) => ArrayBufferView) =>
        partOf(matrix, name, type, shape, () => of(make(matrix, wide)));
      return [
        part("qweight", "I32", [(cols * bits) / 32, rows], ({ planes }) => planes.words),
        part("qzeros", "I32", [cols / wide, (rows * bits) / 32], ({ planes }) => planes.offsets),
        part("scales", "F16", [cols / wide, rows], ({ planes }) => planes.scales),
        part("g_idx", "I32", [cols], ({ index }) => index),
      ];
    },
  };
}

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

/** @throws OPTION_INVALID for rows that are no whole groups, FORMAT_UNSUPPORTED for what no words hold */
function checkShape(module: string, rows: number, cols: number, group: number, bits: number): void {
  if (cols % group !== 0 || group % 32 !== 0)
    throw new HundredweightError(
      "OPTION_INVALID",
      `'${module}' has rows of ${cols} values, no whole groups of ${group}; take --group-size 32, 64 or -1`,
    );
  if ((rows * bits) % 32 !== 0 || rows % 2 !== 0)
    throw folderUnsupported(`${module}.weight`, `of ${rows} rows, no whole words of ${bits} bits`);
}

/** @throws OPTION_INVALID where there are other columns than the matrix has */
export function entryOf(moments: Moments, { module, info, names }: FolderMatrix): MomentEntry | undefined {
  const entry = names.map((name) => moments.entries.get(name)).find((found) => found !== undefined);
  if (entry === undefined || entry.cols === info.shape[0]) return entry;
  throw new HundredweightError(
    "OPTION_INVALID",
    `${moments.path}: has moments of ${entry.cols} columns for '${module}' with ${info.shape[0]}: ` +
      "it was made from another model",
  );
}

export function momentsIdentity({ path }: Moments): unknown[] {
  const { size, mtimeMs } = statSync(path);
  return [resolve(path), size, mtimeMs];
}
