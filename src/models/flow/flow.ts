/**
 * The vocabulary in which a model is written, once. A part is a function of a flow: `(f, x) => y`. Every verb returns
 * a new value, and a weight is named where it is used, so the table of tensors, the order in which they are read and
 * what is called are the order of the calls by construction. What a flow makes of a function is up to the flow: a
 * listing of its calls (record.ts) is described, bound to `Ops`, filled with random numbers, cut into stages and
 * rewritten.
 */
import type {
  Activation,
  AttentionSpec,
  Glu,
  LookupBy,
  Pooling,
  RouteSpec,
  Temperature,
  Xielu,
} from "../../ops/ops.js";
import type { RopeConfig } from "./rope.js";
import type { Bias, Role, TensorDeclaration } from "./tensors.js";

/**
 * Activations f32 [rows, cols]. `rows` is the set of token rows it has: `all` of the pass, those that are `wanted`
 * (whose outputs somebody asked for), or one for each of the pass's `sequences`.
 */
export interface Value {
  readonly id: number;
  readonly cols: number;
  readonly rows: RowSet;
}
export type RowSet = "all" | "wanted" | "sequences";

/** A matrix in its place of use; `bias` is added to its product. */
export interface Weight {
  readonly tensor: TensorDeclaration;
  readonly cols: number;
  /** Shape of one expert. */
  readonly rows: number;
  readonly experts: number;
  /** The file has it the other way round. */
  readonly transposed: boolean;
  readonly bias: VectorWeight | null;
  /** Factors of a matrix that the file does not have: rows go through this one first. */
  readonly first?: Weight;
}

/** A small tensor, resident as f32. */
export interface VectorWeight {
  readonly tensor: TensorDeclaration;
  readonly length: number;
  /** Each of its values stands for so many neighbours; absent: for itself. */
  readonly each?: number;
}

/** A sequence's state of a layer; those of a layer are told apart by name. Which verbs read which: decision 0030. */
export type State = KvState | LatentState | RowsState | RecurrentState;

interface StateBase {
  readonly id: number;
  readonly layer: number;
  readonly name: string;
}

interface PagedBase extends StateBase {
  /** So many positions make one row: it is there from the last of them on. 1: each has its own. */
  readonly every: number;
}

/** Keys and values of every position, as they are after this pass has stored its rows. */
export interface KvState extends PagedBase {
  readonly kind: "kv";
  readonly heads: number;
  readonly headDimK: number;
  readonly headDimV: number;
}

/** One vector of every position: it is the key of all heads, and its first `headDimV` are their values. */
export interface LatentState extends PagedBase {
  readonly kind: "latent";
  readonly heads: 1;
  readonly headDimK: number;
  readonly headDimV: number;
}

/** One vector of every position that something else than attention reads: keys of an indexer. */
export interface RowsState extends PagedBase {
  readonly kind: "rows";
  readonly heads: 1;
  readonly headDimK: number;
  readonly headDimV: 0;
}

/** A state that attention can look back upon. */
export type AttendedState = KvState | LatentState;
/** A state that keeps something of every position. */
export type PagedState = AttendedState | RowsState;

/**
 * Matrices f32 [heads][keys][values] that every row changes, in the order of positions; they begin as zeros. The tail
 * of a short convolution is one of a single head, its rows the keys. Exactly one call reads and writes it.
 */
export interface RecurrentState extends StateBase {
  readonly kind: "recurrent";
  readonly heads: number;
  readonly keys: number;
  readonly values: number;
}

/** Experts chosen for each row, best first, with their weights. */
export interface Routes {
  readonly id: number;
  readonly experts: number;
  readonly topK: number;
}

/** Positions chosen for each row; of states with a row for so many positions, their rows. */
export interface Selection {
  readonly id: number;
  readonly topK: number;
  readonly every: number;
}

/** One of the states an attention looks at, and how much of it a row sees; what is not said is as for all of them. */
export interface Source {
  readonly state: AttendedState;
  readonly reach?: Reach;
  readonly selection?: Selection;
}

/**
 * The positions a row sees: all positions up to its own; its own and the `window - 1` before; those of its stretch of
 * `chunk` positions up to its own; `symmetric`: so many to both sides (0: all), of the rows the pass holds.
 */
export type Reach = "all" | { readonly window: number } | { readonly chunk: number } | { readonly symmetric: number };

/**
 * Tensors of the file that a matrix is made of, by names as `matrix` takes them. Their rows are read where they lie.
 */
export type From =
  | Split
  /** One for each expert. */
  | { readonly stack: readonly string[] }
  /** One of `count` matrices of this size that the file has stacked. */
  | { readonly oneOf: string; readonly count: number; readonly index: number }
  /** One after the other. */
  | { readonly concat: readonly (readonly [name: string, rows: number])[] }
  /** The other way round, [rows, cols]: its products go along the other axis, in an order of their own. */
  | { readonly transpose: string };

