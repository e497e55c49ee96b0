/** Answers of the model that is served: template and tokens by the text worker, then a job of the engine. */
import { constraintOfAnswer, type ToolShape, toolShapes } from "../../chat/index.js";
import { type ReplyEvent, ReplyReader } from "../../chat/reply.js";
import { ReplyText } from "../../chat/reply-text.js";
import { splitThinking } from "../../chat/thinking-text.js";
import { HundredweightError } from "../../errors.js";
import { JobFold } from "../../link/job-fold.js";
import type { JobEvent } from "../../link/protocol.js";
import type { Constraint } from "../../sampling/constraint/source.js";
import { defaultSampling, mergeSampling } from "../../sampling/settings.js";
import type { EncodedChat, HeardReplies } from "../../text/index.js";
import { cancelOn } from "../answers/cancel-on.js";
import { fitting, fittingChat } from "../answers/request.js";
import { mayThink } from "../exchange/thinking.js";
import { HttpError } from "../http/http-error.js";
import { pageScope } from "../http/security.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import type { AnswerMaker, GoOn, MadeAnswer, MakerEvents, MakerRequest } from "./answer-maker-types.js";
import type { StoredResume } from "./conversation-file.js";
import { readSeconds } from "./price.js";
import type { ConversationForm, ConversationSampling, PassCosts } from "./wire.js";

export class ModelAnswerMaker implements AnswerMaker {
  readonly #context: ServerContext;
  readonly #costs: () => PassCosts | undefined;

  /** @param costs what passes of the model cost now */
  constructor(context: ServerContext, costs: () => PassCosts | undefined) {
    this.#context = context;
    this.#costs = costs;
  }

  get model(): string | undefined {
    return this.#context.model.info === undefined ? undefined : this.#context.model.id;
  }

  /** @throws HttpError 429, 503 */
  enter(): () => void {
    this.#context.model.require();
    return this.#context.gate.enter(1);
  }

