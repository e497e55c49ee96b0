/**
 * `Ops` with a clock around every verb of a pass. It wraps another implementation, so that a run without a profile pays
 * nothing for it; handles are the inner ones.
 */
import { slicesOf } from "../formats/layouts.js";
import { kvPositionBytes } from "./kv-form.js";
import type {
  KvPool,
  KvPoolSpec,
  Matrix,
  Ops,
  Product,
  RowTable,
  SlotLayer,
  SlotPool,
  SlotPoolSpec,
  Tensor,
  Verbs,
} from "./ops.js";
import { slotFloats } from "./paper.js";
import type { Arithmetic, Profiler, Work } from "./profiler.js";
import { wrapOps } from "./verbs.js";

/** A call as the profile tells it; `shape` is made for a trace only. */
interface Described {
  readonly work: Work;
  readonly shape: () => string;
  /** Milliseconds that describing the call took, which are no part of it. */
  readonly asideMs?: number;
}

type Describe = {
  readonly [V in keyof Verbs]?: (...args: Parameters<NonNullable<Verbs[V]>>) => Described;
};

export function profiledOps(inner: Ops, profiler: Profiler): Ops {
  const pools = new Map<number, KvPoolSpec>();
  const pass = new PassKeys();
  const slotLayers: SlotLayer[] = [];
  const describe = describer(inner, profiler, pools, slotLayers, pass) as Readonly<
    Record<string, ((...args: unknown[]) => Described) | undefined>
  >;
  const ops = wrapOps(inner, (verb, run) => {
    const told = describe[verb];
    const call = run as (...args: unknown[]) => unknown;
    if (told === undefined) return call;
    return (...args: unknown[]): unknown => {
      if (verb === "begin") pass.begin(args[0] as RowTable, profiler);
      const start = profiler.clock();
      const done = <T>(result: T): T => {
        const { work, shape, asideMs = 0 } = told(...args);
        profiler.add(work, start + asideMs, shape);
        return result;
      };
      const result = call(...args);
      return result instanceof Promise ? result.then(done) : done(result);
    };
  });
  const kvPool = (spec: KvPoolSpec): KvPool => {
    const pool = inner.kvPool(spec);
    pools.set(pool.id, spec);
    return pool;
  };
  const slotPool = (spec: SlotPoolSpec): SlotPool => {
    slotLayers.push(...spec.layers);
    return inner.slotPool(spec);
  };
  return { ...ops, kvPool, slotPool };
}

/** The rows of the pass that runs, and the keys they see. */
class PassKeys {
  #rows: RowTable | undefined;
  /** By window. */
  readonly #keys = new Map<number, { readonly seen: number; readonly read: number }>();

  begin(rows: RowTable, profiler: Profiler): void {
    const { count, sequences } = rows;
    let apart = true;
    for (let t = 1; t < count; t++) if (sequences[t] === sequences[t - 1]) apart = false;
    profiler.pass(apart ? "decode" : "prefill", count);
    this.#rows = rows;
    this.#keys.clear();
  }

  /** Sequences that have rows. */
  get sequences(): number {
    const { count, sequences } = this.#rows!;
    return new Set(sequences.subarray(0, count)).size;
  }

