/** `/v1/chat/completions`. */
import type { Hono } from "hono";
import { z } from "zod";
import { dialectNamed } from "../../chat/dialects/index.js";
import { type ChatMessage, type Conversation, constraintOfCalls, type ReplyFormat } from "../../chat/index.js";
import type { GenerateRequest } from "../../link/protocol.js";
import type { Thinking } from "../../sampling/constraint/thinking.js";
import type { EncodedChat } from "../../text/index.js";
import { respond } from "../answers/respond.js";
import { readJson } from "../http/body.js";
import { wrongField } from "../http/http-error.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { ChatShape } from "./chat-shape.js";
import { checkChoices, choicesOf } from "./choices.js";
import { constraintOf } from "./constraint.js";
import { answerFields, bothPaths, maxTokensOf, refuseUnsupported } from "./fields.js";
import { fittingChat, warnOfModel } from "./identity.js";
import { type AskedTools, toolFields, toolsOf } from "./tools.js";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });

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
  tool_dialect: z.string().max(50).optional().describe("How the model writes calls, by its name in docs/dialects.md."),
  ...toolFields,
};

export const chatSchema = z.object({
  ...answerFields,
  ...conversationFields,
  max_completion_tokens: answerFields.max_tokens,
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(20).optional(),
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
  reasoning_format: z
    .enum(["auto", "deepseek", "none"])
    .optional()
    .describe("What is thought goes into `reasoning_content` (default); none: it stays in the content, with its tags."),
});

export function chatRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", bothPaths("/chat/completions"), async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(chatSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    refuseUnsupported(value);
    if ((value.top_logprobs ?? 0) > 0 && value.logprobs !== true) {
      throw wrongField("top_logprobs", "top_logprobs: needs logprobs: true");
    }
    const asked = toolsOf(value);
    refuseFormBesideTools(value, asked);
    const chat = conversationOf(value, asked);
    const n = value.n ?? 1;
    const served = context.model.require();
    warnOfModel(value.model, served, warnings);
    checkChoices(n, context);
    const release = context.gate.enter(n);
    try {
      const { contextTokens: most } = served.info;
      const { tokens, reply, shown, thinking, notes } = fittingChat(
        await served.text.perform({ kind: "encodeChat", chat, most }),
        most,
      );
      for (const note of notes) warnings.add(note);
      const choices = choicesOf(c, value, served, [tokens], {
        maxTokens: value.max_completion_tokens ?? maxTokensOf(value) ?? -1,
        logprobs: value.logprobs === true ? (value.top_logprobs ?? 0) : undefined,
        shown,
        thinking: limitOf(value.reasoning_budget ?? value.thinking_budget_tokens, thinking, reply),
        marks: marksOf(served.info.chatTemplate, thinking, reply),
        calls: constraintOfCalls(reply, thinking, { ...asked, tools: asked.shapes }),
      });
      // The texts are tokens now; an answer that takes hours does not hold them.
      const { messages: _, tools: __, ...settings } = value;
      const format = { ...reply, tools: asked.shapes, single: asked.single };
      const read = value.reasoning_format === "none" ? unsplit(format) : format;
      const shape = new ChatShape(served, choices, settings, read, asked.custom);
      const { stream = false, max_time_ms: maxTimeMs } = value;
      return await respond({ c, context, served, choices, shape, stream, maxTimeMs, warnings, arrived, release });
    } catch (error) {
      release();
      throw error;
    }
  });
}

/** @throws HttpError 400 for parts that are no text */
export function conversationOf(
  input: z.output<z.ZodObject<typeof conversationFields>>,
  asked: AskedTools = toolsOf(input),
): Conversation {
  input.messages.forEach(({ content }, m) => {
    if (!Array.isArray(content)) return;
    for (const [i, item] of content.entries()) checkPart(item, `messages[${m}].content[${i}]`);
  });
  const { reasoning_effort: effort, chat_template_kwargs: more } = input;
  return {
    messages: input.messages as ChatMessage[],
    tools: asked.tools,
    mustCall: asked.mustCall,
    addGenerationPrompt: input.add_generation_prompt ?? true,
    continueLast: input.continue_final_message ?? true,
    dialect: dialectOf(input.tool_dialect),
    variables: {
      ...(effort !== undefined && { reasoning_effort: effort }),
      ...(effort === "none" && { enable_thinking: false }),
      ...more,
    },
  };
}

function limitOf(
  budget: number | undefined,
  thinking: EncodedChat["thinking"],
  { thinks: opened }: EncodedChat["reply"],
): GenerateRequest["thinking"] {
  return budget === undefined || budget < 0 ? undefined : { ...thinking, budget, opened };
}

/** The thinking that may come before an answer in a form; undefined when the template knows no thinking. */
export function marksOf(
  template: string | undefined,
  { open, close }: EncodedChat["thinking"],
  { thinks: opened, dialect }: EncodedChat["reply"],
): Thinking | undefined {
  const known = opened || open.some((mark) => template?.includes(mark));
  return known && dialect.messages === undefined ? { opened, open, close } : undefined;
}

/**
 * An answer in a form could call nothing, and a call has no such form.
 * @throws HttpError 400
 */
function refuseFormBesideTools(input: z.output<typeof chatSchema>, { shapes }: AskedTools): void {
  const param = shapes.length === 0 ? undefined : constraintOf(input)?.param;
  if (param === undefined) return;
  throw wrongField(param, `${param}: not supported beside tools that may be called`, "unsupported_parameter");
}

function dialectOf(name: string | undefined): string | undefined {
  if (name === undefined || dialectNamed(name) !== undefined) return name;
  throw wrongField("tool_dialect", `tool_dialect: there is no dialect '${name}'`);
}

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

function checkPart(item: z.output<typeof part>, param: string): void {
  if (item.type === "text" && item.text === undefined) throw wrongField(`${param}.text`, `${param}.text: is missing`);
  if (item.type === "text" || item.type === "refusal" || item.type === "thinking") return;
  const what = otherParts[item.type] ?? `parts of type '${item.type.slice(0, 50)}'`;
  throw wrongField(param, `${param}: ${what} are not supported, only text`, "unsupported_content");
}

/** Everything is text: tags of thinking stay where they are. */
function unsplit({ dialect, ...format }: ReplyFormat): ReplyFormat {
  const { messages: _, answer: __, ...plain } = dialect;
  return { ...format, thinks: false, dialect: { ...plain, thinking: [] } };
}
