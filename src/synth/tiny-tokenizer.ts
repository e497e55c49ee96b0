/** Byte-level BPE vocabularies for made-up models: they encode any text. The tiny one has some merges of English. */
import { PackedStrings, type TypedValue } from "../formats/index.js";

/** Merges in rank order, "Ġ" being the space. */
export const englishMerges: readonly string[] = (
  "Ġ t|h e|a n|i n|Ġ a|o n|e r|r e|Ġ s|a t|e n|o r|i t|Ġt he|e s|Ġ w|i s|o u|e d|Ġ o|in g|Ġ b|Ġ c|an d|Ġa " +
  "nd|Ġ m|l l|Ġ f|Ġ d|a r|Ġ p|Ġt o|o m|a l|i c|l e|Ġo f|Ġ in|Ġ h|v e"
).split("|");

const controls = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"];

/** GPT-2's printable stand-in for each byte, in byte order.  @source the gpt-2 repository, encoder.py */
export function byteAlphabet(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
}

/** Token texts by id: bytes, merges, controls. */
export function tinyTokens(): string[] {
  return [...byteAlphabet(), ...englishMerges.map((pair) => pair.replace(" ", "")), ...controls];
}

/** The `tokenizer.*` metadata of the tiny vocabulary; with two types of tokens for encoders. */
export function tinyTokenizer(tokenTypes = false): [string, TypedValue][] {
  const made = bpeMetadata({
    pre: "gpt-2",
    tokens: tinyTokens(),
    controls,
    merges: englishMerges,
    bos: "<|begin|>",
    eos: "<|end|>",
  });
  return tokenTypes ? [...made, ["tokenizer.ggml.token_type_count", { type: "u32", value: 2 }]] : made;
}

export interface BpeVocabulary {
  /** Pre-tokenizer. */
  readonly pre: string;
  /** Texts by id, in the byte alphabet. */
  readonly tokens: readonly string[];
  readonly controls: readonly string[];
  /** `left right` in rank order. */
  readonly merges: readonly string[];
  readonly bos: string;
  readonly eos: string;
}

/** A byte-level BPE vocabulary as metadata. No begin token is added to texts. */
export function bpeMetadata({ pre, tokens, controls, merges, bos, eos }: BpeVocabulary): [string, TypedValue][] {
  const strings = (value: readonly string[]): TypedValue => ({
    type: "array",
    element: "string",
    value: PackedStrings.from(value),
  });
  const [normal, control] = [1, 3]; // GGUF token types
  const isControl = new Set(controls);
  return [
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: pre }],
    ["tokenizer.ggml.tokens", strings(tokens)],
    [
      "tokenizer.ggml.token_type",
      {
        type: "array",
        element: "i32",
        value: Int32Array.from(tokens, (text) => (isControl.has(text) ? control : normal)),
      },
    ],
    ["tokenizer.ggml.merges", strings(merges)],
    ["tokenizer.ggml.bos_token_id", { type: "u32", value: tokens.indexOf(bos) }],
    ["tokenizer.ggml.eos_token_id", { type: "u32", value: tokens.indexOf(eos) }],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: false }],
  ];
}
