/**
 * The verbs the forward pass is written in. Two implementations: `reference` (plain TypeScript, double accumulators,
 * obvious, the oracle and the fallback without a compiler) and `native` (the C++ addon). A GPU would be a third.
 *
 * Handles are opaque: an implementation owns the numbers behind a `Tensor`, `Vector`, `Matrix`, `KvPool` and never
 * shows weight bytes to V8. All activations are f32, row-major: a tensor is [rows, cols] and every verb works on its
 * first `n` rows. Nothing is allocated after `seal()`.
 *
 * Error classes: EXACT (same bits in every implementation), BOUND (|err| <= cols * 2^-23 * sum |x||w| of the row, plus
 * for quantized weights the declared activation rounding), ULP(k).
 */
import type { Layout, Planes } from "../formats/layouts.js";
import type { VectorChange } from "../formats/types.js";
import {
  type Activation,
  type GluKind,
  type LookupBy,
  limits,
  type Pooling,
  type ReachKind,
  type Score,
} from "../native/boundary.js";
import type { MachineUse, OpsCounters } from "./counters.js";
import type { KvCacheType } from "./kv-form.js";
import type { MovingKeys } from "./moving-keys.js";
import type { ChosenRows, ExpertPair, LowRankPair } from "./pairs.js";
import type { ExpertUses, WeightTraffic } from "./placement.js";
import type { RopeSpec, RopeTable } from "./rope-spec.js";
import type { UnitBytes } from "./unit-bytes.js";
import type { WorkingSpace } from "./working-space.js";

export {
  type Activation,
  type GluKind,
  type KvType,
  kvTypes,
  type LookupBy,
  type Pooling,
} from "../native/boundary.js";
export type { MachineUse, OpsCounters } from "./counters.js";
export type { KvCacheType } from "./kv-form.js";
export type { KeyTurn, MovingKeys } from "./moving-keys.js";
export type { ChosenRows, ExpertPair, ExpertSide, LowRankPair } from "./pairs.js";
export type { ExpertPolicy, ExpertUses, WeightPlacement, WeightTraffic } from "./placement.js";
export type { RopeSpec, RopeTable } from "./rope-spec.js";

/** Activations: f32 [rows, cols], `rows` being the capacity. */
export interface Tensor {
  readonly id: number;
  readonly rows: number;
  readonly cols: number;
}

/** Memory that tensors lie in which do not live at the same time. */
export interface Arena {
  readonly id: number;
  readonly floats: number;
}

/** A small always-resident f32 vector: norm weight, bias, attention sinks. */
export interface Vector {
  readonly id: number;
  readonly length: number;
}

/** A weight matrix [experts, rows, cols] of one layout, quantized where it lies. `experts` is 1 for a plain matrix. */
export interface Matrix {
  readonly id: number;
  readonly name: string;
  readonly layout: Layout;
  readonly rows: number;
  readonly cols: number;
  readonly experts: number;
}

/** Router result of a pass: expert ids i32 [rows, topK] in rank order and their weights f32 [rows, topK]. */
export interface Routing {
  readonly id: number;
  readonly rows: number;
  readonly topK: number;
}

export interface MatrixSource {
  /** Products will take it by heads (`Product.heads`): what is in memory must let their rows be told apart. */
  readonly heads?: number;
  readonly name: string;
  readonly layout: Layout;
  readonly rows: number;
  readonly cols: number;
  readonly experts: number;
  readonly planes: Planes;
  /**
   * Fills a piece of the matrix as it is to lie in memory, where it stays: of pairs, whose rows may have another order
   * than in their file. Planes are empty then.
   */
  readonly held?: (offset: number, into: Uint8Array) => void;
  /** Numbers of a vector that lie in no file; or the change of one that is stored in another form. */
  readonly values?: Float32Array;
  readonly change?: VectorChange;
}

