/** `note` tells which instruction set was passed over because a kernel failed its self-check. */
export interface CpuInfo {
  readonly model: string;
  readonly features: readonly string[];
  readonly physicalCores: number;
  readonly note?: string;
}

/**
 * Every function of the native addon. Units in names; handles are small positive integers owned by the host that made
 * them; a wrong handle, shape or type throws NATIVE_ARGUMENT and never crashes. `addon.ts` is the only file that loads
 * the binary.
 */
export interface NativeAddon {
  /** The class that errors are made of, as `new Class(code, message)`; plain Errors with a `code` until then. */
  setErrorClass(errorClass: new (code: never, message: string) => Error): void;
  /** Selected instruction set, e.g. "avx2", and the ones this build and CPU can run, lowest first. */
  isa(): string;
  isas(): string[];
  /** The layouts that have kernels, a line each: id, name, order, acts, then name, rows, cols and bytes of each plane. */
  layoutTable(): string;
  /** CPU model and features as the probe saw them, for `doctor`. */
  cpuInfo(): CpuInfo;
  /**
   * malloc of the whole process: blocks from `mapFromBytes` are mappings of their own, an arena's end is given back when `trimFromBytes`
   * of it are free. glibc raises both as it sees larger blocks; these stay. Nothing happens without glibc.
   */
  boundMalloc(mapFromBytes: number, trimFromBytes: number): void;
  /** Gives free pages of malloc's arenas, of all threads of the process, back to the system. 1 when there were any; 0 without glibc. */
  trimMemory(): number;
  /**
   * Lets private memory of this process grow by `growthBytes` more: what goes beyond fails to be allocated, and no core is written of
   * the abort that follows. 1 when the system does so; 0 where it cannot (only Linux can).
   */
  limitMemory(growthBytes: number): number;
  /**
   * Locks an open file against other openings of it, in any process, until the descriptor is closed or its process is gone. Never waits:
   * 1 it is locked, 0 somebody else holds it, -1 its file system has no locks.
   */
  lockFile(descriptor: number): number;
  /** Tiles all hosts of this process have finished, modulo 2^31: whether an engine in another thread gets on. */
  tilesFinished(): number;
  /** Threads of this process that wait for a read from the disk now. */
  threadsReading(): number;

  // --- host: owns files, weights, tensors; everything is released with it. Hosts with the same threads share them, and readers
  hostOpen(threads: number, cpuList: Int32Array | null, isa: string | null): number;
  hostClose(host: number): void;
  /** The flag must lie in a SharedArrayBuffer: it is read while this thread is inside a call. */
  hostSetCancel(host: number, flag: Int32Array | null): void;
  /** [activationBytes, kvBytes, scratchBytes, weightBytes, allocations] */
  hostCounters(host: number, out: Float64Array): void;
  /**
   * The host will hold at most so many bytes: allocations beyond it fail. `limit`: of the promises to all hosts of the process; 0 = none.
   * @throws MEMORY_BUDGET beyond the limit
   */
  hostPromise(host: number, bytes: number, limit: number): void;
  /** [threads, hosts that share them; of the process: bytes charged now, most ever, promised] */
  machineStats(host: number, out: Float64Array): void;
  /** To all hosts of the process. */
  promisedBytes(): number;

  /** Maps a file read-only. Returns a file handle. */
  fileOpen(host: number, path: string): number;
  /** The same without a mapping: its weights are pinned, streamed, in expert slots, or read a row at a time. */
  fileOpenUnmapped(host: number, path: string, direct: boolean): number;
  fileBytes(host: number, file: number): number;
  /** extents: [plane, file, offset, bytes] each; of a plane in ascending order of experts, or of segments. */
  weight(host: number, layoutId: number, rows: number, cols: number, experts: number, extents: Float64Array): number;
  /** Dequantizes rows [row0, row0 + count) of an expert into out. */
  weightRead(host: number, weight: number, expert: number, row0: number, count: number, out: Float32Array): void;

