/**
 * The layers of Qwen's hybrids: gated delta nets in most of them, attention with a gate of its own in the others, and
 * the norms around both.
 */
import type { Branch } from "../flow/architecture.js";
import type { Pairing, Part } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { type RopeConfig, readRope } from "../flow/rope.js";
import { type DeltaNetConfig, type DeltaNetOptions, deltaNet, deltaNetConfig, recurrentLayers } from "./delta-net.js";
import { gqa } from "./gqa.js";
import {
  rms,
  type TransformerConfig,
  type TransformerOptions,
  tinyTransformer,
  transformerConfig,
} from "./transformer.js";

export interface GatedHybridConfig extends TransformerConfig {
  readonly rope: RopeConfig;
  readonly net: DeltaNetConfig;
  readonly recurrent: (layer: number) => boolean;
}

export function gatedHybridConfig(m: MetadataReader, o: TransformerOptions): GatedHybridConfig {
  const common = transformerConfig(m, o);
  const rope = readRope(m, common.headDim);
  const recurrent = recurrentLayers(m, common.layers);
  // Blocks behind the trunk have attention, whatever the pattern says.
  return { ...common, rope, net: deltaNetConfig(m), recurrent: (i) => i < common.layers && recurrent(i) };
}

/** A layer of either kind, its FFN being `ffn`. */
export const gatedHybridLayer = (
  c: GatedHybridConfig,
  i: number,
  ffn: Part,
  o: Pairing & Pick<DeltaNetOptions, "joined"> = {},
): Branch[] => [
  {
    site: "mixer",
    before: rms("attn_norm", c),
    part: c.recurrent(i) ? deltaNet({ ...c, ...c.net, ...o }) : gqa({ ...c, qkNorm: "head", gate: "query" }),
  },
  { site: "ffn", before: rms("post_attention_norm", c), part: ffn },
];

/**
 * Positions of text are the same in every section of a multimodal RoPE, as long as each pair of values belongs to one
 * of the three that count: sections of images and sound would stand still.
 */
export function checkSections(m: MetadataReader, { dims }: RopeConfig): void {
  const key = "rope.dimension_sections";
  const sections = m.list(key) ?? [];
  const total = sections.reduce((sum, size) => sum + size, 0);
  const still = Array.from({ length: Math.min(dims / 2, 4096) }, (_, i) => i % total).some(
    (sector) => !(sector < 3 * (sections[sector % 3] ?? 0)),
  );
  if (sections.length < 3 || still)
    m.fault(`metadata '${m.arch}.${key}' is ${sections.slice(0, 8).join(", ") || "missing"}, for ${dims / 2} pairs`);
}

/** Metadata of a tiny model: every other layer has attention, two value heads or more to a key head. */
export const tinyGatedHybrid = (dims: 64 | 256) => ({
  ...tinyTransformer(dims),
  block_count: 4,
  full_attention_interval: 2,
  "rope.dimension_count": 16,
  "ssm.conv_kernel": 4,
  "ssm.state_size": dims === 64 ? 16 : 32,
  "ssm.group_count": 2,
  "ssm.time_step_rank": dims === 64 ? 4 : 8,
  "ssm.inner_size": dims,
});

/** Mechanisms of a gated delta net, for tests that leave each of them out. */
export const deltaNetMechanisms = [
  "convolution",
  "decay",
  "strength",
  "correction",
  "pairing",
  "state-norm",
  "unit-norm",
] as const;
