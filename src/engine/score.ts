/** Logits and log-probabilities of given tokens. */
import type { JobEvent, ScoreRequest } from "./protocol.js";
import type { EvaluateHooks, Session } from "./session.js";

/** log p(target) under a row of logits, in double precision. */
export function logProbability(logits: Float32Array, target: number): number {
  let max = -Infinity;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return logits[target]! - max - Math.log(sum);
}

export async function score(
  session: Session,
  request: ScoreRequest,
  vocab: number,
  emit: (event: JobEvent) => void,
  hooks: EvaluateHooks,
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
        values[r] = logProbability(logits.subarray(r * vocab, (r + 1) * vocab), tokens[position + r + 1]!);
      }
      emit({ kind: "logprobs", position, values });
    },
  });
}
