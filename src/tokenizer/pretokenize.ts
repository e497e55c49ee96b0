/**
 * Pre-tokenizers of byte-level BPE by the name in `tokenizer.ggml.pre`: how a text is cut into the pieces that merges
 * never cross. A pre-tokenizer is a list of stages; each cuts every piece of the stage before.
 *
 * The patterns mean what llama.cpp makes of them, so that ids are the same. For tekken, gpt-4o and relatives this
 * differs from the original tokenizer.json for marks and for cased letters beyond ASCII.
 */
import { HundredweightError } from "../errors.js";
import { compile, type Splitter } from "./pattern.js";
import { type CodePoints, symbols } from "./unicode.js";

export interface PreTokenizer {
  readonly name: string;
  readonly stages: readonly Splitter[];
  readonly traits: Traits;
}

export interface Traits {
  /** A whole piece that is a token becomes that token without merging. */
  readonly ignoreMerges?: boolean;
  /** Default of tokenizer.ggml.add_bos_token. */
  readonly addBos?: boolean;
  /** BOS is added whatever the metadata says. */
  readonly forceBos?: boolean;
  /** There is no default BOS id. */
  readonly noBos?: boolean;
  /** Merges run on UTF-8 text instead of on mapped bytes; bytes are `<0xXX>` tokens. */
  readonly rawUtf8?: boolean;
  /** Spaces are U+2581 in the vocabulary. */
  readonly escapedSpaces?: boolean;
  /** Letters are lower-cased by "whitespace" tokenizers unless the file says otherwise. Default true. */
  readonly lowercase?: boolean;
  /** Default of tokenizer.ggml.add_sep_token. */
  readonly addSeparator?: boolean;
  /** A file without merges merges the pair that makes the token of the lowest id, as tiktoken does. */
  readonly idsAreRanks?: boolean;
  /** An all-newline piece that is a token is taken whole. */
  readonly wholeNewlines?: boolean;
}

