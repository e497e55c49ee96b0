/** A low-rank adapter in any container: pairs of matrices beside the weights of a model. */
import type { Extent, Layout } from "./layouts.js";

/** A matrix of a pair as it lies in its file: rows one after the other, those of all experts. */
export interface PairMatrix {
  /** As the file has it, for messages. */
  readonly name: string;
  readonly layout: Layout;
  readonly rows: number;
  readonly cols: number;
  /** 1 for a plain matrix. */
  readonly experts: number;
  readonly extents: readonly Extent[];
  /** It lies there as [cols, rows], and is needed as [rows, cols]; of types whose values stand alone. */
  readonly turned?: true;
  /** It lies there as [rows, cols, experts]: of each row the values of all experts by turns; of such types as well. */
  readonly byTurns?: true;
}

/**
 * Adds scale * B (A x) to a product with a tensor: A [rank, cols] and B [rows, rank]. Of a table of token embeddings A
 * has a row for each token, [tokens, rank].
 */
export interface AdapterPair {
  readonly a: PairMatrix;
  readonly b: PairMatrix;
  /** alpha / rank, or what the file says instead. */
  readonly scale: number;
}

export interface Adapter {
  readonly path: string;
  readonly format: "gguf" | "safetensors";
  /** `general.architecture`; undefined where the container does not say. */
  readonly architecture: string | undefined;
  /** By GGUF's name of the tensor, `blk.0.attn_q.weight`. */
  readonly pairs: ReadonlyMap<string, AdapterPair>;
}