/** Key/value pages of a group of layers that forget at the same pace. A page holds 256 positions of all its layers. */
export interface KvPool {
  readonly id: number;
  readonly pages: number;
  readonly layers: number;
  readonly pageBytes: number;
}

/**
 * `latent`: one vector a position, its values are the first headDimV of it; 0 for rows that attention does not read.
 */
export interface KvLayer {
  readonly kvHeads: number;
  readonly headDimK: number;
  readonly headDimV: number;
  readonly latent?: boolean;
}

export interface KvPoolSpec {
  /** So many positions make one row, stored at the last of them; default 1: a row for each. */
  readonly every?: number;
  readonly layers: readonly KvLayer[];
  readonly type: KvCacheType;
  readonly pages: number;
  /** Pages in memory, where they are fewer; the others lie in a file in the folder. */
  readonly cold?: { readonly frames: number; readonly folder: string };
}

export const { pagePositions, keptRows } = limits;

/**
 * A state of one layer that is replaced, f32. `tail`: the last rows of what a short convolution reads. `matrix`: for
 * each head [keys, values]; key heads, with which values pair `consecutive` (j / (heads / keyHeads)) or `tiled` (j mod
 * keyHeads); factors of decay, one a head or one for each of its keys; whether what is written is corrected by what the
 * key reads (the delta rule). `block`: sums of the rows of a block that is not whole yet, of `columns` columns.
 */
export type SlotLayer =
  | { readonly kind: "tail"; readonly rows: number; readonly columns: number }
  | {
      readonly kind: "matrix";
      readonly heads: number;
      readonly keys: number;
      readonly values: number;
      readonly keyHeads: number;
      readonly pairing: "consecutive" | "tiled";
      readonly decays: number;
      readonly correct: boolean;
    }
  | {
      readonly kind: "block";
      readonly every: number;
      readonly columns: number;
      readonly overlap: boolean;
    };

/** Slots hold the states of all these layers at one position; `keeps`: places for what a pass with drafts fed in. */
export interface SlotPoolSpec {
  readonly layers: readonly SlotLayer[];
  readonly slots: number;
  readonly keeps: number;
}

export interface SlotPool {
  readonly id: number;
  readonly slots: number;
  readonly slotBytes: number;
  readonly keeps: number;
  readonly keepBytes: number;
}

/** The inputs of a recurrence; the heads' values side by side. */
export interface RecurInputs {
  /** [n, keyHeads * keys] */
  readonly q: Tensor;
  readonly k: Tensor;
  /** [n, heads * values] */
  readonly v: Tensor;
  /** Factors [n, heads * decays]. */
  readonly decay: Tensor;
  /** Strengths of what is written [n, heads]; null: 1. */
  readonly beta: Tensor | null;
}

/** The token rows of one pass. Rows of one sequence are consecutive and ascend in position. */
export interface RowTable {
  readonly count: number;
  /** Token ids [count]. */
  readonly ids: Int32Array;
  /** Absolute positions [count]. */
  readonly positions: Int32Array;
  /** Index of each row's sequence in `blockTables[pool]` [count]. */
  readonly sequences: Int32Array;
  /** Per KV pool (in creation order), per sequence: page id of each 256-position block, -1 where forgotten. */
  readonly blockTables: readonly (readonly Int32Array[])[];
  /** Per sequence: its tokens from position 0 on, this pass's among them. For models that look up by earlier tokens. */
  readonly tokens?: readonly Int32Array[] | undefined;
  /**
   * Per sequence: slot it reads (-1: none, it begins), slot it writes, place for what it feeds in (-1: not kept)
   * [sequences * 3]. Absent without a pool of slots, and where no call of the pass touches one.
   */
  readonly slots?: Int32Array | undefined;
  /** Per sequence: the scale of each adapter, by its number; absent or 0 where it is not meant. */
  readonly adapters?: readonly (readonly number[] | undefined)[] | undefined;
  /** Rows after which a state is written to another slot besides, ascending: [row, slot] each. */
  readonly marks?: Int32Array | undefined;
}

