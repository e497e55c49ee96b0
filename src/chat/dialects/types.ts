/**
 * Says what a dialect is: how a family of models writes thinking and tool calls into its answers. A dialect is data.
 * The reader of replies, the writer of calls and the constraint on the sampler are made from the same row.
 */

import type { TextGrammar } from "../../sampling/constraint/call-shape.js";

/** Keys of a call that is one JSON object. */
export interface ObjectKeys {
  readonly name: string;
  readonly arguments: string;
  readonly id?: string;
  /** It is a call only when the name of a tool is the first that it says: nothing else tells it from other JSON. */
  readonly nameFirst?: boolean;
}

/** A part of a call: text that stands there as it is, or something that differs from call to call. */
export type Piece =
  | string
  /** `prefix` and the number of the call stand around it in some; readers do without both. */
  | { readonly is: "name"; readonly prefix?: string; readonly numbered?: boolean }
  | { readonly is: "id" }
  /** The arguments as a JSON object. */
  | { readonly is: "json" }
  /** Name and arguments in one JSON object. */
  | ({ readonly is: "object" } & ObjectKeys)
  /** A JSON list of such objects: all calls. */
  | ({ readonly is: "list" } & ObjectKeys)
  /** A JSON list of `{"NAME": ARGUMENTS}`: all calls. */
  | { readonly is: "keyed" }
  /** Arguments one by one between marks, each value as raw text. */
  | Params
  /** A Python list of calls, `[name(key='value'), ...]`: all calls. `bare`: without the brackets, a line each. */
  | { readonly is: "python"; readonly bare?: boolean }
  /** The literal of Gemma 4: `{key:<|"|>text<|"|>,count:2}`. */
  | { readonly is: "gemma" }
  /** Tags named like the arguments, one inside the other; every tag has `prefix` before it. */
  | { readonly is: "nested"; readonly prefix: string };

export interface Params {
  readonly is: "params";
  /** Before a value: texts around the key and, where there is one, the kind of the value. */
  readonly open: readonly (string | { readonly is: "key" | "kind" })[];
  /** After a value. */
  readonly close: string;
  /** Marks inside of these around a value, where they are there: XML's CDATA. */
  readonly quotes?: readonly [open: string, close: string];
  /** The word by which the kind marks a value that is a text. */
  readonly textKind?: string;
}

/** One way in which calls are written. */
export interface CallForm {
  /** Around all calls of an answer. */
  readonly section?: readonly [open: string, close: string];
  readonly call: readonly Piece[];
  /** Between two calls. */
  readonly separator?: string;
  /** Begins with no mark: it counts only at the beginning of the answer. */
  readonly bare?: boolean;
  /** Its mark stands in other texts as well: what is no call is no fault. */
  readonly common?: boolean;
  /** A name that means the text for the reader and no call. */
  readonly contentName?: string;
}

export interface Dialect {
  readonly name: string;
  /** For the documentation: which models write so. */
  readonly models: string;
  /** A template that holds all texts of one of these lists is of this dialect. */
  readonly signs: readonly (readonly string[])[];
  /** Marks around thinking. Default: `<think>` and `</think>`. */
  readonly thinking?: readonly (readonly [open: string, close: string])[];
  /** Marks around the text for the reader, which are no part of it. */
  readonly answer?: readonly [open: string, close: string];
  /** Marks between the parts of an answer that belong to none. */
  readonly skipped?: readonly string[];
  /** The first is how calls are written; the others are ways in which models write them as well. */
  readonly forms: readonly CallForm[];
  /** Replies are messages with headers, which name channels (gpt-oss) or recipients (Muse). */
  readonly messages?: "harmony" | "recipients";
  /** Ids of calls that the template wants. Default: any. */
  readonly ids?: "nine";
  /** Marks besides those of the forms whose tokens must be shown. */
  readonly marks?: readonly string[];
}

/** A call as it is written into a prompt or an answer. */
export interface WrittenCall {
  readonly name: string;
  readonly id?: string;
  /** A JSON object. */
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** A tool as the reader of replies and the constraint on the sampler need it. */
export interface ToolShape {
  readonly name: string;
  /** JSON Schema of the arguments. */
  readonly parameters?: unknown;
  /** A part of the schema that cannot be enforced is an error. */
  readonly strict?: boolean;
  /** The grammar of the one text that it takes. */
  readonly grammar?: TextGrammar;
  /** Where it was described, for messages: `tools[0].function.parameters`. Default: its name. */
  readonly from?: string;
}

export const usualThinking = ["<think>", "</think>"] as const;

export function thinkingOf({ thinking }: Dialect): readonly (readonly [open: string, close: string])[] {
  return thinking ?? [usualThinking];
}
