/** Shapes of models whose heads share a vector.  @source config.json of each model on its Hugging Face card */
import type { TinyMetadata } from "../models/flow/architecture.js";
import { quantized, routing } from "./preset-parts.js";
import type { SynthShape } from "./shape.js";

/** The metadata DeepSeek V3 and Kimi K2 share; both without the block that guesses a further token. */
const v3 = (heads: number, experts: number, metadata: TinyMetadata) => ({
  block_count: 61,
  embedding_length: 7168,
  feed_forward_length: 18432,
  "attention.head_count": heads,
  "attention.head_count_kv": 1,
  "attention.q_lora_rank": 1536,
  "attention.kv_lora_rank": 512,
  "attention.key_length": 576,
  "attention.value_length": 512,
  "attention.key_length_mla": 192,
  "attention.value_length_mla": 128,
  "attention.layer_norm_rms_epsilon": 1e-6,
  "rope.dimension_count": 64,
  "rope.scaling.type": "yarn",
  "rope.scaling.original_context_length": 4096,
  "rope.scaling.yarn_log_multiplier": 0.1,
  ...routing(experts, 8, 2048),
  expert_shared_count: 1,
  expert_gating_func: 2,
  expert_weights_norm: true,
  ...metadata,
});

const kept = { ...quantized, arch: "deepseek2", optionalTensors: ["exp_probs_b.bias"] } as const;

export const latents: Readonly<Record<string, SynthShape>> = {
  "deepseek-v3": {
    ...kept,
    metadata: v3(128, 256, {
      context_length: 163840,
      leading_dense_block_count: 3,
      expert_group_count: 8,
      expert_group_used_count: 4,
      expert_weights_scale: 2.5,
      "rope.freq_base": 10000,
      "rope.scaling.factor": 40,
    }),
    vocab: 129280,
    pre: "deepseek-v3",
  },
  "kimi-k2": {
    ...kept,
    metadata: v3(64, 384, {
      context_length: 131072,
      leading_dense_block_count: 1,
      expert_weights_scale: 2.827,
      "rope.freq_base": 50000,
      "rope.scaling.factor": 32,
    }),
    vocab: 163840,
    pre: "kimi-k2",
  },
  // Its experts are four-bit numbers as they were trained; two layers see a window alone, the others blocks as well.
  "deepseek-v4-flash": {
    arch: "deepseek4",
    tied: false,
    quant: "MXFP4_MOE",
    metadata: {
      block_count: 43,
      context_length: 1048576,
      embedding_length: 4096,
      "attention.head_count": 64,
      "attention.head_count_kv": 1,
      "attention.key_length": 512,
      "attention.value_length": 512,
      "attention.q_lora_rank": 1024,
      "attention.output_group_count": 8,
      "attention.output_lora_rank": 1024,
      "attention.sliding_window": 128,
      "attention.compress_ratios": Array.from({ length: 43 }, (_, i) => (i < 2 ? 0 : i % 2 === 0 ? 4 : 128)),
      "attention.compress_rope_freq_base": 160000,
      "attention.layer_norm_rms_epsilon": 1e-6,
      "attention.indexer.head_count": 64,
      "attention.indexer.key_length": 128,
      "attention.indexer.top_k": 512,
      "rope.dimension_count": 64,
      "rope.freq_base": 10000,
      "rope.scaling.type": "yarn",
      "rope.scaling.factor": 16,
      "rope.scaling.original_context_length": 65536,
      "hyper_connection.count": 4,
      "hyper_connection.sinkhorn_iterations": 20,
      "hyper_connection.epsilon": 1e-6,
      hash_layer_count: 3,
      ...routing(256, 6, 2048),
      expert_shared_count: 1,
      expert_gating_func: 4,
      expert_weights_norm: true,
      expert_weights_scale: 1.5,
      swiglu_clamp_exp: new Array<number>(43).fill(10),
    },
    vocab: 129280,
    pre: "deepseek-v3",
  },
};
