/**
 * Adapters beside a model: each product that has a pair is followed by it, in the order of the adapters. Names are
 * those of the model's own declarations, so what is made of rows of a fused tensor gets those rows of the pair.
 */
import { HundredweightError } from "../errors.js";
import type { Adapter, AdapterPair, PairMatrix } from "../formats/adapter.js";
import { type ExpertSide, expertSides } from "../ops/pairs.js";
import type { ModelDescription } from "./describe.js";
import type { AdaptedExperts, Call, CallOf, Program } from "./flow/calls.js";
import type { Value, Weight } from "./flow/flow.js";
import { storedTensors } from "./flow/tensors.js";
import { pairSource, takeExpertRows, takeRows } from "./pair-bytes.js";
import { rewrite } from "./rewrite.js";

/** A pair for some outputs of a product. */
interface Part {
  /** Its first output. */
  readonly first: number;
  /** The name of the pair, and of the part of it. */
  readonly name: string;
  readonly pair: AdapterPair;
}

/**
 * The model with these adapters; which row they are for is said by each pass (`RowTable.adapters`), by their number.
 * @throws ADAPTER_MISFIT, ADAPTER_UNSUPPORTED
 */
export function withAdapters(description: ModelDescription, adapters: readonly Adapter[]): ModelDescription {
  if (adapters.length === 0) return description;
  const fitted = adapters.map((adapter, slot) => new Fitting(description, adapter, slot));
  let ids = description.program.calls.reduce((most, { outputs }) => Math.max(most, ...outputs.map(({ id }) => id)), 0);
  const follow = (made: Value, calls: Call[], parts: readonly [Fitting, Part][], x: Value | null): Value => {
    // The value that others read is the last; those before it are new.
    let last: Value = { ...made, id: ++ids };
    const first = last;
    for (const [i, [fitting, part]] of parts.entries()) {
      const next = i + 1 === parts.length ? made : { ...made, id: ++ids };
      calls.push(fitting.call(part, x, last, next));
      last = next;
    }
    return first;
  };
  const program = rewrite(description.program, (call) => {
    if (call.hint) return [call];
    const calls: Call[] = [];
    if (call.verb === "linear") {
      const outputs = call.weights.map((weight, i) => {
        const made = call.outputs[i]!;
        const parts = fitted.flatMap((f) => f.partsOf(weight, made).map((part): [Fitting, Part] => [f, part]));
        return parts.length === 0 ? made : follow(made, calls, parts, call.inputs[0]!);
      });
      return [{ ...call, outputs }, ...calls];
    }
    if (call.verb === "experts") {
      const pairs = fitted.flatMap((f) => f.expertsOf(call));
      return [pairs.length === 0 ? call : { ...call, pairs }];
    }
    if (call.verb === "lookup" && call.by === "ids") {
      const made = call.outputs[0]!;
      const parts = fitted.flatMap((f) => f.lookupOf(call).map((part): [Fitting, Part] => [f, part]));
      return parts.length === 0 ? [call] : [{ ...call, outputs: [follow(made, calls, parts, null)] }, ...calls];
    }
    return [call];
  });
  for (const fitting of fitted) fitting.checkAll();
  return { ...description, program };
}

/** Columns of a head, those of them that are rotated, and those before these. */
interface Rotated {
  readonly headDim: number;
  readonly dims: number;
  readonly before: number;
}

class Fitting {
  readonly #model: ModelDescription;
  readonly #adapter: Adapter;
  readonly #slot: number;
  readonly #used = new Set<string>();
  /** Values that are rotated, where the adapter has the rows of heads in another order. */
  readonly #rotated: ReadonlyMap<Value, Rotated>;

  constructor(model: ModelDescription, adapter: Adapter, slot: number) {
    this.#model = model;
    this.#adapter = adapter;
    this.#slot = slot;
    const { architecture } = adapter;
    if (architecture !== undefined && architecture !== model.arch)
      throw this.#misfit(`is an adapter for '${architecture}', the model is '${model.arch}'`);
    this.#rotated =
      model.permutes && (adapter.format === "gguf") !== (model.format === "gguf")
        ? rotatedValues(model.program)
        : new Map();
  }

