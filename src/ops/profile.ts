/**
 * `Ops` with a clock around every verb of a pass. It wraps another implementation, so that a run without a profile pays
 * nothing for it; handles are the inner ones.
 */
import { slicesOf } from "../formats/layouts.js";
import type {
  Activation,
  Arena,
  AttentionSpec,
  ExpertWeights,
  Glu,
  KvPool,
  KvPoolSpec,
  MachineUse,
  Matrix,
  MatrixSource,
  Ops,
  OpsCounters,
  Pooling,
  Product,
  RopeSpec,
  RopeTable,
  RouteSpec,
  Routing,
  RowTable,
  Tensor,
  Vector,
} from "./ops.js";
import { kvHeadBytes } from "./paper.js";
import type { WeightTraffic } from "./placement.js";
import type { Arithmetic, Profiler, Work } from "./profiler.js";
import type { WorkingSpace } from "./working-space.js";

const none: RowTable = {
  count: 0,
  ids: new Int32Array(0),
  positions: new Int32Array(0),
  sequences: new Int32Array(0),
  blockTables: [],
};

export class ProfiledOps implements Ops {
  readonly name: string;
  /** Present when the inner one counts. */
  declare readonly traffic?: () => WeightTraffic;
  declare readonly readDepth?: (depth: number) => void;
  declare readonly machine?: () => MachineUse;
  declare readonly expectExperts?: NonNullable<Ops["expectExperts"]>;
  declare readonly view?: NonNullable<Ops["view"]>;
  declare readonly bestLogits?: NonNullable<Ops["bestLogits"]>;
  declare readonly sumOfExp?: NonNullable<Ops["sumOfExp"]>;
  readonly #inner: Ops;
  readonly #profiler: Profiler;
  readonly #pools = new Map<number, KvPoolSpec>();
  /** Bound once with the model, called once a pass. */
  readonly #products = new WeakMap<readonly Product[], { readonly work: Work; readonly shape: string }>();
  #rows = none;
  /** Keys that the rows of the pass see, by window. */
  readonly #keys = new Map<number, { readonly seen: number; readonly read: number }>();

  constructor(inner: Ops, profiler: Profiler) {
    this.#inner = inner;
    this.#profiler = profiler;
    this.name = inner.name;
    if (inner.traffic !== undefined) this.traffic = () => inner.traffic!();
    if (inner.readDepth !== undefined) this.readDepth = (depth) => inner.readDepth!(depth);
    if (inner.machine !== undefined) this.machine = () => inner.machine!();
    if (inner.bestLogits !== undefined) this.bestLogits = inner.bestLogits;
    if (inner.sumOfExp !== undefined) this.sumOfExp = inner.sumOfExp;
    if (inner.view !== undefined) this.view = (x) => inner.view!(x);
    if (inner.expectExperts !== undefined)
      this.expectExperts = (routing, n, gate) => {
        const start = profiler.clock();
        inner.expectExperts!(routing, n, gate);
        profiler.add({ ...host, name: "expect experts" }, start, () => `${n} rows`);
      };
  }

  // --- memory

  arena(floats: number): Arena {
    return this.#inner.arena(floats);
  }
  tensor(rows: number, cols: number, arena?: Arena, offset?: number): Tensor {
    return this.#inner.tensor(rows, cols, arena, offset);
  }
  routing(rows: number, topK: number): Routing {
    return this.#inner.routing(rows, topK);
  }
  vector(values: Float32Array): Vector {
    return this.#inner.vector(values);
  }
  matrix(source: MatrixSource): Matrix {
    return this.#inner.matrix(source);
  }
  loadVector(source: MatrixSource): Float32Array {
    return this.#inner.loadVector(source);
  }
  kvPool(spec: KvPoolSpec): KvPool {
    const pool = this.#inner.kvPool(spec);
    this.#pools.set(pool.id, spec);
    return pool;
  }
  ropeTable(spec: RopeSpec, maxRows: number): RopeTable {
    return this.#inner.ropeTable(spec, maxRows);
  }
  seal(space?: WorkingSpace): void {
    this.#inner.seal(space);
  }