/** Rows [first, first + rows) of a matrix of `of` rows, of stacked experts of each: fused projections. */
export interface Split {
  readonly split: string;
  readonly of: number;
  readonly first: number;
  /** It has so many groups of `of` rows, and of each an equal share of this one's rows is taken: heads side by side. */
  readonly heads?: number;
  /** The file has the heads as a stack of matrices. */
  readonly stacked?: boolean;
}

/**
 * A row of a table for each row of a pass, from the token `back` positions before its own, or from several: n-grams and
 * hashes. The function is told -1 for tokens before the first, and answers with -1 where there is no row: zeros.
 */
export interface Ids {
  readonly back: readonly number[];
  readonly row: (ids: readonly number[]) => number;
}

/** The tokens so many positions back, as they are. */
export const idsBack = (back: number): Ids => ({ back: [back], row: ([id]) => id! });

/** The ways to look up rows of a table: by the pass's token ids, its positions, earlier tokens; or it is the first. */
export type RowsBy = LookupBy | Ids;

/** A value, state or choice that a layer hands on to layers to come. */
export type Shared = Value | State | Selection;

export interface MatrixOptions {
  /** Made of these instead of a tensor of its own name; its bias is made of theirs in the same way. */
  readonly from?: From | undefined;
  readonly bias?: Bias;
  /** A random model's values have deviation gain / sqrt(cols); default 1. */
  readonly gain?: number;
  /**
   * Taken instead when the file has no such tensor: a tied head. It is read and counted once, in the role asked for
   * here.
   */
  readonly or?: string;
  /** Converters and quantizers leave it in this type. */
  readonly floor?: "f32";
  /** The gain of what is taken instead. */
  readonly orGain?: number;
}

export interface VectorOptions {
  /** The file may do without it; the answer is null then. */
  readonly optional?: boolean;
  /** One for the whole model, whichever layer asks. */
  readonly shared?: boolean;
  /** How the name ends; default `weight`. Empty: the name is all of it, as in `ssm_a`. */
  readonly suffix?: "weight" | "bias" | "scale" | "";
  /** A random model's values: mean and deviation, all of them below zero or not; default 1 and 0.2. */
  readonly fill?: readonly [mean: number, deviation: number, sign?: "negative"];
  /** As files have it, when it is not one row; its values in that order. */
  readonly shape?: readonly number[];
  /** Each value stands for so many neighbours: that of a head for all of its columns. */
  readonly each?: number;
  /** Its values are whole numbers below this, different along a row. */
  readonly ids?: number;
}

export interface AttentionOptions extends Pick<AttentionSpec, "scale"> {
  readonly heads: number;
  readonly reach: Reach;
  readonly softcap?: number;
  /** A learned logit per head joins the softmax without a value. */
  readonly sinks?: VectorWeight | null;
  /** ALiBi: scores fall with the distance, head by head more slowly; this is the exponent of the slopes (8). */
  readonly alibi?: number;
}

export interface RouteOptions extends Omit<RouteSpec, "selectionBias" | "factors" | "table"> {
  /** Added to the scores for choosing only [experts]. */
  readonly selectionBias?: VectorWeight | null;
  /** Multiplies the weights of each expert at the very end [experts]. */
  readonly factors?: VectorWeight | null;
  /** The experts of each token, best first, which are taken whatever the scores [tokens][topK]. */
  readonly table?: VectorWeight | null;
}

export interface ExpertsOptions {
  /** The weight multiplies what goes into an expert, not what comes out. */
  readonly weightsInput?: boolean;
}

export interface KeepKvOptions {
  /** [rows, heads * headDim] */
  readonly k: Value;
  readonly v: Value;
  readonly heads: number;
  readonly name?: string;
  /** A row for so many positions, that of the last of them; what `compress` makes. Default 1. */
  readonly every?: number;
}

export interface KeepLatentOptions {
  /** [rows, values + what only keys have, as a rotated part] */
  readonly row: Value;
  readonly values: number;
  readonly name?: string;
  readonly every?: number;
}

export interface KeepRowsOptions {
  /** [rows, width] */
  readonly row: Value;
  readonly name?: string;
  readonly every?: number;
}

export interface KeepRecurrentOptions {
  readonly name: string;
  /** Default 1. */
  readonly heads?: number;
  /** Rows of each head's matrix, or the rows a convolution looks back: its taps less 1. */
  readonly keys: number;
  /** Columns of each head's matrix, or the columns of what is convolved. */
  readonly values: number;
}

export interface SelectOptions {
  /** Chooses positions, of keys that stand for several. */
  readonly positions?: boolean;
}

