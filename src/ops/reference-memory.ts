/** Holds what the verbs of the reference work on: handles and the numbers behind them. */
import { HundredweightError } from "../errors.js";
import type {
  Arena,
  KeyTurn,
  KvPool,
  KvPoolSpec,
  Matrix,
  MatrixSource,
  OpsCounters,
  RopeSpec,
  RopeTable,
  Routing,
  RowTable,
  SlotPool,
  SlotPoolSpec,
  Tensor,
  Vector,
} from "./ops.js";
import { ReferenceKvPool, type StoredType, turnKeys } from "./reference-kv.js";
import { ReferenceSlotPool } from "./reference-slots.js";
import { ReferenceMatrix, readVector, WeightFiles } from "./reference-weights.js";

export interface Activations extends Tensor {
  readonly data: Float32Array;
}
export interface Memory extends Arena {
  readonly data: Float32Array;
}
export interface Values extends Vector {
  readonly data: Float32Array;
}
export interface Routes extends Routing {
  readonly ids: Int32Array;
  readonly weights: Float32Array;
}
export interface Rope extends RopeTable {
  readonly spec: RopeSpec;
}

/** The numbers behind a handle; a handle of another implementation is a bug of ours. */
export function own<T extends { readonly id: number }>(handle: { readonly id: number }, key: keyof T): T {
  if (!(key in handle)) throw new HundredweightError("INTERNAL", "a handle of another Ops implementation");
  return handle as T;
}
export const data = (tensor: Tensor): Float32Array => own<Activations>(tensor, "data").data;
export const row = (tensor: Tensor, t: number): Float32Array =>
  data(tensor).subarray(t * tensor.cols, (t + 1) * tensor.cols);
export const values = (vector: Vector | null): Float32Array | null =>
  vector === null ? null : own<Values>(vector, "data").data;

export function requireThat(condition: boolean, what: string): asserts condition {
  if (!condition) throw new HundredweightError("INTERNAL", `ops: ${what}`);
}

/** The bytes of a page themselves, of a slot a copy. */
function unitBytes(pool: KvPool | SlotPool, unit: number): Uint8Array {
  if (pool instanceof ReferenceSlotPool) return pool.bytes(unit);
  return new Uint8Array(own<ReferenceKvPool>(pool as KvPool, "layout").page(unit).buffer);
}

export abstract class ReferenceMemory {
  readonly name = "reference";
  readonly #kept: StoredType | undefined;
  readonly #files = new WeightFiles();
  readonly #bytes = { activations: 0, kv: 0 };
  #allocations = 0;
  #sealed = false;
  #cancel: Int32Array | null = null;
  protected rows: RowTable = {
    count: 0,
    ids: new Int32Array(),
    positions: new Int32Array(),
    sequences: new Int32Array(),
    blockTables: [],
  };
  protected readonly pools: KvPool[] = [];

  /** `kept`: how keys and values are kept, whatever the model's pools say. */
  constructor({ kept }: { readonly kept?: StoredType } = {}) {
    this.#kept = kept;
  }

  // --- memory

  #allocate(bytes: number, kind: "activations" | "kv"): number {
    requireThat(!this.#sealed, "an allocation after seal()");
    this.#bytes[kind] += bytes;
    return ++this.#allocations;
  }

  arena(floats: number): Arena {
    const id = this.#allocate(floats * 4, "activations");
    return { id, floats, data: new Float32Array(floats) } satisfies Memory as Arena;
  }

