/**
 * Which model of transformers a GGUF file is: its `model_type`, its class, its modules and what its config.json says
 * beside the common keys. Where a module's tensor goes is read from the tables that folders are opened with.
 */
import type { FolderKeys } from "./gguf-folder-keys.js";

export interface FolderKind {
  /** `model_type`. */
  readonly type: string;
  /** The class of transformers. */
  readonly name: string;
  /** Modules of a layer; `E` is the number of an expert. */
  readonly layer: readonly string[];
  /** Modules of the whole model. */
  readonly model?: readonly string[];
  /** Modules that may have a bias. The class has no place for others. */
  readonly biased?: RegExp;
  /** Modules whose vector is a matrix of one row in the folder. */
  readonly rows?: RegExp;
  /** Keys beside the common ones. */
  readonly config?: (k: FolderKeys) => Record<string, unknown>;
}

const words = (text: string): string[] => text.split(" ");

const norms = words("input_layernorm post_attention_layernorm");
const around = words("post_attention_layernorm post_feedforward_layernorm");
const heads = words("self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj");
const headNorms = words("self_attn.q_norm self_attn.k_norm");
const gated = words("mlp.gate_proj mlp.up_proj mlp.down_proj");
const shared = words("mlp.shared_experts.gate_proj mlp.shared_experts.up_proj mlp.shared_experts.down_proj");
const experts = words("mlp.gate mlp.experts.E.gate_proj mlp.experts.E.up_proj mlp.experts.E.down_proj");
const qkv = /\.(q|k|v)_proj$/;

const usual = [...norms, ...heads, ...gated];

const softcaps = (k: FolderKeys) => ({
  hidden_activation: "gelu_pytorch_tanh",
  query_pre_attn_scalar: k.scoreDivisor(),
  final_logit_softcapping: k.number("final_logit_softcapping") || null,
});

const sigmoidExperts = (k: FolderKeys) => ({
  n_routed_experts: k.number("expert_count"),
  n_shared_experts: k.number("expert_shared_count") ?? 0,
  num_experts_per_tok: k.number("expert_used_count"),
  moe_intermediate_size: k.number("expert_feed_forward_length"),
  first_k_dense_replace: k.number("leading_dense_block_count") ?? 0,
  routed_scaling_factor: k.number("expert_weights_scale") ?? 1,
  norm_topk_prob: k.flag("expert_weights_norm") ?? false,
  n_group: k.number("expert_group_count") ?? 1,
  topk_group: k.number("expert_group_used_count") ?? 1,
});

const llama: FolderKind = {
  type: "llama",
  name: "LlamaForCausalLM",
  layer: usual,
  biased: /_proj$/,
  config: (k) => ({
    attention_bias: k.allBiased("attn_q", "attn_k", "attn_v", "attn_output"),
    mlp_bias: k.allBiased("ffn_gate", "ffn_up", "ffn_down"),
  }),
};

const olmo2: FolderKind = {
  type: "olmo2",
  name: "Olmo2ForCausalLM",
  layer: [...around, ...heads, ...headNorms, ...gated],
  config: () => ({ attention_bias: false }),
};

const windowsOf = (k: FolderKeys) => ({ sliding_window: k.window(), layer_types: k.layerTypes() });

