/** `/completion` and `/completions` as llama-server has them, and what `/infill` shares with them. */

import type { Context, Hono } from "hono";
import type { GenerateRequest } from "../../link/protocol.js";
import { adaptersOf } from "../answers/adapters.js";
import { checkChoices, choicesOf } from "../answers/choices.js";
import { encodeMixed, promptsOf } from "../answers/mixed-prompt.js";
import { servedFor, userOf } from "../answers/request.js";
import { respond } from "../answers/respond.js";
import { samplingOf } from "../answers/sampling.js";
import { readJson } from "../http/body.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import { constraintOf } from "../openai/constraint.js";
import { stopsOf } from "../openai/fields.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { biasesOf } from "./biases.js";
import { LlamaShape } from "./completion-shape.js";
import { type LlamaInput, llamaCompletionSchema } from "./input.js";

export function llamaCompletionRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", ["/completion", "/completions"], async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(llamaCompletionSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const { prompt, ...settings } = value;
    const { prompts, several } = promptsOf(prompt);
    return answerLlama({
      ...{ c, context, warnings, arrived, several },
      input: settings,
      count: prompts.length,
      encode: (served) => Promise.all(prompts.map((one) => encodeMixed(one, served, settings))),
    });
  });
}

export interface LlamaAnswer {
  readonly c: Context;
  readonly context: ServerContext;
  readonly warnings: Warnings;
  readonly arrived: number;
  readonly input: LlamaInput;
  /** Prompts, before they are tokens. */
  readonly count: number;
  readonly several: boolean;
  encode(served: ServedModel): Promise<readonly Int32Array[]>;
}

/** @throws HttpError while no header is out */
export async function answerLlama(answer: LlamaAnswer): Promise<Response> {
  const { c, context, warnings, arrived, input, count, several, encode } = answer;
  const n = input.n_cmpl ?? input.n ?? 1;
  const served = await servedFor(c, context, input.model, warnings);
  checkChoices(count * n, context);
  const release = context.gate.enter(count * n);
  try {
    const tokens = await encode(served);
    const constraint = constraintOf(input);
    const adapters = adaptersOf(input.lora, served);
    const probabilities = input.n_probs ?? input.logprobs ?? 0;
    const sampled = input.post_sampling_probs === true;
    const choices = choicesOf(tokens, n, {
      sampling: samplingOf({ ...input, logit_bias: await biasesOf(input.logit_bias, served) }, served.info),
      maxTokens: input.n_predict ?? input.max_completion_tokens ?? input.max_tokens ?? served.defaults.maxTokens ?? -1,
      stop: stopsOf(input.stop),
      ignoreEos: input.ignore_eos ?? false,
      user: userOf(c, input.user),
      scope: ownerOf(c, context.config),
      ...keptOf(input),
      ...(constraint !== undefined && { constraint }),
      ...(adapters !== undefined && { adapters }),
      ...(probabilities > 0 && { logprobs: probabilities, ...(sampled && { logprobsSampled: true }) }),
    });
    const { stream = false } = input;
    const shape = new LlamaShape(served, choices, {
      ...{ stream, several, probabilities, sampled },
      timings: input.timings_per_token ?? false,
      tokens: input.return_tokens ?? false,
      progress: input.return_progress ?? false,
      fields: input.response_fields,
      slot: input.id_slot ?? -1,
      prompts: await Promise.all(
        tokens.map((ids) => served.text.perform({ kind: "decode", tokens: ids, special: true, exact: true })),
      ),
    });
    const limit = input.t_max_predict_ms ?? -1;
    const maxTimeMs = input.max_time_ms ?? (limit < 0 ? undefined : limit);
    return await respond({ c, context, served, choices, shape, stream, maxTimeMs, warnings, arrived, release });
  } catch (error) {
    release();
    throw error;
  }
}

/** The tokens that stay of a full context; whether it goes on is the server's to say. */
function keptOf({ n_keep: keep, n_discard: discard }: LlamaInput): Pick<GenerateRequest, "whenFull"> {
  if (keep === undefined && discard === undefined) return {};
  return { whenFull: { ...(keep !== undefined && { keep }), ...(discard !== undefined && { discard }) } };
}
