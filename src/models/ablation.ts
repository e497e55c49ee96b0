/** A program with something left out, for tests that prove that it would be missed: a call is changed, or stands for its input. */
import type { Mutation } from "./flow/architecture.js";
import type { Call, Program } from "./flow/calls.js";
import type { Value } from "./flow/flow.js";

/** The call as it shall be, or `input`: its first input takes the place of what it makes. */
export type Ablation = (call: Call) => Call | "input";

export const ablations: Readonly<Record<Mutation, Ablation>> = {
  rope: (call) => (call.verb === "rope" ? "input" : call),
  "qk-norm": (call) => (call.verb === "headNorm" ? "input" : call),
  window: (call) => {
    if (call.verb !== "attention") return call;
    return { ...call, sources: call.sources.map((source) => ({ ...source, reach: "all" as const })) };
  },
  sinks: (call) => (call.verb === "attention" ? { ...call, sinks: null } : call),
  // Without normalisation the chosen weights are plain probabilities of all experts.
  "router-norm": (call) => {
    if (call.verb !== "route") return call;
    const score = call.spec.score === "softmax-selected" ? "softmax" : call.spec.score;
    return { ...call, spec: { ...call.spec, score, renormalize: false } };
  },
};

export function ablate(program: Program, rule: Ablation): Program {
  const instead = new Map<Value, Value>();
  const known = (value: Value): Value => instead.get(value) ?? value;
  const calls: Call[] = [];
  const starts: number[] = [];
  for (const [i, call] of program.calls.entries()) {
    starts[i] = calls.length;
    const changed = rule(call);
    if (changed === "input") instead.set(call.outputs[0]!, known(call.inputs[0]!));
    else calls.push({ ...changed, inputs: changed.inputs.map(known) });
  }
  starts.push(calls.length);
  const outputs = Object.fromEntries(Object.entries(program.outputs).map(([name, value]) => [name, known(value)]));
  const streams = program.streams.map((values) => values.map(known));
  return { ...program, calls, layers: program.layers.map((start) => starts[start]!), streams, outputs };
}