  tensor(rows: number, cols: number, arena?: Arena, offset = 0): Tensor {
    if (arena !== undefined) {
      const data = own<Memory>(arena, "data").data.subarray(offset, offset + rows * cols);
      requireThat(data.length === rows * cols, "a tensor ends outside its arena");
      return { id: this.#allocate(0, "activations"), rows, cols, data } satisfies Activations as Tensor;
    }
    const id = this.#allocate(rows * cols * 4, "activations");
    return { id, rows, cols, data: new Float32Array(rows * cols) } satisfies Activations as Tensor;
  }

  routing(rows: number, topK: number): Routing {
    const id = this.#allocate(rows * topK * 8, "activations");
    const routes: Routes = { id, rows, topK, ids: new Int32Array(rows * topK), weights: new Float32Array(rows * topK) };
    return routes;
  }

  vector(from: Float32Array): Vector {
    const id = this.#allocate(from.byteLength, "activations");
    const vector: Values = { id, length: from.length, data: from.slice() };
    return vector;
  }

  matrix(source: MatrixSource): Matrix {
    return new ReferenceMatrix(this.#allocate(0, "activations"), source, this.#files);
  }

  loadVector(source: MatrixSource): Float32Array {
    return readVector(source, this.#files);
  }

  kvPool(spec: KvPoolSpec): KvPool {
    const pool = new ReferenceKvPool(this.#allocations + 1, spec, this.#kept);
    this.#allocate(pool.pageBytes * pool.pages, "kv");
    this.pools.push(pool);
    return pool;
  }

  slotPool(spec: SlotPoolSpec): SlotPool {
    const pool = new ReferenceSlotPool(this.#allocations + 1, spec);
    this.#allocate(pool.slotBytes * pool.slots + pool.keepBytes * pool.keeps, "kv");
    return pool;
  }

  ropeTable(spec: RopeSpec, _maxRows: number): RopeTable {
    requireThat(spec.frequencies.length * 2 === spec.dims, "a rope table needs dims / 2 frequencies");
    const table: Rope = { id: this.#allocate(0, "activations"), spec };
    return table;
  }

  seal(): void {
    this.#sealed = true;
  }

  // --- outside

  read(x: Tensor, n: number, into?: Float32Array): Float32Array {
    const values = data(x).subarray(0, n * x.cols);
    if (into === undefined) return values.slice();
    into.set(values);
    return into.subarray(0, values.length);
  }

  write(x: Tensor, from: Float32Array): void {
    data(x).set(from);
  }

  readRouting(routing: Routing, n: number): { ids: Int32Array; weights: Float32Array } {
    const { ids, weights, topK } = own<Routes>(routing, "ids");
    return { ids: ids.slice(0, n * topK), weights: weights.slice(0, n * topK) };
  }

  kvCopyPage(pool: KvPool, from: number, to: number): void {
    own<ReferenceKvPool>(pool, "layout").copyPage(from, to);
  }

  kvTurn(pool: KvPool, layer: number, page: number, rows: readonly [number, number], turn: KeyTurn): void {
    const cache = own<ReferenceKvPool>(pool, "layout");
    requireThat(cache.every === 1 && !cache.layout[layer]!.mixed, "keys that cannot be turned");
    turnKeys(cache, layer, page, rows, turn);
  }

  kvCopyRows(pool: KvPool, from: number, to: number, rows: number): void {
    own<ReferenceKvPool>(pool, "layout").copyRows(from, to, rows);
  }

  readUnit(pool: KvPool | SlotPool, unit: number, offset: number, into: Uint8Array): void {
    const bytes = unitBytes(pool, unit);
    requireThat(offset >= 0 && offset + into.length <= bytes.length, `bytes ${offset} of a unit of ${bytes.length}`);
    into.set(bytes.subarray(offset, offset + into.length));
  }

  writeUnit(pool: KvPool | SlotPool, unit: number, offset: number, from: Uint8Array): void {
    const bytes = unitBytes(pool, unit);
    requireThat(offset >= 0 && offset + from.length <= bytes.length, `bytes ${offset} of a unit of ${bytes.length}`);
    bytes.set(from, offset);
    if (pool instanceof ReferenceSlotPool) pool.setBytes(unit, bytes);
  }

  setCancelFlag(flag: Int32Array | null): void {
    this.#cancel = flag;
  }

  protected checkCancelled(): void {
    if (this.#cancel !== null && Atomics.load(this.#cancel, 0) !== 0)
      throw new HundredweightError("CANCELLED", "stopped by the caller");
  }

  /** Weights are read from their files at every use and decode scratch is garbage of the call: both count zero. */
  counters(): OpsCounters {
    const { activations, kv } = this.#bytes;
    return {
      activationBytes: activations,
      kvBytes: kv,
      scratchBytes: 0,
      weightBytes: 0,
      allocations: this.#allocations,
    };
  }

  close(): void {
    this.#files.close();
  }
}
