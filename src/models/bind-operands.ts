/** Says what calls are bound to, and what a bound call is. */
import type {
  KvCacheType,
  KvPool,
  Matrix,
  MatrixSource,
  Ops,
  RopeTable,
  Routing,
  SlotPool,
  Tensor,
  Vector,
} from "../ops/ops.js";
import type { WorkingSpace } from "../ops/working-space.js";
import type { AdapterRows } from "./chosen-rows.js";
import type { CallOf } from "./flow/calls.js";
import type {
  Ids,
  PagedState,
  RecurrentState,
  Routes,
  RowSet,
  Selection,
  Value,
  VectorWeight,
  Weight,
} from "./flow/flow.js";

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
  /** Its memory as so many rows for each of its own: the heads of rows, one after the other. */
  headsOf(value: Value, heads: number): Tensor;
  /** `heads`: of products by heads. */
  matrix(weight: Weight, heads?: number): Matrix;
  /** One that is no tensor of the file. */
  ownMatrix(source: MatrixSource): Matrix;
  /** The rows that an adapter is for, filled by each pass. */
  adapterRows(slot: number, set: RowSet): AdapterRows;
  vector(weight: VectorWeight): Vector;
  /** The same turned: what a file has as [rows][cols], as [cols][rows], with zeros between where they are `apart`. */
  turned(weight: VectorWeight, rows: number, apart: number): Vector;
  /** Where a tensor lies. */
  source(weight: Weight | VectorWeight): MatrixSource;
  readonly kvType: KvCacheType;
  /** Whether pages of a state may be on the disk. */
  cold(state: PagedState): boolean;
  /** Numbers that are no tensor's; the same name, the same numbers. */
  made(name: string, make: () => Float32Array): Vector;
  routing(choice: Routes | Selection): Routing;
  ropeTable(call: CallOf<"rope">): RopeTable;
  pool(state: PagedState): { readonly pool: KvPool; readonly layer: number; readonly window: number };
  slots(state: RecurrentState): { readonly pool: SlotPool; readonly layer: number };
}