/** Blocks of so many rows that are made one. */
export interface CompressOptions {
  readonly every: number;
  /** Rows are two halves: a block has the second of its own rows, and the first of those of the block before. */
  readonly overlap?: boolean;
  /** Added to the gates, by the row's place in its block [every][columns of the gates]. */
  readonly positions?: VectorWeight | null;
  /** Name of the state that holds what has come of a block. */
  readonly name?: string;
}

/** How value heads share fewer key heads: j reads j / (heads / keyHeads), or j mod keyHeads. */
export interface Pairing {
  readonly pairing?: "consecutive" | "tiled";
}

/** The inputs of a recurrence; heads side by side. */
export interface DeltaInputs {
  /** [rows, keyHeads * keys], normed and scaled as the model wants. */
  readonly q: Value;
  readonly k: Value;
  /** [rows, heads * values] */
  readonly v: Value;
  /** Factors in 0 to 1, not their logarithms (`act` exp): one a head, or one for each of its keys. */
  readonly decay: Value;
  /** Strength of what is written [rows, heads]. */
  readonly beta: Value;
}

/** The same in the words of state-space models. */
export interface ScanInputs {
  /** C, by which it is read [rows, groups * state size]. */
  readonly c: Value;
  /** B, by which it is written. */
  readonly b: Value;
  /** [rows, heads * head size] */
  readonly x: Value;
  /** exp(dt * A): factors, one a head. */
  readonly decay: Value;
  /** Step sizes [rows, heads]; absent: 1. */
  readonly dt?: Value;
}

export interface ScanOptions extends Pairing {
  /** D: x times this joins what is read [heads]. */
  readonly skip?: VectorWeight | null;
}

export interface HyperOptions {
  readonly streams: number;
  readonly iterations: number;
  readonly eps: number;
}

/** A part of a layer: from a value, a value. */
export type Part = (f: Flow, x: Value) => Value;

export interface Flow {
  // --- weights; names are GGUF's, without the layer's prefix and `.weight`
  matrix(name: string, cols: number, rows: number, role: Role, options?: MatrixOptions): Weight;
  vector(
    name: string,
    length: number,
    role: Role,
    options: VectorOptions & { readonly optional: true },
  ): VectorWeight | null;
  vector(name: string, length: number, role: Role, options?: VectorOptions): VectorWeight;
  /** Whether the file has this tensor: full name without the layer's prefix, with its suffix. */
  has(name: string): boolean;

  // --- rows
  /**
   * Rows of a table by the token ids of the pass, or by what is said, times `scale`. A table that is only looked up is
   * read row by row where it lies, when a pass asks for them: it takes no memory.
   */
  lookup(table: Weight, scale?: number, by?: RowsBy): Value;
  /** An input besides token ids: hidden rows of another program. */
  input(name: string, cols: number): Value;
  /** The rows that are wanted. */
  pick(x: Value): Value;

  // --- values
  /** x · Wᵀ (+ bias) for each weight; x is quantized once. */
  linear(x: Value, ...weights: readonly Weight[]): Value[];
  /**
   * Each head's own product: the rows of the matrix are `heads` matrices, one after the other, and each multiplies its
   * part of x. Along `inputs` x is [heads * cols] wide and the result as wide as the matrix has rows; along `rows`, the
   * other axis, x is as wide as it has rows and the result [heads * cols].
   */
  headLinear(x: Value, weight: Weight, o: { readonly heads: number; readonly along: "inputs" | "rows" }): Value;
  /** RMSNorm. */
  norm(x: Value, weight: VectorWeight | null, eps: number): Value;
  /** RMSNorm of every head: as wide as the weight, or as is said where there is none. */
  headNorm(x: Value, weight: VectorWeight | null, eps: number, headDim?: number): Value;
  /**
   * Rotates the heads by their rows' positions, or by those so far `back`. `divisors`: of each pair's frequency.
   */
  rope(x: Value, headDim: number, rope: RopeConfig, divisors?: VectorWeight | null, back?: number): Value;
  /** act(gate) * up */
  glu(gate: Value, up: Value, act: Glu): Value;
  add(x: Value, y: Value): Value;
  /** x plus one number. */
  shift(x: Value, by: number): Value;
  scale(x: Value, factor: number): Value;
  layerNorm(x: Value, weight: VectorWeight | null, bias: VectorWeight | null, eps: number): Value;
  act(x: Value, kind: Activation): Value;
  /** x times factors, each for a run of neighbouring columns: as many as x has, one a head, or one. */
  multiply(x: Value, factors: Value): Value;
  multiplyVector(x: Value, factors: VectorWeight): Value;
  addVector(x: Value, values: VectorWeight): Value;
  /** Columns of these widths, side by side. */
  split(x: Value, ...widths: readonly number[]): Value[];
  join(...parts: readonly Value[]): Value;
  /** The same within each head: columns of these widths of every head, heads side by side. */
  splitHeads(x: Value, heads: number, ...widths: readonly number[]): Value[];
  joinHeads(heads: number, ...parts: readonly Value[]): Value;
  /** Sums of streams, weighted row by row; a part may be several streams side by side (ops.ts, `blend`). */
  blend(parts: readonly Value[], weights: Value, streams: number): Value;
  /** Shares of streams by what a vector makes of each (ops.ts, `streamScores`). */
  streamScores(parts: readonly Value[], weight: VectorWeight, eps: number): Value;
  /** How streams are read, and how they take up what a branch made of them (ops.ts, `hyperWeights`). */
  hyperWeights(x: Value, scale: VectorWeight, base: VectorWeight, o: HyperOptions): [read: Value, write: Value];
  /** The sum over each head's columns of x times y: one value a head. */
  headDots(x: Value, y: Value, heads: number): Value;
  /** x times what grows with the logarithm of each row's position. */
  temper(x: Value, temperature: Temperature): Value;
  /** LayerNorm of every head, without weights. */
  centreHeads(x: Value, headDim: number, eps: number): Value;
  xielu(x: Value, numbers: Xielu): Value;
  /** Keeps by how much values exceed the row's mean and so many deviations; 0 elsewhere. */
  sparsify(x: Value, deviations: number): Value;
  /** x made as long as another value, row by row. */
  matchSize(x: Value, like: Value): Value;
  /** A row for each sequence, of its rows in this pass. */
  pool(x: Value, kind: Pooling): Value;
  /** cap * tanh(x / cap) */
  softcap(x: Value, cap: number): Value;

