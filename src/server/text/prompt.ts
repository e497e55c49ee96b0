/**
 * Prompts against the context. One far too long is counted in windows and never tokenized as a whole: tokenizing takes up to 40 bytes for
 * each of the text, and the ids are thrown away anyway.
 */
import type { Tokenizer } from "../../tokenizer/index.js";

/** A prompt that does not fit. */
export interface TooLong {
  /** Tokens it has. */
  readonly tokens: number;
  /** Counted in windows: a few more or fewer. */
  readonly about: boolean;
}

/** Characters. */
const windowLength = 1 << 15;
/** A text of fewer characters for each token that fits is tokenized as it is: most are of 2 to 6. */
const usualLength = 8;
/** What a cut can make of a token and its neighbours. */
const perCut = 16;

/**
 * @param most tokens that fit
 * @param encode tokenizes the whole text
 */
export function encodePrompt(
  tokenizer: Tokenizer,
  text: string,
  most: number,
  encode: () => Int32Array,
): Int32Array | TooLong {
  if (text.length > windowLength && text.length > usualLength * most) {
    const { tokens, cuts } = countInWindows(tokenizer, text);
    if (tokens > most + perCut * cuts) return { tokens, about: true };
  }
  const ids = encode();
  return ids.length > most ? { tokens: ids.length, about: false } : ids;
}

function countInWindows(tokenizer: Tokenizer, text: string): { tokens: number; cuts: number } {
  let tokens = 0;
  let cuts = 0;
  for (let from = 0; from < text.length; cuts++) {
    const to = endOfWindow(text, from);
    tokens += tokenizer.encode(text.slice(from, to), { addSpecial: false, parseSpecial: true }).length;
    from = to;
  }
  return { tokens, cuts };
}

/** Before white space where there is some near, never inside a surrogate pair. */
function endOfWindow(text: string, from: number): number {
  const end = from + windowLength;
  if (end >= text.length) return text.length;
  const space = text.lastIndexOf(" ", end);
  if (space > end - 1024) return space;
  const unit = text.charCodeAt(end);
  return unit >= 0xdc00 && unit <= 0xdfff ? end - 1 : end;
}
