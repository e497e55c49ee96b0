/**
 * A model as one `.apr` file: tensors under GGUF's names and in its order of values, standard keys of the format, and
 * beside them all metadata of the GGUF file, so that nothing is lost on the way back.
 */
import { crc32 } from "node:zlib";
import { aprAlignment, aprHeaderBytes, aprMagic, aprRowMajor } from "../containers/apr/header.js";
import { aprGgufKey, aprVocabularyKeys } from "../containers/apr/open.js";
import { HundredweightError } from "../errors.js";
import { blocksBytes } from "../formats/dtypes.js";
import { ByteSink } from "../formats/gguf-encode.js";
import { PackedStrings, TypedMetadata, type TypedValue } from "../formats/metadata.js";
import type { Checkpoint } from "../formats/types.js";
import { findArchitecture, type ModelDescription } from "../models/index.js";
import { ggufMetadata } from "./gguf-metadata.js";
import { ggufTensors, type MadeModel } from "./gguf-tensors.js";
import type { FilePiece, ResumableFile } from "./resumable-file.js";
import type { Sources } from "./stored-matrix.js";
import type { TypeChoice } from "./type-choice.js";

/** Types that programs for this format read: F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, BF16. */
const types = new Set([0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 30]);
const mostMetadata = 16 * 2 ** 20;

/** A tensor of the file: its type's number there, and its shape with the last dimension varying fastest. */
export interface AprTensor extends Omit<FilePiece, "padding"> {
  readonly type: number;
  readonly shape: readonly number[];
}

/** @throws FORMAT_UNSUPPORTED for types and metadata that the format does not have; what ggufTensors throws */
export function aprModelFile(
  path: string,
  checkpoint: Checkpoint,
  description: ModelDescription,
  choice: TypeChoice,
  files: Sources,
): { readonly file: Omit<ResumableFile, "identity">; readonly model: MadeModel } {
  const model = ggufTensors(checkpoint, description, choice, files);
  const tensors = model.tensors.map(({ name, dtype, shape, data }): AprTensor => {
    if (!types.has(dtype.id)) throw unsupported(`tensor '${name}' is of ${dtype.name}; use --type to choose another`);
    const [cols = 1, ...rest] = shape;
    const bytes = rest.reduce((product, size) => product * size, blocksBytes(dtype, cols)!);
    return { name, type: dtype.id, shape: shape.toReversed(), bytes, data };
  });
  const metadata = ggufMetadata(checkpoint, model.tensors, description.config.vocab);
  const text = JSON.stringify(aprMetadata(new TypedMetadata(metadata, path)));
  if (Buffer.byteLength(text) > mostMetadata)
    throw unsupported(`metadata of ${Buffer.byteLength(text)} bytes, at most 16 MiB are allowed`);
  return { file: aprFile(path, text, tensors), model };
}

/** The file of these metadata and tensors, whose bytes come in this order. */
export function aprFile(
  path: string,
  metadata: string,
  tensors: readonly AprTensor[],
): Omit<ResumableFile, "identity"> {
  const json = Buffer.from(metadata);
  let offset = 0;
  const places = tensors.map((tensor) => {
    const place = { tensor, offset };
    offset += up(tensor.bytes);
    return place;
  });
  const index = new ByteSink();
  for (const { tensor, offset } of places.toSorted((a, b) => Buffer.compare(nameOf(a.tensor), nameOf(b.tensor)))) {
    const name = nameOf(tensor);
    index.bytes(Uint8Array.of(name.length & 255, name.length >> 8));
    index.bytes(name);
    index.bytes(Uint8Array.of(tensor.type, tensor.shape.length));
    for (const size of [...tensor.shape, offset, tensor.bytes]) index.u64(size);
  }
  const indexStart = aprHeaderBytes + up(json.length);
  const dataStart = indexStart + up(index.length);
  const head = new Uint8Array(dataStart);
  const view = new DataView(head.buffer);
  head.set(aprMagic);
  head[4] = 2;
  view.setUint16(6, aprRowMajor, true);
  view.setUint32(8, tensors.length, true);
  view.setBigUint64(12, BigInt(aprHeaderBytes), true);
  view.setUint32(20, json.length, true);
  view.setBigUint64(24, BigInt(indexStart), true);
  view.setBigUint64(32, BigInt(dataStart), true);
  view.setUint32(40, crc32(head.subarray(44, 64), crc32(head.subarray(0, 40))), true);
  head.set(json, aprHeaderBytes);
  head.set(index.take(), indexStart);
  const pieces = tensors.map(({ name, bytes, data }) => ({ name, bytes, padding: up(bytes) - bytes, data }));
  const tail = (crc: number): Uint8Array => {
    const footer = new Uint8Array(4);
    new DataView(footer.buffer).setUint32(0, crc, true);
    return footer;
  };
  return { path, head, pieces, tail };
}

