/** Parts that encoders share: rows see both sides, norms come with biases, Q, K and V often are one matrix. */
import type { ModelConfig, TinyMetadata, VectorConfig } from "../flow/architecture.js";
import type { Flow, Part, Reach, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import type { Residual } from "../flow/residual.js";
import type { RopeConfig } from "../flow/rope.js";
import type { Bias } from "../flow/tensors.js";
import { type TransformerConfig, tinyTransformer, transformerConfig } from "./transformer.js";
import { vectorConfig } from "./vectors.js";

export interface EncoderConfig extends TransformerConfig {
  readonly vectors: VectorConfig;
}

/** Metadata of an encoder: its norms are LayerNorms, or RMSNorms with the other key. */
export function encoderConfig(m: MetadataReader, norm: "rms" | "layer" = "layer"): EncoderConfig {
  const common = transformerConfig(m, { norm });
  return { ...common, vectors: vectorConfig(m) ?? { pooling: "none", labels: ["score"] } };
}

type Width = Pick<TransformerConfig, "dim" | "eps">;

/** A LayerNorm with a weight, and a bias where there is one. */
export const layerNorm =
  (name: string, { dim, eps }: Width, bias: Bias = "required"): Part =>
  (f, x) =>
    f.layerNorm(x, f.vector(name, dim, "norm"), biasOf(f, name, dim, bias), eps);

function biasOf(f: Flow, name: string, length: number, bias: Bias) {
  const options = { suffix: "bias", optional: bias === "optional", fill: [0, 0.3] } as const;
  return bias === "none" ? null : f.vector(name, length, "norm", options);
}

const siteNorms: Readonly<Record<string, string>> = { mixer: "attn_output_norm", ffn: "layer_output_norm" };

/**
 * x = norm(x + y): the norm comes behind the sum. Where the file has `attn_norm_2`, x comes in once more behind
 * attention. Sites are `mixer` and `ffn`.
 */
export function postNorm(x: Value, c: Width): Residual {
  return {
    streams: [x],
    read() {
      return this.streams[0]!;
    },
    write(f, site, y) {
      const [stream] = this.streams as readonly [Value];
      const once = layerNorm(siteNorms[site]!, c)(f, f.add(y, stream));
      const again = site === "mixer" && f.has("attn_norm_2.weight");
      this.streams = [again ? layerNorm("attn_norm_2", c, "optional")(f, f.add(once, stream)) : once];
    },
  };
}

/** Stands before a part that reads the stream as it is. */
export const plainly: Part = (_f, x) => x;

export interface EmbeddingOptions {
  /** A table of rows by position. */
  readonly positions?: boolean;
  /** Rows of kinds of tokens, of which texts have the first. The file may do without. */
  readonly tokenTypes?: number;
  readonly normBias?: Bias;
}

/** Rows of the token embedding, of positions and of the first token type, summed and normed. */
export function embedNormed(f: Flow, c: Width & ModelConfig, o: EmbeddingOptions): Value {
  const { dim } = c;
  const gain = Math.sqrt(dim);
  const table = (name: string, rows: number) => f.matrix(name, dim, rows, "embedding", { gain, floor: "f32" });
  let x = f.lookup(f.matrix("token_embd", dim, c.vocab, "embedding", { gain }));
  if (o.tokenTypes !== undefined && f.has("token_types.weight"))
    x = f.add(x, f.lookup(table("token_types", o.tokenTypes), 1, "first"));
  if (o.positions) x = f.add(x, f.lookup(table("position_embd", c.contextTokens), 1, "positions"));
  return layerNorm("token_embd_norm", c, o.normBias ?? "required")(f, x);
}

export interface BothSidesOptions {
  readonly dim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly eps: number;
  /** Absent: positions come otherwise. */
  readonly rope?: RopeConfig;
  /** So many positions to both sides; 0 = all of the text. Default 0. */
  readonly reach?: number;
  /** Exponent of the slopes by which scores fall with the distance. */
  readonly alibi?: number;
  readonly bias?: Bias;
  readonly outputBias?: Bias;
  /** LayerNorms of all of Q and all of K, where the file has them. */
  readonly wholeNorm?: boolean;
}

/** Attention over what comes before and after. Q, K and V are three matrices, or one where the file has it so. */
export const bothSides =
  (o: BothSidesOptions): Part =>
  (f, x) => {
    const { heads, kvHeads, headDim, rope, wholeNorm = false } = o;
    let [q, k, v] = project(f, x, o);
    const whole = (name: string, y: Value): Value =>
      wholeNorm && f.has(`${name}.weight`) ? layerNorm(name, { dim: y.cols, eps: o.eps }, "optional")(f, y) : y;
    q = whole("attn_q_norm", q);
    k = whole("attn_k_norm", k);
    if (rope !== undefined) {
      q = f.rope(q, headDim, rope);
      k = f.rope(k, headDim, rope);
    }
    const reach: Reach = { symmetric: o.reach ?? 0 };
    const past = f.keep("kv", { k, v, heads: kvHeads, name: "attn" });
    const mixed = f.attention(q, [past], { heads, scale: 1 / Math.sqrt(headDim), reach, alibi: o.alibi ?? 0 });
    const output = f.matrix("attn_output", heads * headDim, o.dim, "attention", { bias: o.outputBias ?? "none" });
    return f.linear(mixed, output)[0]!;
  };

function project(f: Flow, x: Value, o: BothSidesOptions): [q: Value, k: Value, v: Value] {
  const { dim, bias = "none" } = o;
  const [query, key] = [o.heads * o.headDim, o.kvHeads * o.headDim];
  // Queries and keys of RMS 1.4 give scores of deviation 2: attention that looks somewhere in particular.
  const weight = (name: string, rows: number, gain: number) =>
    f.matrix(`attn_${name}`, dim, rows, "attention", { gain, bias });
  if (f.has("attn_qkv.weight"))
    return f.split(f.linear(x, weight("qkv", query + 2 * key, 1.4))[0]!, query, key, key) as [Value, Value, Value];
  return f.linear(x, weight("q", query, 1.4), weight("k", key, 1.4), weight("v", key, 1)) as [Value, Value, Value];
}

/** down(act(up(x))) */
export const plainFfn =
  ({ dim, hidden, bias = "none" }: { dim: number; hidden: number; bias?: Bias }): Part =>
  (f, x) => {
    const up = f.linear(x, f.matrix("ffn_up", dim, hidden, "ffn", { gain: 1.4, bias }))[0]!;
    return f.linear(f.act(up, "gelu-tanh"), f.matrix("ffn_down", hidden, dim, "ffn", { gain: 1.4, bias }))[0]!;
  };

export interface FusedFfnOptions {
  readonly dim: number;
  readonly hidden: number;
  readonly act: "silu" | "gelu-tanh";
  readonly upBias?: Bias;
  readonly downBias?: Bias;
}

/** down(act(a) * b), a and b being the halves of one product. */
export const fusedFfn =
  ({ dim, hidden, act, upBias = "none", downBias = "none" }: FusedFfnOptions): Part =>
  (f, x) => {
    const up = f.linear(x, f.matrix("ffn_up", dim, 2 * hidden, "ffn", { gain: 1.1, bias: upBias }))[0]!;
    const [gate, rest] = f.split(up, hidden, hidden);
    const down = f.matrix("ffn_down", hidden, dim, "ffn", { gain: 1.1, bias: downBias });
    return f.linear(f.glu(gate!, rest!, act), down)[0]!;
  };

/** Metadata of a tiny encoder: as that of a decoder, with the key of its norm. */
export function tinyEncoder(dims: 64 | 256, pooling: number, epsilon = "attention.layer_norm_epsilon"): TinyMetadata {
  const {
    "attention.layer_norm_rms_epsilon": _,
    "attention.head_count_kv": kvHeads,
    ...common
  } = tinyTransformer(dims);
  return {
    ...common,
    "attention.head_count": dims === 64 ? 2 : 8,
    "attention.head_count_kv": dims === 64 ? 2 : 8,
    [epsilon]: 1e-5,
    "attention.causal": false,
    context_length: 512,
    pooling_type: pooling,
  };
}
