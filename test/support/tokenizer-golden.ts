/** Reads test/golden/tokenizer.json and turns its vocabularies into metadata. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PackedStrings, TypedMetadata, type TypedValue } from "../../src/formats/index.js";
import { packageRoot } from "../../src/package-root.js";

export interface GoldenVocabulary {
  readonly model: "gpt2" | "llama";
  readonly tokens: readonly string[];
  /** Token types that are not NORMAL (1), by id. */
  readonly types: Readonly<Record<string, number>>;
  readonly merges?: readonly string[];
  readonly scores?: readonly number[];
  readonly bos: number;
  readonly eos: number;
}

export interface TokenizerGolden {
  readonly provenance: string;
  readonly vocabularies: Readonly<Record<"bpe" | "spm", GoldenVocabulary>>;
  readonly texts: readonly string[];
  /** Ids of each text. `pre` stands for the first name of its group. */
  readonly cases: readonly {
    readonly vocabulary: "bpe" | "spm";
    readonly pre?: string;
    readonly special: boolean;
    readonly ids: readonly (readonly number[])[];
  }[];
}

export const goldenPath = join(packageRoot(), "test/golden/tokenizer.json");

export function readTokenizerGolden(): TokenizerGolden {
  return JSON.parse(readFileSync(goldenPath, "utf8")) as TokenizerGolden;
}

export function strings(value: readonly (string | Uint8Array)[]): TypedValue {
  return { type: "array", element: "string", value: PackedStrings.from(value) };
}

export function vocabularyEntries(vocabulary: GoldenVocabulary, pre?: string): Map<string, TypedValue> {
  const types = Int32Array.from(vocabulary.tokens, (_, id) => vocabulary.types[id] ?? 1);
  const entries = new Map<string, TypedValue>([
    ["tokenizer.ggml.model", { type: "string", value: vocabulary.model }],
    ["tokenizer.ggml.tokens", strings(vocabulary.tokens)],
    ["tokenizer.ggml.token_type", { type: "array", element: "i32", value: types }],
    ["tokenizer.ggml.bos_token_id", { type: "u32", value: vocabulary.bos }],
    ["tokenizer.ggml.eos_token_id", { type: "u32", value: vocabulary.eos }],
  ]);
  if (pre !== undefined) entries.set("tokenizer.ggml.pre", { type: "string", value: pre });
  if (vocabulary.merges !== undefined) entries.set("tokenizer.ggml.merges", strings(vocabulary.merges));
  if (vocabulary.scores !== undefined) {
    const value = Float32Array.from(vocabulary.scores);
    entries.set("tokenizer.ggml.scores", { type: "array", element: "f32", value });
  }
  return entries;
}

export function metadataOf(entries: ReadonlyMap<string, TypedValue>): TypedMetadata {
  return new TypedMetadata(entries, "test vocabulary");
}
