/** Lists made of lists, such as with somebody who listens to what goes into products. */
import { HundredweightError } from "../errors.js";
import type { Call, CallOf, HeardExperts, Program, Tap } from "./flow/calls.js";
import type { Routes, Value, Weight } from "./flow/flow.js";

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

/** `tap` hears the rows that go into every product, in the order of the pass; those of experts with what was chosen. */
export function withTaps(program: Program, tap: Tap): Program {
  return rewrite(program, (call) => {
    if (call.hint || (call.verb !== "linear" && call.verb !== "experts")) return [call];
    const weights = call.verb === "linear" ? call.weights : [call.body.gate, call.body.up].filter((w) => w !== null);
    return [call.verb === "linear" ? tapOf(tap, call.inputs[0]!, weights) : expertTap(tap, call, weights), call];
  });
}

/** Told before the experts of a layer run. */
export interface ExpertListener {
  /** Hears the scores of every expert, as the router made them [rows, experts]. */
  scores(layer: number, rows: Float32Array): void;
  /** Hears what goes into the experts [rows, cols]. */
  inputs(layer: number, rows: Float32Array, experts: HeardExperts): void;
}

/** `listener` hears what happens before the experts of each layer. */
export function withExpertTaps(program: Program, listener: ExpertListener): Program {
  const layers = new Map(expertLayers(program).map(({ layer, call }) => [call.routes, layer]));
  return rewrite(program, (call) => {
    if (call.hint || (call.verb !== "route" && call.verb !== "experts")) return [call];
    const layer = layers.get(call.routes)!;
    if (call.verb === "route") return [tapOf((_, rows) => listener.scores(layer, rows), call.inputs[0]!), call];
    return [expertTap((_, rows, experts) => listener.inputs(layer, rows, experts!), call), call];
  });
}

/** A layer with experts: the product that scores them, how they are chosen, and what they do. */
export interface ExpertLayer {
  readonly layer: number;
  readonly router: Weight;
  readonly route: CallOf<"route">;
  readonly call: CallOf<"experts">;
}

export function expertLayers({ calls }: Program): ExpertLayer[] {
  const made = new Map<Value, Weight>();
  const routes = new Map<Routes, CallOf<"route">>();
  const found: ExpertLayer[] = [];
  for (const call of calls) {
    if (call.hint) continue;
    if (call.verb === "linear") for (const [i, weight] of call.weights.entries()) made.set(call.outputs[i]!, weight);
    if (call.verb === "route") routes.set(call.routes, call);
    if (call.verb !== "experts") continue;
    const route = routes.get(call.routes)!;
    found.push({ layer: call.body.down.tensor.layer, router: made.get(route.inputs[0]!)!, route, call });
  }
  return found;
}

const expertTap = (
  tap: Tap,
  { inputs, routes, body, weightsInput }: CallOf<"experts">,
  weights: readonly Weight[] = [],
): Call => ({
  ...tapOf(tap, inputs[0]!, weights),
  routes,
  experts: { body, weightsInput },
});

const tapOf = (tap: Tap, x: Value, weights: readonly Weight[] = []): CallOf<"tap"> => ({
  ...{ verb: "tap", tap, weights, routes: null, experts: null },
  ...{ inputs: [x], outputs: [], hint: false },
});

/**
 * `hear` is told the residual stream where each layer begins, and behind the last one, [rows, cols].
 * @throws OPTION_INVALID for a model with several streams
 */
export function withStreamTaps(program: Program, hear: (layer: number, rows: Float32Array) => void): Program {
  const calls: Call[] = [];
  const layers: number[] = [];
  let done = 0;
  for (const [layer, start] of program.layers.entries()) {
    const [stream, ...others] = program.streams[layer]!;
    if (stream === undefined || others.length > 0)
      throw new HundredweightError("OPTION_INVALID", "the layers of this model have several streams between them");
    calls.push(...program.calls.slice(done, start));
    done = start;
    const tap: Tap = (_, rows) => hear(layer, rows);
    const heard = tapOf(tap, stream);
    // The last one belongs to what every pass does; the end is for the rows that are asked for.
    const isEnd = layer === program.layers.length - 1;
    layers.push(calls.length + (isEnd ? 1 : 0));
    calls.push(heard);
  }
  return { ...program, calls: [...calls, ...program.calls.slice(done)], layers };
}
