/**
 * Vocabularies and texts made by dice: the kinds of which no real vocabulary is at hand, dense with overlapping pieces.
 */
import type { TypedValue } from "../../src/formats/index.js";
import { Dice } from "../fuzz/dice.js";
import { buildCharsmap } from "./charsmap-builder.js";
import { strings } from "./tokenizer-golden.js";

const [normal, unknown, control, user, , byteType] = [1, 2, 3, 4, 5, 6];

const letters = [
  ..."aaaaeeetnisrlc\u00e9\u00c9\u00df\u03b1\u0393\u0416\u0436\u4e16\u754c\uac00\ud55c\u1112\u1161\u0915\u0627",
];
const punctuation = [..."!?.,'-#[]<>$~\u3002\u2014"];

export interface RandomVocabulary {
  readonly entries: Map<string, TypedValue>;
  /** Texts that mean something to it, besides those of `randomTexts`. */
  readonly words: readonly string[];
}

function base(model: string, tokens: readonly string[], types: readonly number[]): Map<string, TypedValue> {
  return new Map<string, TypedValue>([
    ["general.architecture", { type: "string", value: "llama" }],
    ["tokenizer.ggml.model", { type: "string", value: model }],
    ["tokenizer.ggml.tokens", strings(tokens)],
    ["tokenizer.ggml.token_type", { type: "array", element: "i32", value: Int32Array.from(types) }],
  ]);
}

/** A word of 1 to `most` letters. */
function word(d: Dice, most: number): string {
  return Array.from({ length: 1 + d.below(most) }, () => d.pick(letters)).join("");
}

export function randomWordPiece(
  seed: number,
  normalizer: { lowercase?: boolean; stripAccents?: boolean } = {},
): RandomVocabulary {
  const d = new Dice(seed, "word pieces");
  const pieces = new Map<string, number>();
  const specials = ["[MASK]", "[PAD]", "[SEP]", "[UNK]", "[CLS]"];
  for (const text of specials) pieces.set(text, text === "[UNK]" ? unknown! : control!);
  pieces.set("<tool>", user!);
  for (const mark of punctuation) if (d.below(5) > 0) pieces.set(`\u2581${mark}`, normal!);
  for (const letter of letters) if (d.below(4) > 0) pieces.set(`\u2581${letter}`, normal!);
  for (const letter of letters) if (d.below(4) > 0) pieces.set(letter, normal!);
  for (let i = 0; i < 900; i++) pieces.set(`${d.below(2) === 0 ? "\u2581" : ""}${word(d, 5)}`, normal!);
  const tokens = [...pieces.keys()];
  const entries = base("bert", tokens, [...pieces.values()]);
  for (const [key, text] of [
    ["bos", "[CLS]"],
    ["seperator", "[SEP]"],
    ["unknown", "[UNK]"],
    ["padding", "[PAD]"],
    ["mask", "[MASK]"],
  ] as const) {
    entries.set(`tokenizer.ggml.${key}_token_id`, { type: "u32", value: tokens.indexOf(text) });
  }
  const { lowercase, stripAccents } = normalizer;
  if (lowercase !== undefined) entries.set("tokenizer.ggml.normalizer.lowercase", { type: "bool", value: lowercase });
  if (stripAccents !== undefined) {
    entries.set("tokenizer.ggml.normalizer.strip_accents", { type: "bool", value: stripAccents });
  }
  return { entries, words: [...tokens.map((text) => text.replace("\u2581", " ")), ...specials] };
}

export interface UnigramOptions {
  readonly prefix?: boolean;
  readonly merge?: boolean;
  readonly charsmap?: boolean;
  readonly byteTokens?: boolean;
}

/**
 * Replacements as NFKC has them and others: removed, shorter, longer, several characters, one the beginning of another.
 */
