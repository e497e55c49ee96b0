/** The jobs of a request: `n` for each prompt. */
import type { GenerateRequest } from "../../link/protocol.js";
import { wrongField } from "../http/http-error.js";
import type { ServerContext } from "../service/context.js";
import type { ChoiceJob } from "./answer-set.js";

/** @throws HttpError 400 */
export function checkChoices(choices: number, { config }: ServerContext): void {
  const most = Math.min(config.maxChoices, config.maxAnswers);
  if (choices > most) throw wrongField("n", `n: ${choices} answers are more than the ${most} a request may ask for`);
}

/** Prompt by prompt, with seeds that differ within a prompt. */
export function choicesOf(
  prompts: readonly Int32Array[],
  n: number,
  request: Omit<GenerateRequest, "kind" | "prompt">,
): ChoiceJob[] {
  const { sampling } = request;
  return prompts.flatMap((tokens) =>
    Array.from({ length: n }, (_, i) => ({
      tokens,
      request: { ...request, sampling: { ...sampling, seed: (sampling.seed + i) % Number.MAX_SAFE_INTEGER } },
    })),
  );
}
