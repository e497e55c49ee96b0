/** The bodies of Ollama's API: what its clients send, and what of it means something here. */
import { z } from "zod";
import { samplingRanges } from "../../sampling/settings.js";
import type { SamplingInput } from "../answers/sampling.js";
import { tokenId } from "../answers/token-id.js";
import { toolName } from "../exchange/tool-name.js";
import { needsOne, ruled } from "../http/field-rules.js";
import { marked } from "../http/served-limits.js";

const most = 2 ** 31 - 1;
const whole = z.int().min(-most).max(most);
const number = (name: keyof typeof samplingRanges) => {
  const [least, largest, integer] = samplingRanges[name];
  return (integer ? z.int() : z.number()).min(least).max(largest).optional();
};

/** Sampling under Ollama's names, and what of a model's loading has no meaning for one that is loaded. */
const options = z.looseObject({
  num_predict: z.int().min(-2).max(most).optional(),
  temperature: number("temperature"),
  top_k: z.int().min(-1).max(most).optional(),
  top_p: number("topP"),
  min_p: number("minP"),
  typical_p: number("typical"),
  repeat_last_n: number("penaltyLastTokens"),
  repeat_penalty: number("repeatPenalty"),
  presence_penalty: number("presencePenalty"),
  frequency_penalty: number("frequencyPenalty"),
  mirostat: number("mirostat"),
  mirostat_tau: number("mirostatTau"),
  mirostat_eta: number("mirostatEta"),
  seed: whole.optional(),
  stop: z.union([z.string().max(1000), z.array(z.string().max(1000)).max(16)]).optional(),
  num_ctx: whole.optional(),
  num_keep: whole.optional(),
  num_batch: whole.optional(),
  num_gpu: whole.optional(),
  num_thread: whole.optional(),
  use_mmap: z.boolean().optional(),
});

const keepAlive = z
  .union([z.number(), z.string().regex(/^(-?[0-9]+|-?([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$/, "seconds, or like 5m")])
  .describe("Taken: the model of this server stays.");

const schema = z.union([z.record(z.string(), z.unknown()), z.literal("json"), z.literal("")], "json, or a JSON schema");

export const commonFields = {
  model: z.string().max(500).optional(),
  options: options.optional(),
  keep_alive: keepAlive.optional(),
};

const answerFields = {
  ...commonFields,
  stream: z.boolean().optional().describe("Default true."),
  format: schema.optional().describe("`json`, or the schema of the answer."),
  think: z.union([z.boolean(), z.enum(["low", "medium", "high", "max"])], "true, false, low, medium, high").optional(),
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(20).optional(),
  truncate: z.boolean().optional().describe("Taken: a prompt that is too long is refused."),
  shift: z.boolean().optional().describe("Taken: an answer ends where the context ends."),
};

const images = z.array(z.string()).max(0, "images are not supported").optional();

const message = z.looseObject({
  role: z.enum(["system", "user", "assistant", "tool"], "system, user, assistant or tool"),
  content: z.string().nullish(),
  thinking: z.string().nullish(),
  images: images.nullable(),
  tool_calls: z
    .array(
      z.looseObject({
        id: z.string().max(200).optional(),
        function: z.looseObject({ name: z.string().max(200), arguments: z.record(z.string(), z.unknown()).nullish() }),
      }),
    )
    .max(1000)
    .nullish(),
  tool_name: z.string().max(200).nullish(),
  tool_call_id: z.string().max(200).nullish(),
});

const tool = z.looseObject({
  type: z.literal("function").optional(),
  function: z.looseObject({
    name: toolName,
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
  }),
});

export const chatSchema = z.object({
  ...answerFields,
  messages: z.array(message, "a list of messages").optional().describe("None: the model is loaded."),
  tools: z.array(tool, "a list of tools").max(1024).optional(),
});

export const generateSchema = z.object({
  ...answerFields,
  prompt: z.string().optional().describe("None: the model is loaded."),
  suffix: z
    .string()
    .meta(marked({ limits: { maxLength: "gap" } }))
    .optional()
    .describe("What stands behind the gap that is filled: for models with FIM tokens."),
  system: z.string().optional(),
  template: z.string().optional().describe("Go's `{{ .System }}`, `{{ .Prompt }}`, `{{ if }}`, `{{ else }}`; no more."),
  raw: z.boolean().optional().describe("The prompt as it is, without a template."),
  images,
  context: z
    .array(tokenId)
    .max(1_000_000)
    .meta(marked({ limits: { maxItems: "context" } }))
    .optional()
    .describe("Token ids of an earlier answer, which this one goes on from."),
});

export const embedSchema = z.object({
  ...commonFields,
  input: z.union([z.string(), z.array(z.string()).max(2048)], "a text or a list of texts"),
  truncate: z.boolean().optional().describe("true: what is too long is cut. Default: it is refused."),
  dimensions: z
    .int()
    .min(1)
    .max(most)
    .meta(marked({ limits: { maximum: "dimensions" } }))
    .optional(),
});

export const embeddingsSchema = z.object({ ...commonFields, prompt: z.string() });

export const showSchema = ruled(
  z.object({
    model: z.string().max(500).optional(),
    name: z.string().max(500).optional(),
    verbose: z.boolean().optional(),
  }),
  needsOne("is missing", "model", "name"),
);

export const pullSchema = z.object({
  model: z.string().max(500).optional().describe("llama3.2:1b, or hf.co/org/name:Q4_K_M."),
  name: z.string().max(500).optional(),
  stream: z.boolean().optional().describe("Default true."),
  insecure: z.boolean().optional().describe("Taken: certificates are always looked at."),
});

export type ChatInput = z.output<typeof chatSchema>;
export type GenerateInput = z.output<typeof generateSchema>;
export type Options = z.output<typeof options>;

export function samplingInput(given: Options = {}): SamplingInput {
  const { num_predict: _, stop: __, seed, ...others } = given;
  const named = Object.entries(others).filter(([name]) => !/^(num_|use_)/.test(name));
  return { ...Object.fromEntries(named), ...(seed !== undefined && { seed }) } as SamplingInput;
}

export function stopTexts({ stop }: Options = {}): string[] {
  return (typeof stop === "string" ? [stop] : (stop ?? [])).filter((text) => text !== "");
}

/** Below 0 both of its numbers mean as much as fits. */
export function mostTokens({ num_predict: tokens }: Options = {}, usual = -1): number {
  return tokens === undefined ? usual : Math.max(-1, tokens);
}
