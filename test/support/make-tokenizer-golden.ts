/**
 * Makes test/golden/tokenizer.json with llama.cpp: npx tsx test/support/make-tokenizer-golden.ts
 * The two vocabularies are learnt here from a few sentences, so nothing is taken from a model. Tests never run this.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TypedValue, writeGguf } from "../../src/formats/index.js";
import { byteAlphabet } from "../../src/synth/tiny-tokenizer.js";
import { type GoldenVocabulary, goldenPath, vocabularyEntries } from "./tokenizer-golden.js";
import { peerTokenize, type TokenizeJob } from "./tokenizer-peer.js";

const sentences =
  "the cat and the dog went to the old house on the hill and they did not see that it was raining there. " +
  "She said: I'm here, you're there, we've 123 apples and 4567 pears!  Where is the other thing?\n\n" +
  "def main(args):\n    return 100 + 200\n été déjà naïve Straße ÉCOLE Привет мир привет 世界 世界 こんにちは 한국어 🙂🙂";

/** First name of each group of pre-tokenizers with patterns of their own. */
const groups = (
  "default gpt-2 starcoder falcon llama-bpe dbrx qwen2 qwen35 ufakzeka seed-coder minicpm5 jais-2 laguna bailingmoe " +
  "exaone-moe deepseek-v3 spark2_5 deepseek-coder deepseek-llm afmoe tekken gpt-4o granite-embed-multi-97m youtu " +
  "tiny_aya kimi-k2 superbpe bloom viking chameleon gemma4 sarvam-moe"
).split(" ");

const texts = [
  "",
  " ",
  "the cat and the dog",
  "  leading and trailing  ",
  "I'm HERE, you'RE there; we'Ve 'S 's",
  "1 12 123 1234 12345678 ٣٤٥ ½²Ⅷ",
  "a\n\n b\r\n\tc \n\n\n   d     e\u00a0f\u0085g\u3000h\ufeffi\u200bj",
  "été ÉTÉ déjà Straße e\u0301 नमस्ते ไทย",
  "Привет, мир! こんにちは世界。한국어 漢字かな豈㐀",
  "<|begin|>the<|end|> <|user|>  <tool> <s> x</s>",
  "🙂👩‍👩‍👧 \u{1f3f4}\u{10ffff}\u0000\u001f",
  'def main(args):\n    return x[0] + "100" // ok?!... $5 ~^`|_-–',
  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "IMGIMGABCZ<sentinel:12>▁the▁ Ġthe <0x0A>\u{2ebf0}\u{323b0}",
];

function learnMerges(words: string[][], count: number): [string, string][] {
  const merges: [string, string][] = [];
  for (let n = 0; n < count; n++) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]} ${word[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const best = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    if (best === undefined) break;
    const [left, right] = best[0].split(" ") as [string, string];
    merges.push([left, right]);
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++)
        if (word[i] === left && word[i + 1] === right) word.splice(i, 2, left + right);
    }
  }
  return merges;
}

function learnBpe(): GoldenVocabulary {
  const alphabet = byteAlphabet();
  const words = sentences
    .split(/(?=\s)/)
    .map((word) => Array.from(Buffer.from(word, "utf8"), (byte) => alphabet[byte]!));
  const merges = learnMerges(words, 180);
  const tokens = [...new Set([...alphabet, ...merges.map((pair) => pair.join(""))])];
  const [control, user] = [3, 4]; // GGUF token types
  const types: Record<string, number> = {};
  for (const [text, type] of [
    ["<|begin|>", control],
    ["<|end|>", control],
    ["<|user|>", control],
    ["<tool>", user],
    ["  ", user],
  ] as const) {
    types[tokens.length] = type;
    tokens.push(text);
  }
  const bos = tokens.indexOf("<|begin|>");
  return { model: "gpt2", tokens, types, merges: merges.map((pair) => pair.join(" ")), bos, eos: bos + 1 };
}

function learnSpm(): GoldenVocabulary {
  const words = sentences.split(/(?= )/).map((word) => [...word.replaceAll(" ", "▁").replaceAll("\n", "")]);
  const merges = learnMerges(
    words.map((w) => [...w]),
    150,
  );
  const tokens = ["<unk>", "<s>", "</s>"];
  const types: Record<string, number> = { 0: 2, 1: 3, 2: 3 };
  for (let byte = 0; byte < 256; byte++) {
    types[tokens.length] = 6;
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  }
  const scores = tokens.map(() => 0);
  for (const [left, right] of merges) {
    if (tokens.includes(left + right)) continue;
    tokens.push(left + right);
    scores.push(-(tokens.length >> 1)); // pairs of equal scores
  }
  for (const character of new Set([..."▁abcdefghijklmnopqrstuvwxyzEISW0123456789.,!?:'éПривет世"])) {
    if (tokens.includes(character)) continue;
    tokens.push(character);
    scores.push(-1000 - tokens.length);
  }
  types[tokens.length] = 4;
  tokens.push("<tool>");
  scores.push(0);
  return { model: "llama", tokens, types, scores, bos: 1, eos: 2 };
}

const folder = mkdtempSync(join(tmpdir(), "hundredweight-"));
const vocabularies = { bpe: learnBpe(), spm: learnSpm() };
const paths: Record<string, string> = {};
for (const [name, vocabulary] of Object.entries(vocabularies)) {
  paths[name] = join(folder, `${name}.gguf`);
  const metadata: [string, TypedValue][] = [
    ["general.architecture", { type: "string", value: "llama" }],
    ...vocabularyEntries(vocabulary, vocabulary.model === "gpt2" ? "gpt-2" : undefined),
  ];
  await writeGguf(paths[name], { metadata, tensors: [] });
}
const plan: { vocabulary: "bpe" | "spm"; pre?: string; special: boolean }[] = [
  ...groups.map((pre) => ({ vocabulary: "bpe" as const, pre, special: false })),
  { vocabulary: "bpe", pre: "gpt-2", special: true },
  { vocabulary: "spm", special: false },
  { vocabulary: "spm", special: true },
];
const jobs: TokenizeJob[] = plan.map(({ vocabulary, ...rest }) => ({ path: paths[vocabulary]!, texts, ...rest }));
const results = peerTokenize(jobs);
if (results === undefined) throw new Error("the peer is not installed: node scripts/fetch-peer.mjs");
rmSync(folder, { recursive: true });
const cases = plan.map((entry, i) => ({ ...entry, ids: results[i]!.ids }));
const provenance =
  "Ids by llama.cpp v0.5.0 (node-llama-cpp 3.22.1, vocab only, no BOS/EOS) for vocabularies learnt by " +
  "test/support/make-tokenizer-golden.ts, which wrote this file.";
const line = (value: unknown) => JSON.stringify(value);
writeFileSync(
  goldenPath,
  `{"provenance": ${line(provenance)},\n"vocabularies": ${line(vocabularies)},\n"texts": ` +
    `${line(texts)},\n"cases": [\n${cases.map(line).join(",\n")}\n]}\n`,
);
