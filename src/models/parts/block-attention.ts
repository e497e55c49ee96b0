/**
 * Attention over a window of single positions and beside it over one row for each block of positions: all blocks,
 * or those that an indexer of blocks chose. One vector of a position is the key and the value of all heads, so what
 * heads read is rotated and has to be rotated back; their products come out of groups of low rank.
 * @source DeepSeek-AI 2026, DeepSeek-V4: compressed sparse attention
 */
import type { AttendedState, Flow, Part, Selection, Source, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { type RopeConfig, readRope } from "../flow/rope.js";
import type { IndexerConfig } from "./indexer.js";

export interface BlockAttentionConfig {
  readonly heads: number;
  readonly headDim: number;
  /** Width between the two products that make queries. */
  readonly queryRank: number;
  /** Heads come out in so many groups, each through this width. */
  readonly groups: number;
  readonly outputRank: number;
  readonly window: number;
  /** Positions of a block in each layer; 0: the layer has the window alone. */
  readonly every: readonly number[];
  /** How the last values of a head turn in layers without blocks, and in those that have them. */
  readonly rope: RopeConfig;
  readonly farRope: RopeConfig;
  readonly indexer: IndexerConfig;
}

/** Blocks of so many positions overlap, and an indexer chooses among them. */
const choosing = 4;
/** The other size that blocks have: all of them are seen. */
const seenAll = 128;

export function blockAttentionConfig(m: MetadataReader, layers: number): BlockAttentionConfig {
  const heads = m.uint("attention.head_count", { max: 4096 });
  const kept = m.uint("attention.head_count_kv", { max: 4096, default: 1 });
  const headDim = m.uint("attention.key_length", { max: 2048 });
  const groups = m.uint("attention.output_group_count", { max: 4096 });
  const read = readRope(m, headDim);
  if (kept !== 1) m.fault(`${kept} key/value heads, where all heads share one`);
  if (m.uint("attention.value_length", { max: 2048, default: headDim }) !== headDim)
    m.fault("keys and values of different sizes, where they are the same");
  if (heads % groups !== 0) m.fault(`${heads} heads in ${groups} groups`);
  const every = m.uints("attention.compress_ratios", layers, { min: 0, max: seenAll });
  const odd = every.find((size) => size !== 0 && size !== choosing && size !== seenAll);
  if (odd !== undefined) m.fault(`blocks of ${odd} positions are not supported (${choosing} and ${seenAll} are)`);
  const width = m.uint("attention.indexer.key_length", { max: 2048 });
  if (read.dims > width) m.fault(`RoPE over ${read.dims} values of index keys of ${width}`);
  const first = (size: number) => Math.max(0, size - read.dims);
  // Scores do not grow with the factor: angles alone are scaled, and only those of blocks.
  const scaling =
    read.scaling.kind === "yarn" ? { ...read.scaling, attentionFactor: 1, logMultiplier: 1 } : read.scaling;
  const base = m.float("attention.compress_rope_freq_base", { above: 0 });
  const farRope = { ...read, base, scaling, first: first(headDim) };
  return {
    heads,
    headDim,
    queryRank: m.uint("attention.q_lora_rank", { max: 2 ** 16 }),
    groups,
    outputRank: m.uint("attention.output_lora_rank", { max: 2 ** 16 }),
    window: m.uint("attention.sliding_window", { max: 2 ** 24 }),
    every,
    rope: { ...read, scaling: { kind: "none" }, first: first(headDim) },
    farRope,
    indexer: {
      heads: m.uint("attention.indexer.head_count", { max: 1024 }),
      width,
      topK: m.uint("attention.indexer.top_k", { max: 2 ** 16 }),
      rope: { ...farRope, first: first(width) },
    },
  };
}

export interface BlockAttentionOptions extends BlockAttentionConfig {
  readonly dim: number;
  readonly eps: number;
}

/** The mixer of layer `i`. */
export const blockAttention =
  (o: BlockAttentionOptions, i: number): Part =>
  (f, x) => {
    const { dim, heads, headDim, queryRank, groups, outputRank, window, eps } = o;
    const every = o.every[i]!;
    const rope = every === 0 ? o.rope : o.farRope;
    const product = (name: string, cols: number, rows: number, gain = 1) =>
      f.matrix(name, cols, rows, "attention", { gain });
    const [first, own] = f.linear(x, product("attn_q_a", dim, queryRank), product("attn_kv", dim, headDim));
    const low = f.norm(first!, f.vector("attn_q_a_norm", queryRank, "norm", { fill: [1, 0.3] }), eps);
    const wide = f.linear(low, product("attn_q_b", queryRank, heads * headDim))[0]!;
    const q = f.rope(f.headNorm(wide, null, eps, headDim), headDim, rope);
    const normed = f.norm(own!, f.vector("attn_kv_a_norm", headDim, "norm", { fill: [1.4, 0.4] }), eps);
    const row = f.rope(normed, headDim, rope);
    const near = f.keep("latent", { name: "near", row, values: headDim });
    const sources: Source[] = [{ state: near, reach: { window } }];
    if (every > 0) sources.push(blocks(f, o, every, x, low));
    const sinks = f.vector("attn_sinks", heads, "attention", { fill: [1, 1] });
    const read = f.attention(q, sources, { heads, scale: 1 / Math.sqrt(headDim), reach: "all", sinks });
    const back = f.rope(read, headDim, { ...rope, inverse: true });
    const inner = product("attn_output_a", (heads * headDim) / groups, groups * outputRank, 1.4);
    const mixed = f.headLinear(back, inner, { heads: groups, along: "inputs" });
    return f.linear(mixed, product("attn_output_b", groups * outputRank, dim, 1.4))[0]!;
  };

/** The rows of blocks, each rotated as its first position is, and which of them are seen. */
function blocks(f: Flow, o: BlockAttentionOptions, every: number, x: Value, low: Value): Source {
  const { headDim, farRope, indexer } = o;
  const row = compressed(f, o, "attn_compressor", every, x, headDim);
  const turned = f.rope(row, headDim, farRope, null, every - 1);
  const state: AttendedState = f.keep("latent", { name: "far", row: turned, values: headDim, every });
  return every === choosing ? { state, selection: index(f, o, indexer, x, low) } : { state };
}

function index(f: Flow, o: BlockAttentionOptions, c: IndexerConfig, x: Value, low: Value): Selection {
  const { heads, width, rope, topK } = c;
  const row = compressed(f, o, "indexer_compressor", choosing, x, width);
  const turned = f.rope(row, width, rope, null, choosing - 1);
  const keys = f.keep("rows", { name: "index", row: turned, every: choosing });
  const q = f.linear(low, f.matrix("indexer.attn_q_b", low.cols, heads * width, "attention"))[0]!;
  const weights = f.linear(x, f.matrix("indexer.proj", x.cols, heads, "attention"))[0]!;
  return f.select(f.rope(q, width, rope), weights, keys, topK);
}

/** The row of a block: what a product makes of its positions, weighted column by column by gates of another. */
function compressed(
  f: Flow,
  { dim, eps }: BlockAttentionOptions,
  name: string,
  every: number,
  x: Value,
  columns: number,
): Value {
  const overlap = every === choosing;
  const wide = overlap ? 2 * columns : columns;
  const product = (of: string) => f.matrix(`${name}_${of}`, dim, wide, "attention");
  const [values, gates] = f.linear(x, product("kv"), product("gate"));
  const positions = f.vector(`${name}_ape`, every * wide, "attention", { shape: [wide, every], fill: [0, 2] });
  const row = f.compress(values!, gates!, { every, overlap, positions, name });
  return f.norm(row, f.vector(`${name}_norm`, columns, "norm", { fill: [1.4, 0.4] }), eps);
}
