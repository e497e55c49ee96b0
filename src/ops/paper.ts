/**
 * `Ops` that allocate nothing and only write down what was asked for: binding a model to them tells what binding it for
 * real will take.
 */
import { HundredweightError } from "../errors.js";
import { checkPlanes } from "../formats/layouts.js";
import {
  type Arena,
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
import type { WorkingSpace } from "./working-space.js";

export interface PaperRecord {
  /** Bytes of tensors, arenas and routings. */
  readonly activationBytes: number;
  readonly vectorBytes: number;
  readonly ropes: readonly { readonly pairs: number; readonly maxRows: number }[];
  readonly pools: readonly KvPool[];
  readonly space: WorkingSpace | undefined;
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
    activationBytes: 0,
    vectorBytes: 0,
    ropes: [] as { pairs: number; maxRows: number }[],
    pools: [] as KvPool[],
    space: undefined as WorkingSpace | undefined,
  } satisfies PaperRecord;
  #ids = 0;
  /** Ones by length, shared: biases of many experts would be hundreds of megabytes. */
  readonly #ones = new Map<number, Float32Array>();

  arena(floats: number): Arena {
    this.record.activationBytes += 4 * floats;
    return { id: ++this.#ids, floats };
  }
  tensor(rows: number, cols: number, arena?: Arena): Tensor {
    if (arena === undefined) this.record.activationBytes += 4 * rows * cols;
    return { id: ++this.#ids, rows, cols };
  }
  routing(rows: number, topK: number): Routing {
    this.record.activationBytes += 8 * rows * topK;
    return { id: ++this.#ids, rows, topK };
  }
  vector(values: Float32Array): Vector {
    this.record.vectorBytes += values.byteLength;
    return { id: ++this.#ids, length: values.length };
  }
  matrix(source: MatrixSource): Matrix {
    checkPlanes(source);
    const { name, layout, rows, cols, experts } = source;
    return { id: ++this.#ids, name, layout, rows, cols, experts };
  }
  loadVector(source: MatrixSource): Float32Array {
    const length = source.cols * source.rows * source.experts;
    const known = this.#ones.get(length) ?? new Float32Array(length).fill(1);
    this.#ones.set(length, known);
    return known;
  }
  kvPool(spec: KvPoolSpec): KvPool {
    let position = 0;
    for (const layer of spec.layers)
      position += layer.kvHeads * (kvHeadBytes(spec.type, layer.headDimK) + kvHeadBytes(spec.type, layer.headDimV));
    const pageBytes = position * pagePositions;
    const { pages } = spec;
    const layers = spec.layers.length;
    const pool = { id: ++this.#ids, pages, layers, pageBytes };
    this.record.pools.push(pool);
    return pool;
  }
  ropeTable(spec: RopeSpec, maxRows: number): RopeTable {
    this.record.ropes.push({ pairs: spec.frequencies.length, maxRows });
    return { id: ++this.#ids };
  }
  seal(space?: WorkingSpace): void {
    this.record.space = space;
  }
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
  layerNorm = unavailable;
  act = unavailable;
  multiply = unavailable;
  multiplyVector = unavailable;
  columns = unavailable;
  blend = unavailable;
  streamScores = unavailable;
  hyperWeights = unavailable;
  pool = unavailable;
  gather = unavailable;
  copy = unavailable;
  read = unavailable;
  write = unavailable;
  readRouting = unavailable;
  kvCopyPage = unavailable;
}
