/**
 * Writes down the verbs that make values of values: each checks its widths and gives its result a place in the list.
 */
import { HundredweightError } from "../errors.js";
import type { Activation, Glu, Pooling, Temperature, Xielu } from "../ops/ops.js";
import type { Call, Operation } from "./flow/calls.js";
import type { HyperOptions, RowSet, Value, VectorWeight, Weight } from "./flow/flow.js";
import type { RopeConfig } from "./flow/rope.js";

export function fault(message: string): never {
  throw new HundredweightError("INTERNAL", `a model that is not well formed: ${message}`);
}

/** @throws FORMAT_UNSUPPORTED for a matrix of which the file has the factors only, where that will not do */
export function refuseFactors({ tensor, first }: Weight): void {
  if (first === undefined) return;
  const name = tensor.name.slice(0, tensor.name.lastIndexOf("."));
  throw new HundredweightError(
    "FORMAT_UNSUPPORTED",
    `'${name}' is there as two factors, which can be multiplied with rows only: this model needs it whole`,
  );
}

export abstract class ValueRecorder {
  protected ids = 0;
  /** Names of the tensors whose products they are. */
  protected readonly products = new Map<Value, string>();
  /** How the checkpoint pairs the values that RoPE rotates. */
  readonly #interleaved: boolean;

  constructor(interleaved: boolean) {
    this.#interleaved = interleaved;
  }

  protected abstract emit(call: Call): void;

  protected value(cols: number, rows: RowSet): Value {
    return { id: ++this.ids, cols, rows };
  }

  protected call(operation: Operation, inputs: readonly Value[], cols: readonly number[], rows?: RowSet): Value[] {
    const set = rows ?? inputs[0]?.rows ?? "all";
    if (rows === undefined && inputs.some((value) => value.rows !== set))
      fault(`${operation.verb} of two sets of rows`);
    const outputs = cols.map((width) => this.value(width, set));
    this.emit({ ...operation, inputs, outputs, hint: false });
    return outputs;
  }

