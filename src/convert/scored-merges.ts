/**
 * The merges of a SentencePiece vocabulary, whose BPE joins the neighbours that make the token of the highest score:
 * every way to cut a token into two others, in the order of the tokens' scores. As transformers' converter has them.
 */
import type { Metadata } from "../formats/types.js";
import type { Tokenizer } from "../tokenizer/index.js";

/** @returns `left right`; as pairs where a text holds a space */
export function scoredMerges(
  metadata: Metadata,
  tokenizer: Tokenizer,
  tokens: readonly string[],
): (string | [string, string])[] {
  const scores = metadata.numbers("tokenizer.ggml.scores");
  const ids = new Map<string, number>();
  for (const [id, text] of tokens.entries()) {
    const kind = tokenizer.tokenKind(id);
    if ((kind === "normal" || kind === "user") && !ids.has(text)) ids.set(text, id);
  }
  // Equal scores: the token that comes first.
  const order = [...ids].sort(([, a], [, b]) => (scores?.[b] ?? 0) - (scores?.[a] ?? 0) || a - b);
  const merges: [string, string][] = [];
  for (const [text] of order) {
    const cuts: [left: number, right: number, pair: [string, string]][] = [];
    for (let at = 0; at < text.length; ) {
      at += text.codePointAt(at)! > 0xffff ? 2 : 1;
      const pair: [string, string] = [text.slice(0, at), text.slice(at)];
      const [left, right] = [ids.get(pair[0]), ids.get(pair[1])];
      if (at < text.length && left !== undefined && right !== undefined) cuts.push([left, right, pair]);
    }
    cuts.sort(([a, b], [c, d]) => a - c || b - d);
    for (const [, , pair] of cuts) merges.push(pair);
  }
  return merges.some(([left, right]) => left.includes(" ") || right.includes(" "))
    ? merges
    : merges.map((pair) => pair.join(" "));
}
