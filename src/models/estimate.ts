/** What a model takes beside its weights, before anything is allocated: the model is bound on paper. */
import { nativeScratchBytes } from "../ops/native-scratch.js";
import { PaperOps } from "../ops/paper.js";
import { bindDescription, type ModelOptions } from "./bind.js";
import type { ModelDescription } from "./describe.js";

export interface MemoryEstimate {
  /** Activation tensors and routings. */
  readonly activationBytes: number;
  /** Tables of cos and sin of the native implementation. */
  readonly ropeBytes: number;
  /** Working space of the native implementation with these threads. */
  readonly scratchBytes: number;
  readonly kvBytes: number;
  /** Norms, biases and other small tensors, resident as f32 whatever the file has. */
  readonly vectorBytes: number;
}

/** @throws OPTION_INVALID for options out of range, or a KV type the head size does not fit */
export function estimateMemory(description: ModelDescription, options: ModelOptions, threads: number): MemoryEstimate {
  const ops = new PaperOps();
  bindDescription(description, ops, options);
  const { tensors, routings, ropes, pools, vectors } = ops.record;
  const sum = <T>(list: readonly T[], bytes: (item: T) => number) =>
    list.reduce((total, item) => total + bytes(item), 0);
  return {
    activationBytes: sum(tensors, (t) => 4 * t.rows * t.cols) + sum(routings, (r) => 8 * r.rows * r.topK),
    ropeBytes: sum(ropes, (r) => 8 * r.pairs * (r.maxRows + 1)),
    scratchBytes: nativeScratchBytes(ops.record, threads),
    kvBytes: sum(pools, (p) => p.pages * p.pageBytes),
    vectorBytes: sum(vectors, (v) => 4 * v.length),
  };
}