  /** The pairs of a product, for the outputs they are for. */
  partsOf(weight: Weight, made: Value): Part[] {
    const { name } = weight.tensor;
    // The head of a tied model is called by its own name; the table's pair is for lookups alone.
    const called = name === "token_embd.weight" ? "output.weight" : name;
    // Parts may be called as what they are cut out of: the stored tensor is meant then.
    const runs = this.#partsOfRuns(weight);
    const parts = runs.length > 0 || this.#pair(called) === undefined ? runs : [this.#whole(called, weight)];
    const rotated = this.#rotated.get(made);
    return rotated === undefined ? parts : parts.map((part) => this.#turned(part, weight, rotated));
  }

  /** The pairs beside the matrices of experts. */
  expertsOf({ body }: CallOf<"experts">): AdaptedExperts[] {
    return expertSides.flatMap((side): AdaptedExperts[] => {
      const weight = body[side];
      const found = weight && this.#expertPair(side, weight);
      if (!found) return [];
      const { name, pair } = found;
      const { a, b, scale } = pair;
      const label = `adapter ${this.#slot}: ${name}`;
      const sources = { a: pairSource(`${label} a`, a), b: pairSource(`${label} ${side} b`, b) };
      return [{ side, pair: sources, adapter: { slot: this.#slot, scale } }];
    });
  }

  /** By the name of the matrix, or its half of the pair of gate and up together. */
  #expertPair(side: ExpertSide, weight: Weight): { readonly name: string; readonly pair: AdapterPair } | undefined {
    const { cols, rows, experts } = weight;
    const { name } = weight.tensor;
    const own = this.#pair(name);
    if (own !== undefined) {
      this.#checkShape(name, own, cols, rows, experts);
      return { name, pair: own };
    }
    const fused = name.replace(/_(gate|up)_exps\.weight$/, "_gate_up_exps.weight");
    const both = fused === name ? undefined : this.#pair(fused);
    if (both === undefined) return undefined;
    this.#checkShape(fused, both, cols, 2 * rows, experts);
    return { name: fused, pair: { ...both, b: takeExpertRows(both.b, side === "gate" ? 0 : rows, rows) } };
  }

  #pair(name: string): AdapterPair | undefined {
    const pair = this.#adapter.pairs.get(name);
    if (pair !== undefined) this.#used.add(name);
    return pair;
  }

  #whole(name: string, { cols, rows }: Weight): Part {
    const pair = this.#pair(name)!;
    this.#checkShape(name, pair, cols, rows);
    return { first: 0, name, pair };
  }

  /** The rows of pairs that a weight is made of as it is of rows of their tensors. */
  #partsOfRuns({ tensor, cols }: Weight): Part[] {
    const parts: Part[] = [];
    let first = 0;
    for (const { tensor: stored, from, count } of tensor.made ?? []) {
      const pair = this.#pair(stored.name);
      if (pair !== undefined) {
        // Matrices that are stacked are cut by rows of the stack.
        const rows = stored.shape.slice(1).reduce((product, size) => product * size, 1);
        this.#checkShape(stored.name, pair, cols, rows);
        const b = takeRows(pair.b, count, (row) => from + row);
        parts.push({ first, name: `${stored.name} ${from} ${count}`, pair: { ...pair, b } });
      }
      first += count;
    }
    return parts;
  }

