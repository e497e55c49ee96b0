/**
 * Names of modules in a Hugging Face folder, and GGUF's names for them. Families agree on most; where one does not, its
 * own table comes first (families.ts).
 */

/**
 * The GGUF name without the layer's prefix, and without `.weight` and `.bias`, which are the same on both sides; of a
 * tensor that is no module's (`A_log`), all of its name.
 */
export type Target = string | PlacedTarget | SplitTarget;

/** Rows that follow each other: [first, count]. */
export type Rows = readonly (readonly [first: number, count: number])[];

/** A fused matrix whose parts are wanted apart: the rows of each, given the number of all. */
export interface SplitTarget {
  /** Stored as [inputs, outputs]: the parts are columns there. */
  readonly transposed?: true;
  /** The name under which a GGUF file has the parts as one again, in this order. */
  readonly joined?: string;
  readonly split: (rows: number) => Readonly<Record<string, Rows>>;
}

export interface PlacedTarget {
  readonly to: string;
  /** Stored as [inputs, outputs]. */
  readonly transposed?: true;
  /** The change of a vector's values on their way to the model. */
  readonly change?: "plus one" | "minus exp";
}

export type NameTable = Readonly<Record<string, Target>>;

/** Modules of the whole model. */
export const modelNames: NameTable = {
  embed_tokens: "token_embd",
  wte: "token_embd",
  word_embeddings: "token_embd",
  embed_in: "token_embd",
  embeddings: "token_embd",
  embedding: "token_embd",
  tok_embeddings: "token_embd",
  wpe: "position_embd",
  norm: "output_norm",
  ln_f: "output_norm",
  norm_f: "output_norm",
  final_layernorm: "output_norm",
  final_layer_norm: "output_norm",
  final_norm: "output_norm",
  lm_head: "output",
  embed_out: "output",
};

const gated = (prefix: string, suffix: string): Record<string, string> =>
  Object.fromEntries(["gate", "up", "down"].map((name) => [`${prefix}.${name}_proj`, `ffn_${name}${suffix}`]));

/** Modules of a layer. `E` is the number of an expert: its matrices are stacked. */
export const layerNames: NameTable = {
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.qkv_proj": "attn_qkv",
  "self_attn.query_key_value": "attn_qkv",
  "self_attn.o_proj": "attn_output",
  "self_attn.dense": "attn_output",
  "self_attn.out_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.q_layernorm": "attn_q_norm",
  "self_attn.k_layernorm": "attn_k_norm",
  "self_attn.sinks": "attn_sinks.weight",
  "self_attn.q_a_proj": "attn_q_a",
  "self_attn.q_a_layernorm": "attn_q_a_norm",
  "self_attn.q_b_proj": "attn_q_b",
  "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
  "self_attn.kv_a_layernorm": "attn_kv_a_norm",
  "self_attn.kv_b_proj": "attn_kv_b",
  ...gated("mlp", ""),
  "mlp.gate_up_proj": "ffn_up",
  "mlp.c_fc": "ffn_up",
  "mlp.c_proj": "ffn_down",
  "mlp.fc1": "ffn_up",
  "mlp.fc2": "ffn_down",
  "mlp.dense_h_to_4h": "ffn_up",
  "mlp.dense_4h_to_h": "ffn_down",
  "mlp.gate": "ffn_gate_inp",
  "mlp.router": "ffn_gate_inp",
  "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
  ...gated("mlp.experts.E", "_exps"),
  ...gated("mlp.shared_expert", "_shexp"),
  ...gated("mlp.shared_experts", "_shexp"),
  "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
  "mlp.experts.gate_up_proj": "ffn_gate_up_exps.weight",
  "mlp.experts.down_proj": "ffn_down_exps.weight",
  "block_sparse_moe.experts.gate_up_proj": "ffn_gate_up_exps.weight",
  "block_sparse_moe.experts.down_proj": "ffn_down_exps.weight",
  eh_proj: "nextn.eh_proj",
  enorm: "nextn.enorm",
  hnorm: "nextn.hnorm",
  "shared_head.norm": "nextn.shared_head_norm",
  "shared_head.head": "nextn.shared_head_head",
  embed_tokens: "nextn.embed_tokens",
  "block_sparse_moe.gate": "ffn_gate_inp",
  "block_sparse_moe.experts.E.w1": "ffn_gate_exps",
  "block_sparse_moe.experts.E.w3": "ffn_up_exps",
  "block_sparse_moe.experts.E.w2": "ffn_down_exps",
};
