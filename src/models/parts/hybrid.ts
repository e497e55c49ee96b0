/** Models in which only some layers have attention: those with heads of keys and values. */
import type { MetadataReader } from "../flow/metadata-reader.js";
import { checkHeads, headWidths, type StreamConfig } from "./transformer.js";

export interface HybridHeads {
  /** Heads of each layer; a layer without heads of keys and values has no attention. */
  readonly perLayer: { readonly heads: readonly number[]; readonly kvHeads: readonly number[] };
  readonly headDim: number;
}

export function hybridHeads(m: MetadataReader, { layers, dim }: StreamConfig): HybridHeads {
  const heads = m.uints("attention.head_count", layers, { min: 0, max: 4096 });
  const kvHeads = m.uints("attention.head_count_kv", layers, { min: 0, max: 4096 });
  const attending = kvHeads.flatMap((count, i) => (count > 0 ? [i] : []));
  for (const i of attending) {
    if (heads[i] === 0) m.fault(`'${m.arch}.attention.head_count' is 0 in layer ${i}, which has keys`);
    checkHeads(m, heads[i]!, kvHeads[i]!);
  }
  const { headDim, headDimV } = headWidths(m, dim, Math.max(1, ...heads));
  if (headDimV !== headDim) m.fault(`value heads of ${headDimV} beside key heads of ${headDim} are not supported`);
  return { perLayer: { heads, kvHeads }, headDim };
}

/** The heads of a layer with attention, as options of the part. */
export const headsOf = ({ perLayer }: HybridHeads, layer: number) => ({
  heads: perLayer.heads[layer]!,
  kvHeads: perLayer.kvHeads[layer]!,
});
