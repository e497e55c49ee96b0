/** `note` tells which instruction set was passed over because a kernel failed its self-check. */
export interface CpuInfo {
  readonly model: string;
  readonly features: readonly string[];
  readonly physicalCores: number;
  /** Those of the fastest kind, where the system tells kinds apart (Windows, macOS); else all. */
  readonly fastestCores: number;
  readonly note?: string;
}

/** Where weights go. Those that are not named are read a row at a time. */
export interface NativePlacement {
  /** One of `ioEngines`. */
  readonly engine: number;
  /** Reads in flight. */
  readonly depth: number;
  /** [weight, slices] each: slices [0, slices) stay in memory; all of stacked experts. */
  readonly pinned: Int32Array;
  /** Pinned weights are interleaved where the kernels of their type gain by it; no more bytes, nor another result. */
  readonly packed: boolean;
  readonly ringBytes: number;
  /** [weight, from, to] each, slices in the order of use; those of a weight begin where its pinned ones end. */
  readonly tiles: Int32Array;
  /** [n, n weights] for each layer: the matrices of its experts. */
  readonly groups: Int32Array;
  /** [slots, n, n groups of equal size] each. */
  readonly classes: Int32Array;
  /** Where passes of many rows leave misses that find no free slot. */
  readonly stagingBytes: number;
  /** By `expertPolicyNumbers`; of groups only. */
  readonly policy: Float64Array;
  /** The share of earlier passes that asked for each of the groups' experts, one after the other; may be empty. */
  readonly uses: Float32Array;
  /** Tries mlock. */
  readonly lock: boolean;
}

/**
 * Every function of the native addon. Units in names; handles are small positive integers owned by the model that made
 * them; a wrong handle, shape or type throws NATIVE_ARGUMENT and never crashes. `addon.ts` is the only file that loads
 * the binary.
 */
export interface NativeAddon {
  /** The class that errors are made of, as `new Class(code, message)`; plain Errors with a `code` until then. */
  setErrorClass(errorClass: new (code: never, message: string) => Error): void;
  /** Selected instruction set, e.g. "avx2", and the ones this build and CPU can run, lowest first. */
  isa(): string;
  isas(): string[];
  /** Which tables of boundary.ts the binary was built from: boundary-version.ts. */
  boundary(): string;
  /** CPU model and features as the probe saw them, for `doctor`. */
  cpuInfo(): CpuInfo;
  /**
   * malloc of the whole process: blocks from `mapFromBytes` are mappings of their own, an arena's end is given back
   * when `trimFromBytes` of it are free. glibc raises both as it sees larger blocks; these stay. Nothing happens
   * without glibc.
   */
  boundMalloc(mapFromBytes: number, trimFromBytes: number): void;
  /**
   * Gives free pages of malloc's arenas, of all threads of the process, back to the system. 1 when there were any; 0
   * without glibc.
   */
  trimMemory(): number;
  /**
   * Lets private memory of this process grow by `growthBytes` more: what goes beyond fails to be allocated, and no
   * core is written of the abort that follows. 1 when the system does so (Linux, Windows), else 0.
   */
  limitMemory(growthBytes: number): number;
  /**
   * Locks an open file against other openings of it, in any process, until the descriptor is closed or its process is
   * gone. Never waits: 1 it is locked, 0 somebody else holds it, -1 its file system has no locks.
   */
  lockFile(descriptor: number): number;
  /** By `memoryStates`. */
  memoryState(out: Float64Array): void;
  /** Tiles all models of this process have finished, modulo 2^31: whether an engine in another thread gets on. */
  tilesFinished(): number;
  /** Threads of this process that wait for a read from the disk now. */
  threadsReading(): number;

  // --- model: owns files, weights, tensors; all is released with it. Models of one machine share threads, readers
  // cpuList: thread i is bound to CPU i of it, in turn. nodes: thread i is on memory node i modulo `nodes`; 0: memory
  // is where it happens to be.
  modelOpen(threads: number, cpuList: Int32Array | null, nodes: number, isa: string | null): number;
  /** How many of its threads compute passes of one row, and of more. Until then all compute all. */
  modelThreads(model: number, oneRow: number, manyRows: number): void;
  modelClose(model: number): void;
  /** The flag must lie in a SharedArrayBuffer: it is read while this thread is inside a call. */
  modelSetCancel(model: number, flag: Int32Array | null): void;
  /** out: `modelCounters` of boundary.ts, where all lists of numbers are named. */
  modelCounters(model: number, out: Float64Array): void;
  /**
   * The model will hold at most so many bytes: allocations beyond it fail. `limit`: of the promises to all models of
   * the process; 0 = none.
   * @throws MEMORY_BUDGET beyond the limit
   */
  modelPromise(model: number, bytes: number, limit: number): void;
  machineCounters(model: number, out: Float64Array): void;
  /** To all models of the process. */
  promisedBytes(): number;

