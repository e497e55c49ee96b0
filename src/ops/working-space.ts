/**
 * The working space of the native implementation, as the calls of a bound list need it: each names what it takes, a
 * buffer is as large as the largest of them. `seal` is given the sum, and a verb that wants more than was named is an
 * error.
 */
import type { Acts, Layout } from "../formats/layouts.js";
import { limits, type SpaceBuffer, space, spaceBuffers } from "../native/boundary.js";
import { NamedNumbers } from "../native/named-numbers.js";
import { type ExpertPair, expertSides } from "./pairs.js";

const { attentionQueries, attentionSplitItems } = limits;

/** Rows of a pair that wait for their place at a time (native/ops/low_rank.cc). */
const pairRows = space.gluRows / 8;

const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;

/** Heads of an attention (ops.ts). */
interface AttentionHeads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDimK: number;
  readonly headDimV: number;
}

/** The second matrix of a pair. */
interface PairShape {
  readonly rows: number;
  readonly cols: number;
  readonly layout: Layout;
}

/** Experts of `hidden` between `dim` columns. */
interface ExpertShapes {
  readonly topK: number;
  readonly experts: number;
  readonly dim: number;
  readonly hidden: number;
  /** Columns of rows that weights multiply on their way in. */
  readonly weighed?: number;
}

const wavePairs = (rows: number, topK: number): number => Math.max(rows, Math.min(rows * topK, space.expertWavePairs));

const expertOrderBytes = (rows: number, { topK, experts }: ExpertShapes): number => 4 * (3 * rows * topK + experts + 1);

export class WorkingSpace {
  readonly #bytes = new Map<SpaceBuffer, number>(spaceBuffers.map((name) => [name, 0]));
  readonly #rows: number;
  readonly #tables: readonly number[];
  /** Pieces of attention are per thread, and only where there are several. */
  #pieceBytes = 0;
  /** Sums of attention that wait for the disk. */
  #waitingBytes = 0;

  /** For passes of up to `maxRows` rows; `blocks`: entries of each pool's block table. */
  constructor(maxRows: number, blocks: readonly number[]) {
    this.#rows = maxRows;
    this.#tables = blocks;
    this.#grow("rows", maxRows * 12);
    for (const entries of blocks) this.#grow("tables", entries * 4);
  }

