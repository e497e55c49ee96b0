/**
 * Embeddings for every layer: a row of a second table for each token, and a product of its embedding, are summed and
 * gate each layer's stream.
 * @source Google 2025, "Gemma 3n"
 */
import type { Flow, Part, Value } from "../flow/flow.js";

export interface PerLayerOptions {
  readonly dim: number;
  readonly layers: number;
  readonly vocab: number;
  readonly eps: number;
  /** Width of one layer's share. */
  readonly perLayer: number;
}

const shareOf = (layer: number): string => `per-layer ${layer}`;

/** Makes the shares of all layers from the scaled embedding x. */
export function sharePerLayer(f: Flow, x: Value, o: PerLayerOptions): void {
  const { dim, layers, vocab, eps, perLayer } = o;
  const all = perLayer * layers;
  const rows = f.lookup(
    f.matrix("per_layer_token_embd", all, vocab, "embedding", { gain: Math.sqrt(all / perLayer) }),
    Math.fround(Math.sqrt(perLayer)),
  );
  const product = f.linear(x, f.matrix("per_layer_model_proj", dim, all, "ffn"))[0]!;
  const projected = f.headNorm(
    f.scale(product, 1 / Math.sqrt(dim)),
    f.vector("per_layer_proj_norm", perLayer, "norm"),
    eps,
  );
  const sum = f.scale(f.add(projected, rows), Math.SQRT1_2);
  const shares = f.split(sum, ...Array.from({ length: layers }, () => perLayer));
  for (const [layer, share] of shares.entries()) f.share(shareOf(layer), share);
}

/** A layer's stream gated by the layer's share, before its norm. */
export const perLayerGate =
  ({ dim, perLayer }: PerLayerOptions, layer: number): Part =>
  (f, x) => {
    const gate = f.act(f.linear(x, f.matrix("inp_gate", dim, perLayer, "ffn"))[0]!, "gelu-tanh");
    const share = f.shared(shareOf(layer)) as Value;
    return f.linear(f.multiply(gate, share), f.matrix("proj", perLayer, dim, "ffn"))[0]!;
  };
