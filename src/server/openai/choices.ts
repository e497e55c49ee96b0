/** The jobs of a request: `n` for each prompt. */
import type { Context } from "hono";
import type { Thinking } from "../../sampling/constraint/thinking.js";
import type { ChoiceJob } from "../answers/answer-set.js";
import { wrongField } from "../http/http-error.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { constraintOf } from "./constraint.js";
import { type AnswerFields, stopsOf } from "./fields.js";
import { userOf } from "./identity.js";
import { samplingOf } from "./sampling.js";

/** @throws HttpError 400 */
export function checkChoices(choices: number, { config }: ServerContext): void {
  const most = Math.min(config.maxChoices, config.maxAnswers);
  if (choices > most) throw wrongField("n", `n: ${choices} answers are more than the ${most} a request may ask for`);
}

export interface ChoiceOptions {
  readonly maxTokens: number;
  /** Likeliest tokens to report beside each one made; undefined = no log-probabilities. */
  readonly logprobs: number | undefined;
  /** The same for the prompt's. */
  readonly promptLogprobs?: number | undefined;
  /** What may be thought before an answer that has to have a form. */
  readonly thinking?: Thinking | undefined;
}

/** Prompt by prompt, with seeds that differ within a prompt. */
export function choicesOf(
  c: Context,
  input: AnswerFields,
  served: ServedModel,
  prompts: readonly Int32Array[],
  { maxTokens, logprobs, promptLogprobs, thinking }: ChoiceOptions,
): ChoiceJob[] {
  const sampling = samplingOf(input, served.info);
  const asked = constraintOf(input);
  const constraint = asked === undefined || thinking === undefined ? asked : { ...asked, thinking };
  return prompts.flatMap((tokens) =>
    Array.from({ length: input.n ?? 1 }, (_, i) => ({
      tokens,
      request: {
        sampling: { ...sampling, seed: (sampling.seed + i) % Number.MAX_SAFE_INTEGER },
        maxTokens,
        stop: stopsOf(input.stop),
        ignoreEos: input.ignore_eos ?? false,
        user: userOf(c, input.user),
        ...(constraint !== undefined && { constraint }),
        ...(logprobs !== undefined && { logprobs }),
        ...(promptLogprobs !== undefined && { promptLogprobs }),
      },
    })),
  );
}
