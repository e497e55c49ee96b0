/** A constraint as it is asked for: plain data that crosses threads. */

import type { ShapeConstraint } from "./call-shape.js";
import type { SchemaOptions } from "./json/compile.js";
import type { Thinking } from "./thinking.js";

export type Constraint = ConstraintKind & {
  /** The field or option that asked for it: errors name it. */
  readonly param?: string;
  /** Thinking that may come before the answer, or between calls; the constraint does not hold in it. */
  readonly thinking?: Thinking;
};

type ConstraintKind =
  /** A JSON value by a JSON Schema. */
  | { readonly kind: "json_schema"; readonly schema: unknown; readonly options?: SchemaOptions }
  /** A grammar in llama.cpp's language; its rule `root` is the answer. */
  | { readonly kind: "gbnf"; readonly grammar: string }
  /** A grammar in the language of Lark; its rule `start` is the answer. */
  | { readonly kind: "lark"; readonly grammar: string }
  /** The whole answer matches a regular expression. */
  | { readonly kind: "regex"; readonly pattern: string }
  /** The answer is one of these texts. */
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  /** Calls of tools in a dialect. */
  | ShapeConstraint
  /** By one of several constraints: a call or a text in a form, for instance. */
  | EitherConstraint;

export interface EitherConstraint {
  readonly kind: "either";
  readonly of: readonly EitherWay[];
  /** The beginning of the answer that the prompt holds. */
  readonly begun?: string;
}

export interface EitherWay {
  /** Stands before it; a control token's text may come as the token. */
  readonly before?: string;
  readonly constraint: Constraint;
}
