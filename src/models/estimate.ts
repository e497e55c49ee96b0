/** Estimates the memory a model takes beside its weights, before anything is allocated: the model is bound on paper. */
import { paperOps } from "../ops/paper.js";
import { bindPrograms, type ModelOptions } from "./bind.js";
import type { ModelDescription } from "./describe.js";

export interface MemoryEstimate {
  /** Activation tensors and routings. */
  readonly activationBytes: number;
  /** Tables of cos and sin of the native implementation. */
  readonly ropeBytes: number;
  /** Working space of the native implementation with these threads. */
  readonly scratchBytes: number;
  /** Pages, of states that keep something of every position. */
  readonly kvBytes: number;
  /** Pages that are on the disk beside them. */
  readonly coldBytes: number;
  /** Slots and places for inputs, of states that are replaced. */
  readonly slotBytes: number;
  /** Norms, biases and other small tensors, resident as f32 whatever the file has. */
  readonly vectorBytes: number;
  /** Matrices of adapters. */
  readonly adapterBytes: number;
}

/** @throws OPTION_INVALID for options out of range, or a KV type the head size does not fit */
export function estimateMemory(description: ModelDescription, options: ModelOptions, threads: number): MemoryEstimate {
  const ops = paperOps();
  const { space } = bindPrograms(description, ops, options);
  const { activationBytes, vectorBytes, heldBytes, ropes, kvBytes, coldBytes, slotPools } = ops.record;
  return {
    activationBytes,
    vectorBytes,
    adapterBytes: heldBytes,
    ropeBytes: ropes.reduce((total, { pairs, maxRows }) => total + 8 * pairs * (maxRows + 1), 0),
    scratchBytes: space.totalBytes(threads),
    kvBytes,
    coldBytes,
    slotBytes: slotPools.reduce((sum, p) => sum + p.slots * p.slotBytes + p.keeps * p.keepBytes, 0),
  };
}
