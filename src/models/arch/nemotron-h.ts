/**
 * Nemotron-H and Nemotron Nano 2: each block is a state space, attention without positions, or an FFN of squared
 * rectifiers, with one norm before it.
 * @source NVIDIA 2025, "Nemotron-H: A Family of Accurate and Efficient Hybrid Mamba-Transformer Models"
 */
import { type Branch, defineArchitecture, type TinyMetadata } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { gqa } from "../parts/gqa.js";
import { type HybridHeads, headsOf, hybridHeads } from "../parts/hybrid.js";
import { plainFfn } from "../parts/plain-ffn.js";
import {
  type StateSpaceConfig,
  stateSpace,
  stateSpaceConfig,
  stateSpaceMechanisms,
  tinyStateSpace,
} from "../parts/state-space.js";
import { embedTokens, rms, type StreamConfig, tinyTransformer, tokenHead, trunkLayers } from "../parts/transformer.js";

export interface NemotronHConfig extends StreamConfig, HybridHeads {
  readonly space: StateSpaceConfig;
  /** Width of each layer's FFN; 0 = the layer has none. */
  readonly widths: readonly number[];
}

export function nemotronHConfig(m: MetadataReader): NemotronHConfig {
  const layers = trunkLayers(m);
  const widths = m.uints("feed_forward_length", layers, { min: 0, max: 2 ** 22 });
  // Some files have the epsilon under the name of the other norm alone.
  const [key, other] = ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"];
  const layerEps = m.float(other, { above: 0, default: 1e-5 });
  const common = {
    layers,
    hidden: Math.max(...widths),
    experts: 0,
    topK: 0,
    expertHidden: 0,
    dim: m.uint("embedding_length", { max: 2 ** 18 }),
    vocab: m.vocab(),
    contextTokens: m.uint("context_length"),
    eps: m.has(key) || !m.has(other) ? m.float(key, { above: 0 }) : layerEps,
    window: 0,
  };
  const heads = hybridHeads(m, common);
  for (const [i, width] of widths.entries())
    if (width > 0 && heads.perLayer.kvHeads[i]! > 0) m.fault(`layer ${i} has attention and an FFN`);
  return { ...common, ...heads, widths, space: stateSpaceConfig(m) };
}

export function nemotronHLayer(c: NemotronHConfig, i: number, ffn: Part): Branch[] {
  const { heads, kvHeads } = headsOf(c, i);
  const attention = gqa({ ...c, heads, kvHeads, rope: null, qkvBias: "optional", outputBias: "optional" });
  const part = c.widths[i]! > 0 ? ffn : kvHeads > 0 ? attention : stateSpace({ ...c, ...c.space });
  return [{ site: c.widths[i]! > 0 ? "ffn" : "mixer", before: rms("attn_norm", c), part }];
}

export const tinyNemotronH = (dims: 64 | 256): TinyMetadata => ({
  ...tinyTransformer(dims),
  ...tinyStateSpace(dims),
  block_count: 5,
  "attention.layer_norm_epsilon": 1e-5,
  "attention.head_count_kv": [0, 0, 2, 0, 0],
  feed_forward_length: [0, 2 * dims, 0, 2 * dims, 0],
});

/** One block of each kind. */
export const shallowNemotronH: TinyMetadata = {
  block_count: 3,
  "attention.head_count_kv": [0, 0, 2],
  feed_forward_length: [0, 256, 0],
};

export const nemotronH = defineArchitecture({
  name: "nemotron_h",
  families: "Nemotron-H 4B-56B, Nemotron Nano 2 9B, 12B",
  config: nemotronHConfig,
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => nemotronHLayer(c, i, plainFfn({ dim: c.dim, hidden: c.widths[i]!, act: "relu2", bias: "optional" })),
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: [...stateSpaceMechanisms, "state-norm", "unit-norm"],
  tiny: [
    {
      variant: "dense",
      metadata: tinyNemotronH,
      shallow: shallowNemotronH,
      optionalTensors: ["ssm_conv1d.bias"],
    },
  ],
});