  #grow(name: SpaceBuffer, bytes: number): void {
    this.#bytes.set(name, Math.max(this.#bytes.get(name)!, roundUp(bytes, 64)));
  }

  /** Rows quantized for products: values, scales, sums. */
  #acts(prefix: "" | "hidden ", rows: number, cols: number, kinds: readonly Acts[]): void {
    for (const kind of kinds) {
      if (kind === "f32") continue;
      const stride = roundUp(cols, 64);
      const block = kind === "q8_256" ? 256 : 32;
      this.#grow(`${prefix}${kind} q`, rows * (stride % 4096 === 0 ? stride + 64 : stride));
      this.#grow(`${prefix}${kind} d`, rows * roundUp(Math.floor(cols / block), 16) * 4);
      this.#grow(`${prefix}${kind} sums`, rows * roundUp(Math.floor(cols / 16), 32) * 2);
    }
  }

  /**
   * Products of [rows, cols]; `into`: what becomes of results that meet what is there; `sums`: outputs whose sums grow
   * beside that.
   */
  linear(rows: number, cols: number, kinds: readonly Acts[], into: "store" | "add" | "glu", sums = 0): void {
    this.#acts("", rows, cols, kinds);
    this.#grow("sums", 4 * rows * sums);
    const { addValues, addRows, gluRows, gluValues } = space;
    const waiting = { store: 0, add: addRows * rows, glu: Math.min(gluRows * rows, gluValues) }[into];
    if (into !== "store") this.#grow("thread", roundUp(4 * Math.max(addValues, 16 * rows, waiting), 4096));
  }

  /** A pair over [rows, cols] that makes `outs` columns by way of `rank`, and `adds` them to what is there or not. */
  lowRank(
    rows: number,
    [cols, rank, outs]: readonly [number, number, number],
    kinds: readonly [Acts, Acts],
    adds: boolean,
  ): void {
    this.linear(rows, cols, [kinds[0]], "store");
    this.linear(rows, rank, [kinds[1]], "store");
    this.#grow("sums", 4 * (rows * rank + (adds ? Math.min(rows, pairRows) * outs : 0)));
  }

  /** @param cold where pages may be on the disk the sums of all heads wait for what is read */
  attention(rows: number, { heads, kvHeads, headDimK, headDimV }: AttentionHeads, mixed: boolean, cold: boolean): void {
    const pieceBytes = roundUp(attentionQueries * (2 + headDimV), 16) * 4;
    this.#grow("blocks", rows * space.attentionBlockBytes);
    const queries = attentionQueries * ((mixed ? 5 : 1) * headDimK + 64 + Math.floor(headDimK / 4));
    this.#grow("thread", roundUp(3 * pieceBytes + queries, 4096));
    this.#pieceBytes = Math.max(this.#pieceBytes, pieceBytes);
    if (!cold) return;
    const runHeads = Math.min(heads / kvHeads, attentionQueries);
    const runs = Math.ceil(heads / kvHeads / runHeads);
    const blocks = Math.ceil(rows / Math.max(1, Math.floor(attentionQueries / runHeads)));
    this.#waitingBytes = Math.max(this.#waitingBytes, blocks * kvHeads * runs * pieceBytes);
  }

  /** Attention over chosen positions: a page of keys and one of values of a head lie beside the pieces. */
  selected(headDimK: number, headDimV: number, mixed: boolean): void {
    const piece = roundUp(attentionQueries * (2 + headDimV), 16) * 4;
    const page = (values: number): number => roundUp(2 * limits.pagePositions * values, 64);
    const queries = roundUp(
      (mixed ? 5 : 1) * attentionQueries * headDimK + 64 + Math.floor((attentionQueries * headDimK) / 4),
      64,
    );
    this.#grow("thread", roundUp(2 * piece + queries + page(headDimK) + page(headDimV), 4096));
  }

  /** The choice among `positions` of each of `rows` rows, by scores of `heads` heads of `headDim`. */
  select(rows: number, positions: number, heads: number, headDim: number): void {
    const whole = roundUp(positions, limits.pagePositions);
    // Fewer positions let more rows be scored together, of one row all are.
    this.#grow("selection", 8 * Math.max(whole, Math.min(rows * whole, space.selectionPositions)));
    const queries = heads * headDim + 64 + Math.floor((heads * headDim) / 4);
    this.#grow("thread", roundUp(4 * heads * limits.pagePositions + queries, 4096));
  }

  /**
   * Experts; `kinds`: of the products that hidden rows go into.
   */
  experts(rows: number, shapes: ExpertShapes, kinds: readonly Acts[]): void {
    const { topK, experts, dim, hidden, weighed = 0 } = shapes;
    const pairs = rows * topK;
    const wave = wavePairs(rows, topK);
    this.#grow("expert order", expertOrderBytes(rows, shapes));
    this.#grow("expert products", 2 * Math.min(experts, pairs) * space.productTaskBytes);
    this.#grow("expert rows", 4 * (2 * wave * hidden + pairs * (dim + weighed)));
    this.#acts("hidden ", wave, hidden, kinds);
    this.#bytes.set("experts", Math.max(this.#bytes.get("experts")!, experts));
  }

  /** Pairs beside the matrices of experts (native/ops/expert_pairs.cc). */
  expertPairs(rows: number, shapes: ExpertShapes, pairs: readonly Omit<ExpertPair<PairShape>, "factors">[]): void {
    const { topK, experts } = shapes;
    const wave = wavePairs(rows, topK);
    for (const side of expertSides) {
      const own = pairs.filter((each) => each.side === side).map(({ pair }) => pair);
      if (own.length === 0) continue;
      this.#grow("expert order", expertOrderBytes(rows, shapes) + 16 * own.length * wave);
      this.#grow("expert products", own.length * Math.min(experts, rows * topK) * space.productTaskBytes);
      const ranks = own.reduce((sum, { b }) => sum + b.cols, 0);
      this.#grow("sums", 4 * (wave * ranks + Math.min(wave, pairRows) * own[0]!.b.rows));
      for (const { b } of own) this.#acts("hidden ", Math.min(wave, pairRows), b.cols, [b.layout.acts!]);
    }
  }

  /**
   * The argument of `seal`: token rows, entries of each block table, bytes of each buffer (of `thread`: of one), most
   * experts.
   */
  sizes(threads: number): { readonly buffers: Float64Array; readonly tables: Int32Array } {
    const sizes = new NamedNumbers(spaceBuffers);
    for (const [name, bytes] of this.#bytes) sizes.set(name, bytes);
    sizes.set("rows", this.#rows);
    sizes.set("tables", 0);
    sizes.set("pieces", this.#pieces(threads));
    return { buffers: sizes.values, tables: Int32Array.from(this.#tables) };
  }

  #pieces(threads: number): number {
    if (threads === 1 || this.#pieceBytes === 0) return this.#waitingBytes;
    const split = 2 * attentionSplitItems * threads * this.#pieceBytes;
    return Math.max(space.attentionPiecesBytes, split, this.#waitingBytes);
  }

  /** All of it, for a plan: what the kernels have of their own included. */
  totalBytes(threads: number): number {
    let bytes = threads * space.scratchBytes + this.#pieces(threads);
    for (const entries of this.#tables) bytes += roundUp(4 * entries, 64);
    for (const [name, size] of this.#bytes)
      if (name !== "tables" && name !== "experts") bytes += name === "thread" ? size * threads : size;
    return bytes;
  }
}
