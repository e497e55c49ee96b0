/** Lists made of lists: low-rank pairs beside products, and somebody who listens to what goes into them. */
import type { MatrixSource } from "../ops/ops.js";
import type { Call, Program, Tap } from "./flow/calls.js";
import type { Value, Weight } from "./flow/flow.js";

/** y += scale * B(A x) beside the product with a tensor. */
export interface Adapter {
  /** `blk.0.attn_q.weight` */
  readonly tensor: string;
  /** [cols, rank] and [rank, rows] */
  readonly a: MatrixSource;
  readonly b: MatrixSource;
  readonly scale: number;
}

/** Every call may become several; the places of layers follow. */
export function rewrite(program: Program, change: (call: Call) => readonly Call[]): Program {
  const starts: number[] = [];
  const calls: Call[] = [];
  for (const call of program.calls) {
    starts.push(calls.length);
    calls.push(...change(call));
  }
  starts.push(calls.length);
  return { ...program, calls, layers: program.layers.map((start) => starts[start]!) };
}

const adapterWeight = (source: MatrixSource, like: Weight): Weight => ({
  tensor: { ...like.tensor, name: source.name },
  cols: source.cols,
  rows: source.rows,
  experts: 1,
  transposed: false,
  bias: null,
  source,
});

/** Low-rank pairs beside products. Pairs of zeros change no bit: a sum with zero is the number itself. */
export function withAdapters(program: Program, adapters: readonly Adapter[]): Program {
  const byTensor = new Map(adapters.map((adapter) => [adapter.tensor, adapter]));
  let ids = program.calls.reduce((most, { outputs }) => Math.max(most, ...outputs.map(({ id }) => id)), 0);
  const value = (cols: number, { rows }: Value): Value => ({ id: ++ids, cols, rows });
  return rewrite(program, (call) => {
    if (call.verb !== "linear") return [call];
    const x = call.inputs[0]!;
    const outputs = [...call.outputs];
    const added: Call[] = [];
    for (const [i, weight] of call.weights.entries()) {
      const adapter = byTensor.get(weight.tensor.name);
      if (adapter === undefined) continue;
      const { hint } = call;
      const made = outputs[i]!;
      outputs[i] = value(made.cols, x);
      const [low, scaled, out] = [value(adapter.a.rows, x), value(adapter.a.rows, x), value(made.cols, x)];
      const [a, b] = [adapterWeight(adapter.a, weight), adapterWeight(adapter.b, weight)];
      added.push(
        { verb: "linear", weights: [a], into: false, inputs: [x], outputs: [low], hint },
        { verb: "scale", factor: adapter.scale, inputs: [low], outputs: [scaled], hint },
        { verb: "linear", weights: [b], into: false, inputs: [scaled], outputs: [out], hint },
        { verb: "add", inputs: [outputs[i]!, out], outputs: [made], hint },
      );
    }
    return [{ ...call, outputs }, ...added];
  });
}

/** `tap` hears the rows that go into every product, in the order of the pass; those of experts with what was chosen. */
export function withTaps(program: Program, tap: Tap): Program {
  return rewrite(program, (call) => {
    if (call.hint || (call.verb !== "linear" && call.verb !== "experts")) return [call];
    const weights = call.verb === "linear" ? call.weights : [call.body.gate, call.body.up].filter((w) => w !== null);
    const routes = call.verb === "linear" ? null : call.routes;
    return [{ verb: "tap", tap, weights, routes, inputs: [call.inputs[0]!], outputs: [], hint: false }, call];
  });
}
