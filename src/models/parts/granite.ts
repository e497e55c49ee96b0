/** Granite models have in common factors of embeddings, scores, branches and logits, and RoPE that may be off. */

import type { Flow } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import type { Residual } from "../flow/residual.js";
import { type RopeConfig, readRope } from "../flow/rope.js";
import {
  type StreamConfig,
  type TransformerConfig,
  type TransformerOptions,
  tinyTransformer,
  tokenHead,
  transformerConfig,
} from "./transformer.js";

export interface GraniteFactors {
  /** Null where the model was not trained with RoPE. */
  readonly rope: RopeConfig | null;
  /** Factor of the scores. */
  readonly scale: number;
  readonly embeddingScale: number;
  readonly branchScale: number;
  /** Logits are divided by it. */
  readonly logitDivisor: number;
}

export type GraniteConfig = TransformerConfig & GraniteFactors;

export function graniteConfig(m: MetadataReader, o: TransformerOptions): GraniteConfig {
  const common = transformerConfig(m, o);
  return { ...common, ...graniteFactors(m, common.headDim) };
}

export function graniteFactors(m: MetadataReader, headDim: number): GraniteFactors {
  const rope = readRope(m, headDim);
  return {
    rope: m.flag("rope.scaling.finetuned", true) ? rope : null,
    // Converters write 0 for the usual factor.
    scale: m.float("attention.scale", { default: 0 }) || 1 / Math.sqrt(headDim),
    embeddingScale: m.float("embedding_scale", { default: 1 }) || 1,
    branchScale: m.float("residual_scale", { default: 1 }) || 1,
    logitDivisor: m.float("logit_scale", { above: 0 }),
  };
}

export const graniteHead = (f: Flow, x: Residual, c: StreamConfig & GraniteFactors) =>
  tokenHead(f, x, c, { scale: 1 / c.logitDivisor, embedded: c.embeddingScale });

export const tinyGranite = (dims: 64 | 256) => ({
  ...tinyTransformer(dims),
  "rope.dimension_count": 32,
  "attention.scale": 0.25,
  embedding_scale: 6,
  residual_scale: 0.5,
  logit_scale: 4,
});
