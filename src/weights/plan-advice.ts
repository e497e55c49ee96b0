/** What would help: more memory, a smaller cache, a faster disk, each worked out by planning again. */
import type { ModelDescription } from "../models/index.js";
import type { MachineProfile } from "./machine.js";
import { Planner } from "./plan.js";
import type { Plan, PlanOptions } from "./plan-types.js";

const gibibyte = 2 ** 30;
const extraGibibytes = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/** Less is not worth a line. */
const leastSpeedup = 1.25;

const gib = (bytes: number) => `${(bytes / gibibyte).toFixed(1)} GiB`;
const times = (factor: number) => `${factor.toFixed(factor < 10 ? 1 : 0)}x`;
const perToken = (plan: Plan) =>
  plan.prediction.secondsPerToken >= 1
    ? `${plan.prediction.secondsPerToken.toFixed(1)} s/token`
    : `${(1 / plan.prediction.secondsPerToken).toFixed(1)} tokens/s`;

export function advise(
  description: ModelDescription,
  machine: MachineProfile,
  options: PlanOptions,
  plan: Plan,
): string[] {
  if (plan.strategy === "resident") return [];
  const advice: string[] = [];
  // The same request throughout: a longer context would hide what more memory buys.
  const { contextTokens, kvType, budgetBytes } = plan;
  const fixed: PlanOptions = { ...options, contextTokens, kvType };
  const speedup = (other: Plan) => plan.prediction.secondsPerToken / other.prediction.secondsPerToken;

  const planner = new Planner(description, machine, fixed);
  const resident = planner.residentBudgetBytes(contextTokens);
  for (const extra of extraGibibytes) {
    const more = planner.tryPlan(budgetBytes + extra * gibibyte);
    if (options.weightsMemoryBytes !== undefined || more === undefined || speedup(more) < leastSpeedup) continue;
    if (more.strategy === "resident") break;
    advice.push(`+${extra} GiB: ${times(speedup(more))} (${perToken(more)})`);
    break;
  }
  const all = options.weightsMemoryBytes === undefined ? planner.tryPlan(resident) : undefined;
  if (all?.strategy === "resident")
    advice.push(`everything in memory from ${gib(resident)}: ${times(speedup(all))} (${perToken(all)})`);

  const quantizable = description.layers.every(({ kv }) => kv.headDimK % 32 === 0 && kv.headDimV % 32 === 0);
  if (kvType === "f16" && quantizable) {
    const smaller = new Planner(description, machine, { ...fixed, kvType: "q8_0" }).tryPlan(budgetBytes);
    const saved = smaller === undefined ? 0 : plan.bytes.kv - smaller.bytes.kv;
    if (smaller !== undefined && saved > gibibyte / 16 && speedup(smaller) >= 1.05)
      advice.push(`KV q8_0: +${gib(saved)} for weights, ${times(speedup(smaller))} (changes answers a little)`);
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
  if (faster !== undefined && speedup(faster) >= leastSpeedup)
    advice.push(`a disk twice as fast: ${times(speedup(faster))} (${perToken(faster)})`);
  return advice;
}
