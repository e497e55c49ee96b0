/** A text goes through a model while somebody listens. */
import { HundredweightError } from "../../errors.js";
import type { Checkpoint } from "../../formats/index.js";
import { ScoredModel, type ScoringOptions } from "../scored-model.js";

export interface VisitOptions extends ScoringOptions {
  readonly signal?: AbortSignal;
  readonly onChunk?: (chunks: number) => void;
}

/**
 * Evaluates every chunk alone, within the memory of the plan; `options.rewrite` puts the listeners in.
 * @param chunks ids, each of `chunkTokens`
 * @returns tokens that were evaluated
 * @throws OPTION_INVALID for no chunk, CANCELLED, what opening throws
 */
export async function visit(
  checkpoint: Checkpoint,
  chunks: Iterable<Int32Array>,
  options: VisitOptions,
): Promise<number> {
  const [model] = await ScoredModel.openAll([checkpoint], options);
  let [tokens, done] = [0, 0];
  try {
    for (const chunk of chunks) {
      for (let from = 0; from < chunk.length; from += model!.maxRows) {
        await new Promise(setImmediate);
        if (options.signal?.aborted) throw new HundredweightError("CANCELLED", "pruning was cancelled");
        await model!.pass([chunk], from, Math.min(chunk.length, from + model!.maxRows));
      }
      tokens += chunk.length;
      options.onChunk?.(++done);
    }
  } finally {
    model!.close();
  }
  if (tokens === 0) throw new HundredweightError("OPTION_INVALID", "the text has no whole chunk; take more text");
  return tokens;
}