export type Glu = GluKind | ClampedSilu;

/** SwiGLU with bounds: up within ±limit, the gate at most `limit` before or after its SiLU. They differ by little. */
export interface ClampedSilu {
  readonly clamp: "before" | "after";
  readonly limit: number;
}

export interface AttentionSpec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDimK: number;
  readonly headDimV: number;
  readonly scale: number;
  /** 0: all keys up to the row's own position; under `symmetric` those after it as well. */
  readonly window: number;
  /**
   * How the window is meant, default `back`: the row's own position and the window - 1 before; `chunk`: the row's own
   * stretch of so many positions (absolute multiples), up to its own; `symmetric`: so many to both sides, of what the
   * pass holds.
   */
  readonly reach?: ReachKind;
  /** score = softcap * tanh(score / softcap) before the mask; 0 = none. */
  readonly softcap: number;
  /** Per-head logit that joins the softmax without a value [heads]. */
  readonly sinks: Vector | null;
  /** ALiBi: behind the cap a score loses slope times the distance of the positions [heads]; not with a selection. */
  readonly slopes?: Vector | null;
  /** Only these positions, as `select` left them; with a window of 0 and the reach `back`. */
  readonly selection?: Routing | null;
  /** Which call of an attention over several sources this is, and what they hand on [n, 2 * heads]. */
  readonly part?: { readonly carry: Tensor; readonly place: "first" | "next" | "last" };
}

/**
 * A factor that grows with the logarithm of a row's position: 1 + scale * ln(1 + floor((position + offset) /
 * length)).
 */
export interface Temperature {
  readonly scale: number;
  readonly length: number;
  readonly offset: number;
}

/**
 * x > 0: positive * x² + linear * x; else negative * (expm1(min(x, limit)) - x) + linear * x, limit <= 0.
 * @source Huang & Schlag 2025, "Deriving Activation Functions Using Integration"
 */
export interface Xielu {
  readonly positive: number;
  readonly negative: number;
  readonly linear: number;
  readonly limit: number;
}

/**
 * Experts in equal groups of neighbours, of which the `used` best may be chosen from: by the sum of their two best
 * scores.
 */
export interface ExpertGroups {
  readonly count: number;
  readonly used: number;
}

export interface RouteSpec {
  readonly topK: number;
  readonly score: Score;
  /** Divide the selected weights by their sum. */
  readonly renormalize: boolean;
  /** Multiplies the weights at the end. */
  readonly scale: number;
  /** Added to the scores for selection only [experts]. */
  readonly selectionBias: Vector | null;
  /** Multiplies the weights of each expert at the very end [experts]; none by default. */
  readonly factors?: Vector | null;
  /** All experts are one group by default. */
  readonly groups?: ExpertGroups | undefined;
  /** The experts of each token, best first, which are taken whatever the scores: whole numbers [tokens * topK]. */
  readonly table?: Vector | null;
}

export interface ExpertWeights {
  /** Null: the hidden rows are act(up · x). */
  readonly gate: Matrix | null;
  readonly up: Matrix;
  readonly down: Matrix;
  /** [experts * hidden], [experts * hidden], [experts * dim] */
  readonly gateBias: Vector | null;
  readonly upBias: Vector | null;
  readonly downBias: Vector | null;
  /** The routing's weights multiply what goes into an expert, not what comes out. */
  readonly weightsInput?: boolean;
}

/** One product of a fused matmul: out = x · Wᵀ (+ bias), out += that when `add`, or out = glu(out) * that. */
export interface Product {
  readonly out: Tensor;
  readonly weight: Matrix;
  readonly bias: Vector | null;
  readonly add: boolean;
  /** Gates what the product before it has just left in the same out. */
  readonly glu?: GluKind;
  /**
   * linearT: along the other axis, out = x · W (+ bias). Of a stack each matrix multiplies its own part of x and
   * fills its own part of out: x [n, experts * rows], out [n, experts * cols]. Rows are decoded exactly and added in
   * ascending order, out[c] = fma(x[r], W[r][c], out[c]) from +0: x is not quantized. A stack must be in memory.
   */
  readonly transposed?: boolean;
  /**
   * The rows of a plain matrix are so many matrices, one after the other, and each multiplies its own part of x:
   * x [n, heads * cols], out [n, rows]; along the other axis x [n, rows], out [n, heads * cols]. All products of a call
   * alike.
   */
  readonly heads?: number;
}

