/** Lists made of lists, such as with somebody who listens to what goes into products. */
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
    return [{ verb: "tap", tap, weights, routes, inputs: [call.inputs[0]!], outputs: [], hint: false }, call];
  });
}
