/** Lists made of lists, such as with somebody who listens to what goes into products. */
import { HundredweightError } from "../errors.js";
import type { Call, Program, Tap } from "./flow/calls.js";

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
    const routes = call.verb === "linear" ? null : call.routes;
    const body = call.verb === "experts" && !call.weightsInput ? call.body : null;
    return [{ verb: "tap", tap, weights, routes, body, inputs: [call.inputs[0]!], outputs: [], hint: false }, call];
  });
}

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
    const heard: Call = {
      verb: "tap",
      tap,
      weights: [],
      routes: null,
      body: null,
      inputs: [stream],
      outputs: [],
      hint: false,
    };
    // The last one belongs to what every pass does; the end is for the rows that are asked for.
    const isEnd = layer === program.layers.length - 1;
    layers.push(calls.length + (isEnd ? 1 : 0));
    calls.push(heard);
  }
  return { ...program, calls: [...calls, ...program.calls.slice(done)], layers };
}