const contraction = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const spaces = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const punctuation = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
const word = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const llama3 = `${contraction}|${word}|\\p{N}{1,3}|${punctuation}|${spaces}`;
const qwen2 = `${contraction}|${word}|\\p{N}|${punctuation}|${spaces}`;
const powers = [512, 256, 128, 64, 32, 16, 8, 4].map((n) => `\\s{${n}}(?!\\S)`).join("|");
/** Words that may change from upper to lower case once: U*L+ or U+L*. */
const cased = (upper: string, lower: string, suffix: string, digits: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${suffix}` +
  `|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${spaces}`;
// Where a pattern lists all letter classes by name, llama.cpp takes each of them for any letter.
const anyCase = "[\\p{L}\\p{M}]";
const asciiWord = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+";
const deepseek3 = `${asciiWord}| ?[\\p{P}\\p{S}]+[\\r\\n]*|${spaces}`;
const cjk = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
const cjkKorean = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
const newlines = "[^\\n]+|[\\n]+";
const bloom = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+";
const asianScripts =
  "[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f" +
  "\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+";
const youtuScripts =
  "[\uac00-\ud7a3\u3131-\u318e]+" +
  "|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+" +
  `|[\u3105-\u312f]+|${cjk}`;

/** The letters deepseek-llm joins into words, as code point ranges in hexadecimal: the cased scripts. */
const casedLetters = [
  "41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c",
  "38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b",
  "1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4",
  "1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113",
  "2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b",
  "2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06",
  "fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df",
  "1e900-1e943",
]
  .join(" ")
  .split(" ")
  .map((range) =>
    range
      .split("-")
      .map((hex) => String.fromCodePoint(Number.parseInt(hex, 16)))
      .join("-"),
  )
  .join("");

/**
 * Cuts runs of digits into threes from the right. `afterGroups`: cuts are made behind the groups, so that text before
 * a run stays with its first group (llama.cpp's reading of afmoe and tiny_aya; the next stage parts them), else before
 * each whole group (superbpe).
 */
function digitGroups(isDigit: (symbol: number) => boolean, afterGroups: boolean): Splitter {
  return (text, from, to, ends) => {
    let piece = from;
    const cut = (at: number) => {
      if (at > piece) ends.push(at);
      piece = at;
    };
    for (let at = from; at < to; ) {
      if (!isDigit(text.symbols[at]!)) {
        at++;
        continue;
      }
      const start = at;
      while (at < to && isDigit(text.symbols[at]!)) at++;
      const first = start + ((at - start) % 3);
      if (afterGroups && first > start) cut(first);
      for (let group = first; group < at; group += 3) cut(afterGroups ? group + 3 : group);
    }
    if (piece < to) ends.push(to);
  };
}

const isAsciiDigit = (symbol: number) => symbol >= 0x30 && symbol <= 0x39;
const anyDigits = digitGroups((symbol) => symbol === symbols.number || isAsciiDigit(symbol), true);
const asciiDigits = digitGroups(isAsciiDigit, false);

type Stage = string | Splitter;

/** Names that mean the same, separated by spaces; the stages; what else the name decides. */
const table: readonly (readonly [names: string, stages: readonly Stage[], traits?: Traits])[] = [
  ["default", ["[\\p{P}$+<=>^~|]+", gpt2, "\\p{N}+", "[0-9][0-9][0-9]"]],
  [
    "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert exaone4 " +
      "mpt olmo jais trillion granite-docling",
    [gpt2],
  ],
  ["roberta-bpe jina-v1-en jina-v2-code", [gpt2], { addSeparator: true }],
  ["starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", ["\\p{N}", gpt2]],
  ["falcon", ["[\\p{P}$+<=>^~|`]+", gpt2, "[0-9][0-9][0-9]"]],
  [
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    [llama3],
    { ignoreMerges: true, addBos: true },
  ],
  ["dbrx smaug-bpe", [llama3]],
  ["glm4 chatglm-bpe", [llama3], { noBos: true }],
  ["qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", [qwen2]],
  [
    "qwen35",
    [`${contraction}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${spaces}`],
  ],
  ["ufakzeka", [`${word}|\\p{N}|${punctuation}|${spaces}`]],
  ["seed-coder", [`${contraction}|${word}|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${spaces}`]],
  ["minicpm5", ["\\p{N}{1,3}", `${contraction}|${word}|\\p{N}+|${punctuation}|${spaces}`], { ignoreMerges: true }],
  ["jais-2", [`${contraction}|${word}|\\p{N}{1,3}|${punctuation}|\\s*[\\r\\n]+|${powers}|\\s{1,2}(?!\\S)|\\s`]],
  ["laguna", [newlines, qwen2]],
  ["bailingmoe bailingmoe2 llada-moe", [`${contraction}|${word}|\\p{N}|${punctuation}|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`]],
  [
    "exaone-moe",
    [`${contraction}|[^\\r\\n\\p{L}\\p{N}]?\\w+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+`],
  ],
  ["deepseek-v3 hunyuan-dense joyai-llm hy_v4", ["\\p{N}{1,3}", cjk, deepseek3]],
  ["spark2_5", ["\\p{N}{1,3}", cjk, `${asciiWord}| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+`, "\\p{N}"]],
  ["deepseek-coder", ["[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", cjkKorean, "\\p{N}"]],
  [
    "deepseek-llm",
    [
      "[\\r\\n]",
      `\\s?[${casedLetters}]+`,
      "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
      "\\s+$",
      cjkKorean,
      "\\p{N}+",
    ],
  ],
  ["afmoe", [anyDigits, asianScripts, deepseek3]],
  ["tekken", [cased("\\p{Lu}", "\\p{Ll}", "", "\\p{N}")], { ignoreMerges: true, addBos: true }],
  ["gpt-4o o200k llama4 kanana2 talkie minimax-m2", [cased("\\p{Lu}", "\\p{Ll}", `${contraction}?`, "\\p{N}{1,3}")]],
  [
    "granite-embed-multi-97m",
    [cased("[\\p{Lu}\\p{M}]", "[\\p{Ll}\\p{M}]", `${contraction}?`, "\\p{N}{1,3}")],
    { ignoreMerges: true },
  ],
  ["youtu", [youtuScripts, cased(anyCase, anyCase, `${contraction}?`, "\\p{N}")], { ignoreMerges: true }],
  ["tiny_aya cohere2moe", [anyDigits, cased(anyCase, anyCase, `${contraction}?`, "\\p{N}{1,3}")]],
  [
    "kimi-k2",
    [`\\p{Han}+|[^\\r\\n\\p{L}\\p{N}]?\\p{LnotHan}+${contraction}?|\\p{N}{1,3}|${punctuation}|${spaces}`],
    { idsAreRanks: true },
  ],
  ["superbpe", ["\\p{N}+", asciiDigits]],
  ["poro-chat bloom gpt3-finnish", [bloom]],
  ["viking", [bloom, "\\p{N}"]],
  [
    "chameleon",
    ["<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]", gpt2],
    { addBos: true },
  ],
  [
    "gemma4 granite-embed-multi-311m",
    [newlines],
    { rawUtf8: true, escapedSpaces: true, wholeNewlines: true, forceBos: true },
  ],
  ["sarvam-moe", [newlines], { rawUtf8: true, escapedSpaces: true }],
  ["whitespace", ["\\S+"], { rawUtf8: true, lowercase: false }],
];