/** Makes the handles that verbs work on; nothing is made after `seal`. */
export interface OpsMemory {
  /** e.g. `reference`, `native/avx2`. Part of every snapshot's fingerprint. */
  readonly name: string;
  arena(floats: number): Arena;
  /**
   * A tensor of its own, or one that begins at `offset` floats of an arena, a multiple of 16. Tensors that overlap
   * are the caller's affair: a verb refuses what it must not read and write at once.
   */
  tensor(rows: number, cols: number, arena?: Arena, offset?: number): Tensor;
  routing(rows: number, topK: number): Routing;
  vector(values: Float32Array): Vector;
  matrix(source: MatrixSource): Matrix;
  /** Reads a whole small tensor as f32 (any type): norms, biases, rope factors. */
  loadVector(source: MatrixSource): Float32Array;
  kvPool(spec: KvPoolSpec): KvPool;
  /** At most one. */
  slotPool(spec: SlotPoolSpec): SlotPool;
  ropeTable(spec: RopeSpec, maxRows: number): RopeTable;
  /**
   * Reads what stays of the weights; nothing is created from here on. With `space` working memory is what it names,
   * and a verb that wants more is an error; without it verbs take what they need (tests of single verbs).
   * @returns a promise where the reading is done elsewhere
   */
  seal(space?: WorkingSpace): void | Promise<void>;
  /** Gives everything back. */
  close(): void;
}

/** The verbs of a pass, and how numbers come in and out. */
export interface Verbs {
  /** Makes `rows` the row table of the following verbs (token ids, positions, block tables). */
  begin(rows: RowTable): void;

