/**
 * `Ops` over the native addon: handles are wrapped, specs become numbers, block tables are laid out flat. Everything
 * else, checking included, happens behind the call.
 */
import { HundredweightError } from "../errors.js";
import type { NativeAddon } from "../native/addon.types.js";
import { machineCounters, modelCounters } from "../native/boundary.js";
import { NamedNumbers } from "../native/named-numbers.js";
import type { ThreadLayout } from "../native/threads.js";
import { ColdPages } from "./cold-pages.js";
import { coldPartBytes, stagedParts } from "./cold-sizes.js";
import { kvForm } from "./kv-form.js";
import {
  type AttentionNumbers,
  attentionNumbers,
  expertNumbers,
  gluId,
  gluLimit,
  ids,
  kvLayer,
  pairNumbers,
  productNumbers,
  slotLayer,
} from "./native-numbers.js";
import { NativeWeights } from "./native-weights.js";
import type {
  Activation,
  Arena,
  AttentionSpec,
  Backend,
  ChosenRows,
  ExpertPair,
  ExpertWeights,
  Glu,
  KeyTurn,
  KvPool,
  KvPoolSpec,
  LookupBy,
  LowRankPair,
  MachineUse,
  Matrix,
  MatrixSource,
  Ops,
  OpsCounters,
  Pooling,
  Product,
  RecurInputs,
  RopeSpec,
  RopeTable,
  RouteSpec,
  Routing,
  RowTable,
  SlotPool,
  SlotPoolSpec,
  Temperature,
  Tensor,
  Vector,
  Xielu,
} from "./ops.js";
import { slotPoolBytes } from "./paper.js";
import type { ExpertUses, MemoryPromise, WeightPlacement, WeightTraffic } from "./placement.js";
import { readVector, WeightFiles } from "./reference-weights.js";
import type { WorkingSpace } from "./working-space.js";

export interface NativeOpsOptions {
  readonly threads: ThreadLayout;
  /** Null: the best that passed its self-check. */
  readonly isa: string | null;
  /** Where weights are kept; they are mapped without one. */
  readonly placement?: WeightPlacement;
  readonly promise?: MemoryPromise;
}

const noInts = new Int32Array(0);
const everyRow: ChosenRows = { rows: noInts, factors: new Float32Array(0) };

export class NativeOps implements Backend {
  readonly name: string;
  /** Present when experts lie in slots. */
  declare readonly expectExperts?: NonNullable<Ops["expectExperts"]>;
  readonly #addon: NativeAddon;
  readonly #model: number;
  readonly #threads: number;
  readonly #weights: NativeWeights;
  /** Per pool, in creation order: [sequences * blocks] page ids of the pass, grown when a pass needs more. */
  readonly #tables: Int32Array[] = [];
  #blocks = new Int32Array(0);
  /** Pools that are partly on the disk, by handle, and with their place among the tables. */
  readonly #cold = new Map<number, ColdPages>();
  readonly #coldTables: [number, ColdPages][] = [];
  /** Specs are bound once with the model, their numbers with them: reading objects of many shapes costs more. */
  readonly #products = new WeakMap<readonly Product[], Int32Array>();
  readonly #attention = new WeakMap<AttentionSpec, AttentionNumbers>();
  readonly #experts = new Int32Array(6);
  readonly #recur = new Int32Array(5);
  #slots = 0;
  readonly #parts = new WeakMap<readonly Tensor[], Int32Array>();
  readonly #counters = new NamedNumbers(modelCounters);
  readonly #machine = new NamedNumbers(machineCounters);
  #cancel: Int32Array | null = null;
  #closed = false;

