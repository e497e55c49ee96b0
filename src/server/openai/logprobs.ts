/** Log-probabilities in the two forms of the OpenAI API. */
import type { TokenLogprobs } from "../../link/protocol.js";
import type { Piece } from "../../text/index.js";

type Lookup = (id: number) => Piece;

/** JSON has no infinity; this is what OpenAI's servers write for a probability of nothing. */
const nothing = -9999;

function finite(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : nothing;
}

export interface ChatTokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export interface ChatLogprobs {
  readonly content: readonly (ChatTokenLogprob & { readonly top_logprobs: readonly ChatTokenLogprob[] })[];
  readonly refusal: null;
}

export function chatLogprobs(entries: readonly TokenLogprobs[], lookup: Lookup): ChatLogprobs {
  const one = (id: number, logprob: number): ChatTokenLogprob => {
    const { text, bytes } = lookup(id);
    return { token: text, logprob: finite(logprob), bytes };
  };
  return {
    content: entries.map(({ id, logprob, top }) => ({
      ...one(id, logprob),
      top_logprobs: top.map((other) => one(other.id, other.logprob)),
    })),
    refusal: null,
  };
}

export interface TextLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[];
  /** Where each token begins in the text of the choice, in UTF-16 units. */
  readonly text_offset: number[];
}

export function noTextLogprobs(): TextLogprobs {
  return { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
}

/** @returns the entry for a token whose text is at `offset`; a first token has no probability (`entry` undefined). */
export function addTextLogprob(
  to: TextLogprobs,
  id: number,
  entry: TokenLogprobs | undefined,
  lookup: Lookup,
  offset: number,
): void {
  to.tokens.push(lookup(id).text);
  to.token_logprobs.push(entry === undefined ? null : finite(entry.logprob));
  to.text_offset.push(offset);
  if (entry === undefined) {
    to.top_logprobs.push(null);
    return;
  }
  // The token itself is always among them, as in OpenAI's answers.
  const top: Record<string, number> = {};
  for (const other of [...entry.top, { id, logprob: entry.logprob }]) {
    top[lookup(other.id).text] ??= finite(other.logprob);
  }
  to.top_logprobs.push(top);
}

/** All ids an entry names. */
export function idsOf(entries: readonly TokenLogprobs[]): number[] {
  return entries.flatMap(({ id, top }) => [id, ...top.map((other) => other.id)]);
}
