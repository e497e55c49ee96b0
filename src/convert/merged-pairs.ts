/**
 * Adapters as changes of the matrices they are beside: W + scale * B A. Which matrix, and which of its rows, follows
 * from the calls of the model with its adapters, so what run time adds is what is merged.
 */
import { HundredweightError } from "../errors.js";
import type { Adapter } from "../formats/adapter.js";
import { decodeRow } from "../formats/decode-row.js";
import { layoutBytes } from "../formats/layouts.js";
import { type ModelDescription, withAdapters } from "../models/index.js";
import type { MatrixSource } from "../ops/ops.js";

type CallOf<V> = Extract<ModelDescription["program"]["calls"][number], { readonly verb: V }>;
type LowRank = CallOf<"lowRank">;
type Weight = CallOf<"experts">["body"]["up"];

export interface MergedAdapter {
  readonly adapter: Adapter;
  /** The factor of the pairs of the adapter. */
  readonly scale: number;
}

/**
 * Rows [first, first + count) of a stored matrix get rows of B from `from` on, times `rank` rows of A from `low` on. Of
 * stacks rows are those of all matrices one after the other.
 */
interface Change {
  readonly first: number;
  readonly count: number;
  readonly from: number;
  readonly low: number;
  readonly rank: number;
  readonly a: () => Half;
  readonly b: () => Half;
  readonly scale: number;
  /** It is a table of embeddings: A has a row for each of its rows, and B a row for each column. */
  readonly table: boolean;
}

/** The changes of one matrix, one after the other in the order of the adapters. */
export class MatrixChange {
  readonly #changes: Change[] = [];
  /** It is of a tensor that is made of rows of another, which has a change of its own. */
  readonly derived: boolean;

  constructor(derived = false) {
    this.derived = derived;
  }

  push(change: Change): void {
    this.#changes.push(change);
  }

  /** Those of rows [first, first + count) as a matrix of their own. */
  part(first: number, count: number): MatrixChange {
    const made = new MatrixChange();
    for (const change of this.#changes) {
      const low = Math.max(change.first, first);
      const high = Math.min(change.first + change.count, first + count);
      const moved = { first: low - first, count: high - low, from: change.from + low - change.first };
      if (high > low) made.push({ ...change, ...moved });
    }
    return made;
  }

  /** Those of a part whose outputs are these runs of a fused matrix, one after the other. */
  placed(runs: readonly (readonly [first: number, count: number])[], into: MatrixChange): void {
    for (const change of this.#changes) {
      let start = 0;
      for (const [first, count] of runs) {
        const low = Math.max(change.first, start);
        const high = Math.min(change.first + change.count, start + count);
        const moved = { first: first + low - start, count: high - low, from: change.from + low - change.first };
        if (high > low) into.push({ ...change, ...moved });
        start += count;
      }
    }
  }

  /** To a row as its container has it, [inputs]. Sums are taken in double precision and rounded once. */
  addToRow(row: number, values: Float32Array): void {
    const sums = Float64Array.from(values);
    for (const { first, count, from, low, rank, scale, table, ...halves } of this.#changes) {
      if (row < first || row >= first + count) continue;
      const [a, b] = [halves.a(), halves.b()];
      if (table) {
        for (let c = 0; c < sums.length; c++)
          for (let k = 0; k < b.cols; k++) sums[c]! += scale * b.at(c, k) * a.at(row, k);
        continue;
      }
      for (let k = 0; k < rank; k++) {
        const factor = scale * b.at(row - first + from, k);
        const at = (low + k) * a.cols;
        for (let c = 0; c < sums.length; c++) sums[c]! += factor * a.values[at + c]!;
      }
    }
    values.set(sums);
  }

  /** To a row of a matrix that lies the other way round: one input of all outputs. */
  addToInput(input: number, values: Float32Array): void {
    const sums = Float64Array.from(values);
    for (const { first, count, from, rank, scale, ...halves } of this.#changes) {
      const [a, b] = [halves.a(), halves.b()];
      for (let k = 0; k < rank; k++) {
        const factor = scale * a.at(k, input);
        for (let i = 0; i < count; i++) sums[first + i]! += factor * b.at(from + i, k);
      }
    }
    values.set(sums);
  }
}

/** A matrix of a pair in memory, or a stack of them: rows of all one after the other. */
class Half {
  readonly cols: number;
  readonly values: Float32Array;

  constructor({ layout, rows: each, cols, experts, held }: MatrixSource) {
    const rows = each * experts;
    const stored = new Uint8Array(layoutBytes(layout, rows, cols)!);
    held!(0, stored);
    [this.cols, this.values] = [cols, new Float32Array(rows * cols)];
    for (let row = 0; row < rows; row++)
      decodeRow(layout, [stored], rows, row, this.values.subarray(row * cols, (row + 1) * cols));
  }

  at(row: number, col: number): number {
    return this.values[row * this.cols + col]!;
  }
}

