/** The tokenizer of a folder as llama.cpp wants it in a GGUF file: as many tokens as rows, scores, types, switches. */
import { PackedStrings, type TypedValue } from "../formats/metadata.js";
import type { Metadata } from "../formats/types.js";

const key = (name: string): string => `tokenizer.ggml.${name}`;
/** GGUF's number of tokens that are none. */
const unused = 5;

/** Keys that are to be written instead of those there are; undefined: left out. */
export function* tokenizerMetadata(
  metadata: Metadata,
  rows: number,
): Generator<[key: string, value: TypedValue | undefined]> {
  const tokens = metadata.packedStrings(key("tokens"));
  if (tokens === undefined) {
    // llama.cpp loads files that say they have none.
    yield [key("model"), { type: "string", value: "no_vocab" }];
    return;
  }
  const count = tokens.offsets.length - 1;
  const missing = rows - count;
  const kinds = Int32Array.from(metadata.numbers(key("token_type")) ?? new Int32Array(count).fill(1));
  const all = new PackedStrings(tokens.bytes, tokens.offsets);
  yield [
    key("tokens"),
    {
      type: "array",
      element: "string",
      value: PackedStrings.from(
        Array.from({ length: rows }, (_, id) => (id < count && all.at(id).length > 0 ? all.at(id) : `[PAD${id}]`)),
      ),
    },
  ];
  const padded = new Int32Array(rows).fill(unused);
  padded.set(kinds.subarray(0, rows));
  yield [key("token_type"), { type: "array", element: "i32", value: padded }];
  const scores = metadata.numbers(key("scores")) ?? scoresOf(metadata, all, kinds);
  if (scores !== undefined) {
    const value = new Float32Array(rows).fill(missing > 0 ? -10_000 : 0);
    value.set(Float32Array.from(scores));
    yield [key("scores"), { type: "array", element: "f32", value }];
  }
}

/**
 * SentencePiece's BPE merges the pair whose token has the highest score; a tokenizer.json has the merges in their order
 * instead. Tokens that no merge makes are characters, bytes and added ones, whose scores nobody asks for.
 */
function scoresOf(metadata: Metadata, tokens: PackedStrings, kinds: Int32Array): Float32Array | undefined {
  if (metadata.string(key("model")) !== "llama") return undefined;
  const merges = metadata.packedStrings(key("merges"));
  if (merges === undefined) return undefined;
  const pairs = new PackedStrings(merges.bytes, merges.offsets);
  const rank = new Map<string, number>();
  for (let i = 0; i < pairs.length; i++) {
    const pair = Buffer.from(pairs.at(i)).toString("latin1");
    const made = pair.replace(/^(.[^ \xff]*)[ \xff]/s, "$1");
    if (!rank.has(made)) rank.set(made, i);
  }
  return Float32Array.from({ length: tokens.length }, (_, id) => {
    if (kinds[id] !== 1 && kinds[id] !== 4) return 0;
    return -(rank.get(Buffer.from(tokens.at(id)).toString("latin1")) ?? pairs.length);
  });
}