/** By GGUF's architecture; the first that fits. */
const kinds: Readonly<Record<string, (k: FolderKeys) => FolderKind>> = {
  llama: (k) =>
    (k.number("expert_count") ?? 0) === 0
      ? llama
      : {
          type: "mixtral",
          name: "MixtralForCausalLM",
          layer: [
            ...norms,
            ...heads,
            ...words("gate experts.E.w1 experts.E.w2 experts.E.w3").map((name) => `block_sparse_moe.${name}`),
          ],
          config: () => ({
            num_local_experts: k.number("expert_count"),
            num_experts_per_tok: k.number("expert_used_count"),
            sliding_window: null,
          }),
        },
  qwen2: () => ({
    type: "qwen2",
    name: "Qwen2ForCausalLM",
    layer: usual,
    biased: qkv,
    config: () => ({ use_sliding_window: false, sliding_window: null }),
  }),
  qwen3: () => ({
    type: "qwen3",
    name: "Qwen3ForCausalLM",
    layer: [...usual, ...headNorms],
    config: () => ({ attention_bias: false, use_sliding_window: false, sliding_window: null }),
  }),
  qwen2moe: () => ({
    type: "qwen2_moe",
    name: "Qwen2MoeForCausalLM",
    layer: [
      ...norms,
      ...heads,
      ...experts,
      ...words("gate_proj up_proj down_proj").map((name) => `mlp.shared_expert.${name}`),
      "mlp.shared_expert_gate",
    ],
    biased: qkv,
    rows: /shared_expert_gate$/,
    config: (k) => ({
      ...mixture(k),
      norm_topk_prob: k.flag("expert_weights_norm") ?? false,
      shared_expert_intermediate_size: k.number("expert_shared_feed_forward_length"),
      qkv_bias: true,
    }),
  }),
  qwen3moe: () => ({
    type: "qwen3_moe",
    name: "Qwen3MoeForCausalLM",
    layer: [...norms, ...heads, ...headNorms, ...experts],
    config: (k) => ({ ...mixture(k), norm_topk_prob: true, attention_bias: false }),
  }),
  gemma: () => ({
    type: "gemma",
    name: "GemmaForCausalLM",
    layer: usual,
    config: () => ({ hidden_act: "gelu_pytorch_tanh", hidden_activation: "gelu_pytorch_tanh" }),
  }),
  gemma2: () => ({
    type: "gemma2",
    name: "Gemma2ForCausalLM",
    layer: [...usual, ...words("pre_feedforward_layernorm post_feedforward_layernorm")],
    config: (k) => ({
      ...softcaps(k),
      ...windowsOf(k),
      attn_logit_softcapping: k.number("attn_logit_softcapping") ?? 50,
      final_logit_softcapping: k.number("final_logit_softcapping") ?? 30,
    }),
  }),
  gemma3: () => ({
    type: "gemma3_text",
    name: "Gemma3ForCausalLM",
    layer: [...usual, ...headNorms, ...words("pre_feedforward_layernorm post_feedforward_layernorm")],
    config: (k) => ({
      ...softcaps(k),
      ...windowsOf(k),
      rope_local_base_freq: k.number("rope.freq_base_swa") ?? 10_000,
    }),
  }),
  phi3: () => ({
    type: "phi3",
    name: "Phi3ForCausalLM",
    layer: [...norms, ...words("self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj mlp.down_proj")],
    config: () => ({ sliding_window: null }),
  }),
  phi2: () => ({
    type: "phi",
    name: "PhiForCausalLM",
    layer: words("input_layernorm self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.dense mlp.fc1 mlp.fc2"),
    model: words("model.embed_tokens model.final_layernorm lm_head"),
    biased: /./,
    config: () => ({ hidden_act: "gelu_new", qk_layernorm: false }),
  }),
  olmo2: (k) =>
    k.window() === null
      ? olmo2
      : {
          ...olmo2,
          type: "olmo3",
          name: "Olmo3ForCausalLM",
          config: () => ({ attention_bias: false, ...windowsOf(k) }),
        },
  olmoe: () => ({
    type: "olmoe",
    name: "OlmoeForCausalLM",
    layer: [...norms, ...heads, ...headNorms, ...experts],
    config: (k) => ({
      num_experts: k.number("expert_count"),
      num_experts_per_tok: k.number("expert_used_count"),
      norm_topk_prob: k.flag("expert_weights_norm") ?? false,
      clip_qkv: null,
      attention_bias: false,
    }),
  }),
  starcoder2: () => ({
    type: "starcoder2",
    name: "Starcoder2ForCausalLM",
    layer: [...norms, ...heads, "mlp.c_fc", "mlp.c_proj"],
    biased: /./,
    config: (k) => ({
      norm_epsilon: k.number("attention.layer_norm_epsilon"),
      hidden_act: "gelu_pytorch_tanh",
      use_bias: true,
      sliding_window: null,
    }),
  }),
  stablelm: () => ({
    type: "stablelm",
    name: "StableLmForCausalLM",
    layer: usual,
    biased: /norm$|\.(q|k|v)_proj$/,
    config: (k) => ({
      use_qkv_bias: k.allBiased("attn_q", "attn_k", "attn_v"),
      use_parallel_residual: !k.has("blk.0.ffn_norm.weight"),
      qk_layernorm: false,
    }),
  }),
  "command-r": () => ({
    type: "cohere",
    name: "CohereForCausalLM",
    layer: ["input_layernorm", ...heads, ...gated],
    config: (k) => ({ logit_scale: k.number("logit_scale"), use_qk_norm: false, attention_bias: false }),
  }),
  cohere2: () => ({
    type: "cohere2",
    name: "Cohere2ForCausalLM",
    layer: ["input_layernorm", ...heads, ...gated],
    config: (k) => ({ logit_scale: k.number("logit_scale"), attention_bias: false, ...windowsOf(k) }),
  }),
  granite: () => ({
    type: "granite",
    name: "GraniteForCausalLM",
    layer: usual,
    biased: /_proj$/,
    config: (k) => ({
      ...llama.config!(k),
      attention_multiplier: 1 / Math.sqrt(k.scoreDivisor()),
      embedding_multiplier: k.number("embedding_scale") || 1,
      residual_multiplier: k.number("residual_scale") || 1,
      logits_scaling: k.number("logit_scale"),
    }),
  }),
  smollm3: () => ({
    type: "smollm3",
    name: "SmolLM3ForCausalLM",
    layer: usual,
    config: (k) => ({
      no_rope_layers: k.turnedLayers().map(Number),
      no_rope_layer_interval: 4,
      use_sliding_window: false,
      sliding_window: null,
      attention_bias: false,
      mlp_bias: false,
    }),
  }),
  seed_oss: () => ({
    type: "seed_oss",
    name: "SeedOssForCausalLM",
    layer: usual,
    biased: qkv,
    config: () => ({ attention_bias: true, attention_out_bias: false, mlp_bias: false }),
  }),
  exaone4: () => ({
    type: "exaone4",
    name: "Exaone4ForCausalLM",
    layer: [...around, ...heads, ...headNorms, ...gated],
    config: (k) => ({ ...windowsOf(k), ...(k.window() !== null && { sliding_window_pattern: 4 }) }),
  }),
  ernie4_5: () => ({
    type: "ernie4_5",
    name: "Ernie4_5ForCausalLM",
    layer: usual,
    config: () => ({ use_bias: false }),
  }),
  glm4: () => ({
    type: "glm4",
    name: "Glm4ForCausalLM",
    layer: [...norms, ...heads, ...words("post_self_attn_layernorm post_mlp_layernorm mlp.gate_up_proj mlp.down_proj")],
    biased: qkv,
    config: (k) => ({ attention_bias: k.allBiased("attn_q", "attn_k", "attn_v") }),
  }),
  "hunyuan-dense": () => ({
    type: "hunyuan_v1_dense",
    name: "HunYuanDenseV1ForCausalLM",
    layer: [...usual, "self_attn.query_layernorm", "self_attn.key_layernorm"],
    config: () => ({ attention_bias: false }),
  }),
  nemotron: () => ({
    type: "nemotron",
    name: "NemotronForCausalLM",
    layer: [...norms, ...heads, "mlp.up_proj", "mlp.down_proj"],
    biased: /norm$/,
    config: (k) => ({
      norm_eps: k.number("attention.layer_norm_epsilon"),
      hidden_act: "relu2",
      attention_bias: false,
      mlp_bias: false,
    }),
  }),
  dots1: () => ({
    type: "dots1",
    name: "Dots1ForCausalLM",
    layer: [...norms, ...heads, ...headNorms, ...gated, ...experts, "mlp.gate.e_score_correction_bias", ...shared],
    config: (k) => ({ ...sigmoidExperts(k), attention_bias: false }),
  }),
  glm4moe: () => ({
    type: "glm4_moe",
    name: "Glm4MoeForCausalLM",
    layer: [
      ...[...norms, ...heads, ...headNorms, ...gated, ...experts, "mlp.gate.e_score_correction_bias", ...shared],
      ...words("eh_proj enorm hnorm shared_head.norm shared_head.head embed_tokens"),
    ],
    biased: qkv,
    config: (k) => ({
      ...sigmoidExperts(k),
      use_qk_norm: k.has("blk.0.attn_q_norm.weight"),
      attention_bias: k.allBiased("attn_q", "attn_k", "attn_v"),
    }),
  }),
  "minimax-m2": () => ({
    type: "minimax_m2",
    name: "MiniMaxM2ForCausalLM",
    layer: [
      ...[...norms, ...heads, ...headNorms],
      ...words("gate e_score_correction_bias experts.E.w1 experts.E.w2 experts.E.w3").map(
        (name) => `block_sparse_moe.${name}`,
      ),
    ],
    config: (k) => ({
      num_local_experts: k.number("expert_count"),
      num_experts_per_tok: k.number("expert_used_count"),
      intermediate_size: k.number("expert_feed_forward_length"),
      rotary_dim: k.number("rope.dimension_count"),
    }),
  }),
};

/** Mixtures of Qwen: every layer has experts. */
function mixture(k: FolderKeys): Record<string, unknown> {
  return {
    num_experts: k.number("expert_count"),
    num_experts_per_tok: k.number("expert_used_count"),
    moe_intermediate_size: k.number("expert_feed_forward_length"),
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    use_sliding_window: false,
    sliding_window: null,
  };
}

/** @returns undefined for an architecture that is not written as a folder */
export const folderKindOf = (arch: string, k: FolderKeys): FolderKind | undefined =>
  Object.hasOwn(kinds, arch) ? kinds[arch]!(k) : undefined;

export const folderKinds: readonly string[] = Object.keys(kinds);
