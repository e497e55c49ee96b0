/**
 * Prompts against the context. One far too long is counted in windows and never tokenized as a whole: tokenizing takes
 * up to 40 bytes for each of the text, and the ids are thrown away anyway.
 */
import type { Tokenizer } from "../tokenizer/index.js";

/** A prompt that does not fit. */
export type TooLong =
  | {
      /** Tokens it has. */
      readonly tokens: number;
      /** Counted in windows: a few more or fewer. */
      readonly about: boolean;
    }
  /** Bytes of text it has, and how many are looked at. */
  | { readonly bytes: number; readonly mostBytes: number };

/** "the prompt has ..., the context ...": what to say of it. */
export function tooLongText(long: TooLong, contextTokens: number, whose = ""): string {
  if ("bytes" in long)
    return (
      `the prompt has ${long.bytes} bytes of text, more than the ${long.mostBytes} that are read for ` +
      `the context${whose} of ${contextTokens} tokens`
    );
  return `the prompt has ${long.about ? "about " : ""}${long.tokens} tokens, the context${whose} ${contextTokens}`;
}

/** Characters. */
const windowLength = 1 << 15;
/** A text of fewer characters for each token that fits is tokenized as it is: most are of 2 to 6. */
const usualLength = 8;
/** Tokens that a cut can change at its edge. */
const perCut = 16;
/** A rendered text may be much longer than what it was given: its length is then told by its beginning. */
const maxWindows = 128;

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
  let from = 0;
  for (; from < text.length && cuts < maxWindows; cuts++) {
    const to = endOfWindow(text, from);
    tokens += tokenizer.encode(text.slice(from, to), { addSpecial: false, parseSpecial: true }).length;
    from = to;
  }
  return { tokens: Math.ceil((tokens * text.length) / from), cuts };
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