  /** Rows of heads in the order that the model's container has them in: pairs side by side, or halves. */
  #turned({ first, name, pair }: Part, { rows }: Weight, rotated: Rotated): Part {
    const { headDim, dims, before } = rotated;
    const sideBySide = this.#model.format === "gguf";
    if (first !== 0 || pair.b.rows !== rows || rows % headDim !== 0)
      throw this.#unsupported(`adapts a part of '${name}', whose rows are in another order in this model`);
    const half = dims / 2;
    const b = takeRows(pair.b, rows, (row) => {
      const at = (row % headDim) - before;
      if (at < 0 || at >= dims) return row;
      return row - at + (sideBySide ? (at % 2) * half + Math.floor(at / 2) : 2 * (at % half) + Math.floor(at / half));
    });
    return { first, name: `${name} turned`, pair: { ...pair, b } };
  }

  lookupOf({ table, scale }: CallOf<"lookup">): Part[] {
    const { name } = table.tensor;
    const pair = this.#pair(name);
    if (pair === undefined) return [];
    // Rows of it are looked up: it has one for each of the table's.
    this.#checkShape(name, { ...pair, a: { ...pair.a, rows: pair.a.cols, cols: pair.a.rows } }, table.rows, table.cols);
    return [{ first: 0, name, pair: { ...pair, scale: pair.scale * scale } }];
  }

  #checkShape(name: string, { a, b }: AdapterPair, cols: number, rows: number, experts = 1): void {
    const shown = ({ cols: c, rows: r, experts: e }: PairMatrix) => `[${e === 1 ? [c, r] : [c, r, e]}]`;
    const size = `${experts === 1 ? "" : `${experts} x `}${cols} x ${rows}`;
    if (a.experts !== experts || b.experts !== experts || a.cols !== cols || b.rows !== rows)
      throw this.#misfit(`'${name}' of ${size} cannot have the pair ${shown(a)} and ${shown(b)}`);
    if (a.rows !== b.cols)
      throw new HundredweightError(
        "ADAPTER_INVALID",
        `${this.#adapter.path}: the pair of '${name}' has the ranks ${a.rows} and ${b.cols}`,
      );
  }

  call({ first, name, pair }: Part, x: Value | null, before: Value, after: Value): Call {
    const { a, b, scale } = pair;
    const label = `adapter ${this.#slot}: ${name}`;
    const names = this.#adapter.pairs.get(name) === undefined ? name.replace(/ .*$/, "") : name;
    return {
      verb: "lowRank",
      pair: {
        // The first half is the same for all parts of a tensor.
        a: pairSource(`adapter ${this.#slot}: ${names} a`, a),
        b: pairSource(`${label} b`, b),
      },
      first,
      adapter: { slot: this.#slot, scale },
      inputs: x === null ? [before] : [x, before],
      outputs: [after],
      hint: false,
    };
  }

  /** Every pair is for something.  @throws ADAPTER_MISFIT, ADAPTER_UNSUPPORTED */
  checkAll(): void {
    const left = [...this.#adapter.pairs.keys()].find((name) => !this.#used.has(name));
    if (left === undefined) return;
    const { tensors, unusedTensors } = this.#model;
    const known = tensors.some((tensor) => tensor.name === left || storedTensors(tensor).some((t) => t.name === left));
    if (known || unusedTensors.includes(left))
      throw this.#unsupported(`adapts '${left}', which this model multiplies with in a way that takes no adapters`);
    throw this.#misfit(`adapts '${left}', which the model does not have; it belongs to another model`);
  }

  #misfit(what: string): HundredweightError {
    return new HundredweightError("ADAPTER_MISFIT", `${this.#adapter.path}: ${what}`, { path: this.#adapter.path });
  }

  #unsupported(what: string): HundredweightError {
    return new HundredweightError("ADAPTER_UNSUPPORTED", `${this.#adapter.path}: ${what}`, {
      path: this.#adapter.path,
    });
  }
}

/** Results of products that are rotated, by way of norms of heads or not. */
function rotatedValues({ calls }: Program): Map<Value, Rotated> {
  const found = new Map<Value, Rotated>();
  for (const call of calls.toReversed()) {
    const through = call.outputs[0] === undefined ? undefined : found.get(call.outputs[0]);
    const { headDim, rope } = call.verb === "rope" ? call : { headDim: 0, rope: undefined };
    if (rope !== undefined) found.set(call.inputs[0]!, { headDim, dims: rope.dims, before: rope.first ?? 0 });
    else if (call.verb === "headNorm" && through !== undefined) found.set(call.inputs[0]!, through);
  }
  return found;
}