const up = (bytes: number): number => Math.ceil(bytes / aprAlignment) * aprAlignment;
const nameOf = ({ name }: AprTensor): Buffer => Buffer.from(name);

/** Standard key -> key of GGUF, without the architecture. */
const standard: Readonly<Record<string, string>> = {
  hidden_size: "embedding_length",
  num_layers: "block_count",
  num_heads: "attention.head_count",
  num_kv_heads: "attention.head_count_kv",
  vocab_size: "vocab_size",
  intermediate_size: "feed_forward_length",
  max_position_embeddings: "context_length",
  rope_theta: "rope.freq_base",
  rms_norm_eps: "attention.layer_norm_rms_epsilon",
  head_dim: "attention.key_length",
  num_experts: "expert_count",
  num_experts_per_tok: "expert_used_count",
  moe_intermediate_size: "expert_feed_forward_length",
};

function aprMetadata(metadata: TypedMetadata): Record<string, unknown> {
  const arch = metadata.string("general.architecture")!;
  const out: Record<string, unknown> = { model_type: arch, architecture: arch, name: metadata.string("general.name") };
  for (const [key, from] of Object.entries(standard)) {
    const value = metadata.get(`${arch}.${from}`);
    if (typeof value === "number") out[key] = value;
  }
  // The numbers of the format: pairs of neighbours, and of halves.
  out.rope_type = findArchitecture(arch).ggufPairs === undefined ? 2 : 0;
  out["tokenizer.model"] = metadata.string("tokenizer.ggml.model");
  for (const name of ["bos", "eos"])
    out[`tokenizer.${name}_token_id`] = metadata.number(`tokenizer.ggml.${name}_token_id`);
  for (const [key, from] of Object.entries(aprVocabularyKeys)) {
    const found = metadata.typed(from);
    if (found?.type === "array") out[key] = listOf(from, found.value, found.element);
  }
  out.chat_template = metadata.string("tokenizer.chat_template");
  const vocabulary = new Set(Object.values(aprVocabularyKeys));
  const typed: Record<string, unknown> = {};
  for (const [key, value] of metadata.entries()) if (!vocabulary.has(key)) typed[key] = typedJson(key, value);
  out[aprGgufKey] = typed;
  return out;
}

function typedJson(key: string, value: TypedValue): unknown {
  if (value.type === "array") return ["array", [value.element, listOf(key, value.value, value.element)]];
  if (value.type === "u64" || value.type === "i64") return [value.type, String(value.value)];
  return [value.type, checked(key, value.value)];
}

function listOf(key: string, value: ArrayLike<unknown> | PackedStrings, element: string): unknown[] {
  if (value instanceof PackedStrings)
    return value.decode().map((text, i) => {
      if (Buffer.from(text).equals(value.at(i))) return text;
      throw unsupported(`metadata '${key}' holds bytes that are no text`);
    });
  const wide = element === "u64" || element === "i64";
  return Array.from(value, (each) => (wide ? String(each) : checked(key, each)));
}

/** JSON has no other numbers. */
function checked(key: string, value: unknown): unknown {
  if (typeof value !== "number" || Number.isFinite(value)) return value;
  throw unsupported(`metadata '${key}' holds ${value}`);
}

function unsupported(what: string): HundredweightError {
  return new HundredweightError("FORMAT_UNSUPPORTED", `an .apr file cannot hold this: ${what}`);
}
