/** Sampling settings that a model file recommends. */
import type { Metadata } from "../formats/types.js";
import {
  type NumericSetting,
  recommendedKeys,
  type SamplerName,
  type SamplingSettings,
  samplerNames,
  samplingRanges,
} from "../sampling/settings.js";

/** general.sampling.*: what the model's makers recommend. Values out of range are theirs to repair: ignored. */
export function recommendedSampling(metadata: Metadata): Partial<SamplingSettings> {
  const found: Partial<Record<NumericSetting, number>> = {};
  for (const [key, setting] of Object.entries(recommendedKeys)) {
    const value = metadata.get(`general.sampling.${key}`);
    const [min, max, whole] = samplingRanges[setting];
    if (typeof value !== "number" || !(value >= min && value <= max) || (whole && !Number.isInteger(value))) continue;
    found[setting] = value;
  }
  const names = metadata.get("general.sampling.sequence");
  const samplers = typeof names === "string" ? names.split(";") : [];
  const known = samplers.length > 0 && samplers.length <= samplerNames.length && samplers.every(isSampler);
  return { ...found, ...(known && { samplers: samplers as SamplerName[] }) };
}

function isSampler(name: string): boolean {
  return (samplerNames as readonly string[]).includes(name);
}
