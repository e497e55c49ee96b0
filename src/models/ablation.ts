/** A program with something left out, for tests that prove that it would be missed: a call is changed, or stands for its input. */
import type { Mutation } from "./flow/architecture.js";
import { type Call, type CallOf, type Program, seesAhead } from "./flow/calls.js";
import type { Value } from "./flow/flow.js";

/** The call as it shall be, or `input`: its first input takes the place of what it makes. */
export type Ablation = (call: Call) => Call | "input";

const looksAhead = (call: Call): call is CallOf<"attention"> => call.verb === "attention" && seesAhead(call.reach);

export const ablations: Readonly<Record<Mutation, Ablation>> = {
  rope: (call) => (call.verb === "rope" ? "input" : call),
  "qk-norm": (call) => (call.verb === "headNorm" ? "input" : call),
  window: (call) => {
    if (call.verb !== "attention") return call;
    return { ...call, reach: looksAhead(call) ? { symmetric: 0 } : "all" };
  },
  /** Rows see what comes before them only. */
  "both-sides": (call) => (looksAhead(call) ? { ...call, reach: "all" } : call),
  alibi: (call) => (call.verb === "attention" ? { ...call, alibi: 0 } : call),
  positions: (call) => (call.verb === "lookup" && call.by === "positions" ? { ...call, scale: 0 } : call),
  "token-types": (call) => (call.verb === "lookup" && call.by === "first" ? { ...call, scale: 0 } : call),
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
