/**
 * A byte-level BPE vocabulary of any size that encodes any text: the 256 bytes, some English, then words of syllables
 * (with and without a space before) that merges really reach, and control tokens at the end.
 */
import { ownTemplate } from "../chat/own-template.js";
import type { TypedValue } from "../formats/index.js";
import { bpeMetadata, byteAlphabet, englishMerges } from "./tiny-tokenizer.js";

const controls = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];
export const minVocab = 256 + controls.length;

const syllables = [..."bcdfghjklmnprstvwyz"].flatMap((c) => [..."aeiou"].map((v) => [c, v] as const));

/** The `tokenizer.*` metadata.  @param size at least `minVocab` */
export function syntheticVocabulary(size: number, pre: string): [string, TypedValue][] {
  const tokens = byteAlphabet();
  const merges: string[] = [];
  const known = new Set(tokens);
  const room = size - controls.length;
  const merge = (left: string, right: string) => {
    if (tokens.length >= room || known.has(left + right)) return;
    known.add(left + right);
    tokens.push(left + right);
    merges.push(`${left} ${right}`);
  };
  for (const pair of englishMerges) {
    const [left, right] = pair.split(" ") as [string, string];
    merge(left, right);
  }
  for (const [left, right] of words()) {
    if (tokens.length >= room) break;
    merge(left, right);
    merge("Ġ", left + right); // the space before a word
  }
  return [
    ...bpeMetadata({ pre, tokens: [...tokens, ...controls], controls, merges, bos: "<|begin|>", eos: "<|end|>" }),
    ["tokenizer.chat_template", { type: "string", value: ownTemplate }],
  ];
}

/** Words as their two halves: single syllables, then every known word followed by one more. */
function* words(): Generator<readonly [string, string]> {
  yield* syllables;
  for (let known = syllables.map(([c, v]) => c + v); ; ) {
    const next: string[] = [];
    for (const word of known)
      for (const [c, v] of syllables) {
        yield [word, c + v];
        next.push(word + c + v);
      }
    known = next;
  }
}
