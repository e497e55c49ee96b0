/**
 * How much each layer changes what goes through it: one minus the cosine of the residual stream before and behind it.
 * @source Men et al. 2024, "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect"
 */
import type { Checkpoint } from "../../formats/index.js";
import { withStreamTaps } from "../../models/index.js";
import { type VisitOptions, visit } from "./visit.js";

/**
 * @param chunks ids, each of `chunkTokens`
 * @returns a number for each layer, the mean over all tokens
 * @throws OPTION_INVALID for no chunk or a model with several streams, CANCELLED, what opening throws
 */
export async function blockInfluence(
  checkpoint: Checkpoint,
  chunks: Iterable<Int32Array>,
  options: VisitOptions,
): Promise<Float64Array> {
  let before: Float32Array = new Float32Array(0);
  let cols = 0;
  const sums: number[] = [];
  const hear = (layer: number, rows: Float32Array): void => {
    if (layer > 0) sums[layer - 1] = (sums[layer - 1] ?? 0) + cosineDistances(before, rows, cols);
    before = rows.slice();
  };
  const rewrite = (program: Parameters<typeof withStreamTaps>[0]) => {
    cols = program.streams[0]![0]!.cols;
    return withStreamTaps(program, hear);
  };
  const tokens = await visit(checkpoint, chunks, { ...options, rewrite });
  return Float64Array.from(sums, (sum) => sum / tokens);
}

function cosineDistances(a: Float32Array, b: Float32Array, cols: number): number {
  let sum = 0;
  for (let at = 0; at < a.length; at += cols) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = at; i < at + cols; i++) {
      ab += a[i]! * b[i]!;
      aa += a[i]! * a[i]!;
      bb += b[i]! * b[i]!;
    }
    sum += aa > 0 && bb > 0 ? 1 - ab / Math.sqrt(aa * bb) : 0;
  }
  return sum;
}
