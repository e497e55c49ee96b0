/**
 * The library's conversations become prompts. A template from a file runs where it can be ended; one of our own, and the parts of a test,
 * need no such place.
 */
import type { ChatMessage, renderChat } from "../chat/index.js";
import { ownTemplate, renderOwn } from "../chat/own-template.js";
import { asHundredweightError, HundredweightError } from "../errors.js";
import type { ModelInfo, Prompt } from "../link/protocol.js";
import { openTexts, type TextPlaceKind, type TextService, tooLongText } from "../text/index.js";

/** A place that is being opened while its model is, and perhaps for nothing: only then is it known whether there is a template. */
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

export class ConversationPrompts {
  private readonly info: ModelInfo;
  private readonly place: TextPlaceKind | typeof renderChat;
  private texts: OpeningTexts | undefined;

  /**
   * @param place or the function itself, in this thread
   * @param texts opened beforehand; else a place is opened for the first conversation
   */
  constructor(info: ModelInfo, place: TextPlaceKind | typeof renderChat, texts?: OpeningTexts) {
    this.info = info;
    this.place = place;
    this.texts = texts;
    if (info.chatTemplate === undefined || info.chatTemplate === ownTemplate) this.close();
  }

  /** @throws TEMPLATE_MISSING, at once; TEMPLATE_INVALID, CONTEXT_EXCEEDED, CANCELLED */
  of(messages: readonly ChatMessage[]): (signal: AbortSignal) => Prompt | Promise<Prompt> {
    const { chatTemplate, path, bosText, eosText } = this.info;
    if (chatTemplate === undefined) {
      throw new HundredweightError("TEMPLATE_MISSING", `${path} has no chat template; use generate()`);
    }
    if (chatTemplate === ownTemplate) {
      const segments = renderOwn(messages);
      return () => ({ kind: "segments", segments });
    }
    const { place } = this;
    if (typeof place === "function") {
      const { segments } = place(chatTemplate, messages, { bosToken: bosText, eosToken: eosText });
      return () => ({ kind: "segments", segments });
    }
    return (signal) => this.encode(messages, place, signal);
  }

  close(): void {
    this.texts?.close();
    this.texts = undefined;
  }

  private async encode(messages: readonly ChatMessage[], place: TextPlaceKind, signal: AbortSignal): Promise<Prompt> {
    const { path, contextTokens: most } = this.info;
    this.texts ??= new OpeningTexts(path, place);
    const { texts } = this;
    try {
      const service = await unlessAborted(texts.service, signal);
      const tokens = await service.perform({ kind: "encodeChat", chat: { messages }, most }, signal);
      if (tokens instanceof Int32Array) return { kind: "tokens", tokens };
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `${tooLongText(tokens, most)}; shorten it or raise the context (--ctx)`,
      );
    } catch (error) {
      throw asHundredweightError(error);
    }
  }
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
