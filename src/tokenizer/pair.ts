/** A query and a document as the one text that a reranker reads. */
import type { Metadata } from "../formats/types.js";
import type { Tokenizer } from "./types.js";

/** The file's template of such a text, with `{query}` and `{document}` in it; of another type it is as good as none. */
export function pairTemplate(metadata: Metadata): string | undefined {
  const value = metadata.get("tokenizer.chat_template.rerank");
  return typeof value === "string" ? value : undefined;
}

const placeholders = /(\{query\}|\{document\})/;

/**
 * By the file's template, in which alone control tokens count as such; without one: query, what ends a text, what
 * separates two, document, what ends a text.
 */
export function encodePair(
  tokenizer: Tokenizer,
  template: string | undefined,
  query: string,
  document: string,
): Int32Array {
  if (template !== undefined) {
    const texts: Readonly<Record<string, string>> = { "{query}": query, "{document}": document };
    const parts = template.split(placeholders).filter((text) => text !== "");
    const segments = parts.map((text) => ({ text: texts[text] ?? text, user: text in texts }));
    return tokenizer.encodeSegments(segments);
  }
  const { special, addBos, addEos, addSeparator } = tokenizer;
  const end = special.eos ?? special.separator;
  const among = (wanted: boolean, id: number | undefined): number[] => (wanted && id !== undefined ? [id] : []);
  const ends = among(addEos, end);
  // Of BERT the separator is also what ends a text: one of them is enough.
  const between = among(addSeparator && !(special.eos === undefined && addEos), special.separator);
  const own = { addSpecial: false, parseSpecial: false };
  return Int32Array.from([
    ...among(addBos, special.bos),
    ...tokenizer.encode(query, own),
    ...ends,
    ...between,
    ...tokenizer.encode(document, own),
    ...ends,
  ]);
}

/** The beginning of a text, so many tokens of it. */
export function firstTokens(tokenizer: Tokenizer, text: string, most: number): string {
  // A token is of 256 characters at most in any vocabulary that is known.
  const head = text.slice(0, 256 * most);
  const ids = tokenizer.encode(head, { addSpecial: false, parseSpecial: false });
  return ids.length <= most ? head : tokenizer.decode(ids.subarray(0, most));
}
