/** `/v1/chat/completions`. */
import type { Hono } from "hono";
import { z } from "zod";
import type { ChatMessage } from "../../chat/index.js";
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChatText } from "../../text/index.js";
import type { AnswerEvent, ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import { type AnswerShape, respond } from "../answers/respond.js";
import { readJson } from "../http/body.js";
import { wrongField } from "../http/http-error.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { checkChoices, choicesOf } from "./choices.js";
import { Envelope, violationsOf } from "./envelope.js";
import { answerFields, bothPaths, maxTokensOf, refuseUnsupported } from "./fields.js";
import { fitting, warnOfModel } from "./identity.js";
import { chatLogprobs, idsOf } from "./logprobs.js";
import { opensThinking, ReasoningSplitter, type Spoken, thinkingOf } from "./reasoning.js";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });

export const messageSchema = z.looseObject({
  role: z
    .string("a role is needed: system, user, assistant or tool")
    .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, "no usable role: write system, user, assistant or tool"),
  content: z.union([z.string(), z.array(part), z.null()], "a text, or a list of text parts").optional(),
});

/** What a conversation needs to become a prompt. */
export const conversationFields = {
  messages: z.array(messageSchema, "a list of messages").min(1, "at least one message"),
  chat_template_kwargs: z.record(z.string(), z.unknown()).optional().describe("Further variables of the template."),
  reasoning_effort: z.string().max(20).optional().describe("For templates that know it."),
  add_generation_prompt: z.boolean().optional(),
};

export const chatSchema = z.object({
  ...answerFields,
  ...conversationFields,
  max_completion_tokens: answerFields.max_tokens,
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(20).optional(),
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
    const chat = conversationOf(value);
    const n = value.n ?? 1;
    const served = context.model.require();
    warnOfModel(value.model, served, warnings);
    checkChoices(n, context);
    const release = context.gate.enter(n);
    try {
      const { contextTokens: most } = served.info;
      const tokens = fitting(await served.text.perform({ kind: "encodeChat", chat, most }), most, "messages");
      const opened = await opensThinking(served, tokens);
      const choices = choicesOf(c, value, served, [tokens], {
        thinking: thinkingOf(served, opened),
        maxTokens: value.max_completion_tokens ?? maxTokensOf(value) ?? -1,
        logprobs: value.logprobs === true ? (value.top_logprobs ?? 0) : undefined,
      });
      // The texts are tokens now; an answer that takes hours does not hold them.
      const { messages: _, ...settings } = value;
      const shape = new ChatShape(served, choices, settings, opened);
      const { stream = false, max_time_ms: maxTimeMs } = value;
      return await respond({ c, context, served, choices, shape, stream, maxTimeMs, warnings, arrived, release });
    } catch (error) {
      release();
      throw error;
    }
  });
}

type ChatInput = Omit<z.output<typeof chatSchema>, "messages">;

/** @throws HttpError 400 for parts that are no text */
export function conversationOf(input: z.output<z.ZodObject<typeof conversationFields>>): ChatText {
  input.messages.forEach(({ content }, m) => {
    if (!Array.isArray(content)) return;
    content.forEach((item, i) => {
      const param = `messages[${m}].content[${i}]`;
      if (item.type === "text" && item.text === undefined)
        throw wrongField(`${param}.text`, `${param}.text: is missing`);
      if (item.type === "text" || item.type === "refusal") return;
      throw wrongField(param, `${param}: parts of type '${item.type.slice(0, 50)}' are not supported, only text`);
    });
  });
  const { reasoning_effort, chat_template_kwargs } = input;
  return {
    messages: input.messages as ChatMessage[],
    addGenerationPrompt: input.add_generation_prompt ?? true,
    variables: { ...(reasoning_effort !== undefined && { reasoning_effort }), ...chat_template_kwargs },
  };
}

/** What became of one choice so far. */
interface Said {
  text: string;
  reasoning: string;
  readonly splitter: ReasoningSplitter;
  started: boolean;
  readonly logprobs: TokenLogprobs[];
}

const kind = { prefix: "chatcmpl", whole: "chat.completion", chunk: "chat.completion.chunk" };

class ChatShape implements AnswerShape {
  private readonly envelope: Envelope;
  private readonly served: ServedModel;
  private readonly input: ChatInput;
  private readonly said: Said[];

  constructor(served: ServedModel, choices: readonly ChoiceJob[], input: ChatInput, opened: boolean) {
    this.envelope = new Envelope(kind, served, choices, input);
    this.served = served;
    this.input = input;
    const off = input.reasoning_format === "none";
    this.said = choices.map(() => {
      const splitter = new ReasoningSplitter(opened, off);
      return { text: "", reasoning: "", splitter, started: false, logprobs: [] };
    });
  }

  chunks(choice: number, event: AnswerEvent): readonly object[] | Promise<readonly object[]> {
    if (event.kind === "promptLogprobs") return [];
    const said = this.said[choice]!;
    const entry = event.kind === "token" ? event.logprobs : undefined;
    const spoken = said.splitter.push(event.text);
    if (this.input.stream !== true) {
      said.text += spoken.content;
      said.reasoning += spoken.reasoning;
      if (entry !== undefined) said.logprobs.push(entry);
      return [];
    }
    if (entry === undefined) {
      return spoken.content === "" && spoken.reasoning === "" ? [] : this.deltas(choice, spoken, null);
    }
    const pieces = piecesOf(this.served.text).of(idsOf([entry]));
    if (!(pieces instanceof Promise)) return this.deltas(choice, spoken, chatLogprobs([entry], pieces));
    return pieces.then((lookup) => this.deltas(choice, spoken, chatLogprobs([entry], lookup)));
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    return this.envelope.progress(progress, elapsedMs);
  }

  last(outcomes: readonly ChoiceOutcome[]): readonly object[] {
    const ends = outcomes.flatMap(({ finishReason, result }, index) => {
      const rest = this.said[index]!.splitter.flush();
      const held = rest.content === "" && rest.reasoning === "" ? [] : this.deltas(index, rest, null);
      const delta = this.said[index]!.started ? {} : { role: "assistant", content: "" };
      const end = { index, delta, logprobs: null, finish_reason: finishReason, ...violationsOf(result) };
      return [...held, this.envelope.chunk([end])];
    });
    return this.envelope.end(ends, outcomes);
  }

  async whole(outcomes: readonly ChoiceOutcome[]): Promise<object> {
    const lookup = await piecesOf(this.served.text).of(this.said.flatMap(({ logprobs }) => idsOf(logprobs)));
    const choices = outcomes.map(({ finishReason, result }, index) => {
      const { text, reasoning, splitter, logprobs } = this.said[index]!;
      const rest = splitter.flush();
      const thought = reasoning + rest.reasoning;
      const thinking = thought === "" ? {} : { reasoning_content: thought };
      return {
        index,
        message: { role: "assistant", content: text + rest.content, ...thinking, refusal: null },
        logprobs: this.input.logprobs === true ? chatLogprobs(logprobs, lookup) : null,
        finish_reason: finishReason,
        ...violationsOf(result),
      };
    });
    return this.envelope.whole(choices, outcomes);
  }

  private deltas(choice: number, { reasoning, content }: Spoken, logprobs: object | null): readonly object[] {
    const said = this.said[choice]!;
    const role = said.started ? {} : { role: "assistant" };
    said.started = true;
    const thinking = reasoning === "" ? {} : { reasoning_content: reasoning };
    const delta = { ...role, ...thinking, ...((content !== "" || reasoning === "") && { content }) };
    return [this.envelope.chunk([{ index: choice, delta, logprobs, finish_reason: null }])];
  }
}
