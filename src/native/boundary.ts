/**
 * The boundary table: all that TypeScript and C++ agree on beside the types of weights (formats/dtypes.ts and
 * plane-layouts.ts). Every list, number and name stands here once; native/boundary.h and boundary-version.ts are
 * generated from these tables:
 *   npx tsc -p tsconfig.json && node scripts/write-boundary.mjs
 * A test compares them, and a binary of other tables is not loaded. Ids are places in a list.
 */

// --- enumerations

export const kvTypes = ["f16", "q8_0", "q4_0"] as const;
export type KvType = (typeof kvTypes)[number];

/** Activations of a gate, multiplied by what runs beside it. */
export const glus = ["silu", "gelu-tanh", "oai"] as const;
export type GluKind = (typeof glus)[number];

/** Activations of one value; `relu2` is the square of relu, `root` that of the size with the value's sign. */
export const activations = [
  "silu",
  "gelu-tanh",
  "relu",
  "relu2",
  "sigmoid",
  "tanh",
  "exp",
  "softplus",
  "root",
] as const;
export type Activation = (typeof activations)[number];

export const poolings = ["mean", "first", "last"] as const;
export type Pooling = (typeof poolings)[number];

/** Which row of a table a token row gets: that of its id, that of its position, the first, the one that is given. */
export const lookups = ["ids", "positions", "first", "given"] as const;
export type LookupBy = Exclude<(typeof lookups)[number], "given">;

/**
 * A router's scores: softmax over all experts; sigmoid of each; softmax over the selected logits only; the root of
 * each one's softplus.
 */
export const scores = ["softmax", "sigmoid", "softmax-selected", "root-softplus"] as const;
export type Score = (typeof scores)[number];

/** How the window of attention is meant (ops/ops.ts). */
export const reaches = ["back", "chunk", "symmetric"] as const;
export type ReachKind = (typeof reaches)[number];

/** Which call of an attention over several sources it is: the only one, the first, one between, the last. */
export const attentionParts = ["whole", "first", "next", "last"] as const;

/** How files are read: the best there is, io_uring where allowed, threads that wait. */
export const ioEngines = ["automatic", "uring", "threads"] as const;
export type IoEngine = (typeof ioEngines)[number];

/**
 * The ways a product ends: it takes the place of out, is added to it, or is gated by what is there, in these ways.
 */
export const productInto = ["store", "add", ...glus] as const;

// --- sizes

export const limits = {
  /** Positions of a KV page. */
  pagePositions: 256,
  maxHeadDim: 2048,
  maxThreads: 256,
  /** Most rows of a sequence in a pass with drafts: what they feed into states that are replaced is kept. */
  keptRows: 32,
  /** Taps of a short convolution. */
  mostTaps: 64,
  /** Products of one matmul. */
  mostProducts: 64,
  /** Numbers that say what a product is. */
  productNumbers: 6,
  mostPlanes: 4,
  /** Matrices of an expert, times their planes. */
  mostExpertSegments: 12,
  /** (token row, head) pairs that attention works on at a time. */
  attentionQueries: 64,
  /** Fewer items than this a thread: their spans are taken apart. */
  attentionSplitItems: 4,
} as const;

/** Bytes and values of working space (ops/working-space.ts), which native code checks where it uses them. */
export const space = {
  /** Memory that kernels have of their own, for each thread. */
  scratchBytes: 512 * 1024,
  /** Least room for pieces of attention. */
  attentionPiecesBytes: 4 * 2 ** 20,
  attentionBlockBytes: 32,
  productTaskBytes: 136,
  /** Room for the results of a product before they are added: so many values, or weight rows: long parts. */
  addValues: 4096,
  addRows: 128,
  /**
   * The same of those that gates wait for: they are of the widest matrices, and short parts would cost more than a
   * megabyte.
   */
  gluRows: 512,
  gluValues: 2 ** 18,
  /** (token row, expert) pairs whose hidden rows are held at a time, where the rows themselves are not more. */
  expertWavePairs: 256,
  /** Positions that are scored at a time, where rows choose among them; of one row all. */
  selectionPositions: 2 ** 20,
} as const;

// --- lists of numbers that are passed at once, by name

/**
 * A layout of several planes. Then for each plane, in their order: `layoutPlaneNumbers`. A type of blocks is its id
 * alone.
 */
export const layoutNumbers = [
  "inputs",
  "acts",
  "units",
  "codes",
  "bits",
  "packing",
  "scales",
  "offsets",
  "addend",
  "factor",
] as const;
export const layoutPlaneNumbers = ["rows", "cols", "bytes", "whole", "flat"] as const;