const byName = new Map(table.flatMap((row) => row[0].split(" ").map((name) => [name, row] as const)));

/** Every name this version knows. */
export const preTokenizerNames: readonly string[] = [...byName.keys()];

/** One name of each group with the same meaning. */
export const preTokenizerGroups: readonly string[] = table.map((row) => row[0].split(" ")[0]!);

/** @throws TOKENIZER_UNSUPPORTED for a name that is not in the table */
export function preTokenizer(name: string): PreTokenizer {
  const row = byName.get(name);
  if (row === undefined) {
    throw new HundredweightError(
      "TOKENIZER_UNSUPPORTED",
      `tokenizer.ggml.pre: pre-tokenizer '${name}' is unknown; known are ${preTokenizerNames.join(", ")}`,
      { preTokenizer: name },
    );
  }
  const stages = row[1].map((stage) => (typeof stage === "string" ? compile(stage) : stage));
  return { name, stages, traits: row[2] ?? {} };
}

/** A pre-tokenizer in the words of others: names of the same meaning, and its patterns one after the other. */
export interface DescribedPreTokenizer {
  readonly names: readonly string[];
  /** Undefined where a stage is no pattern that others know. */
  readonly patterns: readonly string[] | undefined;
  readonly traits: Traits;
}

/** @returns undefined for a name that is not in the table */
export function describePreTokenizer(name: string): DescribedPreTokenizer | undefined {
  const row = byName.get(name);
  if (row === undefined) return undefined;
  const [names, stages, traits = {}] = row;
  const patterns = stages.filter((stage) => typeof stage === "string" && !stage.includes("LnotHan"));
  return {
    names: names.split(" "),
    patterns: patterns.length === stages.length ? (patterns as string[]) : undefined,
    traits,
  };
}

/**
 * Ends of the pieces of `text`, in code points.
 * Stages swap two arrays, so the garbage of a stage is its predecessor's list only.
 */
export function split(stages: readonly Splitter[], text: CodePoints): number[] {
  let pieces: number[] = text.length > 0 ? [text.length] : [];
  for (const stage of stages) {
    const ends: number[] = [];
    let from = 0;
    for (const to of pieces) {
      stage(text, from, to, ends);
      from = to;
    }
    pieces = ends;
  }
  return pieces;
}
