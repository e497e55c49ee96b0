/** Where the native implementation keeps weights that are not mapped. Decided by a plan, executed by the addon. */

import type { ExpertPolicy } from "../native/boundary.js";

export type { ExpertPolicy } from "../native/boundary.js";

/** Slices [from, to) of a matrix. */
export interface PlacedTile {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Experts of these groups are equally large, matrix by matrix, and share slots. */
export interface PlacedSlots {
  readonly slots: number;
  /** Indices of `groups`. */
  readonly groups: readonly number[];
}

export interface PlacedExperts {
  /** The matrices of each layer's experts, of any make: gate, up and down, or fewer. */
  readonly groups: readonly (readonly string[])[];
  readonly classes: readonly PlacedSlots[];
  /** Where passes of many rows leave misses that find no free slot; 0: they evict. */
  readonly stagingBytes: number;
  /** How slots decide. */
  readonly policy: ExpertPolicy;
  /** By group and expert: the share of earlier passes that asked for it. Free slots are filled in this order. */
  readonly uses?: Float32Array | undefined;
}

export interface WeightPlacement {
  /** Direct reads fall back to buffered ones where the file system refuses them. */
  readonly io: "direct" | "buffered";
  /** How reads are done; default: io_uring where allowed. */
  readonly engine?: "uring" | "threads";
  /** Reads in flight. Default 8. */
  readonly depth?: number;
  /** Leading slices of each matrix that stay in memory; of stacked experts all or none. Absent: none. */
  readonly pinned: ReadonlyMap<string, number>;
  /**
   * They are interleaved for the kernels where those gain by it: no unpacking for each use, one stream of memory
   * (decision 0016). Costs a walk through them at load, no memory.
   */
  readonly packed: boolean;
  /**
   * The rest in the order of use. A matrix without pinned slices, tiles and slots is read a row at a time: an embedding
   * table that is not the head.
   */
  readonly tiles: readonly PlacedTile[];
  readonly ringBytes: number;
  readonly experts: PlacedExperts | undefined;
  /**
   * Asked before a pass: whether the memory limit still leaves room. `shrink`: give back what can be spared.
   * @throws MEMORY_BUDGET when a pass would be too much
   */
  readonly watch?: (shrink: () => void) => void;
  /** Locks the memory where the system allows it. */
  readonly lock: boolean;
}

/** Counts of weight bytes since the start, and bytes that are held. */
export interface WeightTraffic {
  readonly diskBytes: number;
  /** Time that products waited for the disk. */
  readonly stallMs: number;
  readonly tiles: number;
  readonly expertHits: number;
  readonly expertMisses: number;
  /** Misses whose reading had begun before their router spoke. */
  readonly expertsAhead: number;
  /** Experts read because of a guess that was wrong. */
  readonly expertsWasted: number;
  /** Read into free slots before anybody asked for them; not in `diskBytes`. */
  readonly filledBytes: number;
  /** Weight bytes used that were in memory: mapped, pinned or found in slots. */
  readonly memoryBytes: number;
  readonly pinnedBytes: number;
  /** Bytes that streamed weights pass through: the ring, or the staging of experts. */
  readonly ringBytes: number;
  readonly slotBytes: number;
  /** The locked part of those three. */
  readonly lockedBytes: number;
}

/** Uses of experts in slots by passes of few rows since the model was opened. */
export interface ExpertUses {
  readonly passes: number;
  /** By group and expert: so many of those passes. */
  readonly asked: Float32Array;
}

/** Memory a model is to hold at most: allocations beyond it fail with MEMORY_BUDGET. */
export interface MemoryPromise {
  readonly bytes: number;
  /** Bytes of all models of the process together; 0: each has its own. */
  readonly limitBytes: number;
}
