/** Types that each tensor of a model may have: their bytes, and how far its rows are from themselves then. */

import { Factors } from "../../compress/feedback.js";
import type { PlannedTensor } from "../../compress/quantize-model.js";
import { SourceFiles } from "../../compress/source-files.js";
import { needsImportance } from "../../compress/type-plan.js";
import { HundredweightError } from "../../errors.js";
import { blocksBytes, type Dtype, dtypeByName } from "../../formats/index.js";
import { requireAddon } from "../../native/addon.js";
import { type ErrorMeans, errorsOf } from "./errors.js";

/** One type of a tensor. */
export interface Candidate {
  readonly dtype: Dtype;
  /** In the file, what aligns it included. */
  readonly bytes: number;
  /** Share of what the tensor makes of its inputs that is lost, as far as these are known (errors.ts). */
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

export interface ErrorOptions extends Omit<ErrorMeans, "factors"> {
  readonly signal?: AbortSignal | undefined;
  readonly onTensor?: (done: number, total: number) => void;
}

/**
 * The real encoders on rows spread over each tensor, with its importance, and with error feedback where there are
 * moments.
 * @param tensors those whose type is free
 * @throws NATIVE_UNAVAILABLE, MODEL_INVALID for values that are no numbers, FILE_IO, CANCELLED
 */
export async function measureCandidates(
  tensors: readonly PlannedTensor[],
  types: readonly string[],
  options: ErrorOptions,
): Promise<Choice[]> {
  const files = new SourceFiles();
  const moments = options.wishes?.moments;
  const factors = moments && new Factors(requireAddon(), moments, options.threads);
  const found: Choice[] = [];
  try {
    for (const planned of tensors) {
      if (options.signal?.aborted) throw new HundredweightError("CANCELLED", "the search was cancelled");
      const all = await candidatesOf(planned, types, files, { ...options, factors });
      found.push({ planned, candidates: hullOf(all), all });
      options.onTensor?.(found.length, tensors.length);
    }
    return found;
  } finally {
    await files.close();
  }
}

async function candidatesOf(
  planned: PlannedTensor,
  types: readonly string[],
  files: SourceFiles,
  means: ErrorMeans,
): Promise<Candidate[]> {
  const { tensor, from, importance } = planned;
  const [cols = 1, ...rest] = tensor.shape;
  const rows = rest.reduce((product, size) => product * size, 1);
  const fitting = types
    .map((name) => dtypeByName(name)!)
    .filter((dtype) => blocksBytes(dtype, cols) !== undefined)
    .filter((dtype) => importance !== undefined || !needsImportance(tensor.name, dtype, "Q4_0"));
  const errors = await errorsOf(planned, fitting, files, means);
  const found = fitting.map((dtype, i) => ({
    dtype,
    bytes: alignedBytes(blocksBytes(dtype, cols)! * rows),
    error: errors[i]!,
  }));
  const kept = { dtype: from, bytes: alignedBytes(blocksBytes(from, cols)! * rows), error: 0 };
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
