/** Every row of a model over some texts, as a student is taught by it: draws of each, in a file of references. */
import { HundredweightError } from "../errors.js";
import type { ReferenceWriter } from "./reference-file.js";
import type { ScoredModel } from "./scored-model.js";

export interface TeachOptions {
  readonly signal?: AbortSignal;
  readonly onChunk?: (chunks: number) => void;
}

/**
 * Chunks are evaluated alone. A row is written for every token but the last of a chunk.
 * @returns rows that were written
 * @throws OPTION_INVALID for no chunk, CANCELLED, what the model and the writer throw
 */
export async function teach(
  model: ScoredModel,
  chunks: Iterable<Int32Array>,
  writer: ReferenceWriter,
  { signal, onChunk }: TeachOptions = {},
): Promise<number> {
  const { vocab } = model;
  let [rows, done] = [0, 0];
  for (const chunk of chunks) {
    writer.begin([chunk]);
    for (let from = 0; from < chunk.length; from += model.maxRows) {
      // Signals are heard between passes.
      await new Promise(setImmediate);
      if (signal?.aborted) throw new HundredweightError("CANCELLED", "teaching was cancelled");
      const to = Math.min(chunk.length, from + model.maxRows);
      await model.pass([chunk], from, to);
      for (let first = from; first < Math.min(to, chunk.length - 1); first += model.logitRows) {
        const count = Math.min(model.logitRows, to - first, chunk.length - 1 - first);
        const logits = await model.logits(Int32Array.from({ length: count }, (_, i) => first - from + i));
        for (let i = 0; i < count; i++) writer.row(logits.subarray(i * vocab, (i + 1) * vocab), chunk[first + i + 1]!);
        rows += count;
      }
    }
    done++;
    onChunk?.(done);
  }
  if (done === 0) throw new HundredweightError("OPTION_INVALID", "the text has no whole chunk; take more text");
  return rows;
}
