/**
 * Falcon-H1: attention and a state space side by side in every layer, reading the same norm.
 * @source TII 2025, "Falcon-H1: A Family of Hybrid-Head Language Models"
 */
import { defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { stateSpace, stateSpaceConfig, stateSpaceMechanisms, tinyStateSpace } from "../parts/state-space.js";
import {
  embedTokens,
  parallel,
  rms,
  type TransformerConfig,
  tinyTransformer,
  tokenHead,
  transformerConfig,
} from "../parts/transformer.js";

/** Files have this norm without a suffix. */
const ffnNorm =
  ({ dim, eps }: TransformerConfig): Part =>
  (f, x) => {
    const suffix = f.has("ffn_norm.weight") ? "weight" : "";
    return f.norm(x, f.vector("ffn_norm", dim, "norm", { suffix }), eps);
  };

export const falconH1 = defineArchitecture({
  name: "falcon-h1",
  families: "Falcon-H1 0.5B-34B, Falcon-H1R",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim), space: stateSpaceConfig(m) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: parallel(gqa({ ...c, outputBias: "optional" }), stateSpace({ ...c, ...c.space, norm: "optional" })),
    },
    { site: "ffn", before: ffnNorm(c), part: gatedFfn({ ...c, act: "silu", bias: "optional" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", ...stateSpaceMechanisms, "state-norm", "unit-norm"],
  tiny: [
    {
      variant: "hybrid",
      metadata: (dims) => ({ ...tinyTransformer(dims), ...tinyStateSpace(dims) }),
      optionalTensors: ["ssm_norm.weight", "ssm_conv1d.bias"],
    },
    {
      variant: "no-norm",
      metadata: (dims) => ({ ...tinyTransformer(dims), ...tinyStateSpace(dims) }),
      optionalTensors: ["ssm_conv1d.bias"],
      lacks: ["state-norm", "unit-norm"],
    },
  ],
});
