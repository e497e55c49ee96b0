/** The jobs of a request: `n` for each prompt. */
import type { Context } from "hono";
import type { GenerateRequest } from "../../link/protocol.js";
import type { Constraint } from "../../sampling/constraint/source.js";
import type { Thinking } from "../../sampling/constraint/thinking.js";
import type { ChoiceJob } from "../answers/answer-set.js";
import { wrongField } from "../http/http-error.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { constraintOf } from "./constraint.js";
import { type CommonInput, stopsOf } from "./fields.js";
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
  /** Control tokens whose texts belong to the answer. */
  readonly shown?: readonly number[] | undefined;
  /** Where thinking ends. */
  readonly thinking?: GenerateRequest["thinking"] | undefined;
  /** The form of calls, in an answer that has no other. */
  readonly calls?: Constraint | undefined;
  /** Marks of what may be thought before an answer that has to have a form. */
  readonly marks?: Thinking | undefined;
}

/** Prompt by prompt, with seeds that differ within a prompt. */
export function choicesOf(
  c: Context,
  input: CommonInput,
  served: ServedModel,
  prompts: readonly Int32Array[],
  { maxTokens, logprobs, promptLogprobs, shown = [], thinking, marks, calls }: ChoiceOptions,
): ChoiceJob[] {
  const sampling = samplingOf(input, served.info);
  const asked = constraintOf(input);
  const formed = asked === undefined || marks === undefined ? asked : { ...asked, thinking: marks };
  const constraint = formed ?? calls;
  return prompts.flatMap((tokens) =>
    Array.from({ length: input.n ?? 1 }, (_, i) => ({
      tokens,
      request: {
        sampling: { ...sampling, seed: (sampling.seed + i) % Number.MAX_SAFE_INTEGER },
        maxTokens,
        stop: stopsOf(input.stop),
        ignoreEos: input.ignore_eos ?? false,
        user: userOf(c, input.user),
        ...(shown.length > 0 && { shown }),
        ...(thinking !== undefined && { thinking }),
        ...(constraint !== undefined && { constraint }),
        ...(logprobs !== undefined && { logprobs }),
        ...(promptLogprobs !== undefined && { promptLogprobs }),
      },
    })),
  );
}