  // --- weights of unmapped files, before seal(); residencyLoad comes last
  /** engine: 0 the best, 1 io_uring where allowed, 2 threads; depth: reads in flight. Returns what it is. Optional. */
  readerOpen(host: number, engine: number, depth: number): string;
  /** At any time: so many reads in flight from now on, at most twice what it was opened with. */
  readerDepth(host: number, depth: number): void;
  /**
   * Slices [0, slices) stay in memory; all of stacked experts. packed: residencyLoad interleaves them where the kernels of
   * their type gain by it; the bytes are no more, nor any result another.
   */
  weightPin(host: number, weight: number, slices: number, packed: boolean): void;
  /** tiles: [weight, from, to] each, slices in the order of use; those of a weight begin where its pinned ones end. */
  ringOpen(host: number, ringBytes: number, tiles: Int32Array): void;
  /**
   * groups: [n, n weights] for each layer; classes: [slots, n, n groups of equal size] each. Staging: where
   * passes of many rows leave misses that find no free slot.
   */
  expertsOpen(host: number, groups: Int32Array, classes: Int32Array, stagingBytes: number): void;
  /** Allocates and fills pinned memory, starts reading ahead. `lock`: tries mlock. @throws MEMORY_BUDGET, FILE_IO ... */
  residencyLoad(host: number, lock: boolean): void;
  /** Gives back memory that only makes reading smoother: the ring keeps its least size. Between passes. @throws CANCELLED */
  residencyShrink(host: number): void;
  /**
   * Since the host was opened: [bytesRead, stallNs, tiles, expertHits, expertMisses, expertBytesRead, pinnedBytes,
   * ringBytes, slotBytes, stagingBytes, lockedBytes, expertsReadAhead, expertsReadForNothing, bytesUsedFromMemory]
   */
  residencyStats(host: number, out: Float64Array): void;

  tensor(host: number, rows: number, cols: number): number;
  arena(host: number, floats: number): number;
  /** At `offset` floats of an arena, a multiple of 16. */
  tensorAt(host: number, arena: number, offset: number, rows: number, cols: number): number;
  tensorRead(host: number, tensor: number, rows: number, out: Float32Array): void;
  tensorWrite(host: number, tensor: number, values: Float32Array): void;
  /** The tensor's memory [rows * cols], the same array each time; empty once the host is closed. @throws NATIVE_UNAVAILABLE */
  tensorView(host: number, tensor: number): Float32Array;
  vector(host: number, values: Float32Array): number;
  routing(host: number, rows: number, topK: number): number;
  routingRead(host: number, routing: number, rows: number, ids: Int32Array, weights: Float32Array): void;
  ropeTable(host: number, frequencies: Float64Array, magnitude: number, interleaved: boolean, maxRows: number): number;
  /** layers: [kvHeads, headDimK, headDimV] * layers. type: 0 f16, 1 q8_0, 2 q4_0 */
  kvPool(host: number, layers: Int32Array, type: number, pages: number): number;
  kvPageBytes(host: number, pool: number): number;
  kvCopyPage(host: number, pool: number, from: number, to: number): void;
  /**
   * All working space that verbs will use: bytes by buffer, in the order of src/ops/working-space.ts, and entries of each
   * pool's block table. Without it verbs take what they need.
   */
  nameSpace(host: number, buffers: Float64Array, tables: Int32Array): void;
  seal(host: number): void;

