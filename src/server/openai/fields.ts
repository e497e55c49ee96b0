/** Fields that chat and text completions share. */
import { z } from "zod";
import { loraField } from "../answers/adapters.js";
import { samplingFields } from "../answers/sampling.js";
import { marked } from "../http/served-limits.js";
import { constraintFields } from "./constraint.js";

const most = 2 ** 31 - 1;

export const answerFields = {
  model: z.string().max(500).optional().describe("Taken as it is: the one model of the server answers."),
  stream: z.boolean().optional(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).optional(),
  n: z
    .int()
    .min(1)
    .max(1000)
    .meta(marked({ limits: { maximum: "answers" } }))
    .optional()
    .describe("Answers to each prompt; answer i has the seed + i."),
  stop: z
    .union([z.string().max(1000), z.array(z.string().max(1000)).max(16)], "a text or a list of up to 16 texts")
    .optional(),
  max_tokens: z.int().min(-1).max(most).optional().describe("-1 = until the context is full."),
  n_predict: z.int().min(-1).max(most).optional().describe("llama.cpp's name of max_tokens."),
  ...samplingFields,
  ignore_eos: z.boolean().optional().describe("Never let the model end by itself."),
  timings_per_token: z.boolean().optional().describe("Streams: every chunk has `timings`."),
  return_progress: z.boolean().optional().describe("Streams: chunks with `prompt_progress` while the prompt is read."),
  max_time_ms: z.int().min(1).max(most).optional().describe("The answer ends with what it has after this time."),
  lora: loraField,
  user: z.string().max(500).optional().describe("Users who wait take turns."),
  // Without effect here, and no reason to warn.
  metadata: z.record(z.string(), z.unknown()).optional(),
  store: z.boolean().optional(),
  service_tier: z.string().optional(),
  safety_identifier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  cache_prompt: z.boolean().optional(),
  ...constraintFields,
  // Refused unless they ask for nothing: an answer that ignored them would be wrong in silence.
  functions: z.array(z.unknown()).max(0, "are what `tools` is now; they are not supported").optional(),
  function_call: z.enum(["none", "auto"], "is what `tool_choice` is now; it is not supported").optional(),
  modalities: z.array(z.literal("text", "only text is made, other kinds are not supported")).optional(),
};

export function maxTokensOf({ max_tokens, n_predict }: CommonInput): number | undefined {
  return max_tokens ?? n_predict;
}

export type CommonInput = z.output<z.ZodObject<typeof answerFields>>;

export function stopsOf(stop: CommonInput["stop"]): string[] {
  return (typeof stop === "string" ? [stop] : (stop ?? [])).filter((text) => text !== "");
}
