/**
 * Shapes of models most of whose layers keep a state of a fixed size.
 * @source config.json of each model on its Hugging Face card
 */
import type { TinyMetadata } from "../models/flow/architecture.js";
import { attention, quantized, routing } from "./preset-parts.js";
import type { SynthShape } from "./shape.js";

/** Heads of 128 of a gated delta net; three of four layers have one. */
const deltaNet = (keyHeads: number, valueHeads: number) => ({
  full_attention_interval: 4,
  "ssm.conv_kernel": 4,
  "ssm.state_size": 128,
  "ssm.group_count": keyHeads,
  "ssm.time_step_rank": valueHeads,
  "ssm.inner_size": 128 * valueHeads,
});

// Without the block that guesses a further token.
const qwen35 = (arch: string, metadata: TinyMetadata): SynthShape => ({
  ...quantized,
  arch,
  metadata: {
    context_length: 262144,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.freq_base": 1e7,
    "rope.dimension_sections": [11, 11, 10, 0],
    ...metadata,
  },
  vocab: 248320,
  pre: "qwen35",
});

/** Rows of a head of n-grams. */
const rowsOfHead = 20_000_096n;

/** M: a state space, E: experts, *: attention. */
const superBlocks = [..."MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME"];

export const hybrids: Readonly<Record<string, SynthShape>> = {
  "qwen3.6-27b": qwen35("qwen35", {
    block_count: 64,
    embedding_length: 5120,
    feed_forward_length: 17408,
    ...attention(24, 4, 256, 64),
    ...deltaNet(16, 48),
  }),
  "qwen3.6-35b-a3b": qwen35("qwen35moe", {
    block_count: 40,
    embedding_length: 2048,
    ...attention(16, 2, 256, 64),
    ...routing(256, 8, 512),
    expert_shared_feed_forward_length: 512,
    ...deltaNet(16, 32),
  }),
  // Sizes of the heads' ranges of n-grams are primes about as large; the file's table is padded.
  "qwen3.8-flash-next": qwen35("qwen4exp", {
    block_count: 48,
    embedding_length: 2560,
    ...attention(24, 2, 256, 64),
    ...routing(512, 10, 640),
    expert_shared_feed_forward_length: 640,
    ...deltaNet(16, 48),
    "hyper_connection.count": 4,
    "hyper_connection.low_rank": 320,
    "attention.indexer.head_count": 4,
    "attention.indexer.key_length": 128,
    "attention.indexer.top_k": 2048,
    "attention.compress_ratios": Array.from({ length: 48 }, (_, i) => (i % 4 === 3 ? 4 : 0)),
    embedding_length_per_layer_input: 160,
    "ple.layers": [1],
    "ple.ngram_size": 3,
    "ple.heads_per_ngram": 8,
    "ple.conv_kernel": 4,
    "ple.eos_token_id": 248044,
    "ple.layer_multipliers": [0x9e3779b97f4a7c15n, 0xbf58476d1ce4e5b9n, 0x94d049bb133111ebn],
    "ple.head_offsets": Array.from({ length: 16 }, (_, h) => BigInt(h) * rowsOfHead),
    "ple.head_vocab_sizes": new Array<bigint>(16).fill(rowsOfHead),
  }),
  "ling-3.0-flash": {
    ...quantized,
    arch: "bailingmoe3",
    metadata: {
      block_count: 42,
      context_length: 262144,
      embedding_length: 2560,
      feed_forward_length: 6144,
      "attention.head_count": 32,
      "attention.head_count_kv": Array.from({ length: 42 }, (_, i) => (i % 6 === 5 ? 1 : 0)),
      "attention.kv_lora_rank": 512,
      "attention.key_length": 576,
      "attention.value_length": 512,
      "attention.key_length_mla": 192,
      "attention.value_length_mla": 128,
      "attention.layer_norm_rms_epsilon": 1e-6,
      "rope.dimension_count": 64,
      "rope.freq_base": 6e6,
      leading_dense_block_count: 2,
      ...routing(512, 8, 768),
      expert_shared_count: 1,
      expert_group_count: 8,
      expert_group_used_count: 4,
      expert_gating_func: 2,
      expert_weights_norm: true,
      expert_weights_scale: 2.5,
      "kda.head_dim": 128,
      "kda.gate_lower_bound": -5,
      "kda.safe_gate": true,
      "ssm.conv_kernel": 4,
    },
    vocab: 157184,
    pre: "bailingmoe2",
  },
  "nemotron-3-super": {
    ...quantized,
    arch: "nemotron_h_moe",
    metadata: {
      block_count: superBlocks.length,
      context_length: 262144,
      embedding_length: 4096,
      feed_forward_length: superBlocks.map((block) => (block === "E" ? 2688 : 0)),
      ...attention(32, 2, 128),
      "attention.head_count_kv": superBlocks.map((block) => (block === "*" ? 2 : 0)),
      "attention.layer_norm_epsilon": 1e-5,
      "attention.layer_norm_rms_epsilon": 1e-5,
      ...routing(512, 22, 2688),
      expert_shared_count: 1,
      expert_shared_feed_forward_length: 5376,
      expert_gating_func: 2,
      expert_weights_norm: true,
      expert_weights_scale: 5,
      moe_latent_size: 1024,
      "ssm.conv_kernel": 4,
      "ssm.inner_size": 8192,
      "ssm.state_size": 128,
      "ssm.time_step_rank": 128,
      "ssm.group_count": 8,
    },
    vocab: 131072,
    pre: "pixtral",
    optionalTensors: ["ssm_conv1d.bias"],
  },
};
