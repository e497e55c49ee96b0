/** The body of llama-server's `/completion`: its names, and what of them is refused. */
import { z } from "zod";
import { mixedPrompt } from "../answers/mixed-prompt.js";
import { samplingFields } from "../answers/sampling.js";
import { tokenId } from "../answers/token-id.js";
import { ruled } from "../http/field-rules.js";
import { marked, unlisted } from "../http/served-limits.js";
import { oneForm } from "../openai/constraint.js";
import { answerFields } from "../openai/fields.js";

const most = 2 ** 31 - 1;
const bias = z.union([z.number().min(-1e6).max(1e6), z.literal(false)]);

const { n, user, model, stream, stop, seed: _, logit_bias: __, ...others } = { ...answerFields, ...samplingFields };

export const llamaFields = {
  ...others,
  model,
  stream,
  stop,
  user,
  n: n.meta(unlisted),
  n_cmpl: n.describe("llama.cpp's name of n."),
  seed: samplingFields.seed,
  logit_bias: z
    .union([z.record(z.string().max(500), bias), z.array(z.tuple([z.union([tokenId, z.string()]), bias])).max(10_000)])
    .optional()
    .describe("Token id or text -> bias, false = never; a text stands for each of its tokens."),
  max_completion_tokens: answerFields.max_tokens,
  n_probs: z.int().min(0).max(100).optional().describe("Likeliest tokens to report beside each one made."),
  logprobs: z.int().min(0).max(100).optional().describe("The same."),
  post_sampling_probs: z.boolean().optional().describe("Probabilities after the samplers, not before."),
  return_tokens: z.boolean().optional(),
  timings_per_token: z.boolean().optional(),
  response_fields: z.array(z.string().max(200)).max(100).optional().describe("Only these; `a/b` is b of a."),
  t_max_predict_ms: z.int().min(-1).max(most).optional().describe("Like max_time_ms; -1 = no limit."),
  verbose: z.boolean().optional(),
  id_slot: z.int().min(-1).max(most).optional().describe("Taken: there are no slots to choose from."),
  n_keep: z
    .int()
    .min(-1)
    .max(most)
    .optional()
    .describe("First tokens that stay when the context is full (--when-full)."),
  n_discard: z.int().min(0).max(most).optional().describe("Tokens behind them that go then; 0: half of the others."),
  n_cache_reuse: z.int().min(0).max(most).optional(),
  sse_ping_interval: z.int().min(-1).max(most).optional(),
  backend_sampling: z.boolean().optional(),
  n_indent: z.literal(0, "not supported but for 0").optional(),
  adaptive_target: z.number().lt(0, "not supported but for numbers below 0, which are off").optional(),
  adaptive_decay: z.number().optional(),
};

export const llamaCompletionSchema = ruled(
  z.object({
    ...llamaFields,
    prompt: mixedPrompt,
    parse_special: z.boolean().optional().describe("Control tokens written in a prompt count as such. Default true."),
    add_special: z.boolean().optional().describe("Add BOS as the model wants. Default true."),
  }),
  oneForm,
).meta(marked({ askedRoughly: ["prompt", "n_cmpl"] }));

export type LlamaInput = z.output<z.ZodObject<typeof llamaFields>>;
