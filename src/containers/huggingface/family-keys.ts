/** Keys that several families share and most do not. */
import type { HfConfig } from "./config.js";
import type { MetadataBuilder } from "./metadata.js";
import { ropeParameters } from "./rope-keys.js";

/** Windows, and which layers have them: those that `layer_types` calls sliding. */
export function windowKeys(c: HfConfig, m: MetadataBuilder): void {
  m.uint("attention.sliding_window", c.number("sliding_window"));
  const kinds = c.texts("layer_types");
  if (kinds !== undefined)
    m.flags(
      "attention.sliding_window_pattern",
      kinds.map((kind) => kind !== "full_attention"),
    );
  const local = ropeParameters(c, "sliding_attention").rope_theta;
  const base = c.number("rope_local_base_freq", "local_rope_theta") ?? (typeof local === "number" ? local : undefined);
  m.float("rope.freq_base_swa", base);
}

/** Families that have no windows here stay within the one that the model was trained with. */
export function withinWindow(c: HfConfig, m: MetadataBuilder): void {
  const [window, context] = [c.number("sliding_window"), c.number("max_position_embeddings")];
  const used = c.flag("use_sliding_window") ?? true;
  if (used && window !== undefined && context !== undefined && window > 0 && window < context)
    m.uint("context_length", window);
}

export function latentKeys(c: HfConfig, m: MetadataBuilder): void {
  const [rank, turned] = [c.whole("kv_lora_rank"), c.whole("qk_rope_head_dim")];
  m.uint("attention.q_lora_rank", c.number("q_lora_rank"));
  m.uint("attention.kv_lora_rank", rank);
  // One vector is kept of all heads.
  m.uint("attention.head_count_kv", 1);
  m.uint("attention.key_length", rank + turned);
  m.uint("attention.value_length", rank);
  m.uint("attention.key_length_mla", c.whole("qk_nope_head_dim") + turned);
  m.uint("attention.value_length_mla", c.whole("v_head_dim"));
  m.uint("rope.dimension_count", turned);
  // Converters write a tenth of it.
  const growth = ropeParameters(c).mscale_all_dim;
  if (typeof growth === "number" && growth !== 0) m.float("rope.scaling.yarn_log_multiplier", 0.1 * growth);
  if (c.text("topk_method") !== "greedy") groupKeys(c, m);
}

/** Routers that choose groups of experts first. */
export function groupKeys(c: HfConfig, m: MetadataBuilder): void {
  m.uint("expert_group_count", c.number("n_group"));
  m.uint("expert_group_used_count", c.number("topk_group"));
}

export function graniteKeys(c: HfConfig, m: MetadataBuilder): void {
  m.float("attention.scale", c.number("attention_multiplier"));
  m.float("embedding_scale", c.number("embedding_multiplier"));
  m.float("residual_scale", c.number("residual_multiplier"));
  m.float("logit_scale", c.number("logits_scaling"));
}

/** Heads of keys by layer: none where a layer is recurrent. */
export function attendingLayers(c: HfConfig, m: MetadataBuilder): void {
  const [kinds, heads] = [c.texts("layer_types"), c.whole("num_key_value_heads", "num_attention_heads")];
  if (kinds !== undefined)
    m.uints(
      "attention.head_count_kv",
      kinds.map((kind) => (/attention$/.test(kind) && kind !== "linear_attention" ? heads : 0)),
    );
}
