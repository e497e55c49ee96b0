/** Matrices as GPTQ keeps them, with or without error feedback: what `quantize --method gptq` writes. */
import { type IntegerColumns, plainColumns } from "../compress/integer-columns.js";
import { IntegerEncoder, type IntegerForm } from "../compress/integers.js";
import type { Moments } from "../compress/moments.js";
import type { Checkpoint } from "../formats/types.js";
import { type FolderMatrix, type FolderMethod, folderUnsupported } from "./folder-method.js";
import { entryOf, integerRuns, madeOnce, noWholeGroups, partOf } from "./folder-parts.js";
import { GptqPlanes } from "./packed-integers.js";
import { fileIdentity } from "./planned.js";
import type { Sources } from "./stored-matrix.js";

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
  const columnsOf = (matrix: FolderMatrix, wide: number): { columns: IntegerColumns; fed: boolean } => {
    const entry = moments && entryOf(moments, matrix);
    const found = entry && factors?.of(entry, matrix.expert ?? 0, { ...options, group: wide });
    return { columns: found ?? plainColumns(matrix.info.shape[0]!, wide), fed: found !== undefined };
  };
  const make = madeOnce((matrix, wide): Made => {
    const { module, info } = matrix;
    const [cols, rows] = info.shape as [number, number];
    const { columns, fed } = columnsOf(matrix, wide);
    const planes = new GptqPlanes(rows, cols, cols / wide, bits, format === 1 ? 1 : 0);
    const form = { bits, group: wide, symmetric, trials };
    let error = 0;
    for (const run of integerRuns(encoder, { name: `${module}.weight`, info }, files, form, columns)) {
      planes.add(run.first, run.codes, run.scales, run.offsets);
      error = run.errors.reduce((sum, one) => sum + one, error);
    }
    options.onMatrix?.(`${module}.weight`, error, fed);
    const index = Int32Array.from({ length: cols }, (_, i) => Math.floor(i / wide));
    if (descAct && fed) for (const [place, column] of columns.order.entries()) index[column] = Math.floor(place / wide);
    return { planes, index };
  });
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
      moments && fileIdentity(moments.path),
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

/** @throws OPTION_INVALID for rows that are no whole groups, FORMAT_UNSUPPORTED for what no words hold */
function checkShape(module: string, rows: number, cols: number, group: number, bits: number): void {
  if (cols % group !== 0 || group % 32 !== 0) throw noWholeGroups(module, cols, group);
  if ((rows * bits) % 32 !== 0 || rows % 2 !== 0)
    throw folderUnsupported(`${module}.weight`, `of ${rows} rows, no whole words of ${bits} bits`);
}
