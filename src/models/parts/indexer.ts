/**
 * An indexer chooses the positions that attention sees: a few narrow heads score all earlier ones, and the best are
 * kept.  @source DeepSeek-AI 2025, "DeepSeek-V3.2: Pushing the Frontier of Open Large Language Models"
 */
import type { Flow, Selection, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import type { RopeConfig } from "../flow/rope.js";

export interface IndexerConfig {
  readonly heads: number;
  /** Width of a head, and of a key. */
  readonly width: number;
  /** Positions that are seen. */
  readonly topK: number;
  readonly rope: RopeConfig;
}

/** `rope`: of attention; the beginning of every head and key is rotated in the same way, or with other pairs. */
export function indexerConfig(m: MetadataReader, rope: RopeConfig): IndexerConfig {
  const width = m.uint("attention.indexer.key_length", { max: 4096 });
  if (rope.dims > width) m.fault(`RoPE over ${rope.dims} values of index keys of ${width}`);
  return {
    heads: m.uint("attention.indexer.head_count", { max: 1024 }),
    width,
    topK: m.uint("attention.indexer.top_k", { max: 2 ** 16 }),
    rope,
  };
}

// Its own constant in all models, which files do not say.
const eps = 1e-6;

/** `low`: what lies between the two products of attention's queries. Scores need no factor: only their order counts. */
export function choose(f: Flow, { heads, width, topK, rope }: IndexerConfig, x: Value, low: Value): Selection {
  const turn = (y: Value) => f.rope(y, width, rope);
  const q = f.linear(low, f.matrix("indexer.attn_q_b", low.cols, heads * width, "attention"))[0]!;
  const [k, weights] = f.linear(
    x,
    f.matrix("indexer.attn_k", x.cols, width, "attention"),
    f.matrix("indexer.proj", x.cols, heads, "attention"),
  );
  const shift = f.vector("indexer.k_norm", width, "norm", { suffix: "bias", fill: [0, 0.3] });
  const key = f.layerNorm(k!, f.vector("indexer.k_norm", width, "norm"), shift, eps);
  return f.select(turn(q), weights!, f.keep("rows", { name: "index", row: turn(key) }), topK);
}

/** Metadata of a tiny model: 16 positions of a text that is longer. */
export const tinyIndexer = {
  "attention.indexer.head_count": 8,
  "attention.indexer.key_length": 64,
  "attention.indexer.top_k": 16,
} as const;
