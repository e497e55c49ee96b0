/**
 * An `.apr` file as one more container. Those that were written here hold the metadata of a GGUF file; of others the
 * configuration is read as that of a folder, whether their tensors go by names of Hugging Face or of GGUF.
 */
import { isObject, type JsonObject, type JsonValue } from "../../formats/json-reader.js";
import { PackedStrings, TypedMetadata, type TypedValue } from "../../formats/metadata.js";
import type { Checkpoint, TensorInfo } from "../../formats/types.js";
import { HfConfig } from "../huggingface/config.js";
import type { MetadataBuilder } from "../huggingface/metadata.js";
import { modelOf } from "../huggingface/open.js";
import { plainWeight } from "../huggingface/weights.js";
import { invalidFile } from "../stored/stored.js";
import { type AprFile, readApr } from "./header.js";

/** The key under which the metadata of a GGUF file stand, with their types. */
export const aprGgufKey = "gguf";

/** The vocabulary stands under the format's own keys alone: it is most of the metadata. */
export const aprVocabularyKeys: Readonly<Record<string, string>> = {
  "tokenizer.vocabulary": "tokenizer.ggml.tokens",
  "tokenizer.merges": "tokenizer.ggml.merges",
  "tokenizer.scores": "tokenizer.ggml.scores",
};

/** Names of keys -> those that configurations of Hugging Face have. */
const aliases: Readonly<Record<string, string>> = {
  architecture: "model_type",
  hidden_dim: "hidden_size",
  num_heads: "num_attention_heads",
  num_kv_heads: "num_key_value_heads",
  ffn_dim: "intermediate_size",
};

/** @throws as readApr; ARCHITECTURE_UNKNOWN, MODEL_INVALID, TOKENIZER_INVALID */
export function openApr(path: string): Checkpoint {
  const file = readApr(path);
  const own = file.metadata[aprGgufKey];
  if (isObject(own)) return ownModel(file, own);
  const config: Record<string, JsonValue> = {};
  for (const [key, value] of Object.entries(file.metadata)) if (value !== null) config[aliases[key] ?? key] = value;
  // Pairs are neighbours where the file says so, or goes by GGUF's names.
  const rope = file.metadata.rope_type;
  const ggufNames = file.tensors.has("token_embd.weight");
  const format = rope === 0 || (rope !== 2 && ggufNames) ? "gguf" : "apr";
  const stored = { format, files: [file], tensors: file.tensors } as const;
  return modelOf(new HfConfig(path, config), stored, path, (_config, m) => vocabularyKeys(file.metadata, m));
}

function ownModel({ path, fileBytes, metadata: all, tensors: stored }: AprFile, own: JsonObject): Checkpoint {
  const values = new Map<string, TypedValue>();
  for (const [key, value] of Object.entries(own)) values.set(key, typedValue(path, key, value));
  for (const [key, to] of Object.entries(aprVocabularyKeys)) {
    const list = all[key];
    const element = key === "tokenizer.scores" ? "f32" : "string";
    if (list !== undefined) values.set(to, typedValue(path, key, ["array", [element, list]]));
  }
  const tensors = new Map<string, TensorInfo>();
  let tensorBytes = 0;
  for (const tensor of stored.values()) {
    tensors.set(tensor.name, { name: tensor.name, ...plainWeight(tensor) });
    tensorBytes += tensor.bytes;
  }
  const metadata = new TypedMetadata(values, path);
  return { path, format: "gguf", files: [{ path, bytes: fileBytes }], metadata, tensors, tensorBytes };
}

const numbers = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
} as const;
const wide = { u64: BigUint64Array, i64: BigInt64Array } as const;
const whole = /^-?\d{1,20}$/;

/** `[type, value]`, of arrays `[type of the elements, values]` in an array. */
function typedValue(path: string, key: string, value: JsonValue): TypedValue {
  const bad = () => invalidFile(path, `metadata '${key}' is no value with its type`);
  if (!Array.isArray(value) || value.length !== 2) throw bad();
  const [type, held] = value as [JsonValue, JsonValue];
  if (type === "string" && typeof held === "string") return { type, value: held };
  if (type === "bool" && typeof held === "boolean") return { type, value: held };
  if ((type === "u64" || type === "i64") && typeof held === "string" && whole.test(held))
    return { type, value: Number.isSafeInteger(Number(held)) ? Number(held) : BigInt(held) };
  if (["u8", "i8", "u16", "i16", "u32", "i32", "f32", "f64"].includes(String(type)) && typeof held === "number")
    return { type: type as "u32", value: held };
  if (type !== "array" || !Array.isArray(held) || held.length !== 2 || !Array.isArray(held[1])) throw bad();
  const [element, all] = held as [string, readonly JsonValue[]];
  if (element === "string" && all.every((text) => typeof text === "string"))
    return { type, element, value: PackedStrings.from(all as string[]) };
  if (element === "bool" && all.every((flag) => typeof flag === "boolean"))
    return { type, element, value: all as boolean[] };
  if ((element === "u64" || element === "i64") && all.every((n) => typeof n === "string" && whole.test(n)))
    return { type, element, value: wide[element].from((all as string[]).map(BigInt)) };
  if (!Object.hasOwn(numbers, element) || !all.every((number) => typeof number === "number")) throw bad();
  return { type, element: element as "u32", value: numbers[element as "u32"].from(all as number[]) };
}

/** The tokenizer in keys of its own. */
function vocabularyKeys(metadata: JsonObject, m: MetadataBuilder): void {
  const texts = (key: string) => {
    const value = metadata[key];
    return Array.isArray(value) && value.every((text) => typeof text === "string") ? (value as string[]) : undefined;
  };
  const tokens = texts("tokenizer.vocabulary");
  if (tokens === undefined) return;
  const kind = metadata["tokenizer.model"] ?? metadata["tokenizer.model_type"];
  const merges = texts("tokenizer.merges");
  m.text("/tokenizer.ggml.model", typeof kind === "string" && kind !== "bpe" ? kind : "gpt2");
  m.strings("/tokenizer.ggml.tokens", tokens);
  m.strings("/tokenizer.ggml.merges", merges);
  const scores = metadata["tokenizer.scores"];
  if (Array.isArray(scores) && scores.every((score) => typeof score === "number"))
    m.floats("/tokenizer.ggml.scores", scores as number[]);
  for (const name of ["bos", "eos"]) {
    const id = metadata[`tokenizer.${name}_token_id`];
    if (typeof id === "number") m.uint(`/tokenizer.ggml.${name}_token_id`, id);
  }
  const template = metadata.chat_template;
  if (typeof template === "string") m.text("/tokenizer.chat_template", template);
}
