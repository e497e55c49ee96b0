/**
 * Gemma 4: windowed and full layers with heads of their own widths, values normalized too (and made from keys where
 * the file has no matrix for them), embeddings for every layer in the small models, experts beside a dense FFN in the
 * 26B one; the last layers may read the keys and values of earlier ones.
 * @source Google 2026, "Gemma 4"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import type { Residual } from "../flow/residual.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { perLayerGate, sharePerLayer } from "../parts/per-layer.js";
import {
  layerHeads,
  parallel,
  rms,
  rmsAfter,
  streamConfig,
  tinyTransformer,
  tokenHead,
  unnormed,
  windowedLayers,
} from "../parts/transformer.js";

export const gemma4 = defineArchitecture({
  name: "gemma4",
  families: "Gemma 4 E2B, E4B, 26B-A4B, 31B",
  config(m) {
    const common = streamConfig(m, { widths: "layers" });
    const { layers } = common;
    const headDim = m.uint("attention.key_length", { max: 4096 });
    const localHeadDim = m.uint("attention.key_length_swa", { max: 4096, default: headDim });
    const rope = readRope(m, headDim);
    const localDims = m.uint("rope.dimension_count_swa", { max: localHeadDim, default: localHeadDim });
    const shared = m.uint("attention.shared_kv_layers", { min: 0, max: Math.max(0, layers - 2), default: 0 });
    const windowed = windowedLayers(m, 6);
    const withKeys = layers - shared;
    if (shared > 0 && (!windowed(withKeys - 2) || windowed(withKeys - 1)))
      m.fault(`the layers before the ${shared} that share keys and values are not a windowed and a full one`);
    return {
      ...common,
      ...layerHeads(m, layers),
      widths: m.uints("feed_forward_length", layers, { max: 2 ** 22 }),
      headDim,
      localHeadDim,
      window: m.uint("attention.sliding_window"),
      windowed,
      rope,
      localRope: {
        dims: localDims,
        base: m.float("rope.freq_base_swa", { default: 10_000, above: 0 }),
        scaling: { kind: "none" as const },
      },
      perLayer: m.uint("embedding_length_per_layer_input", { min: 0, max: 2 ** 16, default: 0 }),
      withKeys,
      logitCap: m.float("final_logit_softcapping", { default: 30, above: -Number.MIN_VALUE }),
    };
  },
  begin(f, c) {
    const table = f.matrix("token_embd", c.dim, c.vocab, "embedding", { gain: Math.sqrt(c.dim) });
    const x = f.lookup(table, Math.fround(Math.sqrt(c.dim)));
    if (c.perLayer > 0) sharePerLayer(f, x, c);
    return scaledLayers(x, c.perLayer > 0 ? "per-layer" : "ffn");
  },
  layer(c, i) {
    const local = c.windowed(i);
    const headDim = local ? c.localHeadDim : c.headDim;
    const kept = (layer: number): string => `kv ${layer}`;
    const attention = gqa({
      ...c,
      headDim,
      headDimV: headDim,
      heads: c.heads[i]!,
      kvHeads: c.kvHeads[i]!,
      rope: local ? c.localRope : c.rope,
      ...(!local && { ropeDivisors: "rope_freqs" }),
      window: local ? c.window : 0,
      qkNorm: "head",
      valueNorm: true,
      valuesFromKeys: "optional",
      scale: 1,
      ...(i < c.withKeys ? { keepAs: kept(i) } : { readFrom: kept(c.withKeys - (local ? 2 : 1)) }),
    });
    const dense = gatedFfn({ dim: c.dim, hidden: c.widths[i]!, act: "gelu-tanh" });
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: attention,
        after: rmsAfter("post_attention_norm", c),
      },
      {
        site: "ffn",
        before: c.experts === 0 ? rms("ffn_norm", c) : unnormed,
        part: c.experts === 0 ? dense : parallel(between("ffn_norm", dense, "post_ffw_norm_1", c), experts(c)),
        after: rmsAfter("post_ffw_norm", c),
      },
      ...(c.perLayer === 0
        ? []
        : [{ site: "per-layer", before: unnormed, part: perLayerGate(c, i), after: rms("post_norm", c) }]),
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { softcap: c.logitCap }),
  mechanisms: ["rope", "rope-scaling", "window", "qk-norm", "softcap", "gate"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      metadata: tiny,
      optionalTensors: ["attn_v.weight", "rope_freqs.weight", "layer_output_scale.weight"],
      lacks: ["gate"],
    },
    {
      variant: "per-layer",
      tied: true,
      metadata: (dims) => ({
        ...tiny(dims),
        block_count: 6,
        "attention.sliding_window_pattern": [1, 0, 1, 0, 1, 0],
        "attention.head_count_kv": [2, 1, 2, 1, 2, 1],
        embedding_length_per_layer_input: 32,
        feed_forward_length: [2, 2, 2, 2, 3, 3].map((n) => n * dims),
        "attention.shared_kv_layers": 2,
      }),
      shallow: { block_count: 4 },
      optionalTensors: ["attn_v.weight", "rope_freqs.weight", "layer_output_scale.weight"],
    },
    {
      variant: "moe",
      tied: true,
      metadata: (dims) => ({
        ...tiny(dims),
        expert_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
      }),
      // No attn_v: values are made from keys.
      optionalTensors: ["rope_freqs.weight", "layer_output_scale.weight", "ffn_down_exps.scale"],
      lacks: ["gate"],
    },
  ],
});

interface Width {
  readonly dim: number;
  readonly eps: number;
}

const between =
  (before: string, part: Part, after: string, c: Width): Part =>
  (f, x) =>
    rms(after, c)(f, part(f, rms(before, c)(f, x)));

/** The router reads the stream in a norm of its own. */
function experts(c: Width & { readonly experts: number; readonly topK: number; readonly expertHidden: number }): Part {
  const routerInput: Part = (f, x) =>
    f.multiplyVector(
      f.scale(f.norm(x, null, c.eps), 1 / Math.sqrt(c.dim)),
      f.vector("ffn_gate_inp", c.dim, "router", { suffix: "scale", fill: [8, 1] }),
    );
  const part = moe({
    dim: c.dim,
    experts: c.experts,
    topK: c.topK,
    hidden: c.expertHidden,
    act: "gelu-tanh",
    score: "softmax",
    renormalize: true,
    factors: "ffn_down_exps.scale",
    routerInput,
    expertInput: rms("pre_ffw_norm_2", c),
  });
  return (f, x) => rms("post_ffw_norm_2", c)(f, part(f, x));
}

