/**
 * Kimi Linear: Kimi delta attention in three of four layers, latent attention without positions in the others; the
 * first layers dense, then experts with a bias for choosing and a shared one.
 * @source Kimi Team 2025, "Kimi Linear: An Expressive, Efficient Attention Architecture"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { kda } from "../parts/kda.js";
import { kdaHybridConfig, kdaHybridMechanisms, tinyKdaHybrid } from "../parts/kda-hybrid.js";
import { latent } from "../parts/latent.js";
import { denseOr, moe } from "../parts/moe.js";
import { routed } from "../parts/router.js";
import { embedTokens, rms, tokenHead } from "../parts/transformer.js";

export const kimiLinear = defineArchitecture({
  name: "kimi-linear",
  families: "Kimi-Linear-48B-A3B",
  config: kdaHybridConfig,
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const own = { dim: c.dim, eps: c.eps };
    const experts = moe({ ...c, ...routed(c), act: "silu", renormalize: true, selectionBias: "exp_probs_b.bias" });
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: c.recurrent(i) ? kda({ ...own, ...c.kda }) : latent({ ...own, ...c.latent, still: true }),
      },
      { site: "ffn", before: rms("ffn_norm", c), part: denseOr(i < c.leadingDense, c, experts) },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: kdaHybridMechanisms,
  tiny: [{ variant: "moe", metadata: tinyKdaHybrid }],
});
