/**
 * How far rows of a tensor are from themselves in another type, by the real encoders. With importance the share of
 * weighted squares that is lost, sum w (x - y)^2 / sum w x^2; with moments H of the inputs, with error feedback,
 * tr(E H E') / tr(X H X').
 */
import type { Factors, Feedback, MomentUse } from "../../compress/feedback.js";
import { fillSquare, momentValues } from "../../compress/moments.js";
import { momentsFor, type PlannedTensor, type QuantizeWishes } from "../../compress/quantize-model.js";
import type { SourceFiles } from "../../compress/source-files.js";
import { HundredweightError } from "../../errors.js";
import { blocksBytes, type Dtype, dtypeByName, onlyExtent, type TensorInfo } from "../../formats/index.js";
import { requireAddon } from "../../native/addon.js";

export interface ErrorMeans {
  readonly threads: number;
  /** Moments, as the file will be written with them. */
  readonly wishes?: Pick<QuantizeWishes, "moments" | "feedbackBytes">;
  /** Those of the moments. */
  readonly factors?: Factors | undefined;
}

/** Rows of a tensor that are encoded, and with moments from how many matrices of a stack. */
const sampledRows = 64;
const sampledMatrices = 4;
/** Columns of H that lie in memory as a square. */
const widestBlock = 2048;

/** Rows of one matrix. */
interface Sample {
  readonly matrix: number;
  readonly rows: number;
  readonly values: Float32Array;
}

/** @returns of each type, in their order @throws MODEL_INVALID for values that are no numbers, FILE_IO */
export async function errorsOf(
  planned: PlannedTensor,
  types: readonly Dtype[],
  files: SourceFiles,
  means: ErrorMeans,
): Promise<number[]> {
  const { tensor, importance } = planned;
  const uses = types.map((dtype) => narrowed(means.wishes && momentsFor(means.wishes, tensor, dtype)));
  const matrices = tensor.shape.slice(2).reduce((product, size) => product * size, 1);
  const samples = await samplesOf(planned, files, uses.some((use) => use) ? sampledMatrices : matrices);
  const [lost, all] = [types.map(() => 0), types.map(() => 0)];
  const cols = tensor.shape[0]!;
  // Types of one kind share the order of columns, and so the factor.
  const inTurn = types.map((_, i) => i).sort((a, b) => types[a]!.blockValues - types[b]!.blockValues);
  for (const sample of samples) {
    const weights = importance?.subarray(sample.matrix * cols, (sample.matrix + 1) * cols) ?? null;
    for (const i of inTurn) {
      const found = measure(tensor, sample, types[i]!, weights, uses[i], means);
      lost[i]! += found.lost;
      all[i]! += found.all;
    }
  }
  return types.map((_, i) => (all[i]! > 0 ? lost[i]! / all[i]! : 0));
}

function narrowed(use: MomentUse | undefined): MomentUse | undefined {
  if (use === undefined || use.block <= widestBlock) return use;
  for (let part = 2; ; part++) {
    const block = use.block / part;
    if (block % 256 === 0 && block <= widestBlock) return { entry: use.entry, block };
    if (block < 256) return use;
  }
}

/** Rows spread over the tensor. */
async function samplesOf({ tensor, from }: PlannedTensor, files: SourceFiles, most: number): Promise<Sample[]> {
  const [cols = 1, rows = 1] = tensor.shape;
  const matrices = tensor.shape.slice(2).reduce((product, size) => product * size, 1);
  const looked = Math.min(matrices, most, sampledRows);
  const each = Math.min(rows, Math.floor(sampledRows / looked));
  const { file, offset } = onlyExtent(tensor);
  const rowBytes = blocksBytes(from, cols)!;
  const samples: Sample[] = [];
  for (let m = 0; m < looked; m++) {
    const matrix = Math.floor(((m + 0.5) * matrices) / looked);
    const values = new Float32Array(each * cols);
    for (let r = 0; r < each; r++) {
      const row = matrix * rows + Math.floor(((r + 0.5) * rows) / each);
      const bytes = new Uint8Array(rowBytes);
      await files.read(file, offset + row * rowBytes, bytes);
      requireAddon().dequantize(from.id, bytes, values.subarray(r * cols, (r + 1) * cols), null);
    }
    samples.push({ matrix, rows: each, values });
  }
  return samples;
}

function measure(
  tensor: TensorInfo,
  { matrix, rows, values }: Sample,
  dtype: Dtype,
  weights: Float32Array | null,
  use: MomentUse | undefined,
  { factors, threads }: ErrorMeans,
): { readonly lost: number; readonly all: number } {
  const addon = requireAddon();
  const cols = tensor.shape[0]!;
  const f32 = dtypeByName("F32")!.id;
  const raw = new Uint8Array(values.buffer);
  const out = new Uint8Array(rows * blocksBytes(dtype, cols)!);
  const feedback = use && factors?.of(use, matrix, dtype);
  const bad =
    feedback === undefined
      ? addon.encode(f32, raw, dtype.id, rows, cols, weights, out, threads, null)
      : addon.encodeWithFeedback(
          ...([f32, raw, dtype.id, rows, cols, weights ?? feedback.importance] as const),
          ...([feedback.factor, feedback.block, feedback.order, out, threads, null] as const),
        );
  if (bad >= 0)
    throw new HundredweightError("MODEL_INVALID", `tensor '${tensor.name}' has a value that is no finite number`);
  const back = new Float32Array(values.length);
  addon.dequantize(dtype.id, out, back, null);
  for (let i = 0; i < back.length; i++) back[i] = values[i]! - back[i]!;
  if (feedback !== undefined) {
    const [lost, all] = formsOf([back, values], rows, cols, feedback) as [number, number];
    return { lost, all };
  }
  let [lost, all] = [0, 0];
  for (let i = 0; i < back.length; i++) {
    const weight = weights === null ? 1 : weights[i % cols]!;
    lost += weight * back[i]! ** 2;
    all += weight * values[i]! ** 2;
  }
  return { lost, all };
}

/** tr(X H X') of each X, rows of values; H of blocks with off-diagonals times 1 - shrink. */
function formsOf(
  all: readonly Float32Array[],
  rows: number,
  cols: number,
  { sums, block, shrink }: Pick<Feedback, "sums" | "block" | "shrink">,
): number[] {
  const addon = requireAddon();
  const f32 = dtypeByName("F32")!.id;
  const part = new Float32Array(rows * block);
  const product = new Float32Array(rows * block);
  const square = new Float32Array(block * block);
  const forms = all.map(() => 0);
  for (let first = 0; first < cols; first += block) {
    fillSquare(sums.subarray((first / block) * momentValues(block)), block, 1 - shrink, square);
    for (const [k, x] of all.entries()) {
      for (let r = 0; r < rows; r++) part.set(x.subarray(r * cols + first, r * cols + first + block), r * block);
      addon.dot(f32, new Uint8Array(square.buffer), block, block, part, rows, product, null, "gemm");
      for (let i = 0; i < part.length; i++) forms[k]! += part[i]! * product[i]!;
    }
  }
  return forms;
}
