/**
 * Which GGUF architecture a `model_type` of config.json is, and what it has of its own: keys, names, and what its
 * configuration means. What every family has in common is in common-keys.ts and names.ts.
 */
import type { HfConfig } from "./config.js";
import type { Family } from "./family.js";
import { encoderFamilies } from "./family-encoders.js";
import { graniteKeys, latentKeys, windowKeys, withinWindow } from "./family-keys.js";
import { graniteExperts, headsFirst, plusOne, turned } from "./family-names.js";
import { recurrentFamilies } from "./family-recurrent.js";
import type { MetadataBuilder } from "./metadata.js";
import { ropeParameters } from "./rope-keys.js";

/** Norms around both branches: `post_attention_layernorm` stands behind attention. */
const normsAround = {
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};
const headNorms = { "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm" };
const gemmaNorms = { input_layernorm: "attn_norm", norm: "output_norm" };

const sigmoidRouter = (m: MetadataBuilder): void => m.uint("expert_gating_func", 2);

const gemma2Keys = (c: HfConfig, m: MetadataBuilder): void => {
  windowKeys(c, m);
  m.float("attn_logit_softcapping", c.number("attn_logit_softcapping"));
  m.float("final_logit_softcapping", c.number("final_logit_softcapping"));
};

const gemma3: Family = {
  arch: "gemma3",
  names: plusOne({ ...gemmaNorms, ...normsAround, ...headNorms }),
  keys: gemma2Keys,
};

/** Families of decoders that keep keys and values alone. */
const attentionFamilies: Readonly<Record<string, Family>> = {
  llama: { arch: "llama" },
  mistral: { arch: "llama", keys: withinWindow },
  mixtral: { arch: "llama", keys: withinWindow },
  qwen2: { arch: "qwen2", keys: withinWindow },
  qwen3: { arch: "qwen3", keys: withinWindow },
  qwen3_moe: { arch: "qwen3moe" },
  qwen2_moe: { arch: "qwen2moe" },
  gemma: { arch: "gemma", names: plusOne({ ...gemmaNorms, post_attention_layernorm: "ffn_norm" }) },
  gemma2: { arch: "gemma2", names: plusOne({ ...gemmaNorms, ...normsAround }), keys: gemma2Keys },
  gemma3_text: gemma3,
  phi3: { arch: "phi3", keys: withinWindow },
  phi: { arch: "phi2" },
  gpt2: {
    arch: "gpt2",
    names: {
      ...turned({
        "attn.c_proj": "attn_output",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
      }),
      "attn.c_attn": { ...headsFirst(1, 1), transposed: true },
      ln_1: "attn_norm",
      ln_2: "ffn_norm",
    },
    keys: (c, m) => m.uint("feed_forward_length", c.number("n_inner") ?? 4 * c.whole("n_embd")),
  },
  gpt_neox: {
    arch: "gptneox",
    names: (c) => ({
      "attention.query_key_value": headsFirst(c.whole("num_attention_heads"), 1),
      "attention.dense": "attn_output",
    }),
    keys: (c, m) => m.flag("use_parallel_residual", c.flag("use_parallel_residual")),
  },
  falcon: {
    arch: "falcon",
    names: (c) => {
      const kept = falconKeyHeads(c);
      return {
        "self_attention.query_key_value": headsFirst(kept, c.whole("num_attention_heads", "n_head") / kept),
        "self_attention.dense": "attn_output",
        ln_attn: "attn_norm_2",
        ln_mlp: "attn_norm",
      };
    },
    keys: (c, m) => {
      m.uint("attention.head_count_kv", falconKeyHeads(c));
      m.uint("feed_forward_length", c.number("ffn_hidden_size") ?? 4 * c.whole("hidden_size"));
      m.uint("context_length", c.number("max_position_embeddings") ?? 2048);
    },
  },
  starcoder2: { arch: "starcoder2", keys: withinWindow },
  stablelm: { arch: "stablelm" },
  olmo2: { arch: "olmo2", names: normsAround },
  olmo3: { arch: "olmo2", names: normsAround, keys: windowKeys },
  olmoe: { arch: "olmoe" },
  cohere: { arch: "command-r", keys: (c, m) => m.float("logit_scale", c.number("logit_scale")) },
  cohere2: {
    arch: "cohere2",
    keys: (c, m) => {
      windowKeys(c, m);
      m.float("logit_scale", c.number("logit_scale"));
    },
  },
  granite: { arch: "granite", keys: graniteKeys },
  granitemoe: { arch: "granitemoe", names: graniteExperts, keys: graniteKeys },
  glm4: {
    arch: "glm4",
    names: { post_self_attn_layernorm: "post_attention_norm", post_mlp_layernorm: "post_ffw_norm" },
  },
  glm4_moe: {
    arch: "glm4moe",
    names: { post_attention_layernorm: "post_attention_norm" },
    keys: (_c, m) => sigmoidRouter(m),
  },
  smollm3: { arch: "smollm3" },
  seed_oss: { arch: "seed_oss", names: { post_attention_layernorm: "post_attention_norm" } },
  nemotron: {
    arch: "nemotron",
    names: plusOne({ ...gemmaNorms, post_attention_layernorm: "ffn_norm" }),
    keys: (c, m) => m.float("attention.layer_norm_epsilon", c.number("norm_eps")),
  },
  exaone4: { arch: "exaone4", names: normsAround, keys: windowKeys },
  ernie4_5: { arch: "ernie4_5" },
  ernie4_5_moe: {
    arch: "ernie4_5-moe",
    names: { "mlp.moe_statics.e_score_correction_bias": "exp_probs_b.bias" },
    keys: (c, m) => {
      m.uint("interleave_moe_layer_step", c.number("moe_layer_interval"));
      const [width, shared] = [c.number("moe_intermediate_size"), c.number("moe_num_shared_experts")];
      m.uint("expert_shared_feed_forward_length", width && shared && width * shared);
    },
  },
  hunyuan_v1_dense: {
    arch: "hunyuan-dense",
    names: { "self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm" },
    keys: (c, m) => {
      const { alpha } = ropeParameters(c);
      if (typeof alpha === "number") m.float("rope.scaling.alpha", alpha);
    },
  },
  dots1: { arch: "dots1", keys: (_c, m) => sigmoidRouter(m) },
  minimax_m2: {
    arch: "minimax-m2",
    names: { "block_sparse_moe.e_score_correction_bias": "exp_probs_b.bias" },
    keys: (c, m) => {
      m.uint("rope.dimension_count", c.number("rotary_dim"));
      m.uint("expert_feed_forward_length", c.number("intermediate_size"));
      sigmoidRouter(m);
    },
  },
  deepseek_v2: { arch: "deepseek2", keys: latentKeys },
  deepseek_v3: {
    arch: "deepseek2",
    keys: (c, m) => {
      latentKeys(c, m);
      sigmoidRouter(m);
    },
  },
};

/** Older models have one head of keys for all or one for each, newer ones say how many. */
function falconKeyHeads(c: HfConfig): number {
  if (c.flag("new_decoder_architecture") === true) return c.whole("num_kv_heads", "num_attention_heads");
  return c.flag("multi_query") === false ? c.whole("num_attention_heads", "n_head") : 1;
}

/** By `model_type`. */
export const families: Readonly<Record<string, Family>> = {
  ...attentionFamilies,
  ...recurrentFamilies,
  ...encoderFamilies,
};
