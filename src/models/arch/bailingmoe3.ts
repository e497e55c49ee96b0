/**
 * Ling 3: Kimi delta attention with bounded decays in most layers, latent attention with a gate for every head in the
 * others; the first layers dense, then experts in groups with a bias for choosing and a shared one, some of them
 * bounded. A block that guesses the next token but one is a program of its own.
 * @source Ling Team 2026, "Ling 3.0"
 */
import type { Glu } from "../../ops/ops.js";
import { defineArchitecture } from "../flow/architecture.js";
import { kda } from "../parts/kda.js";
import { kdaHybridConfig, kdaHybridMechanisms, tinyKdaHybrid } from "../parts/kda-hybrid.js";
import { latent } from "../parts/latent.js";
import { denseOr, moe } from "../parts/moe.js";
import { blocksOf, mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { routed } from "../parts/router.js";
import { embedTokens, rms, tokenHead } from "../parts/transformer.js";

const bounded = (limit: number): Glu => (limit > 0 ? { clamp: "after", limit } : "silu");

export const bailingmoe3 = defineArchitecture({
  name: "bailingmoe3",
  families: "Ling 3.0 tiny 7.9B-A1.3B, flash 124B-A5.1B",
  ggufPairs: "interleaved",
  config(m) {
    const common = kdaHybridConfig(m);
    const bound = m.float("kda.gate_lower_bound");
    if (bound >= 0) m.fault(`metadata '${m.arch}.kda.gate_lower_bound' is ${bound}, expected a number below 0`);
    if (!m.flag("kda.safe_gate", true)) m.fault(`'${m.arch}.kda.safe_gate' is false, which is not supported`);
    if ((m.list("rope.dimension_sections") ?? []).some((size) => size !== 0))
      m.fault(`'${m.arch}.rope.dimension_sections' are not supported`);
    const mtp = mtpBlocks(m, common.layers);
    const blocks = blocksOf(common.layers, mtp);
    return {
      ...common,
      bound,
      mtp,
      limits: m.floats("swiglu_clamp_exp", blocks, { default: 0 }),
      sharedLimits: m.floats("swiglu_clamp_shexp", blocks, { default: 0 }),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const own = { dim: c.dim, eps: c.eps };
    const experts = moe({
      ...c,
      ...routed(c),
      act: bounded(c.limits[i]!),
      selectionBias: "exp_probs_b.bias",
      shared: { hidden: c.sharedHidden, act: bounded(c.sharedLimits[i]!) },
    });
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: c.recurrent(i)
          ? kda({ ...own, ...c.kda, bound: c.bound })
          : latent({ ...own, ...c.latent, gate: "head" }),
      },
      { site: "ffn", before: rms("ffn_norm", c), part: denseOr(i < c.leadingDense, c, experts) },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "rope-pairs", ...kdaHybridMechanisms, "groups", "clamp"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyKdaHybrid(dims),
        "attention.q_lora_rank": dims / 2,
        "kda.gate_lower_bound": -5,
        "kda.safe_gate": true,
        expert_group_count: 4,
        expert_group_used_count: 2,
        swiglu_clamp_exp: [0, 0.25, 0.5, 0],
        swiglu_clamp_shexp: [0, 0, 0.5, 0.25],
      }),
    },
  ],
});
