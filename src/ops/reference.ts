/**
 * `Ops` in plain TypeScript: the oracle that the native implementation is tested against, and the fallback where no
 * compiler or prebuilt binary exists. Sums are doubles, activations meet quantized weights unrounded, weights are
 * decoded row by row and never held.
 */

import { hadamard, mixKey } from "./kv-form.js";
import {
  type Activation,
  type AttentionSpec,
  type Backend,
  type ChosenRows,
  type ExpertPair,
  type ExpertSide,
  type ExpertWeights,
  type Glu,
  type KvPool,
  type LookupBy,
  type LowRankPair,
  type Matrix,
  type Pooling,
  type Product,
  pagePositions,
  type RecurInputs,
  type RopeTable,
  type RouteSpec,
  type Routing,
  type RowTable,
  type SlotPool,
  type Temperature,
  type Tensor,
  type Vector,
  type Xielu,
} from "./ops.js";
import {
  attendHead,
  attendPart,
  bestPositions,
  DecodedHeads,
  type Past,
  positionScores,
  seenBy,
} from "./reference-attention.js";
import { encodeHead, type ReferenceKvPool } from "./reference-kv.js";
import { gluValue, listedExperts, rmsNormRow, ropeHead, routeRow, softcapValue } from "./reference-math.js";
import { data, own, ReferenceMemory, type Rope, type Routes, requireThat, row, values } from "./reference-memory.js";
import type { ReferenceSlotPool } from "./reference-slots.js";
import {
  actValue,
  blendRow,
  hyperRow,
  layerNormRow,
  poolRows,
  scoresOfStreams,
  sparsifyRow,
  xieluValue,
} from "./reference-values.js";
import { dot, dots, type ReferenceMatrix } from "./reference-weights.js";

/** The positions chosen for a row. */
function chosenOf({ ids, topK }: Routes, t: number): number[] {
  return Array.from(ids.subarray(t * topK, (t + 1) * topK)).filter((position) => position >= 0);
}

export class ReferenceOps extends ReferenceMemory implements Backend {
  // --- pass

  begin(rows: RowTable): void {
    requireThat(rows.blockTables.length === this.pools.length, "one set of block tables for each KV pool");
    this.rows = rows;
  }

  embed(out: Tensor, table: Matrix, n: number, scale: number, by: LookupBy | Int32Array = "ids"): void {
    const rows = typeof by !== "string" ? by : by === "first" ? null : this.rows[by];
    const matrix = own<ReferenceMatrix>(table, "forEachRow");
    for (let t = 0; t < n; t++) {
      const y = row(out, t);
      const at = rows === null ? 0 : rows[t]!;
      if (at < 0) y.fill(0);
      else matrix.row(0, at, y);
      if (scale !== 1) for (let i = 0; i < y.length; i++) y[i] = y[i]! * Math.fround(scale);
    }
  }

  rmsNorm(out: Tensor, x: Tensor, weight: Vector | null, n: number, eps: number): void {
    requireThat(out.cols === x.cols, "rmsNorm keeps the width");
    const y = data(out);
    if (y !== data(x)) y.set(data(x).subarray(0, n * x.cols));
    for (let t = 0; t < n; t++) rmsNormRow(y, y, values(weight), t * x.cols, x.cols, eps);
  }

  headNorm(x: Tensor, weight: Vector | null, n: number, heads: number, headDim: number, eps: number): void {
    requireThat(x.cols === heads * headDim, "headNorm wants whole heads");
    for (let h = 0; h < n * heads; h++) rmsNormRow(data(x), data(x), values(weight), h * headDim, headDim, eps);
  }

