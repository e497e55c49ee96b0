/** `/v1/chat/completions`. */
import type { Hono } from "hono";
import { z } from "zod";
import { dialectNamed, dialects } from "../../chat/dialects/index.js";
import type { ChatMessage } from "../../chat/index.js";
import { servedFor } from "../answers/request.js";
import { answerExchange, countedExchange } from "../exchange/answer.js";
import type { Exchange } from "../exchange/exchange.js";
import { readJson } from "../http/body.js";
import type { RequestDefaults } from "../http/config.js";
import { rule, ruled } from "../http/field-rules.js";
import { bothPaths } from "../http/paths.js";
import { ownerOf } from "../http/security.js";
import { marked } from "../http/served-limits.js";
import { otherKind, validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { ChatShape } from "./chat-shape.js";
import { constraintOf, oneForm } from "./constraint.js";
import { answerFields, maxTokensOf, stopsOf } from "./fields.js";
import { someTool, toolFields, toolsOf } from "./tools.js";

const otherParts: Readonly<Record<string, string>> = {
  image_url: "images",
  image: "images",
  input_image: "images",
  input_audio: "audio",
  audio: "audio",
  video_url: "videos",
  file: "files",
  input_file: "files",
};

const part = z.discriminatedUnion(
  "type",
  [
    z.looseObject({ type: z.literal("text"), text: z.string("is missing") }),
    z.looseObject({ type: z.literal("refusal"), refusal: z.string("is missing") }),
    z.looseObject({ type: z.literal("thinking") }),
  ],
  otherKind((type) => `${otherParts[type] ?? `parts of type '${type}'`} are not supported, only text`),
);

export const messageSchema = z.looseObject({
  role: z
    .string("a role is needed: system, user, assistant or tool")
    .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, "no usable role: write system, user, assistant or tool"),
  content: z.union([z.string(), z.array(part), z.null()], "a text, or a list of text parts").optional(),
});

/** The fields from which a conversation becomes a prompt. */
export const conversationFields = {
  messages: z.array(messageSchema, "a list of messages").min(1, "at least one message"),
  chat_template_kwargs: z.record(z.string(), z.unknown()).optional().describe("Further variables of the template."),
  reasoning_effort: z.string().max(20).optional().describe("For templates that know it."),
  add_generation_prompt: z.boolean().optional(),
  continue_final_message: z
    .boolean()
    .optional()
    .describe("Default true: a last message of the assistant is gone on with, not answered."),
  tool_dialect: z
    .string()
    .max(50)
    .refine((name) => dialectNamed(name) !== undefined, "there is no dialect of this name")
    .meta(marked({ names: () => [...new Set(dialects.map(({ name }) => name))] }))
    .optional()
    .describe("How the model writes calls, by its name in docs/dialects.md."),
  ...toolFields,
};

/** Going on with an answer is what beginning one says no to. */
export const oneEnd = rule("continue_final_message", "not with add_generation_prompt: one of them", {
  anyOf: ["continue_final_message", "add_generation_prompt"].map((field) => ({
    properties: { [field]: { enum: [null, false] } },
  })),
});

const chatObject = z.object({
  ...answerFields,
  ...conversationFields,
  max_completion_tokens: answerFields.max_tokens,
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(20).optional().describe("More than 0 asks for `logprobs`."),
  reasoning_budget: z
    .int()
    .min(-1)
    .max(2 ** 31 - 1)
    .optional()
    .describe("Most tokens of thinking; it is then ended. -1 (default): as many as the model wants."),
  thinking_budget_tokens: z
    .int()
    .min(-1)
    .max(2 ** 31 - 1)
    .optional()
    .describe("llama.cpp's name of reasoning_budget."),
  verbose: z.boolean().optional().describe("llama.cpp's: the answer in one piece has `__verbose` with the prompt."),
  id_slot: z.int().optional(),
  prediction: z
    .looseObject({
      type: z.literal("content").optional(),
      content: z.union(
        [z.string(), z.array(z.looseObject({ type: z.literal("text"), text: z.string("is missing") }))],
        "a text, or a list of text parts",
      ),
    })
    .nullish()
    .describe("What the answer will be, or most of it, as when a file is edited: it is made faster, and is the same."),
  reasoning_format: z
    .enum(["auto", "deepseek", "none"])
    .optional()
    .describe("What is thought goes into `reasoning_content` (default); none: it stays in the content, with its tags."),
});

