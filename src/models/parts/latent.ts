/**
 * Latent attention: what is kept of a position is one short vector for all heads, of which a part is rotated. It runs
 * in the absorbed form for any number of rows: queries go into the latent space, and what heads read comes out of it.
 * @source DeepSeek-AI 2024, "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model"
 */
import type { Temperature } from "../../ops/ops.js";
import type { Flow, Part, Selection, Value, Weight } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { type RopeConfig, readRope, ropeMagnitude } from "../flow/rope.js";

export interface LatentConfig {
  readonly heads: number;
  /** Width of the latent part of what is kept. */
  readonly rank: number;
  /** Width between the two products that make queries; 0: one product makes them. */
  readonly queryRank: number;
  /** Widths of a head: of its query without what is rotated, of what is rotated, of its values. */
  readonly plain: number;
  readonly turned: number;
  readonly values: number;
  readonly rope: RopeConfig;
  /** Factor of the scores. */
  readonly scale: number;
}

/**
 * `multiplier`: how the logarithm of YaRN's factor grows in scores and in what is rotated. `scores`: in scores alone.
 */
export function latentConfig(m: MetadataReader, multiplier: "both" | "scores", heads = oneCount(m)): LatentConfig {
  const rank = m.uint("attention.kv_lora_rank", { max: 2 ** 16 });
  const old = !m.has("attention.key_length_mla");
  // Files say the widths of what is kept under the plain names; those from before say those of a head.
  const width = (key: string) => {
    const plain = m.uint(`attention.${key}`, { max: 2 ** 14, ...(!old && { default: rank }) });
    return old ? plain : m.uint(`attention.${key}_mla`, { max: 2 ** 14 });
  };
  const [keys, values] = [width("key_length"), width("value_length")];
  const { rope, growth } = scaledRope(m, keys, multiplier);
  if (rope.dims >= keys) m.fault(`RoPE over ${rope.dims} values leaves nothing of heads of ${keys}`);
  return {
    heads,
    rank,
    queryRank: m.uint("attention.q_lora_rank", { min: 0, max: 2 ** 16, default: 0 }),
    plain: Math.max(1, keys - rope.dims),
    turned: rope.dims,
    values,
    rope,
    scale: growth ** 2 / Math.sqrt(keys),
  };
}

/** Heads where all layers have as many; what is kept has one. */
function oneCount(m: MetadataReader): number {
  const heads = m.uint("attention.head_count", { max: 4096 });
  const kept = m.uint("attention.head_count_kv", { max: 4096, default: 1 });
  if (kept !== 1 && kept !== heads) m.fault(`${kept} key/value heads of ${heads} heads with latent attention`);
  return heads;
}

/** With YaRN scores grow with the factor's logarithm; files say by how much of it, times 0.1. */
function scaledRope(m: MetadataReader, keys: number, multiplier: "both" | "scores") {
  const rope = readRope(m, keys);
  const { scaling } = rope;
  if (scaling.kind !== "yarn") return { rope, growth: 1 };
  const logMultiplier = scaling.logMultiplier / 0.1;
  const own = logMultiplier !== 0 && multiplier === "both" ? 1 : logMultiplier;
  const yarn = { ...scaling, logMultiplier: own };
  const growth = scaling.factor <= 1 ? 1 : 1 + 0.1 * logMultiplier * Math.log(scaling.factor);
  return { rope: { ...rope, scaling: yarn }, growth: ropeMagnitude(yarn) * growth };
}

export interface LatentOptions extends LatentConfig {
  readonly dim: number;
  readonly eps: number;
  /** Positions are not encoded: what would be rotated stays as it is. */
  readonly still?: boolean;
  /** Multiplies queries by what grows with their position. */
  readonly temperature?: Temperature | undefined;
  /** Each head's result is multiplied by the sigmoid of a product of the input. */
  readonly gate?: "head" | undefined;
  /** Which positions are seen, by the input and by what lies between the two products of queries. */
  readonly choose?: (f: Flow, x: Value, low: Value) => Selection;
}

export const latent =
  (o: LatentOptions): Part =>
  (f, x) => {
    const { dim, heads, values } = o;
    const { q, row, selection } = projected(f, o, x);
    const state = f.keep("latent", { row, values: o.rank });
    const source = selection === undefined ? state : { state, selection };
    const read = f.attention(q, [source], { heads, scale: o.scale, reach: "all" });
    const mixed = f.headLinear(read, headWeight(f, o, "v"), { heads, along: "inputs" });
    const done = o.gate === undefined ? mixed : gated(f, o, x, mixed);
    return f.linear(done, f.matrix("attn_output", heads * values, dim, "attention"))[0]!;
  };

