/** The body of a request to Anthropic's Messages API. */
import { z } from "zod";
import { samplingFields } from "../answers/sampling.js";
import { toolName } from "../exchange/tool-name.js";
import { given, rule, ruled, unless } from "../http/field-rules.js";
import { otherKind } from "../http/validate.js";

const most = 2 ** 31 - 1;

const text = z.looseObject({ type: z.literal("text"), text: z.string("is missing") });
const reference = z.looseObject({ type: z.literal("tool_reference"), tool_name: z.string("is missing") });

const unsupported = otherKind((type) => {
  const what = type === "image" ? "images" : `blocks of type '${type}'`;
  return `${what} are not supported, only text`;
});

/** Texts inside of others. */
const inner = z.union(
  [z.string(), z.array(z.discriminatedUnion("type", [text, reference], unsupported))],
  "a text, or a list of blocks",
);
const document = z.looseObject({
  type: z.literal("document"),
  title: z.string().nullish(),
  source: z.discriminatedUnion(
    "type",
    [
      z.looseObject({ type: z.literal("text"), data: z.string() }),
      z.looseObject({ type: z.literal("content"), content: inner }),
    ],
    otherKind(() => "documents whose source is no text are not supported"),
  ),
});
const found = z.looseObject({
  type: z.literal("search_result"),
  title: z.string().nullish(),
  source: z.string().nullish(),
  content: inner.nullish(),
});

const texts = z.union(
  [z.string(), z.array(z.discriminatedUnion("type", [text, reference, document, found], unsupported))],
  "a text, or a list of blocks",
);
const result = z.looseObject({
  type: z.literal("tool_result"),
  tool_use_id: z.string("is missing"),
  content: texts.nullish(),
  is_error: z.boolean().nullish(),
});
const said = z.union(
  [z.string(), z.array(z.discriminatedUnion("type", [text, reference, document, found, result], unsupported))],
  "a text, or a list of blocks",
);

/** The turn of an assistant: results of tools that ran elsewhere and what was thought in secret are left out. */
const done = z.union(
  [
    z.string(),
    z.array(
      z.union([
        text,
        z.looseObject({ type: z.literal("tool_use"), name: z.string("is missing"), id: z.string().nullish() }),
        z.looseObject({ type: z.literal("thinking"), thinking: z.string().nullish() }),
        z.looseObject({
          type: z.string("a block has a type").regex(/^(?!(text|tool_use|thinking)$)/, { abort: true }),
        }),
      ]),
    ),
  ],
  "a text, or a list of blocks",
);

const tool = z.looseObject({
  type: z.string().nullish(),
  name: toolName,
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
  system: texts.optional(),
  messages: z
    .array(
      z.discriminatedUnion(
        "role",
        [
          z.looseObject({ role: z.literal("system"), content: texts }),
          z.looseObject({ role: z.literal("user"), content: said }),
          z.looseObject({ role: z.literal("assistant"), content: done }),
        ],
        "a role is needed: user, assistant or system",
      ),
      "a list of messages",
    )
    .min(1, "at least one message"),
  tools: z.array(tool, "a list of tools").max(1024).optional(),
  tool_choice: z
    .union(
      [
        z.looseObject({ type: z.enum(["auto", "any", "none"]), disable_parallel_tool_use: z.boolean().nullish() }),
        z.looseObject({
          type: z.literal("tool"),
          name: z.string("is missing"),
          disable_parallel_tool_use: z.boolean().nullish(),
        }),
      ],
      "of type auto, any, none, or tool with a name",
    )
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
      format: z
        .discriminatedUnion(
          "type",
          [
            z.looseObject({ type: z.literal("text") }),
            z.looseObject({
              type: z.literal("json_schema"),
              schema: z.union([z.record(z.string(), z.unknown()), z.boolean()], "a JSON schema is needed"),
            }),
          ],
          otherKind((type) => `'${type}' is not json_schema`),
        )
        .nullish()
        .describe("`json_schema` with `schema`."),
    })
    .optional(),
};

/** Tools that Anthropic defines are none here, and one that is held back cannot be chosen. */
const someToolToChoose = rule(
  "tool_choice",
  "there are no tools to choose from",
  unless(
    "tool_choice",
    { properties: { type: { enum: ["auto", "none"] } } },
    given("tools", {
      type: "array",
      contains: {
        properties: { type: { enum: [null, "custom"] }, defer_loading: { enum: [null, false] } },
      },
    }),
  ),
);

export const messagesSchema = ruled(
  z.object({
    ...conversationFields,
    max_tokens: z.int().min(0).max(most).optional().describe("Left out: until the context is full."),
    stop_sequences: z.array(z.string().max(1000)).max(16).optional(),
    stream: z.boolean().optional(),
    ...samplingFields,
    metadata: z.looseObject({ user_id: z.string().nullish() }).optional().describe("Users who wait take turns."),
    max_time_ms: z
      .int()
      .min(1)
      .max(most)
      .optional()
      .describe("Ours: the answer ends with what it has after this time."),
    // Without effect here, and no reason to warn.
    service_tier: z.string().optional(),
    cache_control: z.unknown().optional(),
    context_management: z.unknown().optional(),
    inference_geo: z.string().optional(),
    speed: z.string().optional(),
  }),
  someToolToChoose,
);

export const countSchema = ruled(
  z.object({
    ...conversationFields,
    // A count is asked for with the body of the answer.
    cache_control: z.unknown().optional(),
    context_management: z.unknown().optional(),
  }),
  someToolToChoose,
);

/** A block of any kind, and what stands for one or several. */
export type Block = Readonly<Record<string, unknown>> & { readonly type: string };
export type Blocks = string | readonly Block[];
export type ConversationInput = z.output<z.ZodObject<typeof conversationFields>>;
export type MessagesInput = z.output<typeof messagesSchema>;