  #same(operation: Operation, x: Value, ...others: readonly Value[]): Value {
    if (others.some(({ cols }) => cols !== x.cols)) fault(`${operation.verb} of different widths`);
    return this.call(operation, [x, ...others], [x.cols])[0]!;
  }

  /** Weights that lie side by side are one call; factors are products of their own, in the order of their use. */
  linear(x: Value, ...weights: readonly Weight[]): Value[] {
    const outputs: Value[] = [];
    let plain: Weight[] = [];
    const flush = (): void => {
      if (plain.length > 0) outputs.push(...this.#linear(x, plain));
      plain = [];
    };
    for (const weight of weights) {
      const { first, ...second } = weight;
      if (first === undefined) plain.push(weight);
      else {
        flush();
        outputs.push(...this.#linear(this.#linear(x, [first])[0]!, [second]));
      }
    }
    flush();
    return outputs;
  }

  #linear(x: Value, weights: readonly Weight[]): Value[] {
    for (const { cols, tensor } of weights)
      if (cols !== x.cols) fault(`'${tensor.name}' takes ${cols} columns, not ${x.cols}`);
    const outputs = this.call(
      { verb: "linear", weights, into: false },
      [x],
      weights.map(({ rows }) => rows),
    );
    for (const [i, output] of outputs.entries()) this.products.set(output, weights[i]!.tensor.name);
    return outputs;
  }
  headLinear(x: Value, weight: Weight, { heads, along }: { heads: number; along: "inputs" | "rows" }): Value {
    refuseFactors(weight);
    const { cols, rows, transposed, tensor } = weight;
    const [needed, made] = along === "inputs" ? [heads * cols, rows] : [rows, heads * cols];
    if (x.cols !== needed || rows % heads !== 0 || transposed)
      fault(`'${tensor.name}' is not ${heads} heads of ${x.cols}`);
    return this.call({ verb: "headLinear", weight, heads, along }, [x], [made])[0]!;
  }
  norm(x: Value, weight: VectorWeight | null, eps: number): Value {
    return this.#same({ verb: "norm", weight, eps }, x);
  }
  layerNorm(x: Value, weight: VectorWeight | null, bias: VectorWeight | null, eps: number): Value {
    return this.#same({ verb: "layerNorm", weight, bias, eps }, x);
  }
  headNorm(x: Value, weight: VectorWeight | null, eps: number, headDim = weight?.length ?? x.cols): Value {
    return this.#same({ verb: "headNorm", weight, headDim, eps }, x);
  }
  rope(x: Value, headDim: number, rope: RopeConfig, divisors: VectorWeight | null = null, back = 0): Value {
    const interleaved = rope.pairs === undefined ? this.#interleaved : rope.pairs === "neighbours";
    return this.#same({ verb: "rope", headDim, rope, interleaved, divisors, back }, x);
  }
  glu(gate: Value, up: Value, act: Glu): Value {
    return this.#same({ verb: "glu", act }, gate, up);
  }
  act(x: Value, kind: Activation): Value {
    return this.#same({ verb: "act", kind }, x);
  }
  add(x: Value, y: Value): Value {
    return this.#same({ verb: "add" }, x, y);
  }
  shift(x: Value, by: number): Value {
    return this.#same({ verb: "shift", by }, x);
  }
  scale(x: Value, factor: number): Value {
    return this.#same({ verb: "scale", factor }, x);
  }
  softcap(x: Value, cap: number): Value {
    return this.#same({ verb: "softcap", cap }, x);
  }
  multiply(x: Value, factors: Value): Value {
    if (x.cols % factors.cols !== 0) fault(`${x.cols} columns times ${factors.cols} factors`);
    return this.call({ verb: "multiply" }, [x, factors], [x.cols])[0]!;
  }
  multiplyVector(x: Value, factors: VectorWeight): Value {
    if (x.cols % factors.length !== 0) fault(`${x.cols} columns times ${factors.length} factors`);
    return this.#same({ verb: "multiplyVector", factors }, x);
  }
  addVector(x: Value, values: VectorWeight): Value {
    return this.#same({ verb: "addVector", values }, x);
  }

  split(x: Value, ...widths: readonly number[]): Value[] {
    return this.splitHeads(x, 1, ...widths);
  }
  splitHeads(x: Value, heads: number, ...widths: readonly number[]): Value[] {
    const from = widths.map((_, i) => widths.slice(0, i).reduce((sum, width) => sum + width, 0));
    if (x.cols % heads !== 0 || from.at(-1)! + widths.at(-1)! > x.cols / heads)
      fault(`columns of ${widths.join(" + ")} of ${heads} x ${x.cols / heads}`);
    return this.call(
      { verb: "columns", from, heads },
      [x],
      widths.map((width) => heads * width),
    );
  }
  join(...parts: readonly Value[]): Value {
    return this.joinHeads(1, ...parts);
  }
  joinHeads(heads: number, ...parts: readonly Value[]): Value {
    if (parts.some(({ cols }) => cols % heads !== 0)) fault(`${heads} heads joined of parts that have no such`);
    return this.call({ verb: "join", heads }, parts, [parts.reduce((sum, { cols }) => sum + cols, 0)])[0]!;
  }
  blend(parts: readonly Value[], weights: Value, streams: number): Value {
    const all = parts.reduce((sum, { cols }) => sum + cols, 0);
    const dim = (streams * all) / weights.cols;
    if (!Number.isInteger(dim) || parts.some(({ cols }) => cols % dim !== 0)) fault("a blend of uneven streams");
    return this.call({ verb: "blend", streams }, [weights, ...parts], [streams * dim])[0]!;
  }
  streamScores(parts: readonly Value[], weight: VectorWeight, eps: number): Value {
    const count = parts.reduce((sum, { cols }) => sum + cols, 0) / weight.length;
    return this.call({ verb: "streamScores", weight, eps }, parts, [count])[0]!;
  }
  hyperWeights(x: Value, scale: VectorWeight, base: VectorWeight, o: HyperOptions): [read: Value, write: Value] {
    const { streams: h, iterations, eps } = o;
    if (x.cols !== (2 + h) * h) fault(`weights of ${h} streams from ${x.cols} columns`);
    const made = this.call({ verb: "hyperWeights", scale, base, iterations, eps }, [x], [h, h * (1 + h)]);
    return made as [Value, Value];
  }
  headDots(x: Value, y: Value, heads: number): Value {
    if (x.cols !== y.cols || x.cols % heads !== 0) fault(`${heads} products of ${x.cols} and ${y.cols} columns`);
    return this.call({ verb: "headDots" }, [x, y], [heads])[0]!;
  }
  temper(x: Value, temperature: Temperature): Value {
    return this.#same({ verb: "temper", temperature }, x);
  }
  centreHeads(x: Value, headDim: number, eps: number): Value {
    return this.#same({ verb: "centreHeads", headDim, eps }, x);
  }
  xielu(x: Value, numbers: Xielu): Value {
    return this.#same({ verb: "xielu", numbers }, x);
  }
  sparsify(x: Value, deviations: number): Value {
    return this.#same({ verb: "sparsify", deviations }, x);
  }
  matchSize(x: Value, like: Value): Value {
    return this.#same({ verb: "matchSize" }, x, like);
  }
  pool(x: Value, kind: Pooling): Value {
    return this.call({ verb: "pool", kind }, [x], [x.cols], "sequences")[0]!;
  }
}
