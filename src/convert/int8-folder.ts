/**
 * Matrices in 8 bits: as LLM.int8() keeps them (a scale for each output row), or as compressed-tensors packs affine
 * integers, with scales for the whole tensor, each output row, or groups of inputs.
 * @source bitsandbytes-foundation/bitsandbytes 0.50.2, backends/default/ops.py (int8_vectorwise_quant), nn/modules.py;
 *   neuralmagic/compressed-tensors 52792be, quantization/utils/helpers.py (calculate_qparams), pack_quantized.py
 */
import { plainColumns } from "../compress/integer-columns.js";
import { IntegerEncoder, notFinite } from "../compress/integers.js";
import { HundredweightError } from "../errors.js";
import { f16Table, roundHalfEven, toF16 } from "../formats/float16.js";
import type { TensorInfo } from "../formats/types.js";
import { bitsandbytesConfig } from "./bitsandbytes.js";
import { type FolderMatrix, type FolderMethod, folderUnsupported } from "./folder-method.js";
import { integerRuns, partOf } from "./folder-parts.js";
import type { FolderTensor } from "./safetensors-file.js";
import { type Sources, StoredMatrix } from "./stored-matrix.js";

/** `row`: LLM.int8(); the others are affine integers in compressed-tensors' form. */
export const int8Kinds = ["row", "tensor", "channel", "group"] as const;

export interface Int8Options {
  readonly method: "int8";
  readonly per: (typeof int8Kinds)[number];
  /** Columns that share a scale, of `group`. */
  readonly group: number;
  readonly symmetric: boolean;
  readonly threads?: number;
}

export function int8Method(options: Int8Options, files: Sources): FolderMethod {
  const { per, group, symmetric } = options;
  return {
    quantization:
      per === "row" ? bitsandbytesConfig({ _load_in_8bit: true, load_in_8bit: true }) : packedConfig(options),
    identity: ["int8", per, group, symmetric],
    experts: per !== "row",
    tensors: (matrix) => (per === "row" ? rowTensors(matrix, files) : packedTensors(matrix, options, files)),
  };
}

/** Rows of a matrix as floats, in runs. */
function* runsOf(module: string, info: TensorInfo, files: Sources) {
  const [cols, rows] = info.shape as [number, number];
  const matrix = new StoredMatrix(info, files);
  for (let first = 0; first < rows; first += matrix.run) {
    const run = matrix.read(0, first);
    const values = new Float32Array(run.count * cols);
    for (let r = 0; r < run.count; r++) matrix.decode(run, first + r, values.subarray(r * cols, (r + 1) * cols));
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw notFinite(`${module}.weight`, first + Math.floor(bad / cols), bad % cols);
    yield { first, count: run.count, values };
  }
}

function rowScales({ module, info }: FolderMatrix, files: Sources): Float32Array {
  const [cols, rows] = info.shape as [number, number];
  const out = new Float32Array(rows);
  for (const { first, values } of runsOf(module, info, files))
    for (const [i, value] of values.entries()) {
      const row = first + Math.floor(i / cols);
      out[row] = Math.max(out[row]!, Math.abs(value));
    }
  return out;
}

/** LLM.int8(): codes are 127ths of a row's largest value. */
function rowTensors(matrix: FolderMatrix, files: Sources): FolderTensor[] {
  const { module, info } = matrix;
  const [cols, rows] = info.shape as [number, number];
  const codes = function* (): Generator<Uint8Array> {
    for (const { count, values } of runsOf(module, info, files)) {
      const out = new Int8Array(count * cols);
      for (let r = 0; r < count; r++) {
        const row = values.subarray(r * cols, (r + 1) * cols);
        const most = row.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const by = Math.fround(127 / most);
        // The inverse of the smallest numbers is infinite: they are as good as none.
        if (Number.isFinite(by))
          for (let i = 0; i < cols; i++) out[r * cols + i] = roundHalfEven(Math.fround(row[i]! * by));
      }
      yield new Uint8Array(out.buffer);
    }
  };
  const scales = { ...partOf(matrix, "SCB", "F32", [rows], () => rowScales(matrix, files)) };
  const format = partOf(matrix, "weight_format", "U8", [], () => Uint8Array.of(0));
  const weight = partOf(matrix, "weight", "I8", [rows, cols], () => new Uint8Array(0));
  const apart = ({ together: _, ...tensor }: FolderTensor): FolderTensor => tensor;
  return [{ ...apart(weight), data: codes }, apart(scales), apart(format)];
}

