/**
 * DeepSeek V4: four residual streams that are mixed at every branch, attention over a window and over blocks of
 * positions, experts with bounded activations and a shared one. In the first layers a table says which experts a token
 * takes. The block that guesses further tokens is left out.
 * @source DeepSeek-AI 2026, DeepSeek-V4
 */

import type { Glu } from "../../ops/ops.js";
import { defineArchitecture } from "../flow/architecture.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { hyper } from "../flow/residual.js";
import { blockAttention, blockAttentionConfig } from "../parts/block-attention.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig, tinyExperts } from "../parts/router.js";
import { embedTokens, rms, streamConfig, tokenHead } from "../parts/transformer.js";

const bounded = (limit: number): Glu => (limit > 0 ? { clamp: "before", limit } : "silu");

/** Bounds of a layer's experts, and of its shared one: files that do not say those have the same. */
function limits(m: MetadataReader, layers: number) {
  const own = m.floats("swiglu_clamp_exp", layers, { default: 0 });
  const shared = m.has("swiglu_clamp_shexp") ? m.floats("swiglu_clamp_shexp", layers, { default: 0 }) : own;
  return { limits: own, sharedLimits: shared };
}

/** The trunk. Files may have lost the block that guesses further tokens, and count it no more. */
function withoutGuessing(m: MetadataReader) {
  const common = streamConfig(m, { ffn: "experts" });
  const behind = m.hasTensor(`blk.${common.layers}.nextn.eh_proj.weight`);
  return behind ? common : { ...common, layers: m.uint("block_count", { max: 4096 }) };
}

function config(m: MetadataReader) {
  const common = withoutGuessing(m);
  const router = routerConfig(m, common, { score: "root-softplus" });
  if (router.score !== "root-softplus")
    m.fault(`'${m.arch}.expert_gating_func' says ${router.score}, which is not supported here`);
  const attention = blockAttentionConfig(m, common.layers);
  return {
    ...common,
    ...router,
    ...limits(m, common.layers),
    attention,
    window: attention.window,
    hashed: m.uint("hash_layer_count", { min: 0, max: 4096, default: 0 }),
    streams: m.uint("hyper_connection.count", { min: 2, max: 16 }),
    iterations: m.uint("hyper_connection.sinkhorn_iterations", { max: 1000 }),
    mixEps: m.float("hyper_connection.epsilon", { above: 0 }),
  };
}

export const deepseek4 = defineArchitecture({
  name: "deepseek4",
  families: "DeepSeek V4-Flash 284B-A13B, V4-Pro 1.6T-A49B",
  ggufPairs: "interleaved",
  config,
  begin: (f, c) => hyper(f, embedTokens(f, c).streams[0]!, { ...c, end: "weighted" }),
  layer(c, i) {
    const own = { dim: c.dim, eps: c.eps };
    // A table of the token ids instead of a bias for choosing.
    const chosen =
      i < c.hashed ? { table: { name: "ffn_gate_tid2eid", tokens: c.vocab } } : { selectionBias: "exp_probs_b.bias" };
    const experts = moe({
      ...c,
      ...routed(c),
      ...chosen,
      act: bounded(c.limits[i]!),
      shared: { hidden: c.sharedHidden, act: bounded(c.sharedLimits[i]!) },
    });
    return [
      { site: "attn", before: rms("attn_norm", c), part: blockAttention({ ...own, ...c.attention }, i) },
      { site: "ffn", before: rms("ffn_norm", c), part: experts },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: [
    "rope",
    "rope-pairs",
    "rope-scaling",
    "rope-back",
    "latent-norm",
    "unit-norm",
    "sinks",
    "window",
    "selection",
    "blocks",
    "block-positions",
    "streams",
    "even",
    "table",
    "router-norm",
    "selection-bias",
    "shared-expert",
    "clamp",
  ],
  tiny: [
    {
      variant: "flash",
      metadata: (dims) => tiny(dims, [0, 4, 128, 4]),
      shallow: { "attention.compress_ratios": [0, 4] },
    },
    {
      // Blocks of 128 positions: of two the prompt has one whole.
      variant: "128",
      metadata: (dims) => ({ ...tiny(dims, [4, 128, 0, 4]), block_count: 3 }),
      promptTokens: 150,
      lacks: ["clamp", "even", "selection-bias"],
    },
  ],
});

/** Heads of 64 values of which the last 32 are rotated, in two groups. */
const tiny = (dims: 64 | 256, ratios: readonly number[]) => ({
  ...tinyExperts(dims),
  leading_dense_block_count: 0,
  block_count: ratios.length,
  context_length: 1024,
  embedding_length: dims,
  "attention.head_count": 4,
  "attention.head_count_kv": 1,
  "attention.key_length": 64,
  "attention.value_length": 64,
  "attention.q_lora_rank": dims / 2,
  "attention.output_group_count": 2,
  "attention.output_lora_rank": dims / 2,
  "attention.sliding_window": 8,
  "attention.compress_ratios": ratios,
  "attention.compress_rope_freq_base": 1000,
  "attention.layer_norm_rms_epsilon": 1e-5,
  "attention.indexer.head_count": 4,
  "attention.indexer.key_length": 64,
  "attention.indexer.top_k": 4,
  "rope.dimension_count": 32,
  "rope.freq_base": 10000,
  "rope.scaling.type": "yarn",
  "rope.scaling.factor": 8,
  "rope.scaling.original_context_length": 16,
  "hyper_connection.count": 4,
  "hyper_connection.sinkhorn_iterations": 20,
  "hyper_connection.epsilon": 1e-6,
  hash_layer_count: 1,
  expert_gating_func: 4,
  swiglu_clamp_exp: 0.5,
  swiglu_clamp_shexp: 0.5,
});
