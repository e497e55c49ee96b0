/** The body of a request to OpenAI's Responses API. */
import { z } from "zod";
import { samplingFields } from "../answers/sampling.js";
import { toolName } from "../exchange/tool-name.js";
import { given, needsOne, rule, ruled, unless } from "../http/field-rules.js";
import { otherKind } from "../http/validate.js";
import { textFormat } from "../openai/tools.js";

const most = 2 ** 31 - 1;
const others: Readonly<Record<string, string>> = { input_image: "images", input_file: "files", input_audio: "audio" };

/** The content of a message, or the output of a tool. */
const said = z.union(
  [
    z.string(),
    z.array(
      z.discriminatedUnion(
        "type",
        [
          z.looseObject({
            type: z.enum(["input_text", "output_text", "text", "summary_text"]),
            text: z.string("is missing"),
          }),
          z.looseObject({ type: z.literal("refusal"), refusal: z.string("is missing") }),
        ],
        otherKind((type) => `${others[type] ?? `parts of type '${type}'`} are not supported, only text`),
      ),
    ),
  ],
  "a text, or a list of parts",
);
const message = {
  role: z.enum(["user", "assistant", "system", "developer"], "is none of user, assistant, system, developer"),
  content: said.nullish(),
};
const called = { call_id: z.string("is missing"), name: z.string("is missing"), namespace: z.string().nullish() };
const output = { call_id: z.string("is missing"), output: said.nullish() };
const read = [
  "message",
  "function_call",
  "custom_tool_call",
  "function_call_output",
  "custom_tool_call_output",
  "item_reference",
];

/** Items of other types hold no text for the model, or one that may be left out. */
const item = z.union([
  z.looseObject({ type: z.undefined().optional(), ...message }),
  z.discriminatedUnion("type", [
    z.looseObject({ type: z.literal("message"), ...message }),
    z.looseObject({ type: z.literal("function_call"), ...called, arguments: z.string().nullish() }),
    z.looseObject({ type: z.literal("custom_tool_call"), ...called, input: z.string().nullish() }),
    z.looseObject({ type: z.enum(["function_call_output", "custom_tool_call_output"]), ...output }),
    z.looseObject({ type: z.literal("item_reference"), id: z.string() }),
  ]),
  z.looseObject({ type: z.string().regex(new RegExp(`^(?!(${read.join("|")})$)`), { abort: true }) }),
]);

const described = { description: z.string().nullish() };
const named = { name: toolName, ...described };
const functionTool = z.looseObject({
  type: z.literal("function"),
  ...named,
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});
const customTool = z.looseObject({ type: z.literal("custom"), ...named, format: textFormat.nullish() });
const elsewhere = z.looseObject({
  type: z.string("a tool has a type").regex(/^(?!(function|custom|namespace)$)/, { abort: true }),
});
const tool = z.union([
  functionTool,
  customTool,
  z.looseObject({
    type: z.literal("namespace"),
    ...named,
    tools: z.array(z.union([functionTool, customTool, elsewhere])).nullish(),
  }),
  elsewhere,
]);

const choice = z.looseObject({
  type: z.enum(["function", "custom"]),
  name: z.string(),
  namespace: z.string().nullish(),
});

const formatOfText = z.discriminatedUnion(
  "type",
  [
    z.looseObject({ type: z.enum(["text", "json_object"]) }),
    z.looseObject({
      type: z.literal("json_schema"),
      schema: z.union(
        [z.record(z.string(), z.unknown()), z.boolean()],
        "a JSON schema is needed: an object, true or false",
      ),
      strict: z.boolean().nullish(),
    }),
  ],
  otherKind((type) => `'${type}' is none of text, json_object, json_schema`),
);

