/** The body of a request to Anthropic's Messages API. */
import { z } from "zod";
import { samplingFields } from "../answers/sampling.js";

const most = 2 ** 31 - 1;

const block = z.looseObject({ type: z.string("a block has a type") });
const blocks = z.union([z.string(), z.array(block)], "a text, or a list of blocks");

const tool = z.looseObject({
  type: z.string().nullish(),
  name: z.string().regex(/^[\w.:-]{1,128}$/, "a name has up to 128 letters, digits and _ . : -"),
  description: z.string().nullish(),
  input_schema: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
  defer_loading: z
    .boolean()
    .nullish()
    .describe("The model is told of the tool when a result refers to it (`tool_reference`)."),
});

/** The fields from which a conversation becomes a prompt. */
export const conversationFields = {
  model: z.string().max(500).optional().describe("Taken as it is: the one model of the server answers."),
  system: blocks.optional(),
  messages: z
    .array(
      z.looseObject({
        role: z.enum(["user", "assistant", "system"], "a role is needed: user, assistant or system"),
        content: blocks,
      }),
      "a list of messages",
    )
    .min(1, "at least one message"),
  tools: z.array(tool, "a list of tools").max(1024).optional(),
  tool_choice: z
    .looseObject({
      type: z.enum(["auto", "any", "tool", "none"]),
      name: z.string().optional(),
      disable_parallel_tool_use: z.boolean().nullish(),
    })
    .optional(),
  thinking: z
    .looseObject({
      type: z.enum(["enabled", "disabled", "adaptive", "between_tools"]),
      budget_tokens: z.int().min(0).max(most).nullish(),
      display: z.string().nullish().describe("`omitted`: what is thought is not sent."),
    })
    .optional(),
  output_config: z
    .looseObject({
      effort: z.string().max(20).nullish().describe("For templates that know it."),
      format: z.looseObject({ type: z.string() }).nullish().describe("`json_schema` with `schema`."),
    })
    .optional(),
};

export const messagesSchema = z.object({
  ...conversationFields,
  max_tokens: z.int().min(0).max(most).optional().describe("Left out: until the context is full."),
  stop_sequences: z.array(z.string().max(1000)).max(16).optional(),
  stream: z.boolean().optional(),
  ...samplingFields,
  metadata: z.looseObject({ user_id: z.string().nullish() }).optional().describe("Users who wait take turns."),
  max_time_ms: z.int().min(1).max(most).optional().describe("Ours: the answer ends with what it has after this time."),
  // Without effect here, and no reason to warn.
  service_tier: z.string().optional(),
  cache_control: z.unknown().optional(),
  context_management: z.unknown().optional(),
  inference_geo: z.string().optional(),
  speed: z.string().optional(),
});

export const countSchema = z.object({
  ...conversationFields,
  // A count is asked for with the body of the answer.
  cache_control: z.unknown().optional(),
  context_management: z.unknown().optional(),
});

export type Block = z.output<typeof block>;
export type Blocks = z.output<typeof blocks>;
export type ConversationInput = z.output<z.ZodObject<typeof conversationFields>>;
export type MessagesInput = z.output<typeof messagesSchema>;
