/**
 * `Ops` that allocate nothing and only write down what was asked for: binding a model to them tells what binding it for
 * real will take.
 */
import { HundredweightError } from "../errors.js";
import { checkPlanes } from "../formats/layouts.js";
import {
  type KvPool,
  type KvPoolSpec,
  type KvType,
  type Matrix,
  type MatrixSource,
  type Ops,
  type OpsCounters,
  pagePositions,
  type RopeSpec,
  type RopeTable,
  type Routing,
  type Tensor,
  type Vector,
} from "./ops.js";

export interface PaperRecord {
  readonly tensors: readonly Tensor[];
  readonly routings: readonly Routing[];
  readonly vectors: readonly Vector[];
  readonly matrices: readonly Matrix[];
  readonly ropes: readonly { readonly pairs: number; readonly maxRows: number }[];
  readonly pools: readonly (KvPool & { readonly headDimK: number; readonly headDimV: number })[];
}

/** Bytes of one position of one head.  @throws OPTION_INVALID when the type needs whole blocks of 32 */
export function kvHeadBytes(type: KvType, values: number): number {
  if (type === "f16") return 2 * values;
  if (values % 32 !== 0)
    throw new HundredweightError(
      "OPTION_INVALID",
      `this model's heads of ${values} values do not fit a quantized KV cache (multiples of 32): use f16`,
    );
  return (values / 32) * (type === "q8_0" ? 34 : 18);
}

const unavailable = (): never => {
  throw new HundredweightError("INTERNAL", "a model on paper cannot be run");
};

export class PaperOps implements Ops {
  readonly name = "paper";
  readonly record = {
    tensors: [] as Tensor[],
    routings: [] as Routing[],
    vectors: [] as Vector[],
    matrices: [] as Matrix[],
    ropes: [] as { pairs: number; maxRows: number }[],
    pools: [] as (KvPool & { headDimK: number; headDimV: number })[],
  } satisfies PaperRecord;
  #ids = 0;
  /** Ones by length, shared: biases of many experts would be hundreds of megabytes. */
  readonly #ones = new Map<number, Float32Array>();

  #keep<T>(list: T[], item: T): T {
    list.push(item);
    return item;
  }

  tensor(rows: number, cols: number): Tensor {
    return this.#keep(this.record.tensors, { id: ++this.#ids, rows, cols });
  }
  routing(rows: number, topK: number): Routing {
    return this.#keep(this.record.routings, { id: ++this.#ids, rows, topK });
  }
  vector(values: Float32Array): Vector {
    return this.#keep(this.record.vectors, { id: ++this.#ids, length: values.length });
  }
  matrix(source: MatrixSource): Matrix {
    checkPlanes(source);
    const { name, layout, rows, cols, experts } = source;
    return this.#keep(this.record.matrices, { id: ++this.#ids, name, layout, rows, cols, experts });
  }
  loadVector(source: MatrixSource): Float32Array {
    const length = source.cols * source.rows * source.experts;
    const known = this.#ones.get(length) ?? new Float32Array(length).fill(1);
    this.#ones.set(length, known);
    return known;
  }
  kvPool(spec: KvPoolSpec): KvPool {
    let position = 0;
    let [headDimK, headDimV] = [0, 0];
    for (const layer of spec.layers) {
      position += layer.kvHeads * (kvHeadBytes(spec.type, layer.headDimK) + kvHeadBytes(spec.type, layer.headDimV));
      headDimK = Math.max(headDimK, layer.headDimK);
      headDimV = Math.max(headDimV, layer.headDimV);
    }
    const pageBytes = position * pagePositions;
    const { pages } = spec;
    const layers = spec.layers.length;
    return this.#keep(this.record.pools, { id: ++this.#ids, pages, layers, pageBytes, headDimK, headDimV });
  }
  ropeTable(spec: RopeSpec, maxRows: number): RopeTable {
    this.record.ropes.push({ pairs: spec.frequencies.length, maxRows });
    return { id: ++this.#ids };
  }
  seal(): void {}
  setCancelFlag(): void {}
  close(): void {}
  counters(): OpsCounters {
    return unavailable();
  }

  begin = unavailable;
  embed = unavailable;
  rmsNorm = unavailable;
  headNorm = unavailable;
  matmul = unavailable;
  rope = unavailable;
  kvStore = unavailable;
  attention = unavailable;
  glu = unavailable;
  route = unavailable;
  experts = unavailable;
  add = unavailable;
  scale = unavailable;
  softcap = unavailable;
  gather = unavailable;
  read = unavailable;
  write = unavailable;
  readRouting = unavailable;
  kvCopyPage = unavailable;
}
