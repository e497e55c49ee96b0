/**
 * Gemma 3n: four streams of which layers change one, a low-rank path beside attention, embeddings for every layer,
 * values normalized too, FFNs of which the first keep their greatest values only; the last layers read the keys and
 * values of earlier ones.
 * @source Google 2025, "Gemma 3n"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import { readRope, readWindowedRope } from "../flow/rope.js";
import { altup } from "../parts/altup.js";
import { gqa } from "../parts/gqa.js";
import { perLayerGate, sharePerLayer } from "../parts/per-layer.js";
import { rms, tinyTransformer, tokenHead, transformerConfig, unnormed, windowedLayers } from "../parts/transformer.js";

/** Numbers that its files do not hold. */
const sparseLayers = 10;
const sparseDeviations = 1.6448533535003662;
const lowRank = 64;
const layersWithKeys = 20;

export const gemma3n = defineArchitecture({
  name: "gemma3n",
  families: "Gemma 3n E2B, E4B",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    const rope = readRope(m, common.headDim);
    return {
      ...common,
      window: m.uint("attention.sliding_window"),
      windowed: windowedLayers(m, 5),
      rope,
      localRope: { ...readWindowedRope(m, rope, 10_000), scaling: { kind: "none" as const } },
      perLayer: m.uint("embedding_length_per_layer_input", { max: 2 ** 16, default: 256 }),
      streams: m.uint("altup.num_inputs", { min: 2, max: 16, default: 4 }),
      withKeys: m.has("attention.shared_kv_layers")
        ? common.layers - m.uint("attention.shared_kv_layers", { min: 0, max: Math.max(0, common.layers - 1) })
        : layersWithKeys,
      // Of a random model: the more layers, the less each has to say, or rounding would grow from layer to layer.
      tinyBranch: Math.min(1, Math.sqrt(5 / common.layers)),
      logitCap: m.float("final_logit_softcapping", { default: 30, above: -Number.MIN_VALUE }),
    };
  },
  begin(f, c) {
    const table = f.matrix("token_embd", c.dim, c.vocab, "embedding");
    const x = f.lookup(table, Math.fround(Math.sqrt(c.dim)));
    sharePerLayer(f, x, c);
    const extra =
      (layer: number): Part =>
      (f, x) =>
        rms("post_norm", c)(f, perLayerGate(c, layer)(f, x));
    return altup(f, x, { ...c, extra });
  },
  layer(c, i) {
    const local = c.windowed(i);
    const kept = (layer: number): string => `kv ${layer}`;
    const attention = gqa({
      ...c,
      rope: local ? c.localRope : c.rope,
      window: local ? c.window : 0,
      qkNorm: "head",
      valueNorm: true,
      scale: 1,
      ...(i < c.withKeys ? { keepAs: kept(i) } : { readFrom: kept(c.withKeys - (local ? 2 : 1)) }),
    });
    const part: Part = (f, x) => {
      const normed = rms("attn_norm", c)(f, x);
      const laurel = f.add(lowRankPath(c)(f, normed), normed);
      const attended = f.add(rms("post_attention_norm", c, c.tinyBranch)(f, attention(f, normed)), x);
      const both = f.scale(f.add(attended, laurel), Math.SQRT1_2);
      return f.add(rms("post_ffw_norm", c, c.tinyBranch)(f, ffn(c, i)(f, rms("ffn_norm", c)(f, both))), both);
    };
    return [{ site: "layer", before: unnormed, part }];
  },
  end: (f, x, c) => tokenHead(f, x, c, { softcap: c.logitCap }),
  mechanisms: ["rope", "window", "qk-norm", "sparse", "streams", "gate"],
  tiny: [
    { variant: "dense", tied: true, metadata: tiny },
    // Layers from the 21st on have no keys and values of their own.
    { variant: "shared-kv", tied: true, metadata: (dims) => ({ ...tiny(dims), block_count: 22 }), spare },
  ],
});

interface Width {
  readonly dim: number;
  readonly hidden: number;
  readonly eps: number;
}

const lowRankPath =
  (c: Width): Part =>
  (f, x) => {
    const low = f.linear(x, f.matrix("laurel_l", c.dim, lowRank, "ffn"))[0]!;
    return rms("laurel_post_norm", c)(f, f.linear(low, f.matrix("laurel_r", lowRank, c.dim, "ffn"))[0]!);
  };

const ffn =
  ({ dim, hidden }: Width, layer: number): Part =>
  (f, x) => {
    const inward = (name: string) => f.matrix(`ffn_${name}`, dim, hidden, "ffn", { gain: 1.1 });
    const [gate, up] = f.linear(x, inward("gate"), inward("up"));
    const sparse = layer < sparseLayers ? f.sparsify(gate!, sparseDeviations) : gate!;
    return f.linear(f.glu(sparse, up!, "gelu-tanh"), f.matrix("ffn_down", hidden, dim, "ffn", { gain: 4 }))[0]!;
  };

function tiny(dims: 64 | 256) {
  return {
    ...tinyTransformer(dims),
    block_count: 5,
    embedding_length_per_layer_input: 256,
    "attention.sliding_window": 16,
    "rope.freq_base": 1e6,
    final_logit_softcapping: 30,
  };
}

/** Files have keys and values for all layers. */
function spare(dims: 64 | 256): Record<string, readonly number[]> {
  const ofLayer = (layer: number): [string, readonly number[]][] => [
    [`blk.${layer}.attn_k.weight`, [dims, 64]],
    [`blk.${layer}.attn_v.weight`, [dims, 64]],
    [`blk.${layer}.attn_k_norm.weight`, [32]],
  ];
  return Object.fromEntries([20, 21].flatMap(ofLayer));
}
