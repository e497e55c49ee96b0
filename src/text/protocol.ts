/** Messages between whoever has texts and the place (a process or a thread) where templates and tokenizer run. */
import type { Conversation, ReplyStart, SaidReply, TemplateAbilities } from "../chat/index.js";
import type { WireError } from "../process/wire.js";
import type { LeftOut } from "../sampling/constraint/grammar/rule-book.js";
import type { Constraint } from "../sampling/constraint/source.js";
import type { FimTokens, GapText } from "../tokenizer/index.js";
import type { KnownTexts } from "./known-texts.js";
import type { TooLong } from "./prompt.js";

/** A conversation as tokens, and how the reply to it is to be read. */
export interface EncodedChat {
  readonly tokens: Int32Array;
  readonly reply: ReplyStart;
  /** Control tokens that the reply is read by: they must be shown in it. */
  readonly shown: readonly number[];
  /** Marks around thinking, and the tokens that end it. */
  readonly thinking: {
    readonly open: readonly string[];
    readonly close: readonly string[];
    readonly end: readonly number[];
  };
  /** Lines a person should read. */
  readonly notes: readonly string[];
  /** The known text with which the prompt begins: `tokens` are those behind it. */
  readonly known?: number;
  /** Absent: the template ends turns by no mark that the model knows. */
  readonly turn?: Turn;
}

/** Where the last turn of a prompt ends, in characters, and the hash of the text up to there. */
export interface Turn {
  readonly at: number;
  readonly hash: Uint8Array;
}

export interface PlainText {
  readonly text: string;
  readonly addSpecial: boolean;
  readonly parseSpecial: boolean;
}

export type TextRequest =
  | { readonly kind: "render"; readonly chat: Conversation }
  /** `most`: tokens that fit; what is longer is counted only. `known`: texts whose tokens the caller has. */
  | {
      readonly kind: "encodeChat";
      readonly chat: Conversation;
      readonly most: number;
      readonly known?: KnownTexts;
    }
  /**
   * Asks for the beginnings of prompts that go on with this conversation and its answer: all of it but the mark at
   * which the answer's turn ends. `mark`: a text that is nowhere in it.
   */
  | {
      readonly kind: "answered";
      readonly chat: Conversation;
      readonly turn: Turn;
      readonly answer: SaidReply;
      readonly keepThinking: boolean;
      readonly mark: string;
    }
  | ({ readonly kind: "encodePrompt"; readonly most: number } & PlainText)
  /** `cut`: tokens of the document that are read. */
  | {
      readonly kind: "encodePair";
      readonly query: string;
      readonly document: string;
      readonly most: number;
      readonly cut?: number;
    }
  | ({ readonly kind: "encode" } & PlainText)
  /** A text with a gap. */
  | { readonly kind: "encodeGap"; readonly gap: GapText; readonly most: number }
  /** `exact`: also the space that encoding puts before some texts. */
  | { readonly kind: "decode"; readonly tokens: Int32Array; readonly special: boolean; readonly exact?: boolean }
  | { readonly kind: "pieces"; readonly tokens: Int32Array }
  | { readonly kind: "abilities" }
  /** Whether an answer can be held to it. */
  | { readonly kind: "checkConstraint"; readonly constraint: Constraint };

/**
 * A token by itself: its text as people read it (control tokens by name), and its exact bytes (empty for control
 * tokens). A list, as answers have it: thousands of them are kept, and an array of bytes takes 200 bytes beside its
 * own.
 */
export interface Piece {
  readonly text: string;
  readonly bytes: readonly number[];
}

export interface TextResults {
  readonly render: string;
  readonly encodeChat: EncodedChat | TooLong;
  readonly answered: Omit<KnownTexts, "tokens">;
  readonly encodePrompt: Int32Array | TooLong;
  readonly encodePair: Int32Array | TooLong;
  readonly encode: Int32Array;
  readonly encodeGap: Int32Array | TooLong;
  readonly decode: string;
  readonly pieces: readonly Piece[];
  readonly abilities: TemplateAbilities;
  /** The parts that are not enforced. */
  readonly checkConstraint: readonly LeftOut[];
}

export interface TextInfo {
  readonly vocab: number;
  readonly templates: readonly string[];
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly fim: FimTokens;
  /** Ids at which an answer ends. */
  readonly ends: readonly number[];
}

/** How far one try of a request may go. */
export interface TextLimits {
  /** Longest a template may render. */
  readonly renderMs: number;
  /** Most characters of a rendered text that are tokenized. */
  readonly renderedLength: number;
}

export type ToText =
  /** `template`: a chat template in place of the file's. */
  | { readonly type: "open"; readonly path: string; readonly template?: string | undefined }
  | { readonly type: "do"; readonly request: TextRequest; readonly limits: TextLimits };

/** Ids of a message: one of megabytes is held three times over by whoever takes it. */
export const mostIds = 2 ** 16;

export type FromText =
  | { readonly type: "opened"; readonly info: TextInfo }
  | { readonly type: "done"; readonly result: TextResults[keyof TextResults] }
  /** Some of many ids, in their order: those of a result that is `length` ids and not in the message behind them. */
  | { readonly type: "ids"; readonly ids: Int32Array; readonly length: number }
  /**
   * A limit was met and nothing is broken: the same request may be tried with others. `starved`: the machine computed
   * for others meanwhile.
   */
  | { readonly type: "limited"; readonly by: keyof TextLimits; readonly starved: boolean }
  | { readonly type: "failed"; readonly error: WireError };

/** Whether a template from a stranger's file runs for it. */
export function usesTemplate({ kind }: TextRequest): boolean {
  return kind === "encodeChat" || kind === "render" || kind === "answered" || kind === "abilities";
}