  async answer(request: MakerRequest, events: MakerEvents, signal: AbortSignal): Promise<MadeAnswer> {
    try {
      const served = this.#context.model.require();
      const asked = await promptOf(served, request, pageScope(this.#context.config));
      try {
        return await this.#generate(served, asked, request, events, signal);
      } finally {
        void asked.kept?.ended([]);
      }
    } catch (error) {
      // The page shows a code and a line; it has no use for a status.
      if (error instanceof HttpError) {
        const long = error.code === "context_length_exceeded";
        throw new HundredweightError(long ? "CONTEXT_EXCEEDED" : "ENGINE_CLOSED", error.message);
      }
      throw error;
    }
  }

  #secondsToRead(tokens: number): number | undefined {
    const costs = this.#costs();
    return costs && readSeconds(costs, tokens);
  }

  async #generate(
    { engine, info }: ServedModel,
    { tokens, reader, shown = [], constraint, kept, resumed }: Asked,
    { sampling, conversation }: MakerRequest,
    events: MakerEvents,
    signal: AbortSignal,
  ): Promise<MadeAnswer> {
    const fold = new JobFold();
    const written = new ReplyText();
    const heard = (events: readonly ReplyEvent[], id?: number): string => {
      kept?.heard(0, id, events);
      return written.of(events);
    };
    const read = (piece: string, id?: number): string => (reader === undefined ? piece : heard(reader.push(piece), id));
    const onEvent = (event: JobEvent) => {
      const text = fold.add(event);
      if (event.kind === "queued") events.queued(fold.ahead);
      else if (event.kind === "prompt") events.started(tokens.length, this.#secondsToRead(tokens.length));
      else if (event.kind === "pass" && event.total > 0) events.prompt(fold.read, fold.total, event.entry.rows);
      else if (event.kind === "resumed")
        events.resumed(event.texts.map((piece, i) => read(piece, resumed?.tokens[i])).join(""));
      else if (event.kind === "token") events.token(read(text, event.id), event.id, event.sampler);
      else if (event.kind === "text") events.text(read(text));
    };
    const { maxTokens, ...given } = sampling;
    const job = engine.submit(
      {
        kind: "generate",
        prompt: { kind: "tokens", tokens },
        sampling: mergeSampling(given, info.samplingDefaults),
        maxTokens: maxTokens ?? -1,
        stop: [],
        ignoreEos: false,
        ...(shown.length > 0 && { shown }),
        ...(constraint !== undefined && { constraint }),
        resumable: true,
        ...(resumed !== undefined && { resume: { tokens: resumed.tokens.length, sampler: resumed } }),
        user: `page ${conversation}`,
        scope: pageScope(this.#context.config),
      },
      onEvent,
    );
    const release = cancelOn(job, [signal, this.#context.ending]);
    let whole = false;
    try {
      const { finishReason, reusedTokens, prefillMs, decodeMs, drafts } = await job.result;
      const { generated: generatedTokens } = fold;
      whole = true;
      const stats = { promptTokens: tokens.length, cachedTokens: reusedTokens, generatedTokens, prefillMs, decodeMs };
      return { finishReason, stats: { ...stats, ...(drafts !== undefined && { drafts }) } };
    } finally {
      if (reader !== undefined) events.text(heard(reader.end()));
      void kept?.ended([whole]);
      release();
    }
  }
}

export interface Asked {
  readonly tokens: Int32Array;
  /** Undefined: the answer is one text. */
  readonly reader?: ReplyReader;
  readonly shown?: readonly number[];
  readonly constraint?: Constraint | undefined;
  /** The prompt ends with it: the beginning of the answer. */
  readonly resumed?: StoredResume | undefined;
  /** Keeps what the answer's conversation is rendered to. */
  readonly kept?: HeardReplies | undefined;
}

/**
 * @param scope its owner
 * @throws HttpError 400 when the context has no room for another token
 */
export async function promptOf(served: ServedModel, request: MakerRequest, scope: string): Promise<Asked> {
  const { goOn } = request;
  const { contextTokens: most, vocab } = served.info;
  const resumed = goOn?.resume?.tokens.every((id) => id < vocab) ? goOn.resume : undefined;
  const asked = await beginningOf(served, resumed === undefined ? request : { ...request, goOn: undefined }, scope);
  if (resumed === undefined) return asked;
  const tokens = new Int32Array(asked.tokens.length + resumed.tokens.length);
  tokens.set(asked.tokens);
  tokens.set(resumed.tokens, asked.tokens.length);
  fitting(tokens, most - 1, "messages");
  return { ...asked, resumed, tokens };
}

async function beginningOf(
  served: ServedModel,
  { messages: before, form = {}, goOn }: MakerRequest,
  scope: string,
): Promise<Asked> {
  const { text, info } = served;
  const { contextTokens: most } = info;
  const messages = goOn === undefined ? before : [...before, beginningAs(goOn)];
  if (info.chatTemplate === undefined) {
    if (form.tools !== undefined)
      throw new HundredweightError("OPTION_INVALID", "tools: the model has no chat template");
    const constraint = form.schema === undefined ? undefined : schemaConstraint(form.schema);
    if (constraint !== undefined) await text.perform({ kind: "checkConstraint", constraint });
    const plain = { text: plainText(messages), addSpecial: true, parseSpecial: false };
    const tokens = fitting(await text.perform({ kind: "encodePrompt", ...plain, most }), most, "messages");
    return { tokens, constraint };
  }
  const given = form.tools === undefined ? [] : listOf(form.tools);
  const { effort } = form;
  const variables = {
    ...(effort && { reasoning_effort: effort }),
    ...(effort === "none" && { enable_thinking: false }),
  };
  const chat = { messages, tools: given, variables };
  const made = fittingChat(await served.evaluated.encode(chat, most, scope), most);
  const tools = toolShapes(given);
  const format = { ...made.reply, tools, single: false };
  const reader = new ReplyReader(format);
  const constraint = formOf(form, tools, made, info.chatTemplate);
  if (constraint !== undefined) await text.perform({ kind: "checkConstraint", constraint });
  const kept = served.evaluated.begin(chat, made, scope);
  return { tokens: made.tokens, reader, shown: made.shown, constraint, kept };
}

/** The message that the answer goes on with, where only its text is known. */
function beginningAs({ content }: GoOn): MakerRequest["messages"][number] {
  const { thinking, answer } = splitThinking(content);
  return {
    role: "assistant",
    content: answer,
    ...(thinking !== undefined && thinking !== "" && { reasoning_content: thinking }),
  };
}

/** @throws OPTION_INVALID */
function formOf(
  { schema }: ConversationForm,
  tools: readonly ToolShape[],
  { reply, thinking }: EncodedChat,
  template: string | undefined,
): Constraint | undefined {
  const form = schema === undefined ? undefined : schemaConstraint(schema);
  return constraintOfAnswer(reply, thinking, { tools, single: false }, form, mayThink(template, thinking, reply));
}

/** @throws OPTION_INVALID */
function schemaConstraint(text: string): Constraint {
  return { kind: "json_schema", schema: jsonOf(text, "schema"), param: "schema" };
}

/** @throws OPTION_INVALID */
function listOf(text: string): unknown[] {
  const tools = jsonOf(text, "tools");
  if (Array.isArray(tools)) return tools;
  throw new HundredweightError("OPTION_INVALID", "tools: not a list");
}

/** @throws OPTION_INVALID */
function jsonOf(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HundredweightError("OPTION_INVALID", `${what}: not JSON: ${(error as Error).message}`);
  }
}

/** For a model that continues texts: what there is so far, on lines of their own where one ended a turn. */
export function plainText(messages: MakerRequest["messages"]): string {
  let text = "";
  let before = "user";
  for (const { role, content: given } of messages) {
    const content = typeof given === "string" ? given : "";
    const joins = text === "" || before === "user" || /\s$/.test(text) || /^\s/.test(content);
    text += joins ? content : `\n${content}`;
    before = role;
  }
  return text;
}

/** The settings of a conversation that names none. */
export function samplingDefaults(info: ServedModel["info"]): ConversationSampling {
  const {
    logitBias: _,
    samplers: __,
    drySequenceBreakers: ___,
    ...numbers
  } = { ...defaultSampling, ...info.samplingDefaults };
  return numbers;
}
