/**
 * The declaration of an architecture: a metadata reader, and `{ begin, layer, end }` written in the vocabulary of
 * flow.ts. Everything else (validation, memory plan, roles, tiny test models) is derived from that.
 */
import type { Outputs } from "./calls.js";
import type { Flow, Part } from "./flow.js";
import type { MetadataReader } from "./metadata-reader.js";
import type { Residual } from "./residual.js";

/** The mechanisms whose removal tests notice (ablation.ts). */
export const mutations = [
  "rope",
  "rope-pairs",
  "rope-dims",
  "rope-scaling",
  "rope-back",
  "qk-norm",
  "attention-norm",
  "latent-norm",
  "selection",
  "blocks",
  "block-positions",
  "window",
  "sinks",
  "softcap",
  "bias",
  "gate",
  "multipliers",
  "router-norm",
  "selection-bias",
  "groups",
  "table",
  "n-grams",
  "shared-expert",
  "clamp",
  "temperature",
  "sparse",
  "streams",
  "even",
  "positions",
  "token-types",
  "alibi",
  "both-sides",
  "convolution",
  "decay",
  "strength",
  "correction",
  "pairing",
  "state-norm",
  "unit-norm",
  "skip",
] as const;
export type Mutation = (typeof mutations)[number];

/**
 * A branch of the residual stream: write(after(part(before(read())))). Neighbouring branches of one site read the same
 * stream, and all of them write afterwards: a parallel residual.
 */
export interface Branch {
  readonly site: string;
  readonly before: Part;
  readonly part: Part;
  readonly after?: Part;
}

/** The hyper-parameters other rooms read; one vocabulary for hyper-parameters. */
export interface ModelConfig {
  readonly layers: number;
  readonly dim: number;
  /** Rows of the embedding, at least the number of tokens. */
  readonly vocab: number;
  /** Positions the model was trained for. */
  readonly contextTokens: number;
  readonly experts: number;
  readonly topK: number;
  /** Largest sliding window of any layer; 0 = none. */
  readonly window: number;
  /** The file's word on vectors; absent where it says nothing. */
  readonly vectors?: VectorConfig;
}

/** How the rows of a text become one vector. `rank`: they become scores, by a head of their own. */
export const poolings = ["none", "mean", "cls", "last", "rank"] as const;
export type PoolingName = (typeof poolings)[number];

export interface VectorConfig {
  readonly pooling: PoolingName;
  /** Names of the scores of a `rank` head, one at least. */
  readonly labels: readonly string[];
  /** Scores are logits of classes, and become their probabilities. */
  readonly softmax?: boolean;
  /** Products behind the pooling make vectors of this length. */
  readonly projected?: number;
}

export type RopePairs = "neighbours" | "halves" | "interleaved";

/** Metadata of a tiny test model, without the architecture prefix. */
export type TinyMetadata = Readonly<
  Record<string, number | string | boolean | readonly number[] | readonly string[] | readonly bigint[]>
>;

export interface TinyVariant {
  readonly variant: string;
  /** `dims` is the width: 64, or 256 where the K types apply. */
  metadata(dims: 64 | 256): TinyMetadata;
  /** The head is the token embedding. */
  readonly tied?: boolean;
  /** Optional tensors the file has all the same. */
  readonly optionalTensors?: readonly string[];
  /** Tensors that a file has and nothing reads, by name: their shapes. */
  readonly spare?: (dims: 64 | 256) => Readonly<Record<string, readonly number[]>>;
  /** Tensors by whose shapes the configuration tells kinds of files apart. */
  shapes?(dims: 64 | 256): Readonly<Record<string, readonly number[]>>;
  /** Further metadata that changes where a test cuts the model to two layers. */
  readonly shallow?: TinyMetadata;
  /** Tokens of the prompt on which tests compare it; by default 40. */
  readonly promptTokens?: number;
  /** Positions after which llama.cpp means the same as we do; default: all. */
  readonly comparable?: (position: number) => boolean;
  /** Mechanisms of the family that this model does without. */
  readonly lacks?: readonly Mutation[];
}

export interface Architecture<C extends ModelConfig = ModelConfig> {
  /** `general.architecture`. */
  readonly name: string;
  /** Model families people know it by, for docs and messages. */
  readonly families: string;
  /** An encoder makes vectors (or scores) and no text. Default text. */
  readonly makes?: "text" | "vectors";
  /**
   * How GGUF pairs the values that RoPE rotates: converters permute the rows of Q and K of the llama family, so that
   * pairs are neighbours, and halves in a Hugging Face folder. `interleaved`: neighbours in either, as the family was
   * trained.
   */
  readonly ggufPairs?: RopePairs;
  config(metadata: MetadataReader): C;
  /** From the row table to the residual stream. */
  begin(f: Flow, config: C): Residual;
  layer(config: C, i: number): readonly Branch[];
  end(f: Flow, x: Residual, config: C): Outputs;
  /** Programs the file holds beside the trunk, by name: `mtp0`. `layer` is the trunk's, of any block. */
  programs?(config: C, layer: ProgramSpec["layer"]): Readonly<Record<string, ProgramSpec>>;
  /** Configurations of random test models. */
  readonly tiny: readonly TinyVariant[];
  /** Mechanisms whose removal must be noticed by the tests. */
  readonly mechanisms: readonly Mutation[];
}

/** An architecture with its config type closed over: what the registry holds. */
export interface Declaration extends Omit<Architecture, "config" | "begin" | "layer" | "end" | "programs"> {
  declare(metadata: MetadataReader): ModelSpec;
  /** Its files may hold further programs. */
  readonly hasPrograms: boolean;
}

/**
 * `all`: it keeps something of every position. `wanted`: nothing, so it runs where its outputs are wanted. `replay`:
 * over rows whose drafts have held, once that is known.
 */
export type ProgramRows = "all" | "wanted" | "replay";

/**
 * A program is recorded by itself. A layer's number is that of its tensors: blocks behind the trunk's go on counting.
 */
export interface ProgramSpec {
  readonly layers: readonly number[];
  /** Which rows of the trunk's passes it runs over; default all. */
  readonly rows?: ProgramRows;
  begin(f: Flow): Residual;
  layer(i: number): readonly Branch[];
  end(f: Flow, x: Residual): Outputs;
}

/** A fully resolved model on paper: no file has been looked at yet. */
export interface ModelSpec extends Omit<ProgramSpec, "layers"> {
  readonly config: ModelConfig;
  readonly programs: Readonly<Record<string, ProgramSpec>>;
  readonly ggufPairs: RopePairs;
}

export function defineArchitecture<C extends ModelConfig>(a: Architecture<C>): Declaration {
  const { config: read, begin, layer, end, programs, ...rest } = a;
  return {
    ...rest,
    hasPrograms: programs !== undefined,
    declare(metadata) {
      const config = read(metadata);
      return {
        config,
        ggufPairs: a.ggufPairs ?? "halves",
        programs: programs?.(config, (i) => layer(config, i)) ?? {},
        begin: (f) => begin(f, config),
        layer: (i) => layer(config, i),
        end: (f, x) => end(f, x, config),
      };
    },
  };
}
