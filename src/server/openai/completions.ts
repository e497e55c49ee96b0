/** `/v1/completions`: continues texts or token ids, echoes and scores them. */

import type { Hono } from "hono";
import type { z } from "zod";
import { adaptersOf } from "../answers/adapters.js";
import { checkChoices, choicesOf } from "../answers/choices.js";
import { encodeSuffix } from "../answers/gap.js";
import { fitting, servedFor, userOf } from "../answers/request.js";
import { respond } from "../answers/respond.js";
import { samplingOf } from "../answers/sampling.js";
import { readJson } from "../http/body.js";
import { wrongField } from "../http/http-error.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { completionSchema, type promptSchema } from "./completion-input.js";
import { CompletionShape } from "./completion-shape.js";
import { constraintOf } from "./constraint.js";
import { maxTokensOf, stopsOf } from "./fields.js";

/** OpenAI's default: a completion is not an answer that ends by itself. */
const defaultMaxTokens = 16;

export function completionRoutes(app: Hono, context: ServerContext): void {
  app.post("/v1/completions", async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(completionSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const n = value.n ?? 1;
    const { suffix = "" } = value;
    const prompts = promptsOf(value.prompt);
    const served = await servedFor(c, context, value.model, warnings);
    checkChoices(prompts.length * n, context);
    const release = context.gate.enter(prompts.length * n);
    try {
      const tokens = await (suffix === ""
        ? encodePrompts(prompts, served, value)
        : Promise.all(prompts.map((prompt) => encodeSuffix(textOnly(prompt), suffix, served))));
      const { logprobs } = value;
      const constraint = constraintOf(value);
      const adapters = adaptersOf(value.lora, served);
      const choices = choicesOf(tokens, n, {
        sampling: samplingOf(value, served.info),
        maxTokens: maxTokensOf(value) ?? served.defaults.maxTokens ?? defaultMaxTokens,
        stop: stopsOf(value.stop),
        ignoreEos: value.ignore_eos ?? false,
        user: userOf(c, value.user),
        scope: ownerOf(c, context.config),
        ...(constraint !== undefined && { constraint }),
        ...(adapters !== undefined && { adapters }),
        ...(logprobs !== undefined && { logprobs, ...(value.echo === true && { promptLogprobs: logprobs }) }),
      });
      const echoed = value.echo ? await textsOf(prompts, served) : undefined;
      // The texts are tokens now; an answer that takes hours does not hold them.
      const { prompt: _, ...settings } = value;
      const shape = new CompletionShape(served, choices, settings, echoed);
      const { stream = false, max_time_ms: maxTimeMs } = value;
      return await respond({ c, context, served, choices, shape, stream, maxTimeMs, warnings, arrived, release });
    } catch (error) {
      release();
      throw error;
    }
  });
}

type OnePrompt = string | readonly number[];

export function promptsOf(prompt: z.output<typeof promptSchema>): readonly OnePrompt[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as OnePrompt[]);
}

/** @throws HttpError 400 for an empty prompt or one that is too long; OPTION_INVALID for ids out of range */
export async function encodePrompts(
  prompts: readonly OnePrompt[],
  served: ServedModel,
  options: { parse_special?: boolean | undefined; add_special?: boolean | undefined },
  param = "prompt",
): Promise<Int32Array[]> {
  const { info, text } = served;
  const encoded: Int32Array[] = [];
  for (const prompt of prompts) {
    const { contextTokens: most } = info;
    let tokens: Int32Array;
    if (typeof prompt === "string") {
      const parseSpecial = options.parse_special ?? true;
      const addSpecial = options.add_special ?? true;
      const request = { kind: "encodePrompt", text: prompt, addSpecial, parseSpecial, most } as const;
      tokens = fitting(await text.perform(request), most, param);
    } else {
      const wrong = prompt.find((id) => id >= info.vocab);
      if (wrong !== undefined)
        throw wrongField(param, `${param}: token ${wrong} is not in the vocabulary of ${info.vocab}`);
      tokens = Int32Array.from(prompt);
    }
    // A model needs one token to continue; what begins a text is what an empty one has.
    if (tokens.length === 0) {
      const start = text.info.bos ?? text.info.eos;
      if (start === undefined)
        throw wrongField(param, `${param}: an empty text, and the model has no token to begin with`);
      tokens = Int32Array.of(start);
    }
    encoded.push(fitting(tokens, most, param));
  }
  return encoded;
}

/** @throws HttpError 400 */
function textOnly(prompt: OnePrompt): string {
  if (typeof prompt === "string") return prompt;
  throw wrongField("prompt", "prompt: with a suffix it is a text, not token ids");
}

function textsOf(prompts: readonly OnePrompt[], served: ServedModel): Promise<string[]> {
  return Promise.all(
    prompts.map((prompt) =>
      typeof prompt === "string"
        ? prompt
        : served.text.perform({ kind: "decode", tokens: Int32Array.from(prompt), special: true }),
    ),
  );
}
