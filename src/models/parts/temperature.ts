/** The keys of a temperature of queries, which grows with the logarithm of their position. */
import type { Temperature } from "../../ops/ops.js";
import type { MetadataReader } from "../flow/metadata-reader.js";

export function readTemperature(m: MetadataReader): Temperature | undefined {
  const scale = m.float("attention.temperature_scale", { default: 0 });
  const trained = m.uint("context_length");
  const original = m.uint("rope.scaling.original_context_length", { default: trained });
  if (scale === 0) return undefined;
  return { scale, length: m.uint("attention.temperature_length", { default: original }), offset: 0 };
}
