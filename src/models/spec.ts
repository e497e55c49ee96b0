/**
 * The vocabulary of architecture declarations. An architecture is a metadata reader plus `layer(config, i)`, which
 * composes parts; a part declares its tensors and knows how to become a step of the forward pass. Everything else
 * (validation, memory plan, roles, tiny test models) is derived from that.
 */
import type { KvPool, Matrix, Ops, RopeSpec, RopeTable, Routing, Tensor, Vector } from "../ops/ops.js";
import type { MetadataReader } from "./metadata-reader.js";

/** What a tensor is for; decides placement and precision. */
export type Role = "norm" | "router" | "attention" | "ffn" | "expert" | "embedding" | "head";

export interface TensorSpec {
  /** GGUF name; of a layer without its `blk.N.` prefix. */
  readonly name: string;
  /** GGUF order, shape[0] the columns of a matrix. */
  readonly shape: readonly number[];
  readonly role: Role;
  /** A vector is small and resident as f32; a matrix stays in the file's type. */
  readonly kind: "matrix" | "vector";
  /** The part does without it when the file has none. */
  readonly optional?: boolean;
  /** One for the whole model, whichever layer asks. */
  readonly shared?: boolean;
  /** How a random tiny model fills it; the default is N(0, 1 / columns) for matrices, ones +- 0.2 for norms. */
  readonly tiny?: { readonly mean: number; readonly deviation: number };
}

/** Keys and values of a layer. `window` 0 = all positions. */
export interface KvSpec {
  readonly kvHeads: number;
  readonly headDimK: number;
  readonly headDimV: number;
  readonly window: number;
}

/** One step of a pass over the first `n` token rows. */
export interface Step {
  (n: number): void;
  /**
   * To be called a layer before the step with the input as far as it is known then (the stream changes little from layer
   * to layer): tells the Ops which experts will probably be wanted.
   */
  readonly expect?: (n: number) => void;
}

/** Where a part reads and writes. */
export interface PartIo {
  /** The normalised residual stream [rows, dim]. */
  readonly input: Tensor;
  /** [rows, dim]; never the input. */
  readonly output: Tensor;
  /** Add to the output instead of overwriting it. */
  readonly add: boolean;
}

export interface Part {
  readonly tensors: readonly TensorSpec[];
  readonly kv?: KvSpec;
  bind(b: Binder, io: PartIo): Step;
}

/** What a part may ask for while it is bound to a checkpoint. Names are those of its own tensor table. */
export interface Binder {
  readonly ops: Ops;
  matrix(name: string): Matrix;
  vector(name: string): Vector;
  optionalVector(name: string): Vector | null;
  /** The numbers of a small tensor, e.g. RoPE divisors; null when the file has none. */
  optionalValues(name: string): Float32Array | null;
  /** Activations that live within one step, shared by all layers: [maxRows, cols]. */
  scratch(name: string, cols: number): Tensor;
  scratchRouting(topK: number): Routing;
  ropeTable(spec: RopeSpec): RopeTable;
  /** Where this layer's keys and values are, and how far it looks back (0 = all the way). */
  kv(): { readonly pool: KvPool; readonly layer: number; readonly window: number };
  /** Test only: leaves out a mechanism, to prove that the tests would notice. */
  readonly mutate: Mutation | undefined;
}

export const mutations = ["rope", "qk-norm", "window", "sinks", "router-norm"] as const;
export type Mutation = (typeof mutations)[number];

/** A pre-normalised branch of the residual stream: x += post(part(norm(x))). */
export interface BranchSpec {
  readonly norm: string;
  readonly part: Part;
  /** Norm of the branch before it joins the stream. */
  readonly postNorm?: string;
}

export interface LayerSpec {
  readonly mixer: BranchSpec;
  readonly ffn: BranchSpec;
}

/** What every supported model has; one vocabulary for hyper-parameters. */
export interface ModelConfig {
  readonly layers: number;
  readonly dim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the dense FFN; 0 when every layer is MoE. */
  readonly hidden: number;
  /** Rows of the embedding, at least the number of tokens. */
  readonly vocab: number;
  /** Positions the model was trained for. */
  readonly contextTokens: number;
  readonly eps: number;
  readonly experts: number;
  readonly topK: number;
  /** Width of one expert; 0 without experts. */
  readonly expertHidden: number;
  /** Largest sliding window of any layer; 0 = none. */
  readonly window: number;
}

/** Metadata of a tiny test model, without the architecture prefix. */
export type TinyMetadata = Readonly<Record<string, number | string | boolean | readonly number[]>>;

export interface TinyVariant {
  readonly variant: string;
  /** `dims` is the width: 64, or 256 where the K types apply. */
  metadata(dims: 64 | 256): TinyMetadata;
  /** The head is the token embedding. */
  readonly tied?: boolean;
  /** Optional tensors the file has all the same. */
  readonly optionalTensors?: readonly string[];
}

export interface Architecture<C extends ModelConfig = ModelConfig> {
  /** `general.architecture`. */
  readonly name: string;
  /** Model families people know it by, for docs and messages. */
  readonly families: string;
  config(metadata: MetadataReader): C;
  layer(config: C, i: number): LayerSpec;
  /** Factor of the embedding rows. */
  embeddingScale?(config: C): number;
  /** logits = cap * tanh(logits / cap); 0 = none. */
  finalSoftcap?(config: C): number;
  /** The head has a bias when the file carries one. */
  readonly headBias?: boolean;
  /** Configurations of random test models. */
  readonly tiny: readonly TinyVariant[];
  /** Mechanisms whose removal must be noticed by the tests. */
  readonly mechanisms: readonly Mutation[];
}

/** An architecture with its config type closed over: what the registry holds. */
export interface Declaration extends Omit<Architecture, "config" | "layer" | "embeddingScale" | "finalSoftcap"> {
  declare(metadata: MetadataReader): ModelSpec;
}

/** A fully resolved model on paper: no file has been looked at yet. */
export interface ModelSpec {
  readonly config: ModelConfig;
  readonly embeddingScale: number;
  readonly finalSoftcap: number;
  readonly headBias: boolean;
  layer(i: number): LayerSpec;
}

export function defineArchitecture<C extends ModelConfig>(a: Architecture<C>): Declaration {
  return {
    name: a.name,
    families: a.families,
    headBias: a.headBias ?? false,
    tiny: a.tiny,
    mechanisms: a.mechanisms,
    declare(metadata) {
      const config = a.config(metadata);
      return {
        config,
        embeddingScale: a.embeddingScale?.(config) ?? 1,
        finalSoftcap: a.finalSoftcap?.(config) ?? 0,
        headBias: a.headBias ?? false,
        layer: (i) => a.layer(config, i),
      };
    },
  };
}
