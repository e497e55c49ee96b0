/** The body of a request to OpenAI's Responses API. */
import { z } from "zod";
import { samplingFields } from "../answers/sampling.js";

const most = 2 ** 31 - 1;
const item = z.looseObject({ type: z.string().optional(), role: z.string().optional() });

/** The fields from which a conversation becomes a prompt. */
export const conversationFields = {
  model: z.string().max(500).optional().describe("Taken as it is: the one model of the server answers."),
  input: z.union([z.string(), z.array(item)], "a text, or a list of items").optional(),
  instructions: z.string("a text").optional(),
  previous_response_id: z.string().max(100).optional().describe("A response that is still stored: see `store`."),
  tools: z
    .array(z.looseObject({ type: z.string("a tool has a type") }), "a list of tools")
    .max(1024)
    .optional()
    .describe("`function`, `custom` and `namespace`; tools that run at OpenAI's are left out with a warning."),
  tool_choice: z
    .union(
      [z.enum(["none", "auto", "required"]), z.looseObject({ type: z.string() })],
      "none, auto, required, a tool by name, or allowed_tools",
    )
    .optional(),
  parallel_tool_calls: z.boolean().optional().describe("Default true; false: at most one call an answer."),
  reasoning: z
    .looseObject({
      effort: z.string().max(20).nullish().describe("For templates that know it; `none` switches thinking off."),
      summary: z.string().max(20).nullish().describe("What is thought comes as `summary` instead of `content`."),
    })
    .optional(),
  text: z
    .looseObject({
      format: z.looseObject({ type: z.string() }).nullish().describe("`text`, `json_object` or `json_schema`."),
      verbosity: z.string().nullish(),
    })
    .optional(),
  truncation: z.string().max(20).optional().describe("Without effect: nothing is ever cut off."),
};

export const responsesSchema = z.object({
  ...conversationFields,
  ...samplingFields,
  max_output_tokens: z.int().min(0).max(most).optional().describe("Left out: until the context is full."),
  reasoning_budget: z.int().min(-1).max(most).optional().describe("Ours: most tokens of thinking; it is then ended."),
  stream: z.boolean().optional(),
  store: z.boolean().optional().describe("Default true: kept in memory for later turns, as long as there is room."),
  include: z
    .array(z.string())
    .optional()
    .describe("`reasoning.encrypted_content`, `message.output_text.logprobs`; others are left out."),
  top_logprobs: z.int().min(0).max(20).optional().describe("Likeliest tokens to report beside each one made."),
  user: z.string().max(500).optional().describe("Users who wait take turns."),
  max_time_ms: z.int().min(1).max(most).optional().describe("Ours: the answer ends with what it has after this time."),
  metadata: z.record(z.string(), z.unknown()).optional(),
  // Refused unless they ask for nothing.
  background: z.boolean().optional(),
  conversation: z.unknown().optional(),
  prompt: z.unknown().optional(),
  // Without effect here, and no reason to warn.
  stream_options: z.unknown().optional(),
  max_tool_calls: z.int().optional(),
  service_tier: z.string().optional(),
  safety_identifier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  prompt_cache_retention: z.string().optional(),
  client_metadata: z.unknown().optional(),
});

export const countSchema = z.object(conversationFields);

export const compactSchema = z.object({
  ...conversationFields,
  user: responsesSchema.shape.user,
  // Without effect here, and no reason to warn.
  store: z.boolean().optional(),
  service_tier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  prompt_cache_retention: z.string().optional(),
  prompt_cache_options: z.unknown().optional(),
});

export type Item = Readonly<Record<string, unknown>> & { readonly type?: string | undefined };
export type ConversationInput = z.output<z.ZodObject<typeof conversationFields>>;
export type ResponsesInput = z.output<typeof responsesSchema>;
