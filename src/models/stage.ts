/** Layers i to j of a model as a program of their own: over rows that were stored, or that another machine sent. */
import { HundredweightError } from "../errors.js";
import { type Outputs, type Program, stateOf } from "./flow/calls.js";
import type { Selection, Value } from "./flow/flow.js";

const named = (values: readonly Value[]): Record<`stream${number}`, Value> =>
  Object.fromEntries(values.map((value, i) => [`stream${i}`, value]));

/**
 * Layers [from, to). The first stage begins with token ids, any other is given the streams; the last goes on to the
 * model's own outputs, any other leaves its streams. Hints of layers ahead are left out.
 * @throws OPTION_INVALID for layers that are not there; INTERNAL where a layer reads what another stage keeps
 */
export function stageOf(program: Program, from: number, to: number): Program {
  const count = program.layers.length - 1;
  if (!(from >= 0 && from < to && to <= count))
    throw new HundredweightError("OPTION_INVALID", `no layers ${from} to ${to} in a model of ${count}`);
  const begin = from === 0 ? 0 : program.layers[from]!;
  const end = to === count ? program.calls.length : program.layers[to]!;
  const calls = program.calls.slice(begin, end).filter(({ hint }) => !hint);
  const states = program.states.filter((state) => calls.some((call) => stateOf(call) === state));
  const inputs = from === 0 ? program.inputs : { ...program.inputs, ...named(program.streams[from]!) };
  const outputs: Outputs = to === count ? program.outputs : named(program.streams[to]!);
  checkClosed(calls, states, Object.values(inputs));
  // A hint that is gone moves what follows.
  const layers = program.layers
    .slice(from, to + 1)
    .map((start) => program.calls.slice(begin, start).filter(({ hint }) => !hint).length);
  return {
    calls,
    layers: [0, ...layers.slice(1)],
    streams: program.streams.slice(from, to + 1),
    inputs,
    outputs,
    states,
  };
}

function checkClosed(calls: Program["calls"], states: Program["states"], given: readonly Value[]): void {
  const known = new Set<Value>(given);
  const chosen = new Set<Selection>();
  for (const call of calls) {
    const foreign =
      call.inputs.some((value) => !known.has(value)) ||
      (call.verb === "select" && !states.includes(call.keys)) ||
      (call.verb === "attention" &&
        call.sources.some(
          ({ state, selection }) => !states.includes(state) || (selection !== null && !chosen.has(selection)),
        ));
    if (call.verb === "select") chosen.add(call.selection);
    if (foreign) throw new HundredweightError("INTERNAL", "a stage reads what another stage keeps");
    for (const output of call.outputs) known.add(output);
  }
}
