/**
 * Makes prompts of the library's conversations. A template from a file runs where it can be ended; one of our own,
 * and the parts of a test, need no such place.
 */
import {
  type AskedCalls,
  type Conversation,
  constraintOfAnswer,
  type prepareConversation,
  type ReplyFormat,
  type ReplyStart,
} from "../chat/index.js";
import { ownTemplate, renderOwn } from "../chat/own-template.js";
import { toolShapes } from "../chat/tool-shapes.js";
import { asHundredweightError, HundredweightError } from "../errors.js";
import type { GenerateRequest, ModelInfo, Prompt } from "../link/protocol.js";
import type { Constraint } from "../sampling/constraint/source.js";
import {
  EvaluatedTexts,
  type HeardReplies,
  openTexts,
  type TextPlaceKind,
  type TextService,
  tooLongText,
} from "../text/index.js";

/**
 * A place that is being opened while its model is, and perhaps for nothing: only then is it known whether there is a
 * template.
 */
export class OpeningTexts {
  private readonly ender = new AbortController();
  readonly service: Promise<TextService>;

  constructor(path: string, place: TextPlaceKind) {
    this.service = openTexts(path, { place, signal: this.ender.signal });
    this.service.catch(() => {}); // whoever chats gets it
  }

  close(): void {
    this.ender.abort();
  }
}

/** A prompt, and how what follows it is to be read: without `reply` it is one text. */
export interface AskedPrompt {
  readonly prompt: Prompt;
  readonly reply?: ReplyFormat;
  /** Control tokens that the reply is read by. */
  readonly shown?: readonly number[];
  /** Where thinking ends. */
  readonly thinking?: GenerateRequest["thinking"];
  /** Lines a person should read. */
  readonly notes?: readonly string[];
  /** Makes the constraint of the answer, where the text for the reader has a form or none. */
  readonly constraint?: (form: Constraint | undefined) => Constraint | undefined;
  /** Is told what is answered, so that the tokens of the answer are found when the conversation comes back. */
  readonly heard?: HeardReplies;
}

/** A conversation as the library takes it. */
export interface AskedConversation extends Conversation {
  /** Whether more than one call may be made. Default true. */
  readonly parallelCalls?: boolean | undefined;
  /** Most tokens of thinking, which is then ended. Default: as many as the model wants. */
  readonly reasoningBudget?: number | undefined;
  /** The name of its owner. */
  readonly scope?: string;
}

export class ConversationPrompts {
  private readonly info: ModelInfo;
  private readonly place: TextPlaceKind | typeof prepareConversation;
  private texts: OpeningTexts | undefined;
  /** Tokens of the conversations that were answered; made with the first one. */
  private evaluated: EvaluatedTexts | undefined;

  /**
   * @param place or the function itself, in this thread
   * @param texts opened beforehand; else a place is opened for the first conversation
   */
  constructor(info: ModelInfo, place: TextPlaceKind | typeof prepareConversation, texts?: OpeningTexts) {
    this.info = info;
    this.place = place;
    this.texts = texts;
    // Not needed, as far as can be told; it is opened again if it is.
    if (info.chatTemplate === undefined || info.chatTemplate === ownTemplate) this.close();
  }

  /** @throws TEMPLATE_INVALID, CONTEXT_EXCEEDED, CANCELLED */
  of(conversation: AskedConversation): (signal: AbortSignal) => AskedPrompt | Promise<AskedPrompt> {
    const { chatTemplate, bosText, eosText } = this.info;
    const tools = toolShapes(conversation.tools ?? []);
    const { mustCall } = conversation;
    // A tool that was named is called once.
    const single = conversation.parallelCalls === false || typeof mustCall === "string";
    const asked = { tools, single, mustCall };
    if (chatTemplate === ownTemplate && isPlain(conversation)) {
      const segments = renderOwn(conversation.messages);
      const reply = { dialect: ownDialect, thinks: false, begun: "", tools, single };
      return () => ({ prompt: { kind: "segments", segments }, reply });
    }
    const { place } = this;
    if (typeof place === "function") {
      const templates = new Map(chatTemplate === undefined ? [] : [["default", chatTemplate]]);
      const texts = { bosToken: bosText, eosToken: eosText };
      const { segments, reply, notes, thinking } = place(templates, conversation, texts);
      const constraint: AskedPrompt["constraint"] = (form) => constraintOfAnswer(reply, thinking, asked, form);
      return () => ({ prompt: { kind: "segments", segments }, reply: { ...reply, tools, single }, notes, constraint });
    }
    return (signal) => this.encode(conversation, asked, place, signal);
  }

  /** Which texts of this owner have these tokens, or a beginning of them; undefined: none that is known. */
  async textsOf(tokens: Int32Array, scope?: string): Promise<string | undefined> {
    return this.evaluated?.told(tokens, scope);
  }

  /** The same, as another process told it. */
  async remember(texts: string, tokens: Int32Array, scope?: string): Promise<void> {
    const { place, info } = this;
    if (typeof place === "function" || info.chatTemplate === undefined || info.chatTemplate === ownTemplate) return;
    this.texts ??= new OpeningTexts(info.path, place);
    this.evaluated ??= new EvaluatedTexts(await this.texts.service);
    this.evaluated.remember(texts, tokens, scope);
  }

  close(): void {
    this.texts?.close();
    this.texts = undefined;
  }

  private async encode(
    conversation: AskedConversation,
    asked: AskedCalls,
    place: TextPlaceKind,
    signal: AbortSignal,
  ): Promise<AskedPrompt> {
    const { path, contextTokens: most } = this.info;
    this.texts ??= new OpeningTexts(path, place);
    const { texts } = this;
    try {
      const service = await unlessAborted(texts.service, signal);
      const { parallelCalls: _, reasoningBudget: budget, scope, ...chat } = conversation;
      this.evaluated ??= new EvaluatedTexts(service);
      const made = await this.evaluated.encode(chat, most, scope, signal);
      if ("reply" in made) {
        const { tokens, reply, shown, thinking, notes } = made;
        const limit = budget === undefined ? {} : { thinking: { ...thinking, budget, opened: reply.thinks } };
        const { tools, single } = asked;
        const knows = thinking.open.some((mark) => this.info.chatTemplate?.includes(mark));
        const constraint: AskedPrompt["constraint"] = (form) =>
          constraintOfAnswer(reply, thinking, asked, form, reply.thinks || knows);
        const heard = this.evaluated.begin(chat, made, scope);
        return {
          prompt: { kind: "tokens", tokens },
          reply: { ...reply, tools, single },
          shown,
          notes,
          constraint,
          ...limit,
          ...(heard !== undefined && { heard }),
        };
      }
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `${tooLongText(made, most)}; shorten it or raise the context (--ctx)`,
      );
    } catch (error) {
      throw asHundredweightError(error);
    }
  }
}

/** The dialect of our own template: synthetic models know no marks. */
const ownDialect: ReplyStart["dialect"] = { name: "plain", models: "", signs: [], forms: [] };

/** A conversation that our own template has a form for. */
function isPlain({ messages, tools = [] }: Conversation): boolean {
  return tools.length === 0 && messages.at(-1)?.role !== "assistant";
}

/** On a busy machine a place takes seconds to open; whoever stops waiting does not wait for that. @throws CANCELLED */
async function unlessAborted<T>(waited: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new HundredweightError("CANCELLED", "stopped by the caller"));
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
  });
  try {
    return await Promise.race([waited, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