/** A whole tensor's scale is that of each of its rows: its form is `channel`. */
function packedConfig({ per, group, symmetric }: Int8Options): Record<string, unknown> {
  const weights = {
    num_bits: 8,
    type: "int",
    symmetric,
    strategy: per === "group" ? "group" : "channel",
    group_size: per === "group" ? group : null,
    actorder: null,
    block_structure: null,
    dynamic: false,
  };
  const of = { targets: ["Linear"], weights, input_activations: null, output_activations: null };
  return {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    quantization_status: "compressed",
    config_groups: { group_0: of },
    ignore: ["lm_head"],
    kv_cache_scheme: null,
  };
}

interface Packed {
  readonly codes: Uint8Array;
  /** [rows][groups] halves */
  readonly scales: Uint16Array;
  /** [rows / 4 words][groups] */
  readonly offsets: Uint8Array;
}

function packedTensors(matrix: FolderMatrix, options: Int8Options, files: Sources): FolderTensor[] {
  const { module, info } = matrix;
  const [cols, rows] = info.shape as [number, number];
  const wide = options.per === "group" ? options.group : cols;
  if (cols % wide !== 0 || cols % 32 !== 0)
    throw new HundredweightError(
      "OPTION_INVALID",
      `'${module}' has rows of ${cols} values, no whole groups of ${wide}; take --group-size 32 or 64`,
    );
  if (rows % 4 !== 0) throw folderUnsupported(`${module}.weight`, `of ${rows} rows, no whole words of four`);
  let made: Packed | undefined;
  const make = (): Packed => {
    made ??= packed(matrix, wide, options, files);
    return made;
  };
  const shape = partOf(matrix, "weight_shape", "I64", [2], () => BigInt64Array.of(BigInt(rows), BigInt(cols)));
  const { together: _, ...apart } = shape;
  const scales = partOf(matrix, "weight_scale", "F16", [rows, cols / wide], () => make().scales);
  const last: FolderTensor = {
    ...scales,
    data: function* () {
      yield* scales.data();
      // Nothing of this matrix comes behind it.
      made = undefined;
    },
  };
  return [
    apart,
    partOf(matrix, "weight_packed", "I32", [rows, cols / 4], () => make().codes),
    ...(options.symmetric
      ? []
      : [partOf(matrix, "weight_zero_point", "I32", [rows / 4, cols / wide], () => make().offsets)]),
    last,
  ];
}

function packed({ module, info }: FolderMatrix, wide: number, options: Int8Options, files: Sources): Packed {
  const [cols, rows] = info.shape as [number, number];
  const groups = cols / wide;
  const out = {
    codes: new Uint8Array(rows * cols),
    scales: new Uint16Array(rows * groups),
    offsets: new Uint8Array(rows * groups),
  };
  const put = (first: number, codes: Uint8Array, scales: ArrayLike<number>, offsets: ArrayLike<number>): void => {
    out.codes.set(codes, first * cols);
    for (let i = 0; i < scales.length; i++) {
      const [row, g] = [first + Math.floor(i / groups), i % groups];
      out.scales[row * groups + g] = toF16(scales[i]!);
      // Four rows of a group are a word.
      out.offsets[4 * (Math.floor(row / 4) * groups + g) + (row % 4)] = offsets[i]!;
    }
  };
  if (options.per === "tensor") {
    const { scale, offset } = wholeGrid(module, info, options.symmetric, files);
    for (const { first, count, values } of runsOf(module, info, files)) {
      const codes = Uint8Array.from(values, (value) =>
        Math.min(255, Math.max(0, scale > 0 ? roundHalfEven(value / scale) + offset : offset)),
      );
      put(first, codes, new Float32Array(count).fill(scale), new Uint8Array(count).fill(offset));
    }
    return out;
  }
  const encoder = new IntegerEncoder(options.threads);
  const form = { bits: 8, group: wide, symmetric: options.symmetric, trials: 1 } as const;
  const matrix = { name: `${module}.weight`, info };
  for (const run of integerRuns(encoder, matrix, files, form, plainColumns(cols, wide)))
    put(run.first, run.codes, run.scales, run.offsets);
  return out;
}

/** One scale, that a half holds, and one code of zero for all of a matrix. */
function wholeGrid(module: string, info: TensorInfo, symmetric: boolean, files: Sources) {
  let [low, high] = [0, 0];
  for (const { values } of runsOf(module, info, files))
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (symmetric) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
  const full = (high - low) / 255;
  const scale = f16Table()[toF16(Math.min(65504, full))]!;
  return { scale, offset: symmetric ? 128 : full > 0 ? Math.min(255, roundHalfEven(-low / full)) : 0 };
}
