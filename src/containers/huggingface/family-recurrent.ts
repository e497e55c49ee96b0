/** Families whose layers keep recurrent states, alone or beside attention. */
import type { HfConfig } from "./config.js";
import type { Family } from "./family.js";
import { attendingLayers, graniteKeys } from "./family-keys.js";
import { graniteExperts, halves, plusOne, stateSpaceNames } from "./family-names.js";
import type { MetadataBuilder } from "./metadata.js";
import type { NameTable } from "./names.js";

/** How config.json names the sizes of a recurrent mixer. */
interface StateSpaceNames {
  readonly taps: string;
  readonly state: string;
  readonly groups: string;
  readonly heads: string;
  readonly headDim: string;
  /** The width of all heads together, where a file may say it. */
  readonly inner?: string;
}

function stateSpaceKeys(c: HfConfig, m: MetadataBuilder, names: StateSpaceNames): void {
  const heads = c.whole(names.heads);
  m.uint("ssm.conv_kernel", c.number(names.taps));
  m.uint("ssm.state_size", c.number(names.state));
  m.uint("ssm.group_count", c.number(names.groups));
  m.uint("ssm.time_step_rank", heads);
  const inner = names.inner === undefined ? undefined : c.number(names.inner);
  m.uint("ssm.inner_size", inner ?? heads * c.whole(names.headDim));
}

/** Without routed experts the FFN that every row takes is the only one. */
const graniteHybridNames = (c: HfConfig): NameTable => {
  const suffix = (c.number("num_local_experts") ?? 0) > 0 ? "_shexp" : "";
  return {
    ...stateSpaceNames("mamba"),
    ...graniteExperts,
    "shared_mlp.input_linear": halves(`ffn_gate${suffix}`, `ffn_up${suffix}`),
    "shared_mlp.output_linear": `ffn_down${suffix}`,
  };
};

/** Some models choose the width of their FFN so that it is as large as one without a gate would be. */
function lfm2Width(c: HfConfig): number | undefined {
  const given = c.number("block_ff_dim", "intermediate_size");
  if (given === undefined || c.flag("block_auto_adjust_ff_dim") === false) return given;
  const wanted = Math.trunc((c.number("block_ffn_dim_multiplier") ?? 1) * Math.trunc((2 * given) / 3));
  const multiple = c.number("block_multiple_of") ?? 256;
  return multiple * Math.ceil(wanted / multiple);
}

export const recurrentFamilies: Readonly<Record<string, Family>> = {
  mamba2: {
    arch: "mamba2",
    names: { ...stateSpaceNames("mixer"), norm: "attn_norm", norm_f: "output_norm" },
    keys: (c, m) => {
      stateSpaceKeys(c, m, {
        taps: "conv_kernel",
        state: "state_size",
        groups: "n_groups",
        heads: "num_heads",
        headDim: "head_dim",
      });
      m.float("attention.layer_norm_rms_epsilon", c.number("layer_norm_epsilon"));
      // Nothing limits it.
      m.uint("context_length", 2 ** 20);
    },
  },
  granitemoehybrid: {
    arch: "granitehybrid",
    names: graniteHybridNames,
    keys: (c, m) => {
      graniteKeys(c, m);
      stateSpaceKeys(c, m, {
        taps: "mamba_d_conv",
        state: "mamba_d_state",
        groups: "mamba_n_groups",
        heads: "mamba_n_heads",
        headDim: "mamba_d_head",
        inner: "mamba_d_ssm",
      });
      attendingLayers(c, m);
      m.uint("expert_shared_feed_forward_length", c.number("shared_intermediate_size"));
      m.flag("rope.scaling.finetuned", c.text("position_embedding_type") === "rope");
    },
  },
  lfm2: {
    arch: "lfm2",
    names: {
      embedding_norm: "token_embd_norm",
      operator_norm: "attn_norm",
      ffn_norm: "ffn_norm",
      "conv.conv": "shortconv.conv",
      "conv.in_proj": "shortconv.in_proj",
      "conv.out_proj": "shortconv.out_proj",
      "feed_forward.w1": "ffn_gate",
      "feed_forward.w2": "ffn_down",
      "feed_forward.w3": "ffn_up",
    },
    keys: (c, m) => {
      attendingLayers(c, m);
      m.uint("shortconv.l_cache", c.number("conv_L_cache"));
      m.uint("feed_forward_length", lfm2Width(c));
    },
  },
  qwen3_next: {
    arch: "qwen3next",
    names: {
      ...plusOne({
        input_layernorm: "attn_norm",
        post_attention_layernorm: "post_attention_norm",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        norm: "output_norm",
      }),
      "linear_attn.in_proj_qkvz": "ssm_in",
      "linear_attn.in_proj_ba": "ssm_ba",
      "linear_attn.out_proj": "ssm_out",
      "linear_attn.conv1d": "ssm_conv1d",
      "linear_attn.norm": "ssm_norm",
      "linear_attn.A_log": { to: "ssm_a", change: "minus exp" },
      "linear_attn.dt_bias": "ssm_dt.bias",
    },
    keys: (c, m) => {
      stateSpaceKeys(c, m, {
        taps: "linear_conv_kernel_dim",
        state: "linear_key_head_dim",
        groups: "linear_num_key_heads",
        heads: "linear_num_value_heads",
        headDim: "linear_value_head_dim",
      });
      m.uint("full_attention_interval", c.number("full_attention_interval"));
      const kinds = c.texts("layer_types");
      if (kinds !== undefined)
        m.flags(
          "attention.recurrent_layers",
          kinds.map((kind) => kind === "linear_attention"),
        );
    },
  },
};