  // --- pass

  begin(rows: RowTable): void {
    const { count, sequences } = rows;
    let apart = true;
    for (let t = 1; t < count; t++) if (sequences[t] === sequences[t - 1]) apart = false;
    this.#profiler.pass(apart ? "decode" : "prefill", count);
    this.#rows = rows;
    this.#keys.clear();
    const start = this.#profiler.clock();
    this.#inner.begin(rows);
    this.#profiler.add({ ...host, name: "begin" }, start, () => `${count} rows`);
  }

  embed(out: Tensor, table: Matrix, n: number, scale: number): void {
    const start = this.#profiler.clock();
    this.#inner.embed(out, table, n, scale);
    const bytes = n * bytesOf(table, 1);
    this.#profiler.add(
      plain("embed", bytes + 4 * n * out.cols),
      start,
      () => `[${n}, ${out.cols}] of ${nameOf(table)}`,
    );
  }

  rmsNorm(out: Tensor, x: Tensor, weight: Vector | null, n: number, eps: number): void {
    const start = this.#profiler.clock();
    this.#inner.rmsNorm(out, x, weight, n, eps);
    this.#small("norm", 2, x, n, start);
  }

  headNorm(x: Tensor, weight: Vector | null, n: number, heads: number, headDim: number, eps: number): void {
    const start = this.#profiler.clock();
    this.#inner.headNorm(x, weight, n, heads, headDim, eps);
    this.#small("head norm", 2, x, n, start);
  }

  matmul(products: readonly Product[], x: Tensor, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.matmul(products, x, n);
    let known = this.#products.get(products);
    if (known === undefined) {
      known = describeProducts(products);
      this.#products.set(products, known);
    }
    const { work, shape } = known;
    this.#profiler.add({ ...work, operations: n * work.operations }, start, () => `[${n}, ${x.cols}] x ${shape}`);
  }

  rope(x: Tensor, n: number, heads: number, headDim: number, table: RopeTable): void {
    const start = this.#profiler.clock();
    this.#inner.rope(x, n, heads, headDim, table);
    this.#small("rope", 2, x, n, start);
  }

  kvStore(pool: KvPool, layer: number, k: Tensor, v: Tensor, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.kvStore(pool, layer, k, v, n);
    const stored = this.#positionBytes(pool, layer);
    this.#profiler.add(
      plain("kv store", n * (4 * (k.cols + v.cols) + stored)),
      start,
      () => `[${n}, ${k.cols} + ${v.cols}]`,
    );
  }

  attention(out: Tensor, q: Tensor, pool: KvPool, layer: number, n: number, spec: AttentionSpec): void {
    const start = this.#profiler.clock();
    this.#inner.attention(out, q, pool, layer, n, spec);
    const { seen, read } = this.#keysOf(spec.window);
    const operations = 2 * seen * spec.heads * (spec.headDimK + spec.headDimV);
    const name = spec.window > 0 ? `attention window ${spec.window}` : "attention";
    const work: Work = {
      name,
      kernel: true,
      arithmetic: "float",
      bytes: read * this.#positionBytes(pool, layer),
      operations,
    };
    this.#profiler.add(work, start, () => `[${n}, ${q.cols}], ${read} keys`);
  }

  glu(out: Tensor, gate: Tensor, up: Tensor, n: number, kind: Glu): void {
    const start = this.#profiler.clock();
    this.#inner.glu(out, gate, up, n, kind);
    this.#small("glu", 3, out, n, start);
  }

  route(out: Routing, logits: Tensor, n: number, spec: RouteSpec): number {
    const start = this.#profiler.clock();
    const fault = this.#inner.route(out, logits, n, spec);
    this.#small("route", 1, logits, n, start);
    return fault;
  }

  experts(out: Tensor, x: Tensor, routing: Routing, n: number, weights: ExpertWeights, kind: Glu | Activation): void {
    const start = this.#profiler.clock();
    this.#inner.experts(out, x, routing, n, weights, kind);
    const { gate, up, down } = weights;
    const elapsedUntil = this.#profiler.clock();
    // Which experts were read is known to the routing only; looking at it is no part of the call.
    const used = new Set(this.#inner.readRouting(routing, n).ids).size;
    const looked = this.#profiler.clock() - elapsedUntil;
    const each = gate === null ? [up, down] : [gate, up, down];
    const work: Work = {
      name: `experts ${dtypesOf(each)}`,
      kernel: true,
      arithmetic: arithmeticOf(each),
      bytes: used * each.reduce((sum, matrix) => sum + bytesOf(matrix, matrix.rows), 0),
      operations: 2 * n * routing.topK * each.reduce((sum, matrix) => sum + matrix.rows * matrix.cols, 0),
    };
    this.#profiler.add(work, start + looked, () => `[${n}, ${x.cols}] x ${used} of ${up.experts} experts`);
  }

  add(y: Tensor, x: Tensor, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.add(y, x, n);
    this.#small("add", 3, x, n, start);
  }

  scale(x: Tensor, factor: number, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.scale(x, factor, n);
    this.#small("scale", 2, x, n, start);
  }

  softcap(x: Tensor, cap: number, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.softcap(x, cap, n);
    this.#small("softcap", 2, x, n, start);
  }

  layerNorm(out: Tensor, x: Tensor, weight: Vector | null, bias: Vector | null, n: number, eps: number): void {
    const start = this.#profiler.clock();
    this.#inner.layerNorm(out, x, weight, bias, n, eps);
    this.#small("norm", 2, x, n, start);
  }
  act(x: Tensor, kind: Activation, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.act(x, kind, n);
    this.#small("act", 2, x, n, start);
  }
  multiply(y: Tensor, x: Tensor, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.multiply(y, x, n);
    this.#small("multiply", 3, y, n, start);
  }
  multiplyVector(x: Tensor, vector: Vector, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.multiplyVector(x, vector, n);
    this.#small("multiply", 2, x, n, start);
  }
  columns(out: Tensor, to: number, x: Tensor, from: number, count: number, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.columns(out, to, x, from, count, n);
    this.#small("columns", 2, out, n, start);
  }
  blend(out: Tensor, parts: readonly Tensor[], weights: Tensor, streams: number, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.blend(out, parts, weights, streams, n);
    this.#small("blend", 1 + parts.length, out, n, start);
  }
  streamScores(out: Tensor, parts: readonly Tensor[], weight: Vector, n: number, eps: number): void {
    const start = this.#profiler.clock();
    this.#inner.streamScores(out, parts, weight, n, eps);
    this.#small("scores", parts.length, parts[0]!, n, start);
  }
  hyperWeights(
    pre: Tensor,
    mix: Tensor,
    x: Tensor,
    scale: Vector,
    base: Vector,
    n: number,
    iterations: number,
    eps: number,
  ): void {
    const start = this.#profiler.clock();
    this.#inner.hyperWeights(pre, mix, x, scale, base, n, iterations, eps);
    this.#small("hyper weights", 2, x, n, start);
  }
  pool(out: Tensor, x: Tensor, kind: Pooling, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.pool(out, x, kind, n);
    this.#small("pool", 1, x, n, start);
  }

  gather(out: Tensor, x: Tensor, indices: Int32Array): void {
    const start = this.#profiler.clock();
    this.#inner.gather(out, x, indices);
    this.#small("gather", 2, out, indices.length, start);
  }

  copy(out: Tensor, x: Tensor, n: number): void {
    const start = this.#profiler.clock();
    this.#inner.copy(out, x, n);
    this.#small("copy", 2, x, n, start);
  }

  // --- outside

  read(x: Tensor, n: number, into?: Float32Array): Float32Array | Promise<Float32Array> {
    const start = this.#profiler.clock();
    const done = (values: Float32Array): Float32Array => {
      this.#profiler.add({ ...host, name: "read", bytes: 8 * n * x.cols }, start, () => `[${n}, ${x.cols}]`);
      return values;
    };
    const answer = this.#inner.read(x, n, into);
    return answer instanceof Promise ? answer.then(done) : done(answer);
  }
  write(x: Tensor, values: Float32Array): void {
    this.#inner.write(x, values);
  }
  readRouting(routing: Routing, n: number): { ids: Int32Array; weights: Float32Array } {
    return this.#inner.readRouting(routing, n);
  }
  kvCopyPage(pool: KvPool, from: number, to: number): void {
    this.#inner.kvCopyPage(pool, from, to);
  }
  setCancelFlag(flag: Int32Array | null): void {
    this.#inner.setCancelFlag(flag);
  }
  counters(): OpsCounters {
    return this.#inner.counters();
  }
  close(): void {
    this.#inner.close();
  }

  /** A verb that walks `arrays` f32 arrays of the shape of x. */
  #small(name: string, arrays: number, x: Tensor, n: number, start: number): void {
    this.#profiler.add(plain(name, arrays * 4 * n * x.cols), start, () => `[${n}, ${x.cols}]`);
  }

  #positionBytes(pool: KvPool, layer: number): number {
    const spec = this.#pools.get(pool.id)!;
    const { kvHeads, headDimK, headDimV } = spec.layers[layer]!;
    return kvHeads * (kvHeadBytes(spec.type, headDimK) + kvHeadBytes(spec.type, headDimV));
  }

  /** `seen`: keys of all rows together; `read`: positions, those that rows of a sequence share once. */
  #keysOf(window: number): { readonly seen: number; readonly read: number } {
    const known = this.#keys.get(window);
    if (known !== undefined) return known;
    const { count, positions, sequences } = this.#rows;
    let [seen, read, end] = [0, 0, 0];
    for (let t = 0; t < count; t++) {
      const position = positions[t]!;
      const first = window > 0 ? Math.max(0, position - window + 1) : 0;
      seen += position + 1 - first;
      const fresh = t === 0 || sequences[t] !== sequences[t - 1];
      read += position + 1 - (fresh ? first : Math.max(first, end));
      end = position + 1;
    }
    const keys = { seen, read };
    this.#keys.set(window, keys);
    return keys;
  }
}

