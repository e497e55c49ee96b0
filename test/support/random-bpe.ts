/** Byte-pair vocabularies made by dice: merges learnt from random words, on UTF-8 or on bytes. */
import type { TypedValue } from "../../src/formats/index.js";
import { byteAlphabet } from "../../src/synth/tiny-tokenizer.js";
import { Dice } from "../fuzz/dice.js";
import type { RandomVocabulary } from "./random-vocabulary.js";
import { strings } from "./tokenizer-golden.js";

const text = (value: string): TypedValue => ({ type: "string", value });

function entriesOf(model: string, pre: string, tokens: readonly string[], merges: readonly string[] | undefined) {
  const entries = new Map<string, TypedValue>([
    ["general.architecture", text("llama")],
    ["tokenizer.ggml.model", text(model)],
    ["tokenizer.ggml.pre", text(pre)],
    ["tokenizer.ggml.tokens", strings(tokens)],
  ]);
  if (merges !== undefined) entries.set("tokenizer.ggml.merges", strings(merges));
  return entries;
}

/** Pairs of earlier tokens, joined: each merge can be reached. */
function randomMerges(d: Dice, tokens: string[], count: number): string[] {
  const merges: string[] = [];
  const known = new Set(tokens);
  while (merges.length < count) {
    const [left, right] = [d.pick(tokens), d.pick(tokens)];
    if (known.has(left + right) || left.length + right.length > 8) continue;
    known.add(left + right);
    tokens.push(left + right);
    merges.push(`${left} ${right}`);
  }
  return merges;
}

/** Merges on characters, some of which have byte tokens instead. */
export function rawVocabulary(seed: number, model: string, lowercase: boolean | undefined): RandomVocabulary {
  const d = new Dice(seed, "raw");
  const tokens = [..."aetnisrlAT\u00e9\u00c9\u03b1\u0436\u0416\u4e16\u754c."];
  const merges = randomMerges(d, tokens, 500);
  for (let byte = 0; byte < 256; byte += 1 + d.below(2)) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  }
  const entries = entriesOf(model, "whitespace", tokens, merges);
  if (lowercase !== undefined) entries.set("tokenizer.ggml.normalizer.lowercase", { type: "bool", value: lowercase });
  return { entries, words: tokens };
}

/** A vocabulary of byte texts by rank, with the merges that follow from the ranks and without. */
export function byteVocabulary(seed: number): { withMerges: RandomVocabulary; withoutMerges: RandomVocabulary } {
  const d = new Dice(seed, "bytes");
  const alphabet = byteAlphabet();
  const frequent = [..."aetnisr "].map((c) => alphabet[c.charCodeAt(0)]!);
  const tokens = [...alphabet];
  const pool = [...frequent, ...frequent, alphabet[0xc3]!, alphabet[0xa9]!];
  randomMerges(d, pool, 600);
  for (const piece of pool) if (!tokens.includes(piece)) tokens.push(piece);
  // Of each token the last step of merging it by ranks below its own, as converters derive it.
  const ranks = new Map(tokens.map((token, id) => [token, id]));
  const merges: string[] = [];
  for (const [token, rank] of ranks) {
    if ([...token].length === 1) continue;
    const parts = [...token];
    while (parts.length > 2) {
      let best = -1;
      let bestRank = rank;
      for (let i = 0; i + 1 < parts.length; i++) {
        const joined = ranks.get(parts[i]! + parts[i + 1]!) ?? rank;
        if (joined < bestRank) [best, bestRank] = [i, joined];
      }
      if (best < 0) break;
      parts.splice(best, 2, parts[best]! + parts[best + 1]!);
    }
    if (parts.length === 2) merges.push(parts.join(" "));
  }
  const words = tokens.filter((token) => /^[ -~\u0120]+$/.test(token)).map((token) => token.replaceAll("\u0120", " "));
  return {
    withMerges: { entries: entriesOf("gpt2", "kimi-k2", tokens, merges), words },
    withoutMerges: { entries: entriesOf("gpt2", "kimi-k2", tokens, undefined), words },
  };
}