export const replacements: ReadonlyMap<string, string> = new Map([
  ["\t", " "],
  ["\n", " "],
  ["\r\n", " "],
  ["\u3000", " "],
  ["\u00a0", " "],
  ["\u200b", ""],
  ["\ufb01", "fi"],
  ["\u00bd", "1\u20442"],
  ["\ufdfa", "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064a\u0647 \u0648\u0633\u0644\u0645"],
  ["e\u0301", "\u00e9"],
  ["e\u0301\u0301", "a"],
  ["\u304b\u3099", "\u304c"],
  ["\u0416", "\u0436"],
  ["\uff21", "A"],
  ["\u{1d400}", "A"],
]);

export function randomUnigram(seed: number, options: UnigramOptions = {}): RandomVocabulary {
  const d = new Dice(seed, "unigram");
  const pieces = new Map<string, number>([
    ["<pad>", control!],
    ["<eos>", control!],
    ["<unk>", unknown!],
    ["<mask>", control!],
    ["<tool>", user!],
    ["<x", user!],
  ]);
  for (const letter of [...letters, "\u2581", "f", "i", "1", "\u304c", ...punctuation]) {
    if (d.below(4) > 0) pieces.set(letter, normal!);
  }
  for (let i = 0; i < 1200; i++) {
    // Some with a space inside or behind: words are not apart then.
    const inside = d.below(12) === 0 ? `\u2581${d.below(2) === 0 ? word(d, 2) : ""}` : "";
    pieces.set(`${d.below(2) === 0 ? "\u2581" : ""}${word(d, 4)}${inside}`, normal!);
  }
  if (options.byteTokens) {
    for (let b = 0; b < 256; b++) pieces.set(`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`, byteType!);
  }
  const tokens = [...pieces.keys()];
  // Every third on a coarse grid, so that ways tie.
  const value = Float32Array.from(tokens, (_, i) =>
    i % 3 === 0 ? -1 - d.below(8) : -(1 + d.below(1_000_000) / 70_000),
  );
  const entries = base("t5", tokens, [...pieces.values()]);
  entries.set("tokenizer.ggml.scores", { type: "array", element: "f32", value });
  entries.set("tokenizer.ggml.add_space_prefix", { type: "bool", value: options.prefix ?? true });
  entries.set("tokenizer.ggml.remove_extra_whitespaces", { type: "bool", value: options.merge ?? true });
  if (options.charsmap ?? true) {
    const map = buildCharsmap(replacements);
    entries.set("tokenizer.ggml.precompiled_charsmap", { type: "array", element: "u8", value: map });
  }
  const words = [...tokens.map((text) => text.replaceAll("\u2581", " ")), ...replacements.keys(), "<too", "<xyz", "<"];
  return { entries, words };
}

/** Pieces of the vocabulary, spaces of every kind, letters, and code points of all planes, lone surrogates too. */
export function randomTexts(seed: number, count: number, words: readonly string[]): string[] {
  const d = new Dice(seed, "texts");
  const spaces = [" ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u0085", "\u2028", "\u200b", "\ufeff"];
  const marks = [
    "\u0301",
    "\u0308",
    "\u094d",
    "\u0000",
    "\u001f",
    "\u007f",
    "\u00ad",
    "\ufffd",
    "\u0130",
    "\u212a",
    "\u01c5",
  ];
  return Array.from({ length: count }, () => {
    const parts: string[] = [];
    for (let n = 1 + d.below(14); n > 0; n--) {
      const kind = d.below(20);
      if (kind < 8) parts.push(d.pick(words));
      else if (kind < 11) parts.push(word(d, 4));
      else if (kind < 14) parts.push(d.pick(spaces));
      else if (kind < 15) parts.push(d.pick(marks));
      else if (kind < 16) parts.push(d.pick(punctuation));
      else if (kind < 17) parts.push(String.fromCodePoint(d.below(0x600)));
      else if (kind < 18) parts.push(String.fromCodePoint(d.below(0x10000)));
      else if (kind < 19) parts.push(String.fromCodePoint(d.below(0x30000)));
      else parts.push(String.fromCodePoint(d.below(0x110000)));
    }
    return parts.join("");
  });
}