  /** Maps a file read-only. Returns a file handle. */
  fileOpen(model: number, path: string): number;
  /** The same without a mapping: its weights are pinned, streamed, in expert slots, or read a row at a time. */
  fileOpenUnmapped(model: number, path: string, direct: boolean): number;
  fileBytes(model: number, file: number): number;
  /**
   * layout: its numbers (ops/native-layout.ts). extents: [plane, file, offset, bytes] each; of a plane in ascending
   * order of experts, or of segments.
   */
  weight(
    model: number,
    layout: Float64Array,
    rows: number,
    cols: number,
    experts: number,
    extents: Float64Array,
  ): number;
  /** A weight in memory of its own, zeroes until it is filled, in pieces of any length. */
  weightHeld(model: number, dtype: number, rows: number, cols: number, experts: number): number;
  weightFill(model: number, weight: number, offset: number, bytes: Uint8Array): void;
  /** Before it is placed: products will take it by heads. */
  weightHeads(model: number, weight: number, heads: number): void;
  /** Dequantizes rows [row0, row0 + count) of an expert into out. */
  weightRead(model: number, weight: number, expert: number, row0: number, count: number, out: Float32Array): void;

  /**
   * Places the weights of unmapped files, once and before seal(): allocates and fills pinned memory, starts reading
   * ahead. When that fails the model is as it was. Returns what reads: "io_uring" or "threads".
   * @throws MEMORY_BUDGET, FILE_IO, MODEL_CHANGED, CANCELLED
   */
  place(model: number, placement: NativePlacement): string;
  /** At any time: so many reads in flight from now on, at most twice what it was placed with. */
  readerDepth(model: number, depth: number): void;
  /**
   * Gives back memory that only makes reading smoother: the ring keeps its least size. Between passes. @throws
   * CANCELLED
   */
  residencyShrink(model: number): void;
  residencyCounters(model: number, out: Float64Array): void;
  /** Passes of few rows that asked for each expert in slots, group after group.  @returns how many passes */
  expertUses(model: number, out: Float32Array): number;

  tensor(model: number, rows: number, cols: number): number;
  arena(model: number, floats: number): number;
  /** At `offset` floats of an arena, a multiple of 16. */
  tensorAt(model: number, arena: number, offset: number, rows: number, cols: number): number;
  tensorRead(model: number, tensor: number, rows: number, out: Float32Array): void;
  tensorWrite(model: number, tensor: number, values: Float32Array): void;
  /**
   * The tensor's memory [rows * cols], the same array each time; empty once the model is closed.
   * @throws NATIVE_UNAVAILABLE
   */
  tensorView(model: number, tensor: number): Float32Array;
  vector(model: number, values: Float32Array): number;
  routing(model: number, rows: number, topK: number): number;
  routingRead(model: number, routing: number, rows: number, ids: Int32Array, weights: Float32Array): void;
  ropeTable(
    model: number,
    frequencies: Float64Array,
    magnitude: number,
    interleaved: boolean,
    maxRows: number,
    back: number,
    first: number,
  ): number;
  /** layers: `kvLayerNumbers` of each. keys, values: of `kvTypes` */
  kvPool(
    model: number,
    layers: Int32Array,
    keys: number,
    values: number,
    hadamard: boolean,
    pages: number,
    frames: number,
    every: number,
  ): number;
  /** Where pages without a frame lie, and how many parts of them are read at a time. */
  kvColdFile(model: number, pool: number, path: string, places: number): void;
  /** A page gets a frame, or gives it back. */
  kvFrame(model: number, pool: number, page: number, wanted: boolean): void;
  kvPageBytes(model: number, pool: number): number;
  kvCopyPage(model: number, pool: number, from: number, to: number): void;
  /** A pool of states that are replaced; at most one. layers: `slotLayerNumbers` of each. */
  slotPool(model: number, layers: Int32Array, slots: number, keeps: number): number;
  /** Bytes of a page or a slot of either kind of pool, from `offset` on. */
  unitRead(model: number, pool: number, unit: number, offset: number, out: Uint8Array): void;
  unitWrite(model: number, pool: number, unit: number, offset: number, bytes: Uint8Array): void;
  /**
   * All working space that verbs will use: `spaceBuffers`, and entries of each pool's block table. Without it verbs
   * take what they need.
   */
  nameSpace(model: number, buffers: Float64Array, tables: Int32Array): void;
  seal(model: number): void;

