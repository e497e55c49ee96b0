/**
 * The name a GGUF file has for a pre-tokenizer of tokenizer.json. Names stand for patterns; what is not in the table
 * has no name.
 */
import type { JsonObject } from "../../formats/json-reader.js";
import { isObject } from "../../formats/json-reader.js";

const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const word = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const marked = "[\\p{L}\\p{M}]";
const upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const cased = (suffix: string, digits: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${suffix}` +
  `|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const deepseek =
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" +
  " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const qwen35 =
  `${contraction}|[^\\r\\n\\p{L}\\p{N}]?${marked}+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|` +
  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Steps, as `signature` writes them -> name. */
const names: Readonly<Record<string, string>> = {
  bytes: "gpt-2",
  "digits bytes": "starcoder",
  [`/${contraction}|${word}|\\p{N}{1,3}|${rest}/`]: "llama-bpe",
  [`/${contraction}|${word}|\\p{N}|${rest}/`]: "qwen2",
  [`/${qwen35}/`]: "qwen35",
  [`/${cased("", "\\p{N}")}/`]: "tekken",
  [`/${cased(`${contraction}?`, "\\p{N}{1,3}")}/`]: "gpt-4o",
  [`/\\p{N}{1,3}/ /[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+/ /${deepseek}/`]: "deepseek-v3",
};

/** @returns undefined for a pre-tokenizer that has no name */
export function preName(preTokenizer: JsonObject | null): string | undefined {
  const found = signature(preTokenizer);
  return found === undefined ? undefined : names[found];
}

/**
 * A pre-tokenizer of tokenizer.json for a name: the inverse of the above.
 * @returns undefined for a name that is not in the table
 */
export function preTokenizerOf(name: string): JsonObject | undefined {
  const found = Object.entries(names).find(([, known]) => known === name)?.[0];
  if (found === undefined) return undefined;
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  if (found === "bytes") return { ...bytes, use_regex: true };
  if (found === "digits bytes")
    return sequence([
      { type: "Digits", individual_digits: true },
      { ...bytes, use_regex: true },
    ]);
  return sequence([...found.slice(1, -1).split("/ /").map(isolated), bytes]);
}

/** Pieces of a pattern apart from what lies between them. */
export const isolated = (pattern: string): JsonObject => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});

export const sequence = (pretokenizers: readonly JsonObject[]): JsonObject => ({
  type: "Sequence",
  pretokenizers: [...pretokenizers],
});

/** The steps in words: patterns, digits one by one, bytes with the pattern of GPT-2. */
function signature(step: JsonObject | null): string | undefined {
  const words = stepsOf(step).map((own): string | undefined => {
    if (own.type === "ByteLevel") return own.use_regex === false ? "" : "bytes";
    if (own.type === "Digits") return own.individual_digits === true ? "digits" : undefined;
    const pattern = isObject(own.pattern) ? own.pattern.Regex : undefined;
    const cuts = own.type === "Split" && own.behavior === "Isolated" && own.invert !== true;
    return cuts && typeof pattern === "string" ? `/${pattern}/` : undefined;
  });
  return words.includes(undefined) ? undefined : words.filter((text) => text !== "").join(" ");
}

export function stepsOf(step: JsonObject | null): JsonObject[] {
  if (step === null) return [];
  const inner =
    step.type === "Sequence" ? (step.pretokenizers ?? step.normalizers ?? step.decoders ?? step.processors) : undefined;
  return Array.isArray(inner) ? inner.filter(isObject) : [step];
}