  /** blockTables: for pool 0.. in creation order, [sequences * blocks] page ids, -1 where absent. */
  begin(
    host: number,
    count: number,
    ids: Int32Array,
    positions: Int32Array,
    sequences: Int32Array,
    sequenceCount: number,
    blockTables: Int32Array[],
    blocksPerSequence: Int32Array,
  ): void;
  embed(host: number, out: number, weight: number, n: number, scale: number): void;
  /** rows of the table, -1: zeros */
  lookup(host: number, out: number, weight: number, rows: Int32Array, n: number, scale: number): void;
  rmsNorm(host: number, out: number, x: number, vector: number, n: number, eps: number): void;
  headNorm(host: number, x: number, vector: number, n: number, heads: number, headDim: number, eps: number): void;
  /**
   * products: [out, weight, bias or 0, into, along, heads] * count; into: 0 replaces out, 1 is added to it, 2 + kind of
   * glu: is gated by what the product before left there; along: 1 the other axis; heads: 1, or so many matrices that
   * the rows are.
   */
  matmul(host: number, products: Int32Array, x: number, n: number): void;
  rope(host: number, x: number, n: number, heads: number, headDim: number, table: number): void;
  kvStore(host: number, pool: number, layer: number, k: number, v: number, n: number): void;
  attention(
    host: number,
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
    /** 0 back, 1 chunk, 2 symmetric */
    reach: number,
    /** A routing of positions, or 0: all. */
    selection: number,
    /** [rows, 2 * heads] of several sources, or 0. part: 0 the only one, 1 the first, 2 one between, 3 the last */
    carry: number,
    part: number,
  ): void;
  /** Positions for each row into a routing. weights: [rows, heads] */
  select(host: number, routing: number, q: number, weights: number, pool: number, layer: number, n: number): void;
  /** kind: 0 silu, 1 gelu-tanh, 2 oai */
  glu(host: number, out: number, gate: number, up: number, n: number, kind: number): void;
  /** score: 0 softmax, 1 sigmoid, 2 softmax over the selected. @returns an expert whose logit is not finite, or -1 */
  route(
    host: number,
    out: number,
    logits: number,
    n: number,
    score: number,
    renormalize: boolean,
    scale: number,
    bias: number,
  ): number;
  /** weights: [gate, up, down, gateBias or 0, upBias or 0, downBias or 0] */
  experts(host: number, out: number, x: number, routing: number, n: number, weights: Int32Array, kind: number): void;
  /** Experts of the matrix `gate` that the next layer will probably want. Reads ahead what is missing of slots. */
  expectExperts(host: number, routing: number, n: number, gate: number): void;
  add(host: number, y: number, x: number, n: number): void;
  scale(host: number, x: number, factor: number, n: number): void;
  softcap(host: number, x: number, cap: number, n: number): void;
  layerNorm(host: number, out: number, x: number, weight: number, bias: number, n: number, eps: number): void;
  /** kind: the order of `activations` in src/ops/native-values.ts */
  act(host: number, x: number, n: number, kind: number): void;
  multiply(host: number, y: number, x: number, n: number): void;
  multiplyVector(host: number, x: number, vector: number, n: number): void;
  columns(host: number, out: number, x: number, to: number, from: number, count: number, n: number): void;
  blend(host: number, out: number, parts: Int32Array, weights: number, streams: number, n: number): void;
  streamScores(host: number, out: number, parts: Int32Array, vector: number, n: number, eps: number): void;
  hyperWeights(
    host: number,
    pre: number,
    mix: number,
    x: number,
    scale: number,
    base: number,
    n: number,
    iterations: number,
    eps: number,
  ): void;
  pool(host: number, out: number, x: number, n: number, kind: number): void;
  gather(host: number, out: number, x: number, indices: Int32Array): void;
  copy(host: number, out: number, x: number, n: number): void;

  /**
   * Times reads as the ring does them. extents: [offset, bytes] each. out: [seconds, bytes, 1 when reads were direct].
   * engine as in readerOpen.
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
   * touched in about `seconds`. out: bytes per second of loops [plain, prefetch, non-temporal prefetch] over huge pages,
   * over ordinary ones, then bytes touched of either. @throws MEMORY_BUDGET, OPTION_INVALID
   */
  memoryRate(threads: number, bytes: number, seconds: number, out: Float64Array): void;
  /** Operations per second (two per multiply-add) of the product with many rows; best of what runs in `seconds`. */
  gemmRate(threads: number, dtypeId: number, seconds: number): number;
  /**
   * The `count` largest logits of a row that are not marked (marks [vocab], 1 = left out), as a heap with the worst on
   * top: the lower logit, of equal ones the higher id. No host.
   * @returns how many there are, or -1 - i when logit i is not a finite number
   */
  bestLogits(row: Float32Array, marks: Uint8Array | null, count: number, ids: Int32Array, logits: Float64Array): number;
  /** Sum of e^(logit - max) of a row; max is its largest. Relative error about 1e-13. No host. */
  sumOfExp(row: Float32Array, max: number): number;
  /** For tests and tools, one call each: no host. */
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
