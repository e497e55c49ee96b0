/**
 * Advises what would help: more memory, a smaller cache, a faster disk; and of a model that fits, what else would. Each
 * is worked out by planning again.
 */
import { HundredweightError } from "../errors.js";
import { dtypeByName, layoutBytes } from "../formats/index.js";
import type { ModelDescription } from "../models/index.js";
import type { MachineProfile } from "./machine.js";
import { Planner } from "./plan.js";
import type { Plan, PlanOptions } from "./plan-types.js";

const gibibyte = 2 ** 30;
const extraGibibytes = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/** Less is not worth a line. */
const minSpeedup = 1.25;

const gib = (bytes: number) =>
  bytes < 0.95 * gibibyte ? `${Math.round(bytes / 2 ** 20)} MiB` : `${(bytes / gibibyte).toFixed(1)} GiB`;
const tokens = (count: number) => count.toLocaleString("en-US");
/** Gains: `5.6x`, and `+9 %` below half as much again. */
const times = (factor: number) =>
  factor < 1.5 ? `+${Math.round(100 * (factor - 1))} %` : `${factor.toFixed(factor < 10 ? 1 : 0)}x`;
/** A size as options take it, never less than is meant. */
const sizeOption = (bytes: number) =>
  bytes < gibibyte ? `${Math.ceil(bytes / 2 ** 20)}MiB` : `${Math.ceil((10 * bytes) / gibibyte) / 10}GiB`;
const rate = (secondsPerToken: number) =>
  secondsPerToken >= 1 ? `${secondsPerToken.toFixed(1)} s/token` : `${(1 / secondsPerToken).toFixed(1)} tokens/s`;
const perToken = (plan: Plan) => rate(plan.prediction.secondsPerToken);

export function advise(
  description: ModelDescription,
  machine: MachineProfile,
  options: PlanOptions,
  plan: Plan,
): string[] {
  if (plan.strategy === "resident") return adviseWithRoom(description, machine, options, plan);
  const advice: string[] = [];
  // The same request throughout: a longer context would hide what more memory buys.
  const { contextTokens, kvType, budgetBytes } = plan;
  const fixed: PlanOptions = { ...options, contextTokens, kvType };
  const speedup = (other: Plan) => plan.prediction.secondsPerToken / other.prediction.secondsPerToken;

  const planner = new Planner(description, machine, fixed);
  const resident = planner.residentBudgetBytes(contextTokens);
  for (const extra of extraGibibytes) {
    const more = planner.tryPlan(budgetBytes + extra * gibibyte);
    if (options.weightsMemoryBytes !== undefined || more === undefined || speedup(more) < minSpeedup) continue;
    if (more.strategy === "resident") break;
    advice.push(`${budgetOption(more.budgetBytes, machine)}: ${times(speedup(more))} (${perToken(more)})`);
    break;
  }
  const all = options.weightsMemoryBytes === undefined ? planner.tryPlan(resident) : undefined;
  if (all?.strategy === "resident")
    advice.push(`${budgetOption(resident, machine)}: everything in memory, ${times(speedup(all))} (${perToken(all)})`);

  const quantizable = description.states.every((kv) => kv.headDimK % 32 === 0 && kv.headDimV % 32 === 0);
  if (kvType === "f16" && quantizable) {
    const smaller = new Planner(description, machine, { ...fixed, kvType: "q8_0" }).tryPlan(budgetBytes);
    const saved = smaller === undefined ? 0 : plan.bytes.kv - smaller.bytes.kv;
    if (smaller !== undefined && saved > gibibyte / 16 && speedup(smaller) >= 1.05)
      advice.push(
        `\`--kv q8_0\`: ${gib(saved)} more weights in memory, ${times(speedup(smaller))} (changes answers a little)`,
      );
  }
  if (options.kvMemoryBytes === undefined && plan.bytes.kv > gibibyte / 2) {
    const kvMemoryBytes = Math.ceil(plan.bytes.kv / 4 / 2 ** 20) * 2 ** 20;
    const smaller = tryOrNot(() => new Planner(description, machine, { ...fixed, kvMemoryBytes }).tryPlan(budgetBytes));
    if (smaller !== undefined && speedup(smaller) >= 1.05)
      advice.push(
        `\`--kv-memory ${kvMemoryBytes / 2 ** 20}MiB\`: ${gib(plan.bytes.kv - smaller.bytes.kv)} more weights in ` +
          `memory, ${times(speedup(smaller))} as long as a text is short; of a long one the rest is read from the disk`,
      );
  }
  const faster = new Planner(
    description,
    {
      ...machine,
      diskReadBytesPerSecond: 2 * machine.diskReadBytesPerSecond,
      diskFirstTouchBytesPerSecond: 2 * machine.diskFirstTouchBytesPerSecond,
    },
    fixed,
  ).tryPlan(budgetBytes);
  if (faster !== undefined && speedup(faster) >= minSpeedup)
    advice.push(`a disk twice as fast: ${times(speedup(faster))} (${perToken(faster)})`);
  return advice;
}

