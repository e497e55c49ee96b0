/** Logits and log-probabilities of given tokens. */
import { type RowScans, topLogprobs } from "../sampling/logprobs.js";
import type { JobEvent, ScoreRequest } from "./protocol.js";
import type { EvaluateHooks, Session } from "./session.js";

export async function score(
  session: Session,
  request: ScoreRequest,
  vocab: number,
  emit: (event: JobEvent) => void,
  hooks: EvaluateHooks,
  scans: RowScans,
): Promise<void> {
  const { tokens, output } = request;
  const from = Math.min(Math.max(0, request.from), tokens.length - 1);
  await session.evaluate(tokens, from, {
    ...hooks,
    onRows: (position, logits) => {
      if (output === "logits") {
        emit({ kind: "logits", position, values: logits.slice() });
        return;
      }
      const rows = logits.length / vocab;
      const values = new Float64Array(Math.min(rows, tokens.length - 1 - position));
      for (let r = 0; r < values.length; r++) {
        values[r] = topLogprobs(
          logits.subarray(r * vocab, (r + 1) * vocab),
          tokens[position + r + 1]!,
          0,
          scans,
        ).logprob;
      }
      emit({ kind: "logprobs", position, values });
    },
  });
}
