/**
 * Mamba-2 and Codestral Mamba: state spaces in every layer and nothing else, so that a sequence keeps the same few
 * states however long it is.
 * @source Dao and Gu 2024, "Transformers are SSMs"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { stateSpace, stateSpaceConfig, stateSpaceMechanisms, tinyStateSpace } from "../parts/state-space.js";
import { embedTokens, rms, tokenHead, trunkLayers } from "../parts/transformer.js";

export const mamba2 = defineArchitecture({
  name: "mamba2",
  families: "Mamba-2 130M-2.7B, Codestral Mamba 7B",
  config: (m) => ({
    layers: trunkLayers(m),
    dim: m.uint("embedding_length", { max: 2 ** 18 }),
    vocab: m.vocab(),
    contextTokens: m.uint("context_length"),
    eps: m.float("attention.layer_norm_rms_epsilon", { above: 0 }),
    experts: 0,
    topK: 0,
    window: 0,
    space: stateSpaceConfig(m),
  }),
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: stateSpace({ ...c, ...c.space, bias: "required" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: [...stateSpaceMechanisms, "state-norm", "unit-norm"],
  tiny: [
    {
      variant: "mamba",
      tied: true,
      metadata: (dims) => ({
        block_count: 3,
        context_length: 1024,
        embedding_length: dims,
        "attention.layer_norm_rms_epsilon": 1e-5,
        ...tinyStateSpace(dims),
      }),
    },
  ],
});