/** The option that gives so much; what the machine does not have free says so. */
function budgetOption(bytes: number, { availableBytes }: MachineProfile): string {
  const option = `\`--memory ${sizeOption(bytes)}\``;
  return bytes <= availableBytes ? option : `${option}, ${gib(bytes - availableBytes)} more than is free`;
}

/** A larger model by less than this is the same model. */
const minGrowth = 1.5;
/** Conversations at once that anybody would ask one machine for. */
const mostSequences = 64;
/** Contexts are searched and told in these steps. */
const contextStep = 256;

/** Everything is in memory: what the rest of the budget would still hold, and what it would not. */
function adviseWithRoom(
  description: ModelDescription,
  machine: MachineProfile,
  options: PlanOptions,
  plan: Plan,
): string[] {
  if (options.weightsMemoryBytes !== undefined) return []; // what is left is not what the weights may take
  const { contextTokens, kvType, budgetBytes } = plan;
  const fixed: PlanOptions = { ...options, contextTokens, kvType };
  const resident = (change: PlanOptions) => {
    const found = new Planner(description, machine, { ...fixed, ...change }).tryPlan(budgetBytes);
    // Passes of fewer rows would read prompts more slowly.
    return found?.strategy === "resident" && found.maxRows >= plan.maxRows ? found : undefined;
  };
  const advice: string[] = [];

  const trained = description.config.contextTokens;
  const longest = largest(contextTokens, trained, contextStep, (n) => resident({ contextTokens: n }) !== undefined);
  if (longest > contextTokens) {
    const kv = resident({ contextTokens: longest })!.bytes.kv;
    const what = longest === trained ? "all it was trained for" : "the longest that does";
    advice.push(
      `\`--ctx ${longest}\`: a context of ${tokens(longest)} tokens still fits (${what}), ${gib(kv)} of KV cache`,
    );
  } else if (longest < trained) {
    advice.push(`a context longer than ${tokens(longest)} tokens would push weights out of memory`);
  }
  const before = options.sequences ?? 1;
  const atOnce = largest(before, mostSequences, 1, (sequences) => {
    const found = resident({ sequences });
    return found !== undefined && found.kvTokens >= sequences * contextTokens;
  });
  if (atOnce > before)
    advice.push(
      `\`serve --parallel ${atOnce}\`: ${atOnce} conversations at once still fit, ` +
        `each of ${tokens(contextTokens)} tokens`,
    );
  return [...advice, ...adviseLarger(plan, new Planner(description, machine, fixed))];
}

/** The same model in a type of more bits, and a model of more parameters in the same mix. */
function adviseLarger(plan: Plan, { model }: Planner): string[] {
  const advice: string[] = [];
  const { secondsPerToken } = plan.prediction;
  const left = plan.budgetBytes - plan.totalBytes;
  const weights = model.trunkBytes + model.expertBytes;
  const matrices = [...model.trunk, ...model.expertLayers.flatMap((layer) => layer.matrices)];
  const q8 = dtypeByName("Q8_0")!;
  const asQ8 = matrices.reduce(
    (sum, m) => sum + (layoutBytes(q8, m.rows, m.cols) ?? m.bytes / m.experts) * m.experts,
    0,
  );
  if (asQ8 > 1.1 * weights && asQ8 - weights <= left)
    advice.push(
      `the same model in Q8_0 (${gib(asQ8)} of weights) still fits, at about ` +
        `${rate((secondsPerToken * asQ8) / weights)}`,
    );
  // Cache and activations grow with width and depth, weights with depth and the square of width.
  const perContext = plan.bytes.kv + plan.bytes.activations;
  const extra = (growth: number) => weights * (growth - 1) + perContext * (growth ** (2 / 3) - 1);
  let growth = 1;
  for (let step = 0.1; extra(growth + step) <= left; step *= 1.01) growth += step;
  if (growth >= minGrowth)
    advice.push(
      `${gib(left)} are left: a model of about ${gib(weights * growth)} of weights still fits at this context, ` +
        `at about ${rate(secondsPerToken * growth)}`,
    );
  return advice;
}

/** The largest of `from`, `from` + `step`, ... `to` that `works`, where whatever works does so up to a point. */
function largest(from: number, to: number, step: number, works: (n: number) => boolean): number {
  if (to <= from) return from;
  if (works(to)) return to;
  let [low, high] = [from, to];
  for (;;) {
    const middle = Math.floor((low + high) / 2 / step) * step;
    if (middle <= low || middle >= high) return low;
    if (works(middle)) low = middle;
    else high = middle;
  }
}

/** Some models need all of their KV cache in memory. */
function tryOrNot(make: () => Plan | undefined): Plan | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof HundredweightError && error.code === "OPTION_INVALID") return undefined;
    throw error;
  }
}
