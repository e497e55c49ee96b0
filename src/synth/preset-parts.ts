/** Values that many presets have in common. */

/** A file of the usual size, with a head of its own. */
export const quantized = { tied: false, quant: "Q4_K_M" } as const;

/** Heads that are alike in all layers, of which the first `turned` values take RoPE. */
export const attention = (heads: number, kvHeads: number, headDim: number, turned = headDim) => ({
  "attention.head_count": heads,
  "attention.head_count_kv": kvHeads,
  "attention.key_length": headDim,
  "attention.value_length": headDim,
  "rope.dimension_count": turned,
});

export const routing = (count: number, used: number, width: number) => ({
  expert_count: count,
  expert_used_count: used,
  expert_feed_forward_length: width,
});

/** Optional biases of queries, keys and values. */
export const qkvBiases = ["attn_q.bias", "attn_k.bias", "attn_v.bias"];