export const chatSchema = ruled(chatObject, oneForm, oneEnd, someTool);

function wantsLogprobs({ logprobs, top_logprobs: top = 0 }: z.output<typeof chatSchema>): boolean {
  return logprobs === true || top > 0;
}

/** Templates know texts: a refusal is one, and thinking that a client gives back in parts is not said again. */
function withTexts<M extends z.output<typeof messageSchema>>(message: M): M {
  const { content } = message;
  if (!Array.isArray(content) || content.every(({ type }) => type === "text")) return message;
  const texts = content.flatMap((one) => {
    if (one.type === "thinking") return [];
    return [one.type === "text" ? one : { type: "text", text: one.refusal }];
  });
  return { ...message, content: texts };
}

export function chatRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", bothPaths("/chat/completions"), async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(chatSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const exchange = exchangeOf(value, context.config.answers);
    // The texts are tokens by then; an answer that takes hours does not hold them.
    const { messages: _, tools: __, ...asked } = value;
    const verbose = value.verbose ?? context.config.verboseAnswers;
    const settings = { ...asked, verbose, logprobs: wantsLogprobs(value) };
    return answerExchange({
      c,
      context,
      exchange,
      warnings,
      arrived,
      shape: (served, choices) => new ChatShape(served, choices, settings),
    });
  });
}

/** `/chat/completions/input_tokens`: how long the prompt of a conversation is. */
export function countRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", bothPaths("/chat/completions/input_tokens"), async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(chatSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const served = await servedFor(c, context, value.model, warnings);
    const count = await countedExchange(served, saidOf(value), ownerOf(c, context.config));
    warnings.apply(c);
    return c.json({ object: "response.input_tokens", input_tokens: count });
  });
}

function exchangeOf(value: z.output<typeof chatSchema>, defaults: RequestDefaults): Exchange {
  return {
    ...saidOf(value),
    model: value.model,
    format: constraintOf(value),
    sampling: value,
    stop: stopsOf(value.stop),
    maxTokens: value.max_completion_tokens ?? maxTokensOf(value) ?? defaults.maxTokens ?? -1,
    choices: value.n,
    prediction: predictionOf(value),
    logprobs: wantsLogprobs(value) ? (value.top_logprobs ?? 0) : undefined,
    ignoreEos: value.ignore_eos,
    adapters: value.lora,
    stream: value.stream ?? false,
    maxTimeMs: value.max_time_ms,
    user: value.user,
    thinking: {
      effort: value.reasoning_effort,
      budget: value.reasoning_budget ?? value.thinking_budget_tokens,
      inText: value.reasoning_format === undefined ? undefined : value.reasoning_format === "none",
    },
  };
}

function predictionOf({ prediction }: z.output<typeof chatSchema>): string | undefined {
  const content = prediction?.content;
  return typeof content === "string" ? content : content?.map(({ text }) => text).join("");
}

/** Reads what is said, what may be called, and what of the request the template is told. */
export function saidOf(
  input: z.output<z.ZodObject<typeof conversationFields>>,
): Pick<Exchange, "messages" | "tools" | "toolChoice" | "parallelCalls" | "thinking" | "template"> {
  return {
    messages: input.messages.map(withTexts) as ChatMessage[],
    ...toolsOf(input),
    thinking: { effort: input.reasoning_effort },
    template: {
      variables: input.chat_template_kwargs,
      // Going on with an answer is what the other one says no to.
      addGenerationPrompt: input.continue_final_message === true ? true : input.add_generation_prompt,
      continueLast: input.continue_final_message,
      dialect: input.tool_dialect,
    },
  };
}
