/**
 * The vocabulary in which a model is written, once. A part is a function of a flow: `(f, x) => y`. Every verb returns a new
 * value, and a weight is named where it is used, so the table of tensors, the order in which they are read and what is
 * called are the order of the calls by construction. What a flow makes of a function is up to the flow: a listing of its
 * calls (record.ts) is described, bound to `Ops`, filled with random numbers, cut into stages and rewritten.
 */
import type {
  Activation,
  AttentionSpec,
  Glu,
  LookupBy,
  MatrixSource,
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
  readonly bias: VectorWeight | null;
  /** Where it lies when it is no tensor of the model's own file: an adapter's. */
  readonly source?: MatrixSource;
}

/** A small tensor, resident as f32. */
export interface VectorWeight {
  readonly tensor: TensorDeclaration;
  readonly length: number;
}

/** The state a sequence keeps of a layer, after this pass has stored its rows. */
export interface State {
  readonly id: number;
  readonly kind: "kv";
  readonly layer: number;
  /** Told apart by name within a layer. */
  readonly name: string;
  readonly heads: number;
  readonly headDimK: number;
  readonly headDimV: number;
}

/** Experts chosen for each row, best first, with their weights. */
export interface Routes {
  readonly id: number;
  readonly experts: number;
  readonly topK: number;
}

/**
 * The positions a row sees: all positions up to its own; its own and the `window - 1` before; those of its stretch of `chunk` positions up to
 * its own; `symmetric`: so many to both sides (0: all), of the rows the pass holds.
 */
export type Reach = "all" | { readonly window: number } | { readonly chunk: number } | { readonly symmetric: number };

/** Tensors of the file that a matrix is made of, by names as `matrix` takes them. Their rows are read where they lie. */
export type From =
  /** Rows [first, first + rows) of a matrix of `of` rows, of stacked experts of each: fused projections. */
  | { readonly split: string; readonly of: number; readonly first: number }
  /** One for each expert. */
  | { readonly stack: readonly string[] }
  /** One of `of` matrices of this size that the file has stacked. */
  | { readonly stacked: string; readonly of: number; readonly index: number };

export interface MatrixOptions {
  /** Made of these instead of a tensor of its own name; its bias is made of theirs in the same way. */
  readonly from?: From | undefined;
  readonly bias?: Bias;
  /** A random model's values have deviation gain / sqrt(cols); default 1. */
  readonly gain?: number;
  /** Taken instead when the file has no such tensor: a tied head. It is read and counted once, in the role asked for here. */
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
  /** How the name ends; default `weight`. Empty: the name is all of it. */
  readonly suffix?: "weight" | "bias" | "scale" | "";
  /** The file has it as a matrix of so many rows, a head each. */
  readonly heads?: number;
  /** A random model's values: mean and deviation; default 1 and 0.2. */
  readonly fill?: readonly [mean: number, deviation: number];
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

export interface RouteOptions extends Omit<RouteSpec, "selectionBias" | "factors"> {
  /** Added to the scores for choosing only [experts]. */
  readonly selectionBias?: VectorWeight | null;
  /** Multiplies the weights of each expert at the very end [experts]. */
  readonly factors?: VectorWeight | null;
}

export interface ExpertsOptions {
  /** The weight multiplies what goes into an expert, not what comes out. */
  readonly weightsInput?: boolean;
}

export interface KeepOptions {
  /** [rows, heads * headDim] */
  readonly k: Value;
  readonly v: Value;
  readonly heads: number;
  readonly name?: string;
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
  /** Rows of a table by the token ids of the pass (default), by positions, or its first row for all; times `scale`. */
  lookup(table: Weight, scale?: number, by?: LookupBy): Value;
  /** An input besides token ids: hidden rows of another program. */
  input(name: string, cols: number): Value;
  /** The rows that are wanted. */
  pick(x: Value): Value;

  // --- values
  /** x · Wᵀ (+ bias) for each weight; x is quantized once. */
  linear(x: Value, ...weights: readonly Weight[]): Value[];
  /** RMSNorm. */
  norm(x: Value, weight: VectorWeight | null, eps: number): Value;
  /** RMSNorm of every head: as wide as the weight, or as is said where there is none. */
  headNorm(x: Value, weight: VectorWeight | null, eps: number, headDim?: number): Value;
  /** Rotates the heads by their rows' positions. `divisors`: of each pair's frequency. */
  rope(x: Value, headDim: number, rope: RopeConfig, divisors?: VectorWeight | null): Value;
  /** act(gate) * up */
  glu(gate: Value, up: Value, act: Glu): Value;
  add(x: Value, y: Value): Value;
  scale(x: Value, factor: number): Value;
  layerNorm(x: Value, weight: VectorWeight | null, bias: VectorWeight | null, eps: number): Value;
  act(x: Value, kind: Activation): Value;
  /** x times factors, each for a run of neighbouring columns: as many as x has, one a head, or one. */
  multiply(x: Value, factors: Value): Value;
  multiplyVector(x: Value, factors: VectorWeight): Value;
  /** Columns of these widths, side by side. */
  split(x: Value, ...widths: readonly number[]): Value[];
  join(...parts: readonly Value[]): Value;
  /** Sums of streams, weighted row by row; a part may be several streams side by side (ops.ts, `blend`). */
  blend(parts: readonly Value[], weights: Value, streams: number): Value;
  /** Shares of streams by what a vector makes of each (ops.ts, `streamScores`). */
  streamScores(parts: readonly Value[], weight: VectorWeight, eps: number): Value;
  /** How streams are read, and how they take up what a branch made of them (ops.ts, `hyperWeights`). */
  hyperWeights(x: Value, scale: VectorWeight, base: VectorWeight, o: HyperOptions): [read: Value, write: Value];
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
  /** Stores what the layer keeps of these rows. */
  keep(kind: "kv", options: KeepOptions): State;
  attention(q: Value, sources: readonly State[], options: AttentionOptions): Value;
  /** For layers to come: they ask for it by name, and it lives until the last has. */
  share<T extends Value | State>(name: string, what: T): T;
  shared(name: string): Value | State;

  // --- experts
  route(scores: Value, spec: RouteOptions): Routes;
  /**
   * The sum over chosen experts, in rank order, of their weight times what the inner function makes of x. It is called once;
   * its weights are stacks of one matrix per expert, and it runs on the rows of one expert at a time.
   */
  experts(routes: Routes, x: Value, inner: Part, o?: ExpertsOptions): Value;
  /**
   * The router of the layer's next `experts`, bound a second time one layer earlier: a hint of what to read. Called with the
   * branch's input as it is there; no bits and no bytes of a pass depend on it.
   */
  foresee(route: (f: Flow, x: Value) => Routes): void;
}