/** The halves that were read last: of the modules of a layer's experts the same ones are needed over and over. */
class Halves {
  readonly #kept = new Map<MatrixSource, Half>();
  readonly #most: number;

  constructor(adapters: number) {
    // Both halves of what goes into an expert twice and out of it once.
    this.#most = 6 * adapters;
  }

  of(source: MatrixSource): Half {
    const half = this.#kept.get(source) ?? new Half(source);
    this.#kept.delete(source);
    this.#kept.set(source, half);
    if (this.#kept.size > this.#most) this.#kept.delete(this.#kept.keys().next().value!);
    return half;
  }
}

/**
 * @returns by the name of the stored tensor
 * @throws ADAPTER_MISFIT, ADAPTER_UNSUPPORTED; also where one matrix is read in two ways, of which only one is adapted
 */
export function mergedPairs(
  description: ModelDescription,
  adapters: readonly MergedAdapter[],
): ReadonlyMap<string, MatrixChange> {
  const changes = new Map<string, MatrixChange>();
  if (adapters.length === 0) return changes;
  const { program } = withAdapters(
    description,
    adapters.map(({ adapter }) => adapter),
  );
  const following = new Map<unknown, LowRank>();
  for (const call of program.calls) if (call.verb === "lowRank") following.set(call.inputs.at(-1)!, call);
  const tied = program.calls.some(
    (call) => call.verb === "linear" && call.weights.some(({ tensor }) => tensor.name === "token_embd.weight"),
  );
  const halves = new Halves(adapters.length);
  const valuesOf = ({ a, b }: LowRank["pair"]) => ({ a: () => halves.of(a), b: () => halves.of(b), rank: a.rows });
  const add = (name: string, change: Change, derived = false): void => {
    const known = changes.get(name) ?? new MatrixChange(derived);
    known.push(change);
    changes.set(name, known);
  };
  for (const call of program.calls) {
    if (call.verb === "experts")
      for (const own of call.pairs ?? []) {
        const weight = call.body[own.side]!;
        const scale = own.adapter.scale * adapters[own.adapter.slot]!.scale;
        addExperts(weight, { ...valuesOf(own.pair), scale, table: false }, add);
      }
    const outputs = call.verb === "linear" ? call.outputs : call.verb === "lookup" ? call.outputs.slice(0, 1) : [];
    for (const [i, output] of outputs.entries()) {
      for (let pair = following.get(output); pair !== undefined; pair = following.get(pair.outputs[0]!)) {
        if (pair.adapter === null) break;
        const scale = pair.adapter.scale * adapters[pair.adapter.slot]!.scale;
        const { tensor } = call.verb === "linear" ? call.weights[i]! : (call as CallOf<"lookup">).table;
        if (tied && tensor.name === "token_embd.weight") throw bothWays(adapters[pair.adapter.slot]!.adapter.path);
        if (call.verb === "lookup") {
          // Run time adds to rows that were multiplied already.
          const own = scale / call.scale;
          const table = { first: 0, count: pair.pair.a.rows, from: 0, low: 0, table: true };
          add(tensor.name, { ...table, ...valuesOf(pair.pair), scale: own });
          continue;
        }
        let start = 0;
        for (const run of tensor.made ?? [{ tensor, from: 0, count: pair.first + pair.pair.b.rows }]) {
          const [low, high] = [Math.max(pair.first, start), Math.min(pair.first + pair.pair.b.rows, start + run.count)];
          const place = { first: run.from + low - start, count: high - low, from: low - pair.first, low: 0 };
          if (high > low) add(run.tensor.name, { ...place, ...valuesOf(pair.pair), scale, table: false });
          start += run.count;
        }
      }
    }
  }
  return changes;
}

/** The changes of a stack of experts; of one that is made of rows of another both, since either may be written. */
function addExperts(
  { tensor, rows, experts }: Weight,
  values: Omit<Change, "first" | "count" | "from" | "low">,
  add: (name: string, change: Change, derived: boolean) => void,
): void {
  const whole = [{ tensor, from: 0, count: rows * experts }];
  for (const [made, runs] of [[false, tensor.made ?? whole] as const, [true, tensor.made && whole] as const]) {
    let start = 0;
    for (const run of runs ?? []) {
      for (let expert = Math.floor(start / rows); expert * rows < start + run.count; expert++) {
        const [low, high] = [Math.max(expert * rows, start), Math.min((expert + 1) * rows, start + run.count)];
        const place = { first: run.from + low - start, count: high - low, from: low, low: expert * values.rank };
        add(run.tensor.name, { ...values, ...place }, made);
      }
      start += run.count;
    }
  }
}

function bothWays(path: string): HundredweightError {
  return new HundredweightError(
    "ADAPTER_UNSUPPORTED",
    `${path}: adapts the embedding or the head of a model in which both are one matrix, which merging would ` +
      "change for both; use it with --lora",
    { path },
  );
}