  /**
   * out[t] = table[row of t] * scale: by the token's id (default), by its position, the first row for all, or the row
   * that is given, zeros where that is -1.
   * @shape out [n, dim], table [rows, dim], rows given [n or more]  @error EXACT for scale 1
   */
  embed(out: Tensor, table: Matrix, n: number, scale: number, by?: LookupBy | Int32Array): void;
  /** out = x / sqrt(mean(x²) + eps) * weight; out may be x.  @shape [n, cols], weight [cols] or null  @error BOUND */
  rmsNorm(out: Tensor, x: Tensor, weight: Vector | null, n: number, eps: number): void;
  /** The same over each head in place.  @shape x [n, heads * headDim], weight [headDim] */
  headNorm(x: Tensor, weight: Vector | null, n: number, heads: number, headDim: number, eps: number): void;
  /**
   * All products share `x`, which is quantized once. No out may alias x or, but for a gate, another out; at most 64
   * products.
   * @shape x [n, cols]  @error BOUND
   */
  matmul(products: readonly Product[], x: Tensor, n: number): void;
  /**
   * Adds to columns [first, first + rows of B) of the chosen rows, which are not none: out = fma(factor, B (A x), out);
   * other rows are not touched. Without a choice out = B (A x). `x` null: A has a row for each token id.
   * @shape x [n, cols]; out not x  @error BOUND
   */
  lowRank(
    out: Tensor,
    first: number,
    x: Tensor | null,
    pair: LowRankPair<Matrix>,
    chosen: ChosenRows | null,
    n: number,
  ): void;
  /**
   * Rotates `dims` values of each head in place by the row's position: angle = position * frequency in double, its
   * cosine and sine rounded to f32, times the magnitude.  @shape x [n, heads * headDim]
   */
  rope(x: Tensor, n: number, heads: number, headDim: number, table: RopeTable): void;
  /**
   * Stores the rows' keys and values at their positions; v is null for a latent layer, and for one of keys alone.
   * @shape k [n, kvHeads * headDimK], v [n, kvHeads * headDimV]
   */
  kvStore(pool: KvPool, layer: number, k: Tensor, v: Tensor | null, n: number): void;
  /**
   * out = softmax(q·k * scale + mask)·v over the row's own sequence, causal. `out` must not be `q`. Pages a row would
   * see but that are forgotten (-1) are an error.  @shape q [n, heads * headDimK], out [n, heads * headDimV]
   *
   * The native order: cut at multiples of 256 positions; a piece is m = max score, l = sum exp(score - m),
   * o = sum exp(score - m) v; pieces merge in ascending order, the first as it is, then with M = max(m, mp),
   * a = exp(m - M), b = exp(mp - M): l = fma(b, lp, l a), o = fma(b, op, o a). A sink s joins last: M = max(m, s),
   * l = l exp(m - M) + exp(s - M), o = o exp(m - M). out = o * (1 / l). Chosen positions are cut at multiples of 256 of
   * them. Of several sources each is computed alone, up to its o; they merge in their order, then the sink joins.
   */
  attention(out: Tensor, q: Tensor, pool: KvPool, layer: number, n: number, spec: AttentionSpec): void;
  /**
   * The best positions for each row, ascending, -1 behind them: of the row's own and earlier ones, by
   * sum over heads of weight * max(q · key, 0). Of equal scores the earlier position; a NaN is the worst. `pool`'s
   * layer has one head of keys. Where its rows are of several positions they are chosen; with `expand` the positions
   * of those rows, and all behind the last whole row: topK is a whole number of rows and `every - 1` more.
   * @shape q [n, heads * headDimK], weights [n, heads] or null: ones
   */
  select(
    out: Routing,
    q: Tensor,
    weights: Tensor | null,
    pool: KvPool,
    layer: number,
    n: number,
    expand?: boolean,
  ): void;
  /**
   * Convolution of every column over the rows of its sequence up to its own: out = w_0 x_(t-r) (rounded), then one
   * fma each for w_1 x_(t-r+1) ... w_r x_t, then + bias; rows before the first are zeros. Layer `layer` keeps the
   * last r rows of x.
   * @shape x, out [n, columns], not the same; weight [r + 1, columns]  @error BOUND
   */
  shortConv(
    out: Tensor,
    x: Tensor,
    pool: SlotPool,
    layer: number,
    weight: Vector,
    bias: Vector | null,
    n: number,
  ): void;
  /**
   * A recurrence of the matrices M [keys, values] of layer `layer`, row after row of each sequence:
   * m = decay_k * M_kc (rounded), p_c = sum of k_k m_kc (correct only), d_c = beta * (v_c - p_c), M_kc = fma(k_k,
   * d_c, m), out_c = sum of q_k M_kc; sums over k ascending, one fma each from +0, then + skip_h * v_c by one fma.
   * @shape out [n, heads * values], none of the inputs; skip [heads] or null  @error BOUND
   */
  recur(out: Tensor, inputs: RecurInputs, pool: SlotPool, layer: number, skip: Vector | null, n: number): void;
  /**
   * Blocks of `every` rows of layer `layer`, by positions: out of the last row of one is the sum of the rows' values,
   * each column weighted by a softmax over the rows of its gates + positions[row of the block]; other rows are zeros.
   * With overlap rows are two halves, and a block is the second halves of its rows and the first halves of those of the
   * block before, where there is one. Rows are folded one by one, ascending, as pieces of attention are.
   * @shape values, gates [n, width], width = columns or 2 * columns; positions [every * width] or null; out [n,
   *   columns]
   * @error BOUND
   */
  compress(
    out: Tensor,
    values: Tensor,
    gates: Tensor,
    pool: SlotPool,
    layer: number,
    positions: Vector | null,
    n: number,
  ): void;
  /** Feeds the first `rows` of what a pass kept at `keep` into slot `from` (-1: zeros), into slot `to`: all layers. */
  replay(pool: SlotPool, from: number, to: number, keep: number, rows: number): void;
  /** out = act(gate) * up; out may alias either.  @shape [n, cols] */
  glu(out: Tensor, gate: Tensor, up: Tensor, n: number, kind: Glu): void;
  /**
   * Chooses experts, best first; ties go to the lower id, a NaN is the worst choice. Weights: the scores without the
   * selection bias, for `softmax-selected` softmaxed over the chosen logits; renormalized by max(sum in rank order,
   * 2^-14, the least normal f16); times `scale`.  @shape logits [n, experts]
   * @returns the first expert whose logit is not a finite number, in the first row that has one; -1: none; -2: the
   *   table names an expert that is not there, or one twice, and the first experts were taken
   */
  route(out: Routing, logits: Tensor, n: number, spec: RouteSpec): number;
  /**
   * out[t] = sum over ranks, in rank order, of weight * (down · glu(gate · x, up · x)): the first rank is multiplied,
   * the others are added with one fma each, whatever order they are computed in. `routing` is what `route` left. With
   * `weightsInput` x is multiplied by the weight, and results by 1. `pairs` are added right behind the products they
   * are beside (and their biases), in their order: y = fma(factor, B (A x), y) for rows whose factor is not 0.
   * @shape x [n, dim], out [n, dim] (overwritten, not x)
   */
  experts(
    out: Tensor,
    x: Tensor,
    routing: Routing,
    n: number,
    weights: ExpertWeights,
    kind: Glu | Activation,
    pairs?: readonly ExpertPair<Matrix>[],
  ): void;
  /**
   * Hint: `routing` names the experts of `gate`'s layer that a call of `experts` after the next one will probably want.
   * Absent where experts are not read from a disk. Changes no number.
   */
  expectExperts?(routing: Routing, n: number, gate: Matrix): void;
  /** y += x */
  add(y: Tensor, x: Tensor, n: number): void;
  scale(x: Tensor, factor: number, n: number): void;
  /** x = cap * tanh(x / cap) */
  softcap(x: Tensor, cap: number, n: number): void;
  /** out = (x - mean) / sqrt(mean((x - mean)²) + eps) * weight + bias; out may be x.  @shape [n, cols]  @error BOUND */
  layerNorm(out: Tensor, x: Tensor, weight: Vector | null, bias: Vector | null, n: number, eps: number): void;
  /** x = act(x)  @error ULP(8) */
  act(x: Tensor, kind: Activation, n: number): void;
  /**
   * y *= x, each value of x for a run of neighbours in y: a row, a head or one value. @shape y [n, k * cols], x [n,
   * k]
   */
  multiply(y: Tensor, x: Tensor, n: number): void;
  /** Every row of x times the vector, which is repeated along the row.  @shape x [n, k * length] */
  multiplyVector(x: Tensor, vector: Vector, n: number): void;
  /** Every row of x plus the vector.  @shape x [n, cols] */
  addVector(x: Tensor, vector: Vector, n: number): void;
  /** Columns [from, from + count) of x become columns [to, to + count) of out.  @error EXACT */
  columns(out: Tensor, to: number, x: Tensor, from: number, count: number, n: number): void;
  /**
   * Weighted sums of streams: with s the streams of all parts in order, each as wide as one of out's `streams`,
   * out_d = w[d, 0] s_0, then one fma each for s_1, s_2, ... @shape out [n, streams * dim], weights [n, streams *
   * count]
   */
  blend(out: Tensor, parts: readonly Tensor[], weights: Tensor, streams: number, n: number): void;
  /** Softmax over streams of sum_e (s_j)_e / rms(s_j) * weight_e.  @shape out [n, count], weight [dim]  @error BOUND */
  streamScores(out: Tensor, parts: readonly Tensor[], weight: Vector, n: number, eps: number): void;
  /**
   * Weights of hyper-connections of h streams from x [n, (2 + h) h]: pre = sigmoid(x s0 + b) + eps [n, h]; mix [n, h
   * (1 + h)], for each destination 2 sigmoid(x s1 + b) and then h weights of the streams: softmax over destinations
   * of x s2 + b, made doubly stochastic by so many iterations; x has the destinations of each source side by side.
   * @shape scale [3], base [(2 + h) h] @source DeepSeek-AI 2026, mHC
   */
  hyperWeights(
    pre: Tensor,
    mix: Tensor,
    x: Tensor,
    scale: Vector,
    base: Vector,
    n: number,
    iterations: number,
    eps: number,
  ): void;
  /**
   * out_h = the sum over the columns of head h of x times y.
   * @shape x, y [n, heads * dim], out [n, heads]  @error BOUND
   */
  headDots(out: Tensor, x: Tensor, y: Tensor, n: number): void;
  /** Every row of x times what its position makes of the temperature; the factor is computed in double. */
  temper(x: Tensor, temperature: Temperature, n: number): void;
  /** LayerNorm of every head in place, without weights.  @shape x [n, heads * headDim]  @error BOUND */
  centreHeads(x: Tensor, n: number, heads: number, headDim: number, eps: number): void;
  /** x = xielu(x)  @error ULP(8) of the larger term */
  xielu(x: Tensor, numbers: Xielu, n: number): void;
  /** x = max(x - (mean + deviations * the row's sample deviation), 0)  @shape [n, cols]  @error BOUND */
  sparsify(x: Tensor, deviations: number, n: number): void;
  /** Every row of x is made as long as that of `like`.  @shape both [n, cols]  @error BOUND */
  matchSize(x: Tensor, like: Tensor, n: number): void;
  /** A row for each sequence of the pass, in their order, of its rows.  @shape out [sequences, cols] */
  pool(out: Tensor, x: Tensor, kind: Pooling, n: number): void;
  /** out[i] = x[indices[i]] */
  gather(out: Tensor, x: Tensor, indices: Int32Array): void;
  /** out = x, which must not overlap.  @shape [n, cols]  @error EXACT */
  copy(out: Tensor, x: Tensor, n: number): void;
  /**
   * Copies the first n rows out, into the beginning of `into` when it is given: logits of every token would otherwise
   * be a megabyte of garbage each. The only place the forward pass may wait (a GPU answers later).
   * @returns [n * cols]
   */
  read(x: Tensor, n: number, into?: Float32Array): Float32Array | Promise<Float32Array>;
  write(x: Tensor, values: Float32Array): void;
  readRouting(routing: Routing, n: number): { ids: Int32Array; weights: Float32Array };
  /** Copy-on-write of a page, all layers. */
  kvCopyPage(pool: KvPool, from: number, to: number): void;
}

export type Ops = OpsMemory & Verbs;

/** An implementation, with what its owner needs beside the verbs. */
export interface Backend extends Ops, UnitBytes, MovingKeys {
  /**
   * The tensor's own memory [rows * cols], where JavaScript can see it: what is written to the tensor shows there.
   * Empty after `close`. Absent where memory is elsewhere.
   */
  view?(x: Tensor): Float32Array;
  /**
   * matmul, attention and experts throw CANCELLED soon after flag[0] becomes non-zero: in the middle of a call when the
   * flag is in shared memory, before the next one otherwise.
   */
  setCancelFlag(flag: Int32Array | null): void;
  counters(): OpsCounters;
  /** Where weight bytes came from; absent where nobody counts. */
  traffic?(): WeightTraffic;
  /** Undefined where no experts lie in slots. */
  expertUses?(): ExpertUses | undefined;
  /** Reads in flight from now on, of weights that are streamed; absent where nothing is. */
  readDepth?(depth: number): void;
  /** Absent where nothing is shared. */
  machine?(): MachineUse;
}
