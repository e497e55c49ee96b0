/** A small byte-level BPE vocabulary that can encode any text: 256 bytes, some merges of English, control tokens. */
import { PackedStrings, type TypedValue } from "../formats/index.js";

/** Merges in rank order, "Ġ" being the space. */
const merges = (
  "Ġ t|h e|a n|i n|Ġ a|o n|e r|r e|Ġ s|a t|e n|o r|i t|Ġt he|e s|Ġ w|i s|o u|e d|Ġ o|in g|Ġ b|Ġ c|an d|Ġa nd|Ġ m|l l|Ġ f|" +
  "Ġ d|a r|Ġ p|Ġt o|o m|a l|i c|l e|Ġo f|Ġ in|Ġ h|v e"
).split("|");

const controls = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"];

/** GPT-2's printable stand-in for each byte, in byte order.  @source the gpt-2 repository, encoder.py */
function byteAlphabet(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
}

/** Token texts by id: bytes, merges, controls. */
export function tinyTokens(): string[] {
  return [...byteAlphabet(), ...merges.map((pair) => pair.replace(" ", "")), ...controls];
}

/** The `tokenizer.*` metadata of the vocabulary. */
export function tinyTokenizer(): [string, TypedValue][] {
  const tokens = tinyTokens();
  const id = (text: string) => tokens.indexOf(text);
  const strings = (value: readonly string[]): TypedValue => ({
    type: "array",
    element: "string",
    value: PackedStrings.from(value),
  });
  const [normal, control] = [1, 3]; // GGUF token types
  return [
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: "gpt-2" }],
    ["tokenizer.ggml.tokens", strings(tokens)],
    [
      "tokenizer.ggml.token_type",
      {
        type: "array",
        element: "i32",
        value: Int32Array.from(tokens, (text) => (controls.includes(text) ? control : normal)),
      },
    ],
    ["tokenizer.ggml.merges", strings(merges)],
    ["tokenizer.ggml.bos_token_id", { type: "u32", value: id("<|begin|>") }],
    ["tokenizer.ggml.eos_token_id", { type: "u32", value: id("<|end|>") }],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: false }],
  ];
}