/** The fields from which a conversation becomes a prompt. */
export const conversationFields = {
  model: z.string().max(500).optional().describe("Taken as it is: the one model of the server answers."),
  input: z.union([z.string(), z.array(item)], "a text, or a list of items").optional(),
  instructions: z.string("a text").optional(),
  previous_response_id: z.string().max(100).optional().describe("A response that is still stored: see `store`."),
  tools: z
    .array(tool, "a list of tools")
    .max(1024)
    .optional()
    .describe("`function`, `custom` and `namespace`; tools that run at OpenAI's are left out with a warning."),
  tool_choice: z
    .union(
      [
        z.enum(["none", "auto", "required"]),
        choice,
        z.looseObject({
          type: z.literal("allowed_tools"),
          mode: z.enum(["auto", "required"]),
          tools: z.array(choice).min(1),
        }),
      ],
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
      format: formatOfText.nullish().describe("`text`, `json_object` or `json_schema`."),
      verbosity: z.string().nullish(),
    })
    .optional(),
  truncation: z.string().max(20).optional().describe("Without effect: nothing is ever cut off."),
};

const responsesObject = z.object({
  ...conversationFields,
  ...samplingFields,
  max_output_tokens: z.int().min(0).max(most).optional().describe("Left out: until the context is full."),
  reasoning_budget: z.int().min(-1).max(most).optional().describe("Ours: most tokens of thinking; it is then ended."),
  stream: z.boolean().optional(),
  timings_per_token: z.boolean().optional().describe("llama-server's: `timings` beside pieces of text and at the end."),
  return_progress: z.boolean().optional().describe("llama-server's: `prompt_progress` while the prompt is read."),
  store: z.boolean().optional().describe("Default true: kept in memory for later turns, as long as there is room."),
  include: z
    .array(z.string())
    .optional()
    .describe("`reasoning.encrypted_content`, `message.output_text.logprobs`; others are left out."),
  top_logprobs: z.int().min(0).max(20).optional().describe("Likeliest tokens to report beside each one made."),
  user: z.string().max(500).optional().describe("Users who wait take turns."),
  max_time_ms: z.int().min(1).max(most).optional().describe("Ours: the answer ends with what it has after this time."),
  metadata: z.record(z.string(), z.unknown()).optional(),
  background: z.literal(false, "responses that are made in the background are not supported").optional(),
  conversation: z.null("conversations are kept by the client, others are not supported").optional(),
  prompt: z.null("prompts that are kept at OpenAI's are not supported").optional(),
  // Without effect here, and no reason to warn.
  stream_options: z.unknown().optional(),
  max_tool_calls: z.int().optional(),
  service_tier: z.string().optional(),
  safety_identifier: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  prompt_cache_retention: z.string().optional(),
  client_metadata: z.unknown().optional(),
});

/** Something to answer. */
const something = needsOne("is missing", "input", "instructions", "previous_response_id");
/** Tools that run at OpenAI's are none here. */
const someToolToChoose = rule(
  "tool_choice",
  "there are no tools to choose from",
  unless(
    "tool_choice",
    { enum: ["none", "auto"] },
    given("tools", { type: "array", contains: { properties: { type: { enum: ["function", "custom"] } } } }),
  ),
);

export const responsesSchema = ruled(responsesObject, something, someToolToChoose);

export const countSchema = ruled(z.object(conversationFields), something, someToolToChoose);

export const compactSchema = ruled(
  z.object({
    ...conversationFields,
    user: responsesObject.shape.user,
    // Without effect here, and no reason to warn.
    store: z.boolean().optional(),
    service_tier: z.string().optional(),
    prompt_cache_key: z.string().optional(),
    prompt_cache_retention: z.string().optional(),
    prompt_cache_options: z.unknown().optional(),
  }),
  something,
  someToolToChoose,
);

export type Item = Readonly<Record<string, unknown>> & { readonly type?: string | undefined };
export type ConversationInput = z.output<z.ZodObject<typeof conversationFields>>;
export type ResponsesInput = z.output<typeof responsesSchema>;