  matmul(products: readonly Product[], x: Tensor, n: number): void {
    for (const product of products) {
      if (product.transposed) {
        this.#linearT(product, x, n);
        continue;
      }
      const { out, weight, bias, add, glu, heads = 1 } = product;
      const each = weight.rows / heads;
      const fits = heads * weight.cols === x.cols && weight.rows === out.cols && Number.isInteger(each);
      requireThat(fits, `shapes of the product with ${weight.name}`);
      const [y, input, b] = [data(out), data(x), values(bias)];
      const [offsets, sums] = [new Int32Array(n), new Float64Array(n)];
      own<ReferenceMatrix>(weight, "forEachRow").forEachRow(0, (row, w) => {
        if ((row & 63) === 0) this.checkCancelled();
        const head = Math.floor(row / each) * weight.cols;
        for (let t = 0; t < n; t++) offsets[t] = t * x.cols + head;
        dots(w, input, offsets, weight.cols, sums);
        for (let t = 0; t < n; t++) {
          const at = t * out.cols + row;
          const value = sums[t]! + (b === null ? 0 : b[row]!);
          y[at] = glu === undefined ? value + (add ? y[at]! : 0) : gluValue(glu, y[at]!, Math.fround(value));
        }
      });
    }
  }

  lowRank(
    out: Tensor,
    first: number,
    x: Tensor | null,
    { a, b }: LowRankPair<Matrix>,
    chosen: ChosenRows | null,
    n: number,
  ): void {
    const rank = b.cols;
    requireThat((x === null ? a.cols : a.rows) === rank, `the ranks of ${a.name} and ${b.name}`);
    requireThat(x === null || x.cols === a.cols, `shapes of the pair with ${a.name}`);
    requireThat(first >= 0 && first + b.rows <= out.cols, `the columns of ${b.name}`);
    const rows = chosen?.rows ?? Int32Array.from({ length: n }, (_, t) => t);
    const low = new Float32Array(rows.length * rank);
    const inward = own<ReferenceMatrix>(a, "forEachRow");
    for (const [i, t] of rows.entries())
      if (x === null) inward.row(0, this.rows.ids[t]!, low.subarray(i * rank, (i + 1) * rank));
    if (x !== null)
      inward.forEachRow(0, (row, w) => {
        for (const [i, t] of rows.entries()) low[i * rank + row] = dot(w, data(x), t * x.cols, x.cols);
      });
    own<ReferenceMatrix>(b, "forEachRow").forEachRow(0, (row, w) => {
      if ((row & 63) === 0) this.checkCancelled();
      for (const [i, t] of rows.entries()) {
        const at = t * out.cols + first + row;
        const value = dot(w, low, i * rank, rank);
        data(out)[at] = chosen === null ? value : data(out)[at]! + chosen.factors[i]! * value;
      }
    });
  }