/** Queries in the latent space, and what is kept of the row. */
function projected(f: Flow, o: LatentOptions, x: Value) {
  const { dim, heads, rank, queryRank, plain, turned, eps } = o;
  const [narrow, wide] = [queryRank || dim, heads * (plain + turned)];
  const queries = (name: string) => f.matrix(name, narrow, wide, "attention", { gain: 1.2 });
  const down = () => f.matrix("attn_kv_a_mqa", dim, rank + turned, "attention");
  const turn = (y: Value) => (o.still ? y : f.rope(y, turned, o.rope));
  const normed = (y: Value, name: string) =>
    f.norm(y, f.vector(`attn_${name}_a_norm`, y.cols, "norm", { fill: [1, 0.3] }), eps);
  let q: Value;
  let kept: Value;
  let selection: Selection | undefined;
  if (queryRank === 0) [q, kept] = f.linear(x, queries("attn_q"), down()) as [Value, Value];
  else {
    const [first, second] = f.linear(x, f.matrix("attn_q_a", dim, queryRank, "attention"), down());
    const low = normed(first!, "q");
    selection = o.choose?.(f, x, low);
    [q, kept] = [f.linear(low, queries("attn_q_b"))[0]!, second!];
  }
  const [content, position] = f.splitHeads(q, heads, plain, turned);
  const [c, k] = f.split(kept, rank, turned);
  const key = headWeight(f, o, "k");
  const along = f.has("attn_kv_b.weight") ? "rows" : "inputs";
  const query = f.joinHeads(heads, f.headLinear(content!, key, { heads, along }), turn(position!));
  return {
    q: o.temperature === undefined ? query : f.temper(query, o.temperature),
    row: f.join(normed(c!, "kv"), turn(k!)),
    selection,
  };
}

/**
 * The way into the latent space or out of it, a matrix for each head. Files have both as stacks, that of keys the
 * other way round; files from before have keys and values of a head one after the other.
 */
function headWeight(f: Flow, { heads, rank, plain, values }: LatentOptions, name: "k" | "v"): Weight {
  const [local, gain] = [`attn_${name}_b`, name === "k" ? 1.2 : 1] as const;
  if (f.has("attn_kv_b.weight")) {
    const [first, own] = name === "k" ? [0, plain] : [plain, values];
    const from = { split: "attn_kv_b", of: plain + values, first, heads };
    return f.matrix(local, rank, heads * own, "attention", { gain, from });
  }
  const [cols, of] = name === "k" ? [plain, rank] : [rank, values];
  const from = { split: local, of, first: 0, heads, stacked: true };
  return f.matrix(local, cols, heads * of, "attention", { gain, from });
}

function gated(f: Flow, { dim, heads }: LatentOptions, x: Value, mixed: Value): Value {
  const product = f.linear(x, f.matrix("attn_gate", dim, heads, "attention", { gain: 2 }))[0]!;
  return f.multiply(mixed, f.act(product, "sigmoid"));
}

/** Metadata of a tiny model: four heads of 32 values that are rotated and 32 that are not. */
export const tinyLatent = (dims: 64 | 256) => ({
  block_count: 3,
  context_length: 1024,
  embedding_length: dims,
  feed_forward_length: 2 * dims,
  "attention.head_count": 4,
  "attention.head_count_kv": 1,
  "attention.q_lora_rank": dims / 2,
  "attention.kv_lora_rank": dims / 2,
  "attention.key_length": dims / 2 + 32,
  "attention.value_length": dims / 2,
  "attention.key_length_mla": 64,
  "attention.value_length_mla": 32,
  "rope.dimension_count": 32,
  "rope.freq_base": 10000,
  "attention.layer_norm_rms_epsilon": 1e-5,
});

/** YaRN with a multiplier that is not the usual one. */
export const tinyYarn = {
  "rope.scaling.type": "yarn",
  "rope.scaling.factor": 8,
  "rope.scaling.original_context_length": 16,
  "rope.scaling.yarn_log_multiplier": 0.0707,
} as const;

/** The same as files from before the absorbed form have it: widths of heads. */
export function tinyExpanded(dims: 64 | 256) {
  const { "attention.key_length_mla": key, "attention.value_length_mla": value, ...rest } = tinyLatent(dims);
  return { ...rest, "attention.head_count_kv": 4, "attention.key_length": key, "attention.value_length": value };
}
