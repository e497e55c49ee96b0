/** A plan in words, figures and as a map of the model. Types only, so that the page is compiled against them too. */
import type { ComputeCosts, TokenCompute } from "./prompt-seconds.js";

/**
 * pinned: in memory of our own. mapped: of a file the system holds as it likes. streamed: read at every pass. split:
 * its first rows pinned, the rest streamed. slots: experts of which some are in slots. rows: a table read row by row.
 */
export type TensorPlace = "pinned" | "mapped" | "streamed" | "split" | "slots" | "rows";

export interface MapTensor {
  readonly name: string;
  /** -1: of the whole model. */
  readonly layer: number;
  readonly role: string;
  readonly dtype: string;
  readonly bytes: number;
  readonly place: TensorPlace;
  /** The part of `bytes` that is always in memory of our own. */
  readonly pinnedBytes: number;
  /** Routed experts only. */
  readonly experts?: number;
}

export interface ModelMap {
  /** In the order a pass uses them. */
  readonly tensors: readonly MapTensor[];
  /** Slots of all classes together; absent unless the strategy is experts. */
  readonly slots?: { readonly slots: number; readonly experts: number; readonly bytes: number };
}

/** Every byte of a plan by purpose. */
export interface PlanBytes {
  /** Pinned rows of matrices, and the small tensors that are always resident; mapped weights as well. */
  readonly pinned: number;
  /** Pairs of adapters. */
  readonly adapters: number;
  readonly expertSlots: number;
  readonly ring: number;
  readonly kv: number;
  /** Activations, working space of the kernels, embedding rows of a pass. */
  readonly activations: number;
  readonly tokenizer: number;
  /** Tree of tokens, masks and automata of answers in a form. Made for the first of them. */
  readonly constraints: number;
  /** Buffers through which pasts go to the disk and come back. */
  readonly pasts: number;
  readonly runtime: number;
}

/**
 * resident: all that a pass uses is in memory. streamed: part of it, the rest passes through the ring. experts: trunk
 * in memory (or streamed in part, see notes), routed experts in slots.
 */
export type Strategy = "resident" | "streamed" | "experts";

/** How weights are read. */
export type IoMode = "auto" | "mmap" | "direct" | "buffered";

/** The decisions and expectations of a plan. */
export interface PlanSummary {
  readonly strategy: Strategy;
  readonly io: Exclude<IoMode, "auto">;
  readonly budgetBytes: number;
  readonly bytes: PlanBytes;
  readonly contextTokens: number;
  /** Weight bytes a pass of one row uses, and those of them it reads from disk. */
  readonly passBytes: number;
  readonly streamedBytesPerPass: number;
  readonly secondsPerToken: number;
  /** The part of it that computes, beside which the disk is read. */
  readonly computeSeconds: number;
  readonly prefillTokensPerSecond: number;
  /** The least a pass of a prompt takes, and the first one of all, which reads what was never read before. */
  readonly promptPassSeconds: number;
  readonly firstPromptPassSeconds: number;
  /** The computing of passes of a prompt. */
  readonly promptCompute: ComputeCosts;
  /** The computing of a pass of one row. */
  readonly tokenCompute: TokenCompute;
  readonly expertHitRate: number;
  /** Nobody has measured what the times rest on: they may be wrong several times over. */
  readonly guessed: boolean;
  readonly notes: readonly string[];
  readonly map: ModelMap;
}
