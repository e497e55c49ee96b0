/**
 * LFM2 and LFM2.5: short convolutions between two gates in most layers, attention with norms of queries and keys in
 * the others, in some models over a window. The last norm goes by the name of the embedding's.
 * @source Liquid AI 2025, "LFM2 Technical Report"
 */
import { type Branch, defineArchitecture, type TinyMetadata } from "../flow/architecture.js";
import type { Flow, Part } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import type { Residual } from "../flow/residual.js";
import { type RopeConfig, readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { type HybridHeads, headsOf, hybridHeads } from "../parts/hybrid.js";
import { gatedConv } from "../parts/short-conv.js";
import {
  embedTokens,
  rms,
  type StreamConfig,
  streamConfig,
  type TransformerOptions,
  tinyTransformer,
  tokenHead,
} from "../parts/transformer.js";

export interface Lfm2Config extends StreamConfig, HybridHeads {
  readonly rope: RopeConfig;
  readonly taps: number;
}

export function lfm2Config(m: MetadataReader, o: TransformerOptions): Lfm2Config {
  const common = streamConfig(m, o);
  const heads = hybridHeads(m, common);
  return {
    ...common,
    ...heads,
    rope: readRope(m, heads.headDim),
    taps: m.uint("shortconv.l_cache", { min: 2, max: 16 }),
    window: m.uint("attention.sliding_window", { min: 0, default: 0 }),
  };
}

export const lfm2Layer = (c: Lfm2Config, i: number, ffn: Part): Branch[] => [
  {
    site: "mixer",
    before: rms("attn_norm", c),
    part: headsOf(c, i).kvHeads === 0 ? gatedConv(c) : gqa({ ...c, ...headsOf(c, i), qkNorm: "head" }),
  },
  { site: "ffn", before: rms("ffn_norm", c), part: ffn },
];

export const lfm2Head = (f: Flow, x: Residual, c: Lfm2Config) =>
  tokenHead(f, x, c, { norm: (size) => rms("token_embd_norm", c, size) });

/** llama.cpp insists on heads * headDim = dim. */
export const tinyLfm2 = (dims: 64 | 256): TinyMetadata => ({
  ...tinyTransformer(dims),
  block_count: 4,
  "attention.head_count": dims / 32,
  "attention.head_count_kv": [0, 2, 0, 1],
  "shortconv.l_cache": 3,
});

export const lfm2 = defineArchitecture({
  name: "lfm2",
  families: "LFM2 350M-2.6B, LFM2.5 1.2B",
  config: (m) => lfm2Config(m, { ffn: "dense" }),
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => lfm2Layer(c, i, gatedFfn({ ...c, act: "silu" })),
  end: (f, x, c) => lfm2Head(f, x, c),
  mechanisms: ["rope", "qk-norm", "gate", "convolution", "window"],
  tiny: [
    { variant: "dense", tied: true, metadata: tinyLfm2, lacks: ["window"] },
    {
      variant: "windowed",
      metadata: (dims) => ({ ...tinyLfm2(dims), "attention.sliding_window": 16 }),
    },
  ],
});