  /** blockTables: for pool 0.. in creation order, [sequences * blocks] page ids, -1 where absent. */
  begin(
    model: number,
    count: number,
    ids: Int32Array,
    positions: Int32Array,
    sequences: Int32Array,
    sequenceCount: number,
    blockTables: Int32Array[],
    blocksPerSequence: Int32Array,
  ): void;
  /**
   * After `begin`, where there are slots. slots: [reads or -1, writes, keep or -1] of each sequence of the pass. marks:
   * [row, slot] each, ascending: the state after that row is written there too.
   */
  beginSlots(model: number, pool: number, slots: Int32Array, marks: Int32Array): void;
  /** by: of `lookups`; given: rows of the table where they are given (-1: zeros), else none */
  embed(model: number, out: number, weight: number, n: number, scale: number, by: number, given: Int32Array): void;
  rmsNorm(model: number, out: number, x: number, vector: number, n: number, eps: number): void;
  headNorm(model: number, x: number, vector: number, n: number, heads: number, headDim: number, eps: number): void;
  /**
   * products: [out, weight, bias or 0, into, along, heads] * count; into: of `productInto`; along: 1 the other axis;
   * heads: 1, or so many matrices that the rows are.
   */
  matmul(model: number, products: Int32Array, x: number, n: number): void;
  /** x 0: rows of a by token id; no `rows`: out = B A x for all n, else added with `factors`. */
  lowRank(
    model: number,
    out: number,
    first: number,
    x: number,
    a: number,
    b: number,
    n: number,
    rows: Int32Array,
    factors: Float32Array,
  ): void;
  rope(model: number, x: number, n: number, heads: number, headDim: number, table: number): void;
  /** v: 0 for a latent layer */
  kvStore(model: number, pool: number, layer: number, k: number, v: number, n: number): void;
  /** Keys of rows [from, to) of a page, turned by angles [pairs] behind `first` values of each head, stored again. */
  kvTurn(
    model: number,
    pool: number,
    layer: number,
    page: number,
    from: number,
    to: number,
    cosines: Float64Array,
    sines: Float64Array,
    interleaved: boolean,
    first: number,
  ): void;
  /** The first rows of a page, all layers. */
  kvCopyRows(model: number, pool: number, from: number, to: number, rows: number): void;
  attention(
    model: number,
    out: number,
    q: number,
    pool: number,
    layer: number,
    n: number,
    heads: number,
    scale: number,
    window: number,
    softcap: number,
    sinks: number,
    /** One of `reaches`. */
    reach: number,
    /** ALiBi: a vector [heads], or 0 */
    slopes: number,
    /** A routing of positions, or 0: all. */
    selection: number,
    /** [rows, 2 * heads] of several sources, or 0 */
    carry: number,
    /** One of `attentionParts`. */
    part: number,
  ): void;
  /** Positions for each row into a routing. weights: [rows, heads], or 0; expand: of the rows of several positions */
  select(
    model: number,
    routing: number,
    q: number,
    weights: number,
    pool: number,
    layer: number,
    n: number,
    expand: boolean,
  ): void;
  shortConv(
    model: number,
    out: number,
    x: number,
    pool: number,
    layer: number,
    weight: number,
    /** or 0 */
    bias: number,
    n: number,
  ): void;
  /** inputs: [q, k, v, decay, beta or 0]; skip or 0 */
  recur(model: number, out: number, inputs: Int32Array, pool: number, layer: number, skip: number, n: number): void;
  /** positions: a vector [every * columns of gates], or 0 */
  compress(
    model: number,
    out: number,
    values: number,
    gates: number,
    pool: number,
    layer: number,
    positions: number,
    n: number,
  ): void;
  replay(model: number, pool: number, from: number, to: number, keep: number, rows: number): void;
  /** kind: of `glus`. limit: bounds of gate and up, negative: the gate's after its SiLU; 0: none */
  glu(model: number, out: number, gate: number, up: number, n: number, kind: number, limit: number): void;
  /** score: of `scores`. @returns an expert whose logit is not finite, or -1 */
  route(
    model: number,
    out: number,
    logits: number,
    n: number,
    score: number,
    renormalize: boolean,
    scale: number,
    bias: number,
    factors: number,
    groups: number,
    groupsUsed: number,
    table: number,
  ): number;
  /**
   * weights: [gate, up, down, gateBias or 0, upBias or 0, downBias or 0]; pairs beside them: [side, a, b] * count, side
   * 0 gate, 1 up, 2 down; factors: [count][n], 0 for rows that a pair is not for
   */
  experts(
    model: number,
    out: number,
    x: number,
    routing: number,
    n: number,
    weights: Int32Array,
    kind: number,
    limit: number,
    weightsInput: boolean,
    pairs: Int32Array,
    factors: Float32Array,
  ): void;
  /** Experts of the matrix `gate` that the next layer will probably want. Reads ahead what is missing of slots. */
  expectExperts(model: number, routing: number, n: number, gate: number): void;
  add(model: number, y: number, x: number, n: number): void;
  scale(model: number, x: number, factor: number, n: number): void;
  softcap(model: number, x: number, cap: number, n: number): void;
  layerNorm(model: number, out: number, x: number, weight: number, bias: number, n: number, eps: number): void;
  /** kind: of `activations` */
  act(model: number, x: number, n: number, kind: number): void;
  multiply(model: number, y: number, x: number, n: number): void;
  multiplyVector(model: number, x: number, vector: number, n: number): void;
  addVector(model: number, x: number, vector: number, n: number): void;
  columns(model: number, out: number, x: number, to: number, from: number, count: number, n: number): void;
  blend(model: number, out: number, parts: Int32Array, weights: number, streams: number, n: number): void;
  streamScores(model: number, out: number, parts: Int32Array, vector: number, n: number, eps: number): void;
  headDots(model: number, out: number, x: number, y: number, n: number): void;
  hyperWeights(
    model: number,
    pre: number,
    mix: number,
    x: number,
    scale: number,
    base: number,
    n: number,
    iterations: number,
    eps: number,
  ): void;
  temper(model: number, x: number, n: number, scale: number, length: number, offset: number): void;
  centreHeads(model: number, x: number, n: number, heads: number, headDim: number, eps: number): void;
  xielu(model: number, x: number, n: number, positive: number, negative: number, linear: number, limit: number): void;
  sparsify(model: number, x: number, n: number, deviations: number): void;
  matchSize(model: number, x: number, like: number, n: number): void;
  pool(model: number, out: number, x: number, n: number, kind: number): void;
  gather(model: number, out: number, x: number, indices: Int32Array): void;
  copy(model: number, out: number, x: number, n: number): void;

