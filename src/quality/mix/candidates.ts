/** Types that each tensor of a model may have: their bytes, and how far its rows are from themselves then. */

import type { PlannedTensor } from "../../compress/quantize-model.js";
import { SourceFiles } from "../../compress/source-files.js";
import { needsImportance } from "../../compress/type-plan.js";
import { HundredweightError } from "../../errors.js";
import { blocksBytes, type Dtype, dtypeByName, onlyExtent } from "../../formats/index.js";
import { requireAddon } from "../../native/addon.js";

/** One type of a tensor. */
export interface Candidate {
  readonly dtype: Dtype;
  /** In the file, what aligns it included. */
  readonly bytes: number;
  /** Share of the tensor's weighted squares that is lost: sum w (x - y)^2 / sum w x^2. */
  readonly error: number;
}

export interface Choice {
  readonly planned: PlannedTensor;
  /** By bytes, each with less error than those before it. */
  readonly candidates: readonly Candidate[];
  /** Every type that fits its rows. */
  readonly all: readonly Candidate[];
}

/** Types a search may take. Those of llama.cpp that cost more than others of their size everywhere are left out. */
export const searchedTypes: readonly string[] = [
  ...["IQ2_XXS", "IQ2_XS", "IQ2_S", "Q2_K", "IQ3_XXS", "IQ3_S", "Q3_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_K"],
  ...["Q4_1", "Q5_0", "Q5_K", "Q5_1", "Q6_K", "Q8_0"],
];

/** Rows of a tensor that are encoded to see how far off they are. */
const sampledRows = 64;

export interface ErrorOptions {
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
  readonly onTensor?: (done: number, total: number) => void;
}

/**
 * The real encoders on rows spread over each tensor, with its importance.
 * @param tensors those whose type is free
 * @throws NATIVE_UNAVAILABLE, MODEL_INVALID for values that are no numbers, FILE_IO, CANCELLED
 */
export async function measureCandidates(
  tensors: readonly PlannedTensor[],
  types: readonly string[],
  { threads, signal, onTensor }: ErrorOptions,
): Promise<Choice[]> {
  const files = new SourceFiles();
  const found: Choice[] = [];
  try {
    for (const planned of tensors) {
      if (signal?.aborted) throw new HundredweightError("CANCELLED", "the search was cancelled");
      const all = await errorsOf(planned, types, files, threads);
      found.push({ planned, candidates: hullOf(all), all });
      onTensor?.(found.length, tensors.length);
    }
    return found;
  } finally {
    await files.close();
  }
}

async function errorsOf(
  planned: PlannedTensor,
  types: readonly string[],
  files: SourceFiles,
  threads: number,
): Promise<Candidate[]> {
  const { tensor, from, importance } = planned;
  const [cols = 1, ...rest] = tensor.shape;
  const total = rest.reduce((product, size) => product * size, 1);
  const rowsOfMatrix = rest[0] ?? 1;
  const addon = requireAddon();
  const { file, offset } = onlyExtent(tensor);
  const rowBytes = blocksBytes(from, cols)!;
  const count = Math.min(sampledRows, total);
  const samples: { readonly values: Float32Array; readonly weights: Float32Array | null }[] = [];
  for (let i = 0; i < count; i++) {
    const row = Math.floor(((i + 0.5) * total) / count);
    const bytes = new Uint8Array(rowBytes);
    await files.read(file, offset + row * rowBytes, bytes);
    const values = new Float32Array(cols);
    addon.dequantize(from.id, bytes, values, null);
    const matrix = Math.floor(row / rowsOfMatrix);
    samples.push({ values, weights: importance?.subarray(matrix * cols, (matrix + 1) * cols) ?? null });
  }
  const f32 = dtypeByName("F32")!;
  const found: Candidate[] = [];
  for (const name of types) {
    const dtype = dtypeByName(name)!;
    const encodedRow = blocksBytes(dtype, cols);
    if (encodedRow === undefined || (importance === undefined && needsImportance(tensor.name, dtype, "Q4_0"))) continue;
    let lost = 0;
    let all = 0;
    const back = new Float32Array(cols);
    for (const { values, weights } of samples) {
      const out = new Uint8Array(encodedRow);
      const raw = new Uint8Array(values.buffer);
      if (addon.encode(f32.id, raw, dtype.id, 1, cols, weights, out, threads, null) >= 0)
        throw new HundredweightError("MODEL_INVALID", `tensor '${tensor.name}' has a value that is no finite number`);
      addon.dequantize(dtype.id, out, back, null);
      for (let i = 0; i < cols; i++) {
        const weight = weights === null ? 1 : weights[i]!;
        lost += weight * (values[i]! - back[i]!) ** 2;
        all += weight * values[i]! ** 2;
      }
    }
    found.push({ dtype, bytes: alignedBytes(encodedRow * total), error: all > 0 ? lost / all : 0 });
  }
  const kept = { dtype: from, bytes: alignedBytes(rowBytes * total), error: 0 };
  return [...found.filter(({ bytes }) => bytes < kept.bytes), kept];
}

/** Tensors of a GGUF file lie at multiples of so many bytes. */
export const alignedBytes = (bytes: number): number => Math.ceil(bytes / 32) * 32;

/** Those on the lower convex hull of error over bytes: what a price per byte can choose. */
export function hullOf(candidates: readonly Candidate[]): Candidate[] {
  const sorted = [...candidates].sort((a, b) => a.bytes - b.bytes || a.error - b.error);
  const hull: Candidate[] = [];
  for (const next of sorted) {
    if (hull.length > 0 && (next.error >= hull.at(-1)!.error || next.bytes === hull.at(-1)!.bytes)) continue;
    while (hull.length > 1) {
      const [a, b] = hull.slice(-2) as [Candidate, Candidate];
      const slope = (b.error - a.error) / (b.bytes - a.bytes);
      if ((next.error - b.error) / (next.bytes - b.bytes) > slope) break;
      hull.pop();
    }
    hull.push(next);
  }
  return hull;
}