/** x += y, and at the end of a layer x times the layer's own factor where the file has one. */
function scaledLayers(x: Residual["streams"][number], last: string): Residual {
  return {
    streams: [x],
    read() {
      return this.streams[0]!;
    },
    write(f, site, y) {
      const sum = f.add(this.streams[0]!, y);
      const factor =
        site === last ? f.vector("layer_output_scale", 1, "norm", { optional: true, fill: [0.9, 0.1] }) : null;
      this.streams = [factor === null ? sum : f.multiplyVector(sum, factor)];
    },
  };
}

/** Every other layer is full, with fewer and wider heads. */
function tiny(dims: 64 | 256) {
  return {
    ...tinyTransformer(dims),
    block_count: 4,
    "attention.key_length": 64,
    "attention.value_length": 64,
    "attention.key_length_swa": 32,
    "attention.value_length_swa": 32,
    "attention.head_count_kv": [2, 1, 2, 1],
    "attention.sliding_window": 16,
    "attention.sliding_window_pattern": [1, 0, 1, 0],
    embedding_length_per_layer_input: 0,
    "rope.freq_base": 1e6,
    "rope.freq_base_swa": 10000,
    "rope.dimension_count": 64,
    "rope.dimension_count_swa": 32,
    final_logit_softcapping: 15,
  };
}