  /** From now on up to `most` spans in which threads of the pool compute are kept until they are taken; 0: none. */
  keepThreadSpans(most: number): void;
  /**
   * Spans that were kept, in the order in which they ended: [thread, begin, end] each in milliseconds of a clock of its
   * own; the last two numbers are that clock now and how many spans were lost. @returns how many there are
   */
  takeThreadSpans(out: Float64Array): number;

  /**
   * Times reads as the ring does them. extents: [offset, bytes] each. out: `readRates`.
   * engine: of `ioEngines`.
   */
  readRate(
    path: string,
    direct: boolean,
    engine: number,
    depth: number,
    requestBytes: number,
    extents: Float64Array,
    out: Float64Array,
  ): void;
  /**
   * Reads memory with all threads: `bytes` of it (1 MiB .. 64 GiB; a quarter of that with small pages), or what can be
   * touched in about `seconds`. out: `memoryRates`. @throws MEMORY_BUDGET, OPTION_INVALID
   */
  memoryRate(threads: number, bytes: number, seconds: number, out: Float64Array): void;
  /**
   * Operations per second (two per multiply-add) of the product with `tokens` rows, 1 to 512: all threads, by their
   * processor time; the best of what runs in `seconds`, like the next two.
   */
  gemmRate(threads: number, dtypeId: number, tokens: number, seconds: number): number;
  /** Operations per second of a prompt's attention over F16 pages. */
  attentionRate(threads: number, seconds: number): number;
  /** Values per second that gates (SwiGLU) make. */
  gateRate(threads: number, seconds: number): number;
  /**
   * The `count` largest logits of a row that are not marked (marks [vocab], 1 = left out), as a heap with the worst on
   * top: the lower logit, of equal ones the higher id. No model.
   * @returns how many there are, or -1 - i when logit i is not a finite number
   */
  bestLogits(row: Float32Array, marks: Uint8Array | null, count: number, ids: Int32Array, logits: Float64Array): number;
  /** Sum of e^(logit - max) of a row; max is its largest. Relative error about 1e-13. No model. */
  sumOfExp(row: Float32Array, max: number): number;
  /**
   * Rows of one type as rows of another, weighed by a value a column where it is given; llama.cpp's bytes. No model.
   * @returns the index of the first value that is not finite, or -1: only then all of `out` is written
   */
  encode(
    fromId: number,
    bytes: Uint8Array,
    toId: number,
    rows: number,
    cols: number,
    importance: Float32Array | null,
    out: Uint8Array,
    threads: number,
    isa: string | null,
  ): number;
  /**
   * The same with error feedback: what a column's code gets wrong the columns behind it in `order` take over.
   * @param factor of `makeFactor`, blocks of `block` columns; `order` leaves columns within their super-block of 256,
   *   or within 32 of a smaller type
   */
  encodeWithFeedback(
    fromId: number,
    bytes: Uint8Array,
    toId: number,
    rows: number,
    cols: number,
    importance: Float32Array,
    factor: Float32Array,
    block: number,
    order: Int32Array,
    out: Uint8Array,
    threads: number,
    isa: string | null,
  ): number;
  /**
   * Rows as integers: value = scale * (code - offset), a scale (that an F16 holds) and an offset for each `group`
   * columns in their `order`. With a factor errors are handed on, without one each code is for itself.
   * @param trials grids that are tried for each group by what they lose; 1: the one that spans its values
   * @param multipliers of columns, before anything else
   * @param weights what an error of a column weighs, in the order of `order`
   * @shape codes: [rows, cols], as the columns stand; scales, offsets: [rows, cols / group], in the order of `order`;
   *   errors: [rows], weighed squares, as the factor weighs them where there is one
   * @returns the index of the first value that is not finite, or -1: only then all outputs are written
   */
  encodeIntegers(
    fromId: number,
    bytes: Uint8Array,
    rows: number,
    cols: number,
    bits: number,
    group: number,
    symmetric: boolean,
    trials: number,
    multipliers: Float32Array | null,
    weights: Float32Array,
    factor: Float32Array | null,
    block: number,
    order: Int32Array,
    codes: Uint8Array,
    scales: Float32Array,
    offsets: Uint8Array,
    errors: Float64Array,
    threads: number,
    isa: string | null,
  ): number;
  /**
   * Rows without some of their columns: those become zero, and columns behind them in `order` take over what that
   * changes (all of it where the dropped ones come first: least squares).
   * @param dropped [cols] in the order of `order`; null: of each four columns the two that cost a row least
   * @shape out: [rows, cols], as the columns stand; errors: [rows], as the factor weighs them
   * @returns the index of the first value that is not finite, or -1: only then all of `out` is written
   */
  repairColumns(
    fromId: number,
    bytes: Uint8Array,
    rows: number,
    cols: number,
    factor: Float32Array,
    block: number,
    order: Int32Array,
    dropped: Uint8Array | null,
    out: Float32Array,
    errors: Float64Array,
    threads: number,
    isa: string | null,
  ): number;
  /**
   * Adds x'x to sums, in F32: rows of one call in registers, then the sum.
   * @shape x: [rows, cols]; sums: for each block of columns the tiles [32, 32] on and above the diagonal, by row
   */
  addMoments(
    x: Float32Array,
    rows: number,
    cols: number,
    block: number,
    sums: Float32Array,
    threads: number,
    isa: string | null,
  ): void;
  /**
   * Factors sums, which says what columns take over of each other's errors. Off-diagonals count 1 - shrink, `damp`
   * means are added to the diagonal. In F64.
   * @shape factor: [cols / block][block / 16][block][16], columns as `order` has them; what an error weighs is on the
   *   diagonal
   */
  makeFactor(
    sums: Float32Array,
    block: number,
    order: Int32Array,
    shrink: number,
    damp: number,
    factor: Float32Array,
    threads: number,
    isa: string | null,
  ): void;
  /** For tests and tools, one call each: no model. */
  dequantize(dtypeId: number, bytes: Uint8Array, out: Float32Array, isa: string | null): void;
  /** out[t * rows + r]; x is [n, cols]. kernel: "matvec" | "gemm" */
  dot(
    dtypeId: number,
    bytes: Uint8Array,
    rows: number,
    cols: number,
    x: Float32Array,
    n: number,
    out: Float32Array,
    isa: string | null,
    kernel: string,
  ): void;
}
