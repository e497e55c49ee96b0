/** Metadata that the sound files do not have: keys put in behind theirs, and the data section moved to fit. */
import type { Dice } from "./dice.js";
import type { Layout } from "./layout.js";

/** After the architecture's prefix. What is a number here may get any numeric type, or none. */
const architectureKeys = [
  "attention.sliding_window",
  "attention.sliding_window_pattern",
  "attention.scale",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.value_length",
  "expert_count",
  "expert_used_count",
  "expert_feed_forward_length",
  "expert_weights_scale",
  "feed_forward_length",
  "final_logit_softcapping",
  "block_count",
  "context_length",
  "rope.dimension_count",
  "rope.freq_base",
  "rope.freq_base_swa",
  "rope.scale_linear",
  "rope.scaling.factor",
  "rope.scaling.original_context_length",
  "rope.scaling.yarn_beta_fast",
  "rope.scaling.yarn_beta_slow",
  "rope.scaling.yarn_ext_factor",
  "rope.scaling.attn_factor",
  "rope.scaling.yarn_log_multiplier",
];
const otherKeys = [
  "general.alignment",
  "split.no",
  "split.count",
  "split.tensors.count",
  "tokenizer.ggml.bos_token_id",
  "tokenizer.ggml.eot_token_id",
  "tokenizer.ggml.unknown_token_id",
  "tokenizer.ggml.seperator_token_id",
  "tokenizer.ggml.precompiled_charsmap",
  "tokenizer.ggml.normalizer.lowercase",
  "tokenizer.ggml.remove_extra_whitespaces",
  "tokenizer.ggml.add_space_prefix",
  "tokenizer.ggml.add_eos_token",
  "tokenizer.ggml.scores",
  "tokenizer.ggml.added_tokens",
];
const textKeys: Readonly<Record<string, readonly string[]>> = {
  "rope.scaling.type": ["yarn", "linear", "none", "longrope", ""],
  "tokenizer.ggml.model": ["gpt2", "llama", "gemma4", "bert", "t5", "whitespace", "rwkv", ""],
  "tokenizer.ggml.pre": ["default", "llama-bpe", "tekken", "gpt-4o", "deepseek-v3", "no such"],
  "general.architecture": ["llama", "gemma3", "gpt-oss", "qwen3moe", "mamba"],
  "general.name": ["phi-3", "\u0000\u001b[31m", "x".repeat(5000)],
};
const [u8, u32, i32, f32, bool, text, array, u64] = [0, 4, 5, 6, 7, 8, 9, 10];

/**
 * One to three keys; a key that the file has already appears twice unless it is renamed first, which half of them are.
 */
export function insertKeys(d: Dice, file: Layout, bytes: Uint8Array): Uint8Array {
  const arch = file.fields.find(({ owner }) => owner.endsWith(".block_count"))?.owner.split(".")[0] ?? "llama";
  const records: Buffer[] = [];
  const count = 1 + d.below(3);
  for (let i = 0; i < count; i++) records.push(record(d, file, bytes, arch));
  const head = Buffer.concat([
    bytes.subarray(0, file.metadataEnd),
    ...records,
    bytes.subarray(file.metadataEnd, file.directoryEnd),
  ]);
  const at = 16; // behind magic, version and tensor count
  head.writeBigUInt64LE(head.readBigUInt64LE(at) + BigInt(count), at);
  const padding = Buffer.alloc((32 - (head.length % 32)) % 32);
  return Uint8Array.from(Buffer.concat([head, padding, bytes.subarray(file.dataStart)]));
}

function record(d: Dice, file: Layout, bytes: Uint8Array, arch: string): Buffer {
  let key = d.pick([...architectureKeys, ...otherKeys, ...Object.keys(textKeys)]);
  const texts = textKeys[key];
  if (!/^(general|split|tokenizer)\./.test(key)) key = `${arch}.${key}`;
  const name = file.fields.find((f) => f.kind === "text" && f.owner === key && f.at < file.metadataEnd);
  if (name !== undefined && d.below(4) > 0) bytes[name.at] = 0x5a;
  if (texts !== undefined && d.below(5) > 0) return Buffer.concat([string(key), u32le(text), string(d.pick(texts))]);
  return Buffer.concat([string(key), value(d)]);
}

const small = [0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 100, 255, 1000, 2 ** 16, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const floats = [0, 1, -1, 2, 0.25, 1e-30, 1e-45, 1e30, 3e38, Infinity, -Infinity, NaN, 10000, 100];

function value(d: Dice): Buffer {
  switch (d.below(8)) {
    case 0:
    case 1:
    case 2:
      return Buffer.concat([u32le(d.pick([u32, i32])), u32le(d.pick(small))]);
    case 3:
    case 4: {
      const out = Buffer.concat([u32le(f32), u32le(0)]);
      out.writeFloatLE(d.pick(floats), 4);
      return out;
    }
    case 5:
      return Buffer.concat([u32le(d.pick([bool, u8])), Buffer.of(d.pick([0, 1, 2, 255]))]);
    case 6:
      return Buffer.concat([u32le(u64), u32le(d.words()), u32le(d.pick([0, 1, 2 ** 31, 2 ** 32 - 1]))]);
    default:
      return numbers(d);
  }
}

/** Arrays where a number is expected, or of other lengths than there are layers. */
function numbers(d: Dice): Buffer {
  const length = d.pick([0, 1, 2, 3, 7, 300]);
  const element = d.pick([u32, i32, f32]);
  const items = Array.from({ length }, () => u32le(d.pick(small)));
  const same = d.one(2) && length > 0 ? new Array<Buffer>(length).fill(items[0]!) : items;
  return Buffer.concat([u32le(array), u32le(element), u32le(length), u32le(0), ...same]);
}

function u32le(n: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(n >>> 0);
  return out;
}

function string(s: string): Buffer {
  const bytes = Buffer.from(s, "utf8");
  return Buffer.concat([u32le(bytes.length), u32le(0), bytes]);
}
