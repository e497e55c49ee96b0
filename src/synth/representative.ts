/** A plausible shape for a number of parameters, when all one knows of a model is its size. */

import type { Mix } from "../compress/mix.js";
import { HundredweightError } from "../errors.js";
import { presets } from "./presets.js";
import { type SynthShape, withOverrides } from "./shape.js";

const vocab = 128256;
const headDim = 128;
const kvHeads = 8;

const nearest = (value: number, multiple: number) => Math.max(multiple, Math.round(value / multiple) * multiple);

/**
 * Llama-like when dense, Qwen3-MoE-like when fewer parameters are active than there are.
 * @throws OPTION_INVALID for sizes no such model has
 */
export function representativeShape(parameters: number, active: number | undefined, quant: Mix): SynthShape {
  if (active === undefined || active >= parameters) return { ...denseShape(parameters), quant };
  return { ...moeShape(parameters, active), quant };
}

/** Depth grows with width: 32 layers of 4096 (8B), 80 of 8192 (70B), 88 of 12288 (123B). */
const depth = (dim: number) => Math.round(Math.min(dim / 102, 32 + dim / 140));

function denseShape(parameters: number): SynthShape {
  if (parameters < 5e8)
    throw new HundredweightError("OPTION_INVALID", `--params ${parameters}: models below 0.5B fit anywhere`);
  // Small models cannot afford two tables of the vocabulary.
  const tied = parameters < 4e9;
  let best: SynthShape | undefined;
  let bestError = Infinity;
  for (let dim = 1024; dim <= 32768; dim += 1024) {
    const layers = Math.max(12, depth(dim));
    const perLayer = (parameters - (tied ? 1 : 2) * vocab * dim) / layers - 2 * dim * dim - 2 * dim * kvHeads * headDim;
    const hidden = nearest(perLayer / (3 * dim), 256);
    // Widths of 3.5 times the model's are the rule.
    const error = Math.abs(Math.log(hidden / (3.5 * dim)));
    if (perLayer > 0 && error < bestError) {
      bestError = error;
      const numbers = { layers, dim, heads: dim / headDim, "kv-heads": kvHeads, "head-dim": headDim, hidden, vocab };
      best = { ...withOverrides(presets["llama-3-8b"]!, numbers), tied };
    }
  }
  return best!;
}

const layersOfMoe = 48;

function moeShape(parameters: number, active: number): SynthShape {
  for (const [experts, topK] of [
    [128, 8],
    [256, 8],
    [512, 10],
    [32, 4],
    [16, 4],
    [8, 2],
  ] as const) {
    // active = trunk + experts * topK / experts, parameters = trunk + experts
    const inExperts = (parameters - active) / (1 - topK / experts);
    const trunk = parameters - inExperts;
    const dim = nearest(Math.sqrt(active / (12 * layersOfMoe)), 512);
    const attention = (trunk - 2 * vocab * dim) / layersOfMoe / (2 * dim) - kvHeads * headDim;
    const heads = nearest(attention / headDim, kvHeads);
    const expertHidden = nearest(inExperts / (layersOfMoe * experts * 3 * dim), 64);
    if (trunk < 0.2 * active || attention < kvHeads * headDim || expertHidden < 64) continue;
    return withOverrides(presets["qwen3-30b-a3b"]!, {
      layers: layersOfMoe,
      dim,
      heads,
      "kv-heads": kvHeads,
      "head-dim": headDim,
      hidden: 3 * dim,
      experts,
      "top-k": topK,
      "expert-hidden": expertHidden,
      vocab,
    });
  }
  throw new HundredweightError(
    "OPTION_INVALID",
    `no mixture of experts of ${parameters / 1e9}B parameters has ${active / 1e9}B active`,
  );
}
