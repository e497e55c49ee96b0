/** Families that make vectors. How rows become one vector is said beside the model (pooling.ts). */
import type { Family } from "./family.js";

export const encoderFamilies: Readonly<Record<string, Family>> = {
  bert: {
    arch: "bert",
    names: {
      "embeddings.word_embeddings": "token_embd",
      "embeddings.position_embeddings": "position_embd",
      "embeddings.token_type_embeddings": "token_types",
      "embeddings.LayerNorm": "token_embd_norm",
      "attention.self.query": "attn_q",
      "attention.self.key": "attn_k",
      "attention.self.value": "attn_v",
      "attention.output.dense": "attn_output",
      "attention.output.LayerNorm": "attn_output_norm",
      "intermediate.dense": "ffn_up",
      "output.dense": "ffn_down",
      "output.LayerNorm": "layer_output_norm",
    },
    keys: (c, m) => {
      m.flag("attention.causal", false);
      m.uint("/tokenizer.ggml.token_type_count", c.number("type_vocab_size"));
    },
  },
  modernbert: {
    arch: "modern-bert",
    names: {
      "embeddings.tok_embeddings": "token_embd",
      "embeddings.norm": "token_embd_norm",
      "attn.Wqkv": "attn_qkv",
      "attn.Wo": "attn_output",
      "mlp.Wi": "ffn_up",
      "mlp.Wo": "ffn_down",
      attn_norm: "attn_norm",
      mlp_norm: "ffn_norm",
    },
    keys: (c, m) => {
      m.flag("attention.causal", false);
      m.float("attention.layer_norm_epsilon", c.number("norm_eps"));
      m.uint("attention.sliding_window", c.number("local_attention"));
      m.uint("attention.sliding_window_pattern", c.number("global_attn_every_n_layers"));
      m.text("hidden_activation", c.text("hidden_activation"));
      const local = c.object("rope_parameters")?.sliding_attention as { rope_theta?: unknown } | undefined;
      const base = typeof local?.rope_theta === "number" ? local.rope_theta : c.number("local_rope_theta");
      m.float("rope.freq_base_swa", base);
    },
  },
};