const host = { kernel: false, arithmetic: "none", bytes: 0, operations: 0 } as const;

function plain(name: string, bytes: number): Work {
  return { name, kernel: true, arithmetic: "none", bytes, operations: 0 };
}

/** `blk.7.ffn_gate.weight` -> `ffn_gate`: layers do the same work. */
function nameOf(matrix: Matrix): string {
  return matrix.name.replace(/^blk\.\d+\./, "").replace(/\.weight$/, "");
}

function bytesOf(matrix: Matrix, rows: number): number {
  const { count, bytes } = slicesOf(matrix.layout, matrix.rows, matrix.cols);
  return (rows / matrix.rows) * count * bytes;
}

function dtypesOf(matrices: readonly Matrix[]): string {
  return [...new Set(matrices.map((matrix) => matrix.layout.name.toLowerCase()))].join("+");
}

function arithmeticOf(matrices: readonly Matrix[]): Arithmetic {
  return matrices.every((matrix) => matrix.layout.acts === "f32") ? "float" : "int8";
}

/** Operations are those of one token row. */
function describeProducts(products: readonly Product[]): { readonly work: Work; readonly shape: string } {
  const matrices = products.map((product) => product.weight);
  const work: Work = {
    name: `matmul ${matrices.map(nameOf).join("+")} ${dtypesOf(matrices)}`,
    kernel: true,
    arithmetic: arithmeticOf(matrices),
    bytes: matrices.reduce((sum, matrix) => sum + bytesOf(matrix, matrix.rows), 0),
    operations: 2 * matrices.reduce((sum, matrix) => sum + matrix.rows * matrix.cols, 0),
  };
  return {
    work,
    shape: matrices.map(({ rows, cols, layout }) => `${rows}x${cols} ${layout.name.toLowerCase()}`).join(", "),
  };
}
