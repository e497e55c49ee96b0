/** Fields that chat and text completions share. */
import { z } from "zod";
import { samplingFields } from "../answers/sampling.js";
import { wrongField } from "../http/http-error.js";
import { constraintFields } from "./constraint.js";

const most = 2 ** 31 - 1;

export const answerFields = {
  model: z.string().max(500).optional().describe("Taken as it is: the one model of the server answers."),
  stream: z.boolean().optional(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).optional(),
  n: z.int().min(1).max(1000).optional().describe("Answers to each prompt; answer i has the seed + i."),
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
  user: z.string().max(500).optional().describe("Users who wait take turns."),
  // Without effect here, and no reason to warn.
  metadata: z.record(z.string(), z.unknown()).optional(),
  store: z.boolean().optional(),
  service_tier: z.string().optional(),
  safety_identifier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  cache_prompt: z.boolean().optional(),
  ...constraintFields,
  // Refused unless they ask for nothing: see `refuseUnsupported`.
  functions: z.array(z.unknown()).optional(),
  function_call: z.unknown().optional(),
  modalities: z.array(z.string()).optional(),
};

export function maxTokensOf({ max_tokens, n_predict }: CommonInput): number | undefined {
  return max_tokens ?? n_predict;
}

export type CommonInput = z.output<z.ZodObject<typeof answerFields>>;

/**
 * A field that changes an answer's meaning and is not supported is an error, never silently left out.
 * @throws HttpError 400
 */
export function refuseUnsupported(input: CommonInput): void {
  const refuse = (param: string, what: string): never => {
    throw wrongField(param, `${param}: ${what} not supported by this server`, "unsupported_parameter");
  };
  if ((input.functions?.length ?? 0) > 0) refuse("functions", "are what `tools` is now; they are");
  if (!["none", "auto", undefined].includes(input.function_call as string | undefined)) {
    refuse("function_call", "is what `tool_choice` is now; it is");
  }
  if (input.modalities?.some((m) => m !== "text")) refuse("modalities", "only text is made, other kinds are");
}

export function stopsOf(stop: CommonInput["stop"]): string[] {
  return (typeof stop === "string" ? [stop] : (stop ?? [])).filter((text) => text !== "");
}