  constructor(addon: NativeAddon, options: NativeOpsOptions) {
    this.#addon = addon;
    const { threads, threadsBatch, most, cpuList, nodes } = options.threads;
    this.#threads = most;
    this.#model = addon.modelOpen(most, cpuList.length > 0 ? Int32Array.from(cpuList) : null, nodes, options.isa);
    if (threads !== threadsBatch) addon.modelThreads(this.#model, threads, threadsBatch);
    if (options.promise !== undefined) this.#promise(options.promise);
    this.#weights = new NativeWeights(addon, this.#model, options.placement);
    this.name = `native/${options.isa ?? addon.isa()}`;
    if (options.placement?.experts !== undefined)
      this.expectExperts = (routing, n, gate) => addon.expectExperts(this.#model, routing.id, n, gate.id);
  }

  #promise({ bytes, limitBytes }: MemoryPromise): void {
    try {
      this.#addon.modelPromise(this.#model, bytes, limitBytes);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  // --- memory

  arena(floats: number): Arena {
    return { id: this.#addon.arena(this.#model, floats), floats };
  }

  tensor(rows: number, cols: number, arena?: Arena, offset = 0): Tensor {
    const id =
      arena === undefined
        ? this.#addon.tensor(this.#model, rows, cols)
        : this.#addon.tensorAt(this.#model, arena.id, offset, rows, cols);
    return { id, rows, cols };
  }

  routing(rows: number, topK: number): Routing {
    return { id: this.#addon.routing(this.#model, rows, topK), rows, topK };
  }

  vector(values: Float32Array): Vector {
    return { id: this.#addon.vector(this.#model, values), length: values.length };
  }

  matrix(source: MatrixSource): Matrix {
    return this.#weights.matrix(source);
  }

  loadVector(source: MatrixSource): Float32Array {
    const files = new WeightFiles();
    try {
      return readVector(source, files);
    } finally {
      files.close();
    }
  }

  kvPool(spec: KvPoolSpec): KvPool {
    const form = kvForm(spec.type);
    const id = this.#addon.kvPool(
      this.#model,
      Int32Array.from(spec.layers.flatMap(kvLayer)),
      ids.kvType[form.keys],
      ids.kvType[form.values],
      form.hadamard,
      spec.pages,
      spec.cold?.frames ?? spec.pages,
      spec.every ?? 1,
    );
    const pageBytes = this.#addon.kvPageBytes(this.#model, id);
    if (spec.cold !== undefined) this.#openCold(id, spec);
    this.#tables.push(new Int32Array(0));
    this.#blocks = new Int32Array(this.#tables.length);
    return { id, pages: spec.pages, layers: spec.layers.length, pageBytes };
  }

  #openCold(pool: number, spec: KvPoolSpec): void {
    const { pages, every = 1, cold } = spec;
    const of = { addon: this.#addon, model: this.#model, pool, pages, every, ...cold! };
    const [partBytes, { places }] = [coldPartBytes(spec), stagedParts(spec)];
    this.#cold.set(pool, new ColdPages({ ...of, partBytes, places }));
    this.#coldTables.push([this.#tables.length, this.#cold.get(pool)!]);
  }

  slotPool({ layers, slots, keeps }: SlotPoolSpec): SlotPool {
    const id = this.#addon.slotPool(this.#model, Int32Array.from(layers.flatMap(slotLayer)), slots, keeps);
    this.#slots = id;
    return { id, slots, keeps, ...slotPoolBytes(layers) };
  }

  ropeTable(spec: RopeSpec, maxRows: number): RopeTable {
    if (spec.frequencies.length * 2 !== spec.dims)
      throw new HundredweightError("INTERNAL", "a rope table needs dims / 2 frequencies");
    const { frequencies, magnitude, interleaved, back = 0, first = 0 } = spec;
    const id = this.#addon.ropeTable(this.#model, frequencies, magnitude, interleaved, maxRows, back, first);
    return { id };
  }

  seal(space?: WorkingSpace): void {
    this.#weights.load();
    if (space !== undefined) {
      const { buffers, tables } = space.sizes(this.#threads);
      this.#addon.nameSpace(this.#model, buffers, tables);
    }
    this.#addon.seal(this.#model);
  }

  // --- pass

  begin(rows: RowTable): void {
    this.#weights.watch();
    let sequences = 0;
    for (let t = 0; t < rows.count; t++) sequences = Math.max(sequences, rows.sequences[t]! + 1);
    rows.blockTables.forEach((tables, pool) => {
      let blocks = 1;
      for (const table of tables) blocks = Math.max(blocks, table.length);
      this.#blocks[pool] = blocks;
      if (this.#tables[pool]!.length < sequences * blocks)
        this.#tables[pool] = new Int32Array(Math.max(sequences * blocks, 2 * this.#tables[pool]!.length));
      const flat = this.#tables[pool]!;
      flat.fill(-1, 0, sequences * blocks);
      for (let s = 0; s < Math.min(sequences, tables.length); s++) flat.set(tables[s]!, s * blocks);
    });
    for (const [pool, pages] of this.#coldTables) {
      const blocks = this.#blocks[pool]!;
      pages.begin(rows, this.#tables[pool]!.subarray(0, sequences * blocks), blocks);
    }
    const { count, ids, positions, sequences: of } = rows;
    this.#addon.begin(this.#model, count, ids, positions, of, sequences, this.#tables, this.#blocks);
    if (this.#slots !== 0 && rows.slots !== undefined)
      this.#addon.beginSlots(this.#model, this.#slots, rows.slots, rows.marks ?? noInts);
  }

  embed(out: Tensor, table: Matrix, n: number, scale: number, by: LookupBy | Int32Array = "ids"): void {
    const [kind, given] = typeof by === "string" ? ([by, noInts] as const) : (["given", by] as const);
    this.#addon.embed(this.#model, out.id, table.id, n, scale, ids.lookup[kind], given);
  }

  rmsNorm(out: Tensor, x: Tensor, weight: Vector | null, n: number, eps: number): void {
    this.#addon.rmsNorm(this.#model, out.id, x.id, weight?.id ?? 0, n, eps);
  }

  headNorm(x: Tensor, weight: Vector | null, n: number, heads: number, headDim: number, eps: number): void {
    this.#addon.headNorm(this.#model, x.id, weight?.id ?? 0, n, heads, headDim, eps);
  }

  matmul(products: readonly Product[], x: Tensor, n: number): void {
    this.#checkCancelled();
    let packed = this.#products.get(products);
    if (packed === undefined) {
      packed = productNumbers(products);
      this.#products.set(products, packed);
    }
    this.#addon.matmul(this.#model, packed, x.id, n);
  }

  lowRank(
    out: Tensor,
    first: number,
    x: Tensor | null,
    { a, b }: LowRankPair<Matrix>,
    chosen: ChosenRows | null,
    n: number,
  ): void {
    this.#checkCancelled();
    const { rows, factors } = chosen ?? everyRow;
    this.#addon.lowRank(this.#model, out.id, first, x?.id ?? 0, a.id, b.id, n, rows, factors);
  }

  rope(x: Tensor, n: number, heads: number, headDim: number, table: RopeTable): void {
    this.#addon.rope(this.#model, x.id, n, heads, headDim, table.id);
  }

  kvStore(pool: KvPool, layer: number, k: Tensor, v: Tensor | null, n: number): void {
    this.#addon.kvStore(this.#model, pool.id, layer, k.id, v?.id ?? 0, n);
  }

  attention(out: Tensor, q: Tensor, pool: KvPool, layer: number, n: number, spec: AttentionSpec): void {
    this.#checkCancelled();
    let numbers = this.#attention.get(spec);
    if (numbers === undefined) {
      numbers = attentionNumbers(spec);
      this.#attention.set(spec, numbers);
    }
    this.#addon.attention(
      this.#model,
      out.id,
      q.id,
      pool.id,
      layer,
      n,
      numbers.heads,
      numbers.scale,
      numbers.window,
      numbers.softcap,
      numbers.sinks,
      numbers.reach,
      numbers.slopes,
      numbers.selection,
      numbers.carry,
      numbers.place,
    );
  }

  select(
    out: Routing,
    q: Tensor,
    weights: Tensor | null,
    pool: KvPool,
    layer: number,
    n: number,
    expand = false,
  ): void {
    this.#checkCancelled();
    this.#addon.select(this.#model, out.id, q.id, weights?.id ?? 0, pool.id, layer, n, expand);
  }

  shortConv(
    out: Tensor,
    x: Tensor,
    pool: SlotPool,
    layer: number,
    weight: Vector,
    bias: Vector | null,
    n: number,
  ): void {
    this.#addon.shortConv(this.#model, out.id, x.id, pool.id, layer, weight.id, bias?.id ?? 0, n);
  }

  recur(out: Tensor, inputs: RecurInputs, pool: SlotPool, layer: number, skip: Vector | null, n: number): void {
    this.#checkCancelled();
    const packed = this.#recur;
    packed[0] = inputs.q.id;
    packed[1] = inputs.k.id;
    packed[2] = inputs.v.id;
    packed[3] = inputs.decay.id;
    packed[4] = inputs.beta?.id ?? 0;
    this.#addon.recur(this.#model, out.id, packed, pool.id, layer, skip?.id ?? 0, n);
  }

  compress(
    out: Tensor,
    values: Tensor,
    gates: Tensor,
    pool: SlotPool,
    layer: number,
    positions: Vector | null,
    n: number,
  ): void {
    this.#checkCancelled();
    this.#addon.compress(this.#model, out.id, values.id, gates.id, pool.id, layer, positions?.id ?? 0, n);
  }

  replay(pool: SlotPool, from: number, to: number, keep: number, rows: number): void {
    this.#addon.replay(this.#model, pool.id, from, to, keep, rows);
  }

  glu(out: Tensor, gate: Tensor, up: Tensor, n: number, kind: Glu): void {
    this.#addon.glu(this.#model, out.id, gate.id, up.id, n, gluId(kind), gluLimit(kind));
  }

  route(out: Routing, logits: Tensor, n: number, spec: RouteSpec): number {
    if (spec.topK !== out.topK)
      throw new HundredweightError("NATIVE_ARGUMENT", `top ${spec.topK} into a routing of ${out.topK}`);
    return this.#addon.route(
      this.#model,
      out.id,
      logits.id,
      n,
      ids.score[spec.score],
      spec.renormalize,
      spec.scale,
      spec.selectionBias?.id ?? 0,
      spec.factors?.id ?? 0,
      spec.groups?.count ?? 1,
      spec.groups?.used ?? 1,
      spec.table?.id ?? 0,
    );
  }

  experts(
    out: Tensor,
    x: Tensor,
    routing: Routing,
    n: number,
    weights: ExpertWeights,
    kind: Glu | Activation,
    pairs: readonly ExpertPair<Matrix>[] = [],
  ): void {
    this.#checkCancelled();
    this.#addon.experts(
      this.#model,
      out.id,
      x.id,
      routing.id,
      n,
      expertNumbers(this.#experts, weights),
      weights.gate === null ? ids.act[kind as Activation] : gluId(kind as Glu),
      weights.gate === null ? 0 : gluLimit(kind as Glu),
      weights.weightsInput ?? false,
      ...pairNumbers(pairs, n),
    );
  }

  add(y: Tensor, x: Tensor, n: number): void {
    this.#addon.add(this.#model, y.id, x.id, n);
  }

  scale(x: Tensor, factor: number, n: number): void {
    this.#addon.scale(this.#model, x.id, factor, n);
  }

  softcap(x: Tensor, cap: number, n: number): void {
    this.#addon.softcap(this.#model, x.id, cap, n);
  }

  layerNorm(out: Tensor, x: Tensor, weight: Vector | null, bias: Vector | null, n: number, eps: number): void {
    this.#addon.layerNorm(this.#model, out.id, x.id, weight?.id ?? 0, bias?.id ?? 0, n, eps);
  }

  act(x: Tensor, kind: Activation, n: number): void {
    this.#addon.act(this.#model, x.id, n, ids.act[kind]);
  }

  multiply(y: Tensor, x: Tensor, n: number): void {
    this.#addon.multiply(this.#model, y.id, x.id, n);
  }

  multiplyVector(x: Tensor, vector: Vector, n: number): void {
    this.#addon.multiplyVector(this.#model, x.id, vector.id, n);
  }

  addVector(x: Tensor, vector: Vector, n: number): void {
    this.#addon.addVector(this.#model, x.id, vector.id, n);
  }

  columns(out: Tensor, to: number, x: Tensor, from: number, count: number, n: number): void {
    this.#addon.columns(this.#model, out.id, x.id, to, from, count, n);
  }

  blend(out: Tensor, parts: readonly Tensor[], weights: Tensor, streams: number, n: number): void {
    this.#addon.blend(this.#model, out.id, this.#handles(parts), weights.id, streams, n);
  }

  streamScores(out: Tensor, parts: readonly Tensor[], weight: Vector, n: number, eps: number): void {
    this.#addon.streamScores(this.#model, out.id, this.#handles(parts), weight.id, n, eps);
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
    this.#addon.hyperWeights(this.#model, pre.id, mix.id, x.id, scale.id, base.id, n, iterations, eps);
  }

  headDots(out: Tensor, x: Tensor, y: Tensor, n: number): void {
    this.#addon.headDots(this.#model, out.id, x.id, y.id, n);
  }

  temper(x: Tensor, { scale, length, offset }: Temperature, n: number): void {
    this.#addon.temper(this.#model, x.id, n, scale, length, offset);
  }

  centreHeads(x: Tensor, n: number, heads: number, headDim: number, eps: number): void {
    this.#addon.centreHeads(this.#model, x.id, n, heads, headDim, eps);
  }

  xielu(x: Tensor, { positive, negative, linear, limit }: Xielu, n: number): void {
    this.#addon.xielu(this.#model, x.id, n, positive, negative, linear, limit);
  }

  sparsify(x: Tensor, deviations: number, n: number): void {
    this.#addon.sparsify(this.#model, x.id, n, deviations);
  }

  matchSize(x: Tensor, like: Tensor, n: number): void {
    this.#addon.matchSize(this.#model, x.id, like.id, n);
  }

  pool(out: Tensor, x: Tensor, kind: Pooling, n: number): void {
    this.#addon.pool(this.#model, out.id, x.id, n, ids.pooling[kind]);
  }

  /** Lists of tensors are bound once with the model: their handles too. */
  #handles(parts: readonly Tensor[]): Int32Array {
    const known = this.#parts.get(parts) ?? Int32Array.from(parts, ({ id }) => id);
    this.#parts.set(parts, known);
    return known;
  }

  gather(out: Tensor, x: Tensor, indices: Int32Array): void {
    this.#addon.gather(this.#model, out.id, x.id, indices);
  }

  copy(out: Tensor, x: Tensor, n: number): void {
    this.#addon.copy(this.#model, out.id, x.id, n);
  }

  // --- outside

  view(x: Tensor): Float32Array {
    return this.#addon.tensorView(this.#model, x.id);
  }

  read(x: Tensor, n: number, into?: Float32Array): Float32Array {
    const out = into === undefined ? new Float32Array(n * x.cols) : into.subarray(0, n * x.cols);
    this.#addon.tensorRead(this.#model, x.id, n, out);
    return out;
  }

  write(x: Tensor, values: Float32Array): void {
    this.#addon.tensorWrite(this.#model, x.id, values);
  }

  readRouting(routing: Routing, n: number): { ids: Int32Array; weights: Float32Array } {
    const ids = new Int32Array(n * routing.topK);
    const weights = new Float32Array(n * routing.topK);
    this.#addon.routingRead(this.#model, routing.id, n, ids, weights);
    return { ids, weights };
  }

  readUnit(pool: KvPool | SlotPool, unit: number, offset: number, into: Uint8Array): void {
    const cold = this.#cold.get(pool.id);
    if (cold === undefined) this.#addon.unitRead(this.#model, pool.id, unit, offset, into);
    else cold.read(unit, offset, into);
  }

  writeUnit(pool: KvPool | SlotPool, unit: number, offset: number, bytes: Uint8Array): void {
    this.#cold.get(pool.id)?.beforeWrite(unit, offset > 0);
    this.#addon.unitWrite(this.#model, pool.id, unit, offset, bytes);
  }

  kvTurn(pool: KvPool, layer: number, page: number, [from, to]: readonly [number, number], turn: KeyTurn): void {
    const { cosines, sines, interleaved, first } = turn;
    this.#cold.get(pool.id)?.beforeWrite(page, true);
    this.#addon.kvTurn(this.#model, pool.id, layer, page, from, to, cosines, sines, interleaved, first);
  }

  kvCopyRows(pool: KvPool, from: number, to: number, rows: number): void {
    this.#cold.get(pool.id)?.bring([from, to]);
    this.#addon.kvCopyRows(this.#model, pool.id, from, to, rows);
  }

  kvCopyPage(pool: KvPool, from: number, to: number): void {
    const cold = this.#cold.get(pool.id);
    if (cold === undefined) this.#addon.kvCopyPage(this.#model, pool.id, from, to);
    else cold.copy(from, to);
  }

  /** A flag in ordinary memory is looked at between calls only; in shared memory also inside them. */
  setCancelFlag(flag: Int32Array | null): void {
    this.#cancel = flag;
    const shared = flag !== null && flag.buffer instanceof SharedArrayBuffer;
    this.#addon.modelSetCancel(this.#model, shared ? flag : null);
  }

  #checkCancelled(): void {
    if (this.#cancel !== null && Atomics.load(this.#cancel, 0) !== 0)
      throw new HundredweightError("CANCELLED", "stopped by the caller");
  }

  counters(): OpsCounters {
    this.#addon.modelCounters(this.#model, this.#counters.values);
    return this.#counters.all();
  }

  traffic(): WeightTraffic {
    return this.#weights.traffic();
  }

  expertUses(): ExpertUses | undefined {
    return this.#weights.expertUses();
  }

  readDepth(depth: number): void {
    this.#weights.readDepth(depth);
  }

  machine(): MachineUse {
    this.#addon.machineCounters(this.#model, this.#machine.values);
    return this.#machine.all();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.modelClose(this.#model);
    for (const pages of this.#cold.values()) pages.close();
  }
}
