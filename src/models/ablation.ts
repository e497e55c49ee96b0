/**
 * A program with something left out, for tests that prove that it would be missed: a call is changed, or stands for its
 * input.
 */
import type { Mutation } from "./flow/architecture.js";
import { type Call, type CallOf, type Program, seesAhead } from "./flow/calls.js";
import type { Reach, Value } from "./flow/flow.js";

/** The call as it shall be, or `input`: its first input takes the place of what it makes. */
export type Ablation = (call: Call, maker: (value: Value) => Call | undefined) => Call | "input";

/** The call with another reach of each source. */
function reaching(call: Call, change: (reach: Reach) => Reach): Call {
  if (call.verb !== "attention") return call;
  return { ...call, sources: call.sources.map((source) => ({ ...source, reach: change(source.reach) })) };
}

const nameOf = (call: CallOf<"norm"> | CallOf<"headNorm"> | CallOf<"multiplyVector">): string =>
  (call.verb === "multiplyVector" ? call.factors : call.weight)?.tensor.name ?? "";

export const ablations: Readonly<Record<Mutation, Ablation>> = {
  rope: (call) => (call.verb === "rope" ? "input" : call),
  // The other family's pairs.
  "rope-pairs": (call) => (call.verb === "rope" ? { ...call, interleaved: !call.interleaved } : call),
  // All of a head instead of its beginning.
  "rope-dims": (call) =>
    call.verb === "rope" ? { ...call, rope: { ...call.rope, dims: call.headDim }, divisors: null } : call,
  "rope-scaling": (call) =>
    call.verb === "rope" ? { ...call, rope: { ...call.rope, scaling: { kind: "none" } }, divisors: null } : call,
  // What attention read stays as it was rotated.
  "rope-back": (call) => (call.verb === "rope" && call.rope.inverse === true ? "input" : call),
  "qk-norm": (call) =>
    call.verb === "headNorm" ||
    call.verb === "centreHeads" ||
    (call.verb === "norm" && /_[qk]_norm/.test(call.weight?.tensor.name ?? ""))
      ? "input"
      : call,
  // The same where streams have norms of heads as well.
  "attention-norm": (call) => (call.verb === "headNorm" && /attn_[qk]_norm/.test(nameOf(call)) ? "input" : call),
  "latent-norm": (call) =>
    call.verb === "norm" && /attn_(q|kv)_a_norm/.test(call.weight?.tensor.name ?? "") ? "input" : call,
  window: (call) => reaching(call, (reach) => (seesAhead(reach) ? { symmetric: 0 } : "all")),
  selection: (call) =>
    call.verb === "attention"
      ? { ...call, sources: call.sources.map((source) => ({ ...source, selection: null })) }
      : call,
  // Rows of several positions are not seen.
  blocks(call) {
    if (call.verb !== "attention") return call;
    const sources = call.sources.filter(({ state }) => state.every === 1);
    return { ...call, sources, outputs: sources.length > 1 ? call.outputs : call.outputs.slice(0, 1) };
  },
  "block-positions": (call) => (call.verb === "compress" ? { ...call, positions: null } : call),
  // Rows see what comes before them only.
  "both-sides": (call) => reaching(call, (reach) => (seesAhead(reach) ? "all" : reach)),
  alibi: (call) => (call.verb === "attention" ? { ...call, alibi: 0 } : call),
  positions: (call) => (call.verb === "lookup" && call.by === "positions" ? { ...call, scale: 0 } : call),
  "token-types": (call) => (call.verb === "lookup" && call.by === "first" ? { ...call, scale: 0 } : call),
  sinks: (call) => (call.verb === "attention" ? { ...call, sinks: null } : call),
  softcap(call) {
    if (call.verb === "softcap") return "input";
    return call.verb === "attention" ? { ...call, softcap: 0 } : call;
  },
  bias: (call) =>
    call.verb === "linear" ? { ...call, weights: call.weights.map((weight) => ({ ...weight, bias: null })) } : call,
  gate: (call) => (call.verb === "multiply" ? "input" : call),
  multipliers(call) {
    if (call.verb === "lookup") return { ...call, scale: 1 };
    return call.verb === "scale" ? "input" : call;
  },
  // Without normalisation the chosen weights are plain probabilities of all experts.
  "router-norm": (call) => {
    if (call.verb !== "route") return call;
    const score = call.spec.score === "softmax-selected" ? "softmax" : call.spec.score;
    return { ...call, spec: { ...call.spec, score, renormalize: false } };
  },
  "selection-bias": (call) => (call.verb === "route" ? { ...call, selectionBias: null } : call),
  groups(call) {
    if (call.verb !== "route") return call;
    const { groups: _, ...spec } = call.spec;
    return { ...call, spec };
  },
  // The best experts, not those of a table.
  table: (call) => (call.verb === "route" ? { ...call, table: null } : call),
  "n-grams": (call) => (call.verb === "lookup" && typeof call.by === "object" ? { ...call, scale: 0 } : call),
  clamp(call) {
    if (call.verb === "glu" && typeof call.act === "object") return { ...call, act: "silu" };
    if (call.verb !== "experts" || typeof call.body.act === "string") return call;
    return { ...call, body: { ...call.body, act: "silu" } };
  },
  temperature: (call) => (call.verb === "temper" ? "input" : call),
  sparse: (call) => (call.verb === "sparsify" ? "input" : call),
  streams(call, maker) {
    // Where gated streams are read as their mean, the first of them alone.
    if (call.verb === "columns" && call.heads === 1 && maker(call.inputs[0]!)?.verb === "multiply")
      return call.outputs.every(({ cols }) => cols === call.outputs[0]!.cols)
        ? { ...call, from: call.from.map(() => 0) }
        : call;
    // Where several streams are read as one, the first of them alone.
    if (call.verb === "blend" && call.streams === 1)
      return { ...call, verb: "columns", from: [0], heads: 1, inputs: call.inputs.slice(1, 2) };
    return call.verb === "matchSize" ? "input" : call;
  },
  // What streams take up of each other sums to one for those that take, once, and for none that give.
  even: (call) => (call.verb === "hyperWeights" ? { ...call, iterations: 1 } : call),
  convolution: (call) => (call.verb === "shortConv" ? "input" : call),
  // A factor of one for everything that is remembered.
  decay: (call) =>
    call.verb === "multiplyVector" && /_a$/.test(call.factors.tensor.name)
      ? { ...call, verb: "scale", factor: 0 }
      : call,
  strength: (call) => (call.verb === "recur" ? { ...call, inputs: call.inputs.slice(0, 4) } : call),
  correction: (call) => (call.verb === "recur" ? { ...call, correct: false } : call),
  pairing: (call) =>
    call.verb === "recur" ? { ...call, pairing: call.pairing === "tiled" ? "consecutive" : "tiled" } : call,
  "state-norm"(call) {
    if (call.verb !== "norm" && call.verb !== "headNorm" && call.verb !== "multiplyVector") return call;
    return /ssm_(\w_|dt_)?norm/.test(nameOf(call)) ? "input" : call;
  },
  // Norms of heads that have no weights.
  "unit-norm": (call) => (call.verb === "headNorm" && call.weight === null ? "input" : call),
  skip: (call) => (call.verb === "recur" ? { ...call, skip: null } : call),
  "shared-expert"(call, maker) {
    if (call.verb !== "add") return call;
    const first = maker(call.inputs[0]!);
    // Experts may stand before a product that all of them share.
    const made = first?.verb === "linear" ? maker(first.inputs[0]!) : first;
    return made?.verb === "experts" ? "input" : call;
  },
};

export function ablate(program: Program, rule: Ablation): Program {
  const makers = new Map(program.calls.flatMap((call) => call.outputs.map((value) => [value, call] as const)));
  const instead = new Map<Value, Value>();
  const known = (value: Value): Value => instead.get(value) ?? value;
  const calls: Call[] = [];
  const starts: number[] = [];
  for (const [i, call] of program.calls.entries()) {
    starts[i] = calls.length;
    const changed = rule(call, (value) => makers.get(value));
    if (changed === "input") instead.set(call.outputs[0]!, known(call.inputs[0]!));
    else calls.push({ ...changed, inputs: changed.inputs.map(known) });
  }
  starts.push(calls.length);
  const outputs = Object.fromEntries(Object.entries(program.outputs).map(([name, value]) => [name, known(value)]));
  const streams = program.streams.map((values) => values.map(known));
  return { ...program, calls, layers: program.layers.map((start) => starts[start]!), streams, outputs };
}