  // --- states
  /** Stores what the layer keeps of these rows; recurrent states are changed by the verb that reads them. */
  keep(kind: "kv", options: KeepKvOptions): KvState;
  keep(kind: "latent", options: KeepLatentOptions): LatentState;
  keep(kind: "rows", options: KeepRowsOptions): RowsState;
  keep(kind: "recurrent", options: KeepRecurrentOptions): RecurrentState;
  /**
   * Softmax over what a row sees of all the sources together, which have heads alike. Over a latent state each head's
   * query is as wide as its vector, and each head's result as its values.
   */
  attention(q: Value, sources: readonly (AttendedState | Source)[], options: AttentionOptions): Value;
  /**
   * The best positions of each row among its own and earlier ones, by index queries of several heads, their weights
   * [rows, heads] (null: ones) and the keys of a state of one head (ops.ts, `select`). Of keys that stand for several
   * positions the best keys are chosen; with `positions` all that those stand for, and what no key stands for yet.
   */
  select(q: Value, weights: Value | null, keys: PagedState, topK: number, o?: SelectOptions): Selection;
  /**
   * Each column convolved with taps of its own over the rows up to this one, before any activation. `tail`: one head,
   * taps - 1 keys, x's columns. With `apart` taps are of rows so far from each other: (taps - 1) * apart keys.
   * @shape weight [columns][taps], the last one for the row itself, as files have it
   */
  shortConv(x: Value, tail: RecurrentState, weight: VectorWeight, bias?: VectorWeight | null, apart?: number): Value;
  /** M = decay M; M += k (beta (v - Mᵀk))ᵀ; y = Mᵀq, for each head [rows, heads * values] (ops.ts, `recur`). */
  deltaRule(memory: RecurrentState, inputs: DeltaInputs, options?: Pairing): Value;
  /** M = decay M + b (dt x)ᵀ; y = Mᵀc (+ skip x): Mamba-2, lightning attention. `memory`: keys are the state's size. */
  scan(memory: RecurrentState, inputs: ScanInputs, options?: ScanOptions): Value;
  /**
   * The row of each block of positions, where its last row is: values weighted column by column by a softmax of gates
   * over the block (ops.ts, `compress`). Other rows are zeros; a state with the same `every` keeps none of them.
   */
  compress(values: Value, gates: Value, options: CompressOptions): Value;
  /** For layers to come: they ask for it by name, and it lives until the last has. */
  share<T extends Shared>(name: string, what: T): T;
  shared(name: string): Shared;

  // --- experts
  route(scores: Value, spec: RouteOptions): Routes;
  /**
   * The sum over chosen experts, in rank order, of their weight times what the inner function makes of x. It is
   * called once; its weights are stacks of one matrix per expert, and it runs on the rows of one expert at a time.
   */
  experts(routes: Routes, x: Value, inner: Part, o?: ExpertsOptions): Value;
  /**
   * The router of the layer's next `experts`, bound a second time one layer earlier: a hint of what to read. Called
   * with the branch's input as it is there; no bits and no bytes of a pass depend on it.
   */
  foresee(route: (f: Flow, x: Value) => Routes): void;
}
