/**
 * Writes down what an inner function does with the rows of one expert: its matrices are stacks, one for each expert.
 */
import { HundredweightError } from "../errors.js";
import type { Activation, Glu } from "../ops/ops.js";
import type { ExpertBody } from "./flow/calls.js";
import type { Flow, MatrixOptions, Part, Value, VectorWeight, Weight } from "./flow/flow.js";
import type { Role } from "./flow/tensors.js";
import type { TensorTable } from "./record-tensors.js";

function refuse(what: string): never {
  throw new HundredweightError("INTERNAL", `experts are products, an activation and a product; not ${what}`);
}

/** Only what the expert kernels can do has a meaning here; everything else is refused. */
export class ExpertRecorder {
  readonly #tensors: TensorTable;
  readonly #experts: number;
  readonly #input: Value;
  #ids = 0;
  #inward: { readonly weights: readonly Weight[]; readonly values: readonly Value[] } | undefined;
  #act: { readonly kind: Glu | Activation; readonly value: Value } | undefined;
  #down: { readonly weight: Weight; readonly value: Value } | undefined;

  constructor(tensors: TensorTable, experts: number, cols: number) {
    this.#tensors = tensors;
    this.#experts = experts;
    this.#input = this.#value(cols);
  }

  #value(cols: number): Value {
    return { id: --this.#ids, cols, rows: "all" };
  }

  run(inner: Part): ExpertBody {
    const flow = {
      matrix: (name: string, cols: number, rows: number, role: Role, options: MatrixOptions = {}): Weight =>
        this.#tensors.matrix(name, cols, rows, this.#experts, role, options),
      vector: (): VectorWeight => refuse("a vector"),
      has: (name: string): boolean => this.#tensors.has(name),
      linear: (x: Value, ...weights: readonly Weight[]) => this.#linear(x, weights),
      glu: (gate: Value, up: Value, kind: Glu) => this.#activate([gate, up], kind),
      act: (x: Value, kind: Activation) => this.#activate([x], kind),
    };
    // A verb that is not there would be a type error of ours; here it is an error with a name.
    const verbs = new Proxy(flow as unknown as Flow, {
      get: (known, verb) => Reflect.get(known, verb) ?? (() => refuse(String(verb))),
    });
    const y = inner(verbs, this.#input);
    const weights = this.#inward?.weights ?? [];
    const up = weights.at(-1);
    if (up === undefined || this.#act === undefined || this.#down?.value !== y) return refuse("this");
    const gate = weights.length === 2 ? weights[0]! : null;
    return { gate, up, down: this.#down.weight, act: this.#act.kind };
  }

  #linear(x: Value, weights: readonly Weight[]): Value[] {
    if (weights.some(({ transposed }) => transposed)) refuse("matrices the other way round");
    const values = weights.map(({ rows }) => this.#value(rows));
    if (x === this.#input && this.#inward === undefined) this.#inward = { weights, values };
    else if (x === this.#act?.value && weights.length === 1) this.#down = { weight: weights[0]!, value: values[0]! };
    else refuse("such products");
    return values;
  }

  #activate(values: readonly Value[], kind: Glu | Activation): Value {
    const known = this.#inward?.values ?? [];
    if (values.length !== known.length || values.some((value, i) => value !== known[i])) refuse("this activation");
    this.#act = { kind, value: this.#value(values[0]!.cols) };
    return this.#act.value;
  }
}