  /** `seen`: keys of all rows together; `read`: positions, those that rows of a sequence share once. */
  of(window: number): { readonly seen: number; readonly read: number } {
    const known = this.#keys.get(window);
    if (known !== undefined) return known;
    const { count, positions, sequences } = this.#rows!;
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

/** Says of each verb what a call read and computed. Verbs that are missing here are not told. */
function describer(
  inner: Ops,
  profiler: Profiler,
  pools: ReadonlyMap<number, KvPoolSpec>,
  slotLayers: readonly SlotLayer[],
  pass: PassKeys,
): Describe {
  /** Bound once with the model, called once a pass. */
  const known = new WeakMap<readonly Product[], { readonly work: Work; readonly shape: string }>();
  const positionBytes = (pool: KvPool, layer: number): number => {
    const spec = pools.get(pool.id)!;
    return kvPositionBytes(spec.type, spec.layers[layer]!);
  };
  return {
    begin: ({ count }) => ({ work: { ...host, name: "begin" }, shape: () => `${count} rows` }),
    expectExperts: (_routing, n) => ({ work: { ...host, name: "expect experts" }, shape: () => `${n} rows` }),
    read: (x, n) => ({ work: { ...host, name: "read", bytes: 8 * n * x.cols }, shape: () => `[${n}, ${x.cols}]` }),
    embed: (out, table, n) => ({
      work: plain("embed", n * bytesOf(table, 1) + 4 * n * out.cols),
      shape: () => `[${n}, ${out.cols}] of ${nameOf(table)}`,
    }),
    matmul: (products, x, n) => {
      const found = known.get(products) ?? describeProducts(products);
      known.set(products, found);
      const { work, shape } = found;
      return { work: { ...work, operations: n * work.operations }, shape: () => `[${n}, ${x.cols}] x ${shape}` };
    },
    kvStore: (pool, layer, k, v, n) => ({
      work: plain("kv store", n * (4 * (k.cols + (v?.cols ?? 0)) + positionBytes(pool, layer))),
      shape: () => `[${n}, ${k.cols} + ${v?.cols ?? 0}]`,
    }),
    compress: (_out, values, _gates, _pool, _layer, _positions, n) => small("compress", 4, values, n),
    shortConv: (_out, x, _pool, _layer, _weight, _bias, n) => small("short convolution", 2, x, n),
    recur: (out, _inputs, _pool, layer, _skip, n) => {
      const shape = slotLayers[layer]!;
      const correct = shape.kind === "matrix" && shape.correct;
      const values = slotFloats(shape);
      // A slot is read, another one written, once for all rows of a sequence.
      const bytes = 8 * values * pass.sequences;
      const operations = (correct ? 7 : 5) * n * values;
      const name = correct ? "delta rule" : "scan";
      return {
        work: { name, kernel: true, arithmetic: "float", bytes, operations },
        shape: () => `[${n}, ${out.cols}]`,
      };
    },
    replay: (pool, _from, _to, _keep, rows) => ({
      work: plain("replay", 2 * pool.slotBytes),
      shape: () => `${rows} rows`,
    }),
    select: (_out, q, _weights, pool, layer, n) => {
      const { seen, read } = pass.of(0);
      const bytes = read * positionBytes(pool, layer);
      const work = {
        name: "select positions",
        kernel: true,
        arithmetic: "float",
        bytes,
        operations: 2 * seen * q.cols,
      };
      return { work: work as Work, shape: () => `[${n}, ${q.cols}], ${read} keys` };
    },
    attention: (_out, q, pool, layer, n, spec) => {
      // Each row reads the positions that were chosen for it.
      const chosen = n * (spec.selection?.topK ?? 0);
      const { seen, read } = spec.selection ? { seen: chosen, read: chosen } : pass.of(spec.window);
      const name = spec.window > 0 ? `attention window ${spec.window}` : "attention";
      const operations = 2 * seen * spec.heads * (spec.headDimK + spec.headDimV);
      const bytes = read * positionBytes(pool, layer);
      return {
        work: { name, kernel: true, arithmetic: "float", bytes, operations },
        shape: () => `[${n}, ${q.cols}], ${read} keys`,
      };
    },
    experts: (_out, x, routing, n, { gate, up, down }) => {
      // Which experts were read is known to the routing only; looking at it is no part of the call.
      const looking = profiler.clock();
      const used = new Set(inner.readRouting(routing, n).ids).size;
      const asideMs = profiler.clock() - looking;
      const each = gate === null ? [up, down] : [gate, up, down];
      const work: Work = {
        name: `experts ${dtypesOf(each)}`,
        kernel: true,
        arithmetic: arithmeticOf(each),
        bytes: used * each.reduce((sum, matrix) => sum + bytesOf(matrix, matrix.rows), 0),
        operations: 2 * n * routing.topK * each.reduce((sum, matrix) => sum + matrix.rows * matrix.cols, 0),
      };
      return { work, shape: () => `[${n}, ${x.cols}] x ${used} of ${up.experts} experts`, asideMs };
    },
    rmsNorm: (_out, x, _weight, n) => small("norm", 2, x, n),
    layerNorm: (_out, x, _weight, _bias, n) => small("norm", 2, x, n),
    headNorm: (x, _weight, n) => small("head norm", 2, x, n),
    rope: (x, n) => small("rope", 2, x, n),
    glu: (out, _gate, _up, n) => small("glu", 3, out, n),
    route: (_out, logits, n) => small("route", 1, logits, n),
    add: (_y, x, n) => small("add", 3, x, n),
    scale: (x, _factor, n) => small("scale", 2, x, n),
    softcap: (x, _cap, n) => small("softcap", 2, x, n),
    act: (x, _kind, n) => small("act", 2, x, n),
    multiply: (y, _x, n) => small("multiply", 3, y, n),
    multiplyVector: (x, _vector, n) => small("multiply", 2, x, n),
    addVector: (x, _vector, n) => small("add", 2, x, n),
    columns: (out, _to, _x, _from, _count, n) => small("columns", 2, out, n),
    blend: (out, parts, _weights, _streams, n) => small("blend", 1 + parts.length, out, n),
    streamScores: (_out, parts, _weight, n) => small("scores", parts.length, parts[0]!, n),
    hyperWeights: (_pre, _mix, x, _scale, _base, n) => small("hyper weights", 2, x, n),
    headDots: (_out, x, _y, n) => small("products of heads", 2, x, n),
    temper: (x, _temperature, n) => small("scale", 2, x, n),
    centreHeads: (x, n) => small("head norm", 2, x, n),
    xielu: (x, _numbers, n) => small("act", 2, x, n),
    sparsify: (x, _deviations, n) => small("act", 2, x, n),
    matchSize: (x, _like, n) => small("scale", 3, x, n),
    pool: (_out, x, _kind, n) => small("pool", 1, x, n),
    gather: (out, _x, indices) => small("gather", 2, out, indices.length),
    copy: (_out, x, n) => small("copy", 2, x, n),
  };
}

const host = { kernel: false, arithmetic: "none", bytes: 0, operations: 0 } as const;

function plain(name: string, bytes: number): Work {
  return { name, kernel: true, arithmetic: "none", bytes, operations: 0 };
}

/** A verb that walks `arrays` f32 arrays of the shape of x. */
function small(name: string, arrays: number, x: Tensor, n: number): Described {
  return { work: plain(name, arrays * 4 * n * x.cols), shape: () => `[${n}, ${x.cols}]` };
}

/** `blk.7.ffn_gate.weight` -> `ffn_gate`: layers do the same work. */
function nameOf(matrix: Matrix): string {
  return matrix.name.replace(/^blk\.\d+\./, "").replace(/\.weight$/, "");
}

function bytesOf(matrix: Matrix, rows: number): number {
  const { count, bytes, wholeBytes } = slicesOf(matrix.layout, matrix.rows, matrix.cols);
  return (rows / matrix.rows) * (count * bytes + wholeBytes);
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
