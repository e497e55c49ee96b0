/** Leads an answer: which tokens may come, and what follows from one that came. */
import type { AllowedTokens } from "../allowed.js";
import type { LeftOut } from "./grammar/rule-book.js";

export interface Guide {
  /** The parts of a schema that are not enforced. */
  readonly leftOut: readonly LeftOut[];
  /** Whether the text may end here. */
  readonly accepts: boolean;
  /** Whether nothing may follow. */
  readonly done: boolean;
  /** Tokens that may come, ends of generation among them where the text may end; undefined: all. */
  allowed(): AllowedTokens | undefined;
  /** @returns false, and nothing changes, when the token may not come; an end of generation is no token of the text */
  accept(id: number): boolean;
  /** Tokens of the text that has to come next, as the tokenizer writes it; empty when nothing is certain. */
  forced(most: number): Int32Array;
}