  #linearT({ out, weight, bias, add, heads = 1 }: Product, x: Tensor, n: number): void {
    const { rows, cols, experts, name } = weight;
    const fits = experts * rows === x.cols && experts * heads * cols === out.cols && rows % heads === 0;
    requireThat(fits, `shapes of the product with ${name}`);
    const each = rows / heads;
    const [y, input, b] = [data(out), data(x), values(bias)];
    const sums = new Float64Array(n * out.cols);
    for (let e = 0; e < experts; e++)
      own<ReferenceMatrix>(weight, "forEachRow").forEachRow(e, (row, w) => {
        if ((row & 63) === 0) this.checkCancelled();
        for (let t = 0; t < n; t++) {
          const factor = input[t * x.cols + e * rows + row]!;
          const at = t * out.cols + (e * heads + Math.floor(row / each)) * cols;
          for (let c = 0; c < cols; c++) sums[at + c]! += factor * w[c]!;
        }
      });
    for (let i = 0; i < sums.length; i++) y[i] = sums[i]! + (b === null ? 0 : b[i % out.cols]!) + (add ? y[i]! : 0);
  }

  rope(x: Tensor, n: number, heads: number, headDim: number, table: RopeTable): void {
    const { spec } = own<Rope>(table, "spec");
    for (let t = 0; t < n; t++)
      for (let h = 0; h < heads; h++) {
        const offset = t * x.cols + h * headDim + (spec.first ?? 0);
        const position = Math.max(0, this.rows.positions[t]! - (spec.back ?? 0));
        ropeHead(data(x), offset, position, spec.frequencies, spec.magnitude, spec.interleaved);
      }
  }

  /** The page of a row of the pool: of a position, where each has a row. */
  #page(pool: ReferenceKvPool, t: number, index: number): DataView {
    const blocks = this.rows.blockTables[this.pools.indexOf(pool)]![this.rows.sequences[t]!]!;
    return pool.page(blocks[Math.floor(index / pagePositions)] ?? -1);
  }

  kvStore(pool: KvPool, layer: number, k: Tensor, v: Tensor | null, n: number): void {
    const cache = own<ReferenceKvPool>(pool, "layout");
    const layout = cache.layout[layer]!;
    const { kvHeads, headDimK, headDimV, mixed, keys, values: valueStart, keyBytes, valueBytes } = layout;
    for (let t = 0; t < n; t++) {
      const position = this.rows.positions[t]!;
      if ((position + 1) % cache.every !== 0) continue;
      const index = Math.floor(position / cache.every);
      const page = this.#page(cache, t, index);
      const slot = index % pagePositions;
      for (let h = 0; h < kvHeads; h++) {
        const row = h * pagePositions + slot;
        const key = data(k).slice(t * k.cols + h * headDimK, t * k.cols + (h + 1) * headDimK);
        if (mixed) mixKey(key, layout);
        encodeHead(cache.keyType, key, 0, headDimK, page, keys + row * keyBytes);
        if (v === null) continue;
        const value = data(v).slice(t * v.cols + h * headDimV, t * v.cols + (h + 1) * headDimV);
        if (mixed) hadamard(value, 0, headDimV);
        encodeHead(cache.valueType, value, 0, headDimV, page, valueStart + row * valueBytes);
      }
    }
  }

  attention(out: Tensor, q: Tensor, pool: KvPool, layer: number, n: number, spec: AttentionSpec): void {
    const cache = own<ReferenceKvPool>(pool, "layout");
    const layout = cache.layout[layer]!;
    const [sinks, slopes] = [values(spec.sinks), values(spec.slopes ?? null)];
    const chosen = spec.selection ? own<Routes>(spec.selection, "ids") : null;
    requireThat(chosen === null || spec.window === 0, "positions are chosen among all before a row");
    requireThat(chosen === null || slopes === null, "chosen positions have no slopes");
    const blocks = cache.every > 1;
    const all = spec.window === 0 && (spec.reach ?? "back") === "back" && slopes === null;
    requireThat(!blocks || all, "rows that several positions make are seen all, without slopes");
    const decoded = new DecodedHeads();
    for (let t = 0; t < n; t++) {
      this.checkCancelled();
      const position = this.rows.positions[t]!;
      let end = t;
      while (end + 1 < n && this.rows.sequences[end + 1] === this.rows.sequences[t]) end++;
      const last = this.rows.positions[end]!;
      const past: Past = { cache, layer, pageOf: (key) => this.#page(cache, t, key), decoded };
      const own = blocks ? Math.floor((position + 1) / cache.every) - 1 : position;
      const seen = chosen === null ? seenBy(own, last, spec) : chosenOf(chosen, t);
      for (let h = 0; h < spec.heads; h++) {
        const query = data(q).slice(t * q.cols + h * spec.headDimK, t * q.cols + (h + 1) * spec.headDimK);
        if (layout.mixed) mixKey(query, layout);
        const result = data(out).subarray(t * out.cols + h * spec.headDimV, t * out.cols + (h + 1) * spec.headDimV);
        const kvHead = Math.floor(h / (spec.heads / spec.kvHeads));
        const [sink, slope] = [sinks?.[h] ?? -Infinity, slopes?.[h] ?? 0];
        const head = { index: h, kvHead, position, sink, slope };
        if (spec.part === undefined) attendHead(result, query, past, head, seen, spec);
        else attendPart(result, row(spec.part.carry, t), query, past, head, seen, spec);
        if (layout.mixed && (spec.part === undefined || spec.part.place === "last")) hadamard(result, 0, spec.headDimV);
      }
    }
  }

  /** Tests listen here. */
  protected readonly bestOf = bestPositions;

  select(
    out: Routing,
    q: Tensor,
    weights: Tensor | null,
    pool: KvPool,
    layer: number,
    n: number,
    expand = false,
  ): void {
    const cache = own<ReferenceKvPool>(pool, "layout");
    const { ids, topK } = own<Routes>(out, "ids");
    const { kvHeads, headDimK } = cache.layout[layer]!;
    const heads = weights?.cols ?? q.cols / headDimK;
    requireThat(kvHeads === 1 && q.cols === heads * headDimK, "index queries as wide as the keys");
    const { every } = cache;
    const most = expand ? (topK - every + 1) / every : topK;
    requireThat(Number.isInteger(most) && most > 0, "room for whole rows of positions");
    const ones = new Float32Array(heads).fill(1);
    const decoded = new DecodedHeads();
    for (let t = 0; t < n; t++) {
      this.checkCancelled();
      const past: Past = { cache, layer, pageOf: (key) => this.#page(cache, t, key), decoded };
      const position = this.rows.positions[t]!;
      const whole = Math.floor((position + 1) / every);
      const shares = weights === null ? ones : row(weights, t);
      const best = this.bestOf(positionScores(row(q, t), shares, past, whole - 1), most);
      const of = (chosen: number) => Array.from({ length: every }, (_, i) => chosen * every + i);
      const tail = Array.from({ length: position + 1 - whole * every }, (_, i) => whole * every + i);
      ids.fill(-1, t * topK, (t + 1) * topK);
      ids.set(expand ? [...best.flatMap(of), ...tail] : best, t * topK);
    }
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
    own<ReferenceSlotPool>(pool, "layers").shortConv(
      layer,
      this.rows,
      n,
      (t) => row(x, t),
      (t) => row(out, t),
      values(weight)!,
      values(bias),
    );
  }

  recur(out: Tensor, inputs: RecurInputs, pool: SlotPool, layer: number, skip: Vector | null, n: number): void {
    this.checkCancelled();
    const { q, k, v, decay, beta } = inputs;
    own<ReferenceSlotPool>(pool, "layers").recur(
      layer,
      this.rows,
      n,
      (t) => ({ q: row(q, t), k: row(k, t), v: row(v, t), decay: row(decay, t), beta: beta && row(beta, t) }),
      (t) => row(out, t),
      values(skip),
    );
  }

  compress(
    out: Tensor,
    rows: Tensor,
    gates: Tensor,
    pool: SlotPool,
    layer: number,
    positions: Vector | null,
    n: number,
  ): void {
    const slots = own<ReferenceSlotPool>(pool, "layers");
    const { columns, overlap } = slots.block(layer);
    const fits = out.cols === columns && rows.cols === gates.cols && rows.cols === (overlap ? 2 : 1) * columns;
    requireThat(fits, "values and gates as wide as blocks are");
    slots.compress(
      layer,
      this.rows,
      n,
      (t) => row(rows, t),
      (t) => row(gates, t),
      (t) => row(out, t),
      values(positions),
    );
  }

  replay(pool: SlotPool, from: number, to: number, keep: number, rows: number): void {
    own<ReferenceSlotPool>(pool, "layers").replay(from, to, keep, rows);
  }

  glu(out: Tensor, gate: Tensor, up: Tensor, n: number, kind: Glu): void {
    const [y, g, u] = [data(out), data(gate), data(up)];
    for (let i = 0; i < n * out.cols; i++) y[i] = gluValue(kind, g[i]!, u[i]!);
  }

  route(out: Routing, logits: Tensor, n: number, spec: RouteSpec): number {
    const { ids, weights } = own<Routes>(out, "ids");
    const table = values(spec.table ?? null);
    const first = Array.from({ length: out.topK }, (_, rank) => rank);
    let fault = -1;
    let wrong = false;
    for (let t = 0; t < n; t++) {
      const row = data(logits).subarray(t * logits.cols, (t + 1) * logits.cols);
      if (fault < 0) fault = row.findIndex((logit) => !Number.isFinite(logit));
      const listed = table === null ? first : listedExperts(table, this.rows.ids[t]!, out.topK, logits.cols);
      wrong ||= listed === undefined;
      const given = table === null ? undefined : (listed ?? first);
      const chosen = routeRow(row, spec, values(spec.selectionBias), values(spec.factors ?? null), given);
      ids.set(chosen.ids, t * out.topK);
      weights.set(chosen.weights, t * out.topK);
    }
    return fault < 0 && wrong ? -2 : fault;
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
    const { ids, weights: share } = own<Routes>(routing, "ids");
    const { gate, up, down } = weights;
    const hidden = up.rows;
    const slots = n * routing.topK;
    const [gateOut, upOut] = [new Float32Array(slots * hidden), new Float32Array(slots * hidden)];
    const downOut = new Float32Array(slots * down.rows);
    for (let expert = 0; expert < up.experts; expert++) {
      // Slots (row * topK + rank) that chose this expert: its weights are read once for all of them.
      const chosen = Array.from({ length: slots }, (_, slot) => slot).filter((slot) => ids[slot] === expert);
      if (chosen.length === 0) continue;
      const product = (side: ExpertSide, matrix: Matrix, bias: Vector | null, from: Float32Array, to: Float32Array) => {
        const perToken = side !== "down";
        const b = values(bias);
        const weighed = perToken && weights.weightsInput;
        const at = (slot: number): number => (perToken ? Math.floor(slot / routing.topK) : slot) * matrix.cols;
        const [offsets, sums] = [Int32Array.from(chosen, at), new Float64Array(chosen.length)];
        own<ReferenceMatrix>(matrix, "forEachRow").forEachRow(expert, (row, w) => {
          if ((row & 63) === 0) this.checkCancelled();
          dots(w, from, offsets, matrix.cols, sums);
          const constant = b === null ? 0 : b[expert * matrix.rows + row]!;
          for (const [i, slot] of chosen.entries())
            to[slot * matrix.rows + row] = sums[i]! * (weighed ? share[slot]! : 1) + constant;
        });
        for (const { pair, factors } of pairs.filter((own) => own.side === side)) {
          const { rows: rank } = pair.a;
          const low = new Float32Array(slots * rank);
          own<ReferenceMatrix>(pair.a, "forEachRow").forEachRow(expert, (row, w) => {
            for (const slot of chosen)
              low[slot * rank + row] = dot(w, from, at(slot), matrix.cols) * (weighed ? share[slot]! : 1);
          });
          own<ReferenceMatrix>(pair.b, "forEachRow").forEachRow(expert, (row, w) => {
            for (const slot of chosen)
              to[slot * matrix.rows + row]! +=
                factors[Math.floor(slot / routing.topK)]! * dot(w, low, slot * rank, rank);
          });
        }
      };
      if (gate !== null) product("gate", gate, weights.gateBias, data(x), gateOut);
      product("up", up, weights.upBias, data(x), upOut);
      for (const slot of chosen)
        for (let i = slot * hidden; i < (slot + 1) * hidden; i++)
          gateOut[i] =
            gate === null ? actValue(kind as Activation, upOut[i]!) : gluValue(kind as Glu, gateOut[i]!, upOut[i]!);
      product("down", down, weights.downBias, gateOut, downOut);
    }
    const y = data(out);
    for (let t = 0; t < n; t++)
      for (let i = 0; i < out.cols; i++) {
        let sum = 0;
        for (let slot = t * routing.topK; slot < (t + 1) * routing.topK; slot++)
          sum += (weights.weightsInput ? 1 : share[slot]!) * downOut[slot * out.cols + i]!;
        y[t * out.cols + i] = sum;
      }
  }

  add(y: Tensor, x: Tensor, n: number): void {
    const [to, from] = [data(y), data(x)];
    for (let i = 0; i < n * y.cols; i++) to[i] = to[i]! + from[i]!;
  }

  scale(x: Tensor, factor: number, n: number): void {
    const d = data(x);
    const f32 = Math.fround(factor); // a factor is an f32, so that the product is the same everywhere
    for (let i = 0; i < n * x.cols; i++) d[i] = d[i]! * f32;
  }

  softcap(x: Tensor, cap: number, n: number): void {
    const d = data(x);
    for (let i = 0; i < n * x.cols; i++) d[i] = softcapValue(d[i]!, cap);
  }

  layerNorm(out: Tensor, x: Tensor, weight: Vector | null, bias: Vector | null, n: number, eps: number): void {
    requireThat(out.cols === x.cols, "layerNorm keeps the width");
    for (let t = 0; t < n; t++) layerNormRow(row(out, t), row(x, t), values(weight), values(bias), eps);
  }

  act(x: Tensor, kind: Activation, n: number): void {
    const d = data(x);
    for (let i = 0; i < n * x.cols; i++) d[i] = actValue(kind, d[i]!);
  }

  multiply(y: Tensor, x: Tensor, n: number): void {
    requireThat(y.cols % x.cols === 0, "each factor has as many values");
    const run = y.cols / x.cols;
    const [to, from] = [data(y), data(x)];
    for (let i = 0; i < n * y.cols; i++) to[i] = to[i]! * from[Math.floor(i / run)]!;
  }

  multiplyVector(x: Tensor, vector: Vector, n: number): void {
    requireThat(x.cols % vector.length === 0, "factors are repeated along the row");
    const [d, factors] = [data(x), values(vector)!];
    for (let i = 0; i < n * x.cols; i++) d[i] = d[i]! * factors[i % factors.length]!;
  }

  addVector(x: Tensor, vector: Vector, n: number): void {
    requireThat(vector.length === x.cols, "a value for each column");
    const [d, added] = [data(x), values(vector)!];
    for (let i = 0; i < n * x.cols; i++) d[i] = d[i]! + added[i % x.cols]!;
  }

  columns(out: Tensor, to: number, x: Tensor, from: number, count: number, n: number): void {
    for (let t = 0; t < n; t++) row(out, t).set(row(x, t).subarray(from, from + count), to);
  }

  blend(out: Tensor, parts: readonly Tensor[], weights: Tensor, streams: number, n: number): void {
    for (let t = 0; t < n; t++)
      blendRow(
        row(out, t),
        parts.map((part) => row(part, t)),
        row(weights, t),
        streams,
      );
  }

  streamScores(out: Tensor, parts: readonly Tensor[], weight: Vector, n: number, eps: number): void {
    for (let t = 0; t < n; t++)
      scoresOfStreams(
        row(out, t),
        parts.map((part) => row(part, t)),
        values(weight)!,
        eps,
      );
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
    for (let t = 0; t < n; t++)
      hyperRow(row(pre, t), row(mix, t), row(x, t), values(scale)!, values(base)!, iterations, eps);
  }

  headDots(out: Tensor, x: Tensor, y: Tensor, n: number): void {
    const dim = x.cols / out.cols;
    requireThat(Number.isInteger(dim) && x.cols === y.cols, "heads fill the row");
    for (let i = 0; i < n * out.cols; i++) {
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += data(x)[i * dim + d]! * data(y)[i * dim + d]!;
      data(out)[i] = sum;
    }
  }

  temper(x: Tensor, { scale, length, offset }: Temperature, n: number): void {
    for (let t = 0; t < n; t++) {
      const steps = Math.floor((this.rows.positions[t]! + offset) / length);
      const factor = Math.fround(1 + scale * Math.log(1 + steps));
      const values = row(x, t);
      for (let i = 0; i < values.length; i++) values[i] = values[i]! * factor;
    }
  }

  centreHeads(x: Tensor, n: number, heads: number, headDim: number, eps: number): void {
    requireThat(heads * headDim === x.cols, "heads fill the row");
    for (let h = 0; h < n * heads; h++) {
      const head = data(x).subarray(h * headDim, (h + 1) * headDim);
      layerNormRow(head, head, null, null, eps);
    }
  }

  xielu(x: Tensor, numbers: Xielu, n: number): void {
    const d = data(x);
    for (let i = 0; i < n * x.cols; i++) d[i] = xieluValue(numbers, d[i]!);
  }

  sparsify(x: Tensor, deviations: number, n: number): void {
    for (let t = 0; t < n; t++) sparsifyRow(row(x, t), deviations);
  }

  matchSize(x: Tensor, like: Tensor, n: number): void {
    const size = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
    for (let t = 0; t < n; t++) {
      const values = row(x, t);
      const factor = size(row(like, t)) / size(values);
      for (let i = 0; i < values.length; i++) values[i] = values[i]! * factor;
    }
  }

  pool(out: Tensor, x: Tensor, kind: Pooling, n: number): void {
    poolRows(
      this.rows.sequences.subarray(0, n),
      kind,
      (t) => row(x, t),
      (s) => row(out, s),
    );
  }

  gather(out: Tensor, x: Tensor, indices: Int32Array): void {
    for (const [i, index] of indices.entries())
      data(out).set(data(x).subarray(index * x.cols, (index + 1) * x.cols), i * out.cols);
  }

  copy(out: Tensor, x: Tensor, n: number): void {
    requireThat(out.cols === x.cols, "copy keeps the width");
    data(out).set(data(x).subarray(0, n * x.cols));
  }
}
