/**
 * An answer to an exchange as events, the same for every API: what an API makes of them is its `ExchangeShape`. Joined,
 * they are the same however the text was cut.
 */
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChoiceOutcome, Progress } from "../answers/answer-set.js";
import type { Wire } from "../answers/wire.js";
import type { HttpError } from "../http/http-error.js";

export type SpokenEvent =
  /** A piece of what was thought. */
  | { readonly kind: "reasoning"; readonly text: string }
  /** A piece of the text for the reader; `tokens`: those that said it, when log-probabilities were asked for. */
  | { readonly kind: "content"; readonly text: string; readonly tokens?: readonly TokenLogprobs[] }
  /** A call begins. `id` is what the model gave it, or a new one; `custom`: of a tool that takes a text. */
  | {
      readonly kind: "call";
      readonly index: number;
      readonly name: string;
      readonly id: string;
      readonly custom: boolean;
    }
  /** A piece of the arguments of call `index`, which are JSON text; of a custom tool its whole text at once. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string }
  /** `whole`: false when the answer ended inside of the arguments, which are then cut and not mended. */
  | { readonly kind: "callEnd"; readonly index: number; readonly whole: boolean };

/** A part of a whole answer. */
export type SpokenPart =
  | { readonly kind: "reasoning"; readonly text: string }
  | { readonly kind: "content"; readonly text: string; readonly tokens?: readonly TokenLogprobs[] }
  | SpokenCall;

export interface SpokenCall {
  readonly kind: "call";
  readonly id: string;
  readonly name: string;
  readonly custom: boolean;
  /** JSON text; of a custom tool its text. */
  readonly arguments: string;
  readonly whole: boolean;
}

/** Known of a choice when it is over. */
export interface Ending {
  /** `calls`: the client has to run tools now. `length` also inside of a call. */
  readonly reason: "stop" | "length" | "calls";
  /** The stop text that ended it. */
  readonly stopText: string | undefined;
  readonly promptTokens: number;
  /** Prompt tokens that were still evaluated from before. */
  readonly cachedTokens: number;
  /** Tokens made, and of these the ones of thinking. */
  readonly tokens: number;
  readonly reasoningTokens: number;
  /** Lines a person should read: a call that could not be read, for instance. */
  readonly warnings: readonly string[];
  readonly outcome: ChoiceOutcome;
}

export interface WholeReply extends Ending {
  /** In their order. */
  readonly parts: readonly SpokenPart[];
  readonly logprobs: readonly TokenLogprobs[];
}

/** Makes of an answer what an API has for it: the objects it streams, and the one object of an answer in one piece. */
export interface ExchangeShape {
  readonly wire: Wire;
  /** Sent with the headers, before anything is computed. Default: a comment alone. */
  start?(): readonly object[];
  /** A token was made; what it says comes next. */
  made?(id: number): void;
  /** For the events of a token; `token` when log-probabilities were asked for. */
  heard(
    choice: number,
    events: readonly SpokenEvent[],
    token: TokenLogprobs | undefined,
  ): readonly object[] | Promise<readonly object[]>;
  /** While the prompt is read. Default: nothing. */
  progress?(progress: Progress, elapsedMs: number): object | undefined;
  /** Sent where nothing was said for a while: many clients pass over comments. */
  alive?(): readonly object[];
  /** The context was full and the answer went on: chunks that have these fields. */
  rolled?(choice: number, fields: object): readonly object[];
  /** The end of the stream, for all choices at once. */
  end(ends: readonly Ending[]): readonly object[];
  whole(answers: readonly WholeReply[]): object | Promise<object>;
  /** A failure after the headers: the last object of a stream, or the one object. */
  failure(error: HttpError, stream: boolean): object;
}

type Growing<Part> = Part extends SpokenPart
  ? { -readonly [K in keyof Part]: K extends "tokens" ? TokenLogprobs[] : Part[K] }
  : never;

/** Joins events to parts. */
export class SpokenParts {
  private readonly parts: Growing<SpokenPart>[] = [];

  get list(): readonly SpokenPart[] {
    return this.parts;
  }

  add(events: readonly SpokenEvent[]): void {
    for (const event of events) {
      const last = this.parts.at(-1);
      if (event.kind === "call") {
        const { id, name, custom } = event;
        this.parts.push({ kind: "call", id, name, custom, arguments: "", whole: false });
      } else if (event.kind === "arguments") {
        if (last?.kind === "call") last.arguments += event.text;
      } else if (event.kind === "callEnd") {
        if (last?.kind === "call") last.whole = event.whole;
      } else if (event.kind === "reasoning") {
        if (last?.kind === "reasoning") last.text += event.text;
        else this.parts.push({ kind: "reasoning", text: event.text });
      } else {
        const { text, tokens } = event;
        if (last?.kind !== "content") {
          this.parts.push({ kind: "content", text, ...(tokens !== undefined && { tokens: [...tokens] }) });
          continue;
        }
        last.text += text;
        last.tokens?.push(...(tokens ?? []));
      }
    }
  }
}

/** The texts of a kind, joined. */
export function textOf(parts: readonly SpokenPart[], kind: "reasoning" | "content"): string {
  return parts.map((part) => (part.kind === kind ? part.text : "")).join("");
}

export function callsOf(parts: readonly SpokenPart[]): readonly SpokenCall[] {
  return parts.filter((part) => part.kind === "call");
}
