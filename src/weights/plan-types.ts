/** Questions to the planner, and its answers. */
import type { ExpertPolicy, KvCacheType } from "../ops/ops.js";
import type { SlotClass } from "./plan-experts.js";
import type { PlanMatrix } from "./plan-model.js";
import type { Prediction } from "./plan-predict.js";
import type { PlanBytes, Strategy } from "./plan-summary-types.js";
import type { Ring, Tile } from "./plan-tiles.js";

export type { PlanBytes } from "./plan-summary-types.js";

export interface PlanOptions {
  /** Everything together; default: what the machine has free. */
  readonly budgetBytes?: number;
  /** Default: what fits. */
  readonly contextTokens?: number;
  /** Never chosen by a budget: it changes numbers. Default f16. */
  readonly kvType?: KvCacheType;
  /** Memory for the KV cache; what finds no room there lies on the disk. Default: all of it is in memory. */
  readonly kvMemoryBytes?: number;
  /** Most token rows of a pass; a small budget may take fewer, which changes speed only. Default 512. */
  readonly rows?: number;
  readonly sequences?: number;
  /** Positions that sequences share; default: the context, more for several sequences when it costs no weights. */
  readonly kvTokens?: number;
  /**
   * Memory for states of earlier positions, of models whose states cannot go back: for states of earlier positions,
   * where later prompts begin. Default: two, and as many as eight and two for each sequence where everything is in
   * memory and they take at most an eighth of the budget.
   */
  readonly checkpointBytes?: number;
  readonly logitRows?: number;
  /** Size of the ring; default: what costs least time. */
  readonly ringBytes?: number;
  /** Pinned matrices, slots and ring only; for tests. */
  readonly weightsMemoryBytes?: number;
  /** A process for templates and texts runs beside the engine. */
  readonly textProcess?: boolean;
  /** Buffers through which pasts go to the disk and come back; absent: none do. */
  readonly pastBytes?: number;
  /** Every value is looked at as it is made, and none is merged into the next. */
  readonly check?: boolean;
  /** Programs of the file that are bound beside the trunk; default none. */
  readonly programs?: readonly string[];
  /** The process without a model, and what it may take beyond what is counted. */
  readonly runtimeBytes?: number;
}

export interface Plan {
  readonly strategy: Strategy;
  readonly budgetBytes: number;
  readonly bytes: PlanBytes;
  /** Sum of `bytes`, at most the budget. */
  readonly totalBytes: number;
  readonly contextTokens: number;
  /** Positions that sequences share, at least one context. */
  readonly kvTokens: number;
  readonly kvType: KvCacheType;
  /** Bytes of the KV cache that are on the disk when it is full. */
  readonly kvColdBytes: number;
  /** States of earlier positions that are kept; 0 for a model whose states can go back. */
  readonly checkpoints: number;
  /** Capacity of a pass in token rows; prefill uses `prediction.chunkRows` of it. */
  readonly maxRows: number;
  /** The trunk in the order of consumption: layers, then the head. Without routed experts and an untied embedding. */
  readonly matrices: readonly PlanMatrix[];
  /** Slices [0, p) of each matrix are in memory. */
  readonly pinned: Int32Array;
  readonly ring: Ring;
  /** The rest, in the order of consumption; repeated for every pass. */
  readonly program: readonly Tile[];
  /** Empty unless the strategy is experts. */
  readonly slotClasses: readonly SlotClass[];
  readonly expertPolicy: ExpertPolicy;
  readonly prediction: Prediction;
  /** Shape of the compromise, in words. */
  readonly notes: readonly string[];
}