/** Sizes that `seal` is told: token rows, (tables), bytes of a thread's own, bytes of each buffer, most experts. */
export const spaceBuffers = [
  "rows",
  "tables",
  "thread",
  "q8_32 q",
  "q8_32 d",
  "q8_32 sums",
  "q8_256 q",
  "q8_256 d",
  "q8_256 sums",
  "hidden q8_32 q",
  "hidden q8_32 d",
  "hidden q8_32 sums",
  "hidden q8_256 q",
  "hidden q8_256 d",
  "hidden q8_256 sums",
  "pieces",
  "blocks",
  "expert order",
  "expert products",
  "expert rows",
  "sums",
  "selection",
  "experts",
] as const;
export type SpaceBuffer = (typeof spaceBuffers)[number];

/** Keys and values of one layer; the values of a latent one are the first of its keys. */
export const kvLayerNumbers = ["heads", "keys", "values", "latent"] as const;

/** States of a layer that are replaced (ops/ops.ts, `SlotLayer`). */
export const slotKinds = ["tail", "matrix", "block"] as const;
/** The keys of a tail are rows; those of a block are its count and sums, `every` the rows that it makes one. */
export const slotLayerNumbers = [
  "kind",
  "heads",
  "keys",
  "values",
  "keyHeads",
  "tiled",
  "decays",
  "correct",
  "every",
] as const;

/** Counters of a model: bytes allocated by purpose, and how often. */
export const modelCounters = ["activationBytes", "kvBytes", "scratchBytes", "weightBytes", "allocations"] as const;

/** Threads and the models that share them; of the process: bytes reserved now, the most ever, promised. */
export const machineCounters = ["threads", "models", "chargedBytes", "peakBytes", "promisedBytes"] as const;

/**
 * Memory as the system states it, in bytes; negative where it says nothing. What all programs together may commit is
 * Windows' (memory and page files), as are jobs; `pressure` is macOS's: 1 normal, 2 warning, 4 critical.
 */
export const memoryStates = [
  "totalBytes",
  "availableBytes",
  "commitLimitBytes",
  "commitLeftBytes",
  "jobLimitBytes",
  "jobLeftBytes",
  "ownBytes",
  "pressure",
] as const;

/** Counters of a model's weights since it was opened; bytes that are held. */
export const residencyCounters = [
  "bytesRead",
  /** Products waited for the disk. */
  "stallNs",
  "tiles",
  "expertHits",
  "expertMisses",
  "expertBytesRead",
  /** Misses whose reading had begun before the router spoke. */
  "expertsReadAhead",
  "expertsReadForNothing",
  /** Bytes of experts that were read into free slots before anybody asked for them. */
  "slotBytesFilled",
  "pinnedBytes",
  "ringBytes",
  "slotBytes",
  "stagingBytes",
  "lockedBytes",
  /** Used by products, found in memory: mapped, pinned or in slots. */
  "bytesUsedFromMemory",
] as const;

/** Rates of reading memory: bytes per second of three loops over huge and ordinary pages; bytes touched of either. */
export const memoryRates = [
  "hugePlain",
  "hugePrefetch",
  "hugePrefetchOnce",
  "smallPlain",
  "smallPrefetch",
  "smallPrefetchOnce",
  "hugeBytes",
  "smallBytes",
] as const;

/** Reading a file; `direct` is 1 when reads were. */
export const readRates = ["seconds", "bytes", "direct"] as const;

/** How expert slots decide (weights/plan-experts.ts, native/io/slots.h). */
export const expertPolicyNumbers = [
  /** Uses of an expert fade by half in so many passes. */
  "halfLifePasses",
  /** The part of a class that was used longest ago, one in so many, is looked at for what is used least. */
  "oldShare",
  /** At most so many slots are looked at. */
  "mostScanned",
  /** Passes of more token rows touch nearly every expert: they evict none, and read none ahead. */
  "evictingRows",
  /** A rank whose guesses come true less often is not read ahead; each guess moves the average by `trust`. */
  "leastRight",
  "trust",
  /** Slots a class needs for each guess. */
  "slotsPerGuess",
  /** Reads under way that fill free slots while passes run; 0: slots fill by what is missed alone. */
  "fillingReads",
] as const;
export type ExpertPolicy = Readonly<Record<(typeof expertPolicyNumbers)[number], number>>;
