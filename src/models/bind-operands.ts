/** Says what calls are bound to, and what a bound call is. */
import type { KvPool, Matrix, Ops, RopeTable, Routing, Tensor, Vector } from "../ops/ops.js";
import type { WorkingSpace } from "../ops/working-space.js";
import type { CallOf } from "./flow/calls.js";
import type { Ids, Routes, Selection, State, Value, VectorWeight, Weight } from "./flow/flow.js";

/** A step over the first `n` rows, or over the `wanted` ones where the end picks them. */
export type Step = (n: number, wanted: Int32Array) => void;

/** Hands out what has been bound. */
export interface Operands {
  readonly ops: Ops;
  readonly space: WorkingSpace;
  /** Longest sequence. */
  readonly contextTokens: number;
  /** Table rows of a pass, filled when it begins [maxRows]. */
  rowsBy(ids: Ids): Int32Array;
  tensor(value: Value): Tensor;
  /** `heads`: of products by heads. */
  matrix(weight: Weight, heads?: number): Matrix;
  vector(weight: VectorWeight): Vector;
  routing(choice: Routes | Selection): Routing;
  ropeTable(call: CallOf<"rope">): RopeTable;
  pool(state: State): { readonly pool: KvPool; readonly layer: number; readonly window: number };
}
