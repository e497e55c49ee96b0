/** Keys of config.json that mean the same in every family that has them. */
import type { HfConfig } from "./config.js";
import type { MetadataBuilder } from "./metadata.js";

/** Names in the order in which they are looked for; they differ by family and year. */
const wholes: Readonly<Record<string, readonly string[]>> = {
  block_count: ["num_hidden_layers", "n_layer", "n_layers", "num_layers"],
  context_length: ["max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx"],
  embedding_length: ["hidden_size", "n_embd", "d_model"],
  feed_forward_length: ["intermediate_size", "n_inner", "ffn_hidden_size"],
  "attention.head_count": ["num_attention_heads", "n_head", "n_heads"],
  "attention.head_count_kv": ["num_key_value_heads", "num_kv_heads", "n_head_kv"],
  "attention.key_length": ["head_dim"],
  "attention.value_length": ["head_dim"],
  vocab_size: ["vocab_size"],
  expert_count: ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"],
  expert_used_count: ["num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"],
  expert_feed_forward_length: ["moe_intermediate_size"],
  expert_shared_count: ["n_shared_experts", "moe_num_shared_experts"],
  expert_shared_feed_forward_length: ["shared_expert_intermediate_size"],
  leading_dense_block_count: ["first_k_dense_replace", "moe_layer_start_index"],
};

const floats: Readonly<Record<string, readonly string[]>> = {
  "attention.layer_norm_rms_epsilon": ["rms_norm_eps", "norm_eps"],
  "attention.layer_norm_epsilon": ["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"],
  expert_weights_scale: ["routed_scaling_factor"],
};

export function commonKeys(c: HfConfig, m: MetadataBuilder): void {
  m.text("/general.name", c.text("_name_or_path"));
  for (const [key, names] of Object.entries(wholes)) m.uint(key, c.number(...names));
  for (const [key, names] of Object.entries(floats)) m.float(key, c.number(...names));
  m.flag("expert_weights_norm", c.flag("norm_topk_prob"));
}
