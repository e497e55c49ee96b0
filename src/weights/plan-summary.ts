/** A plan and the way its weights are read, for people: figures, and a map of the model. */
import { storedBytes } from "../formats/index.js";
import { withPrograms } from "../models/index.js";
import type { WeightPlacement } from "../ops/ops.js";
import type { PlanModel } from "./plan-model.js";
import type { MapTensor, ModelMap, PlanSummary, TensorPlace } from "./plan-summary-types.js";
import type { Plan } from "./plan-types.js";
import type { Residency } from "./residency.js";

export type { MapTensor, ModelMap, PlanSummary, TensorPlace } from "./plan-summary-types.js";

/** @param guessed see {@link restsOnGuesses} */
export function summarizePlan(
  model: PlanModel,
  plan: Plan,
  { io, placement }: Residency,
  guessed: boolean,
): PlanSummary {
  const { strategy, budgetBytes, bytes, contextTokens, prediction, notes } = plan;
  const { passBytes, streamedBytesPerPass, secondsPerToken, computeSeconds, prefillTokensPerSecond, expertHitRate } =
    prediction;
  const { promptPassSeconds, firstPromptPassSeconds, promptCompute, tokenCompute } = prediction;
  return {
    strategy,
    io,
    budgetBytes,
    bytes,
    contextTokens,
    passBytes,
    streamedBytesPerPass,
    secondsPerToken,
    computeSeconds,
    prefillTokensPerSecond,
    promptPassSeconds,
    firstPromptPassSeconds,
    promptCompute,
    tokenCompute,
    expertHitRate,
    guessed,
    notes,
    map: modelMap(model, plan, placement),
  };
}

/**
 * @param placement what the native implementation executes; undefined where files are mapped
 */
export function modelMap(model: PlanModel, plan: Plan, placement: WeightPlacement | undefined): ModelMap {
  const { trunk, beside, expertLayers, description, programs } = model;
  const matrices = new Map([...trunk, ...beside, ...expertLayers.flatMap((l) => l.matrices)].map((m) => [m.name, m]));
  const tensors = withPrograms(description, programs).tensors.map(({ name, layer, role, kind, info }): MapTensor => {
    const bytes = storedBytes(info.planes);
    const tensor = { name, layer, role, dtype: info.layout.name, bytes };
    const placed = (place: TensorPlace, pinnedBytes: number) => ({ ...tensor, place, pinnedBytes });
    // Small vectors are expanded to F32 at load and stay, whatever the plan.
    if (kind !== "matrix") return placed("pinned", bytes);
    if (role === "embedding") return placed("rows", 0);
    if (placement === undefined) return placed("mapped", 0);
    const matrix = matrices.get(name)!;
    const experts = matrix.experts > 1 ? { experts: matrix.experts } : {};
    if (placement.experts?.groups.some((group) => group.includes(name))) return { ...placed("slots", 0), ...experts };
    const { slices, keptBytes } = matrix;
    const held = placement.pinned.get(name) ?? 0;
    const place = held === slices.count ? "pinned" : held === 0 ? "streamed" : "split";
    return { ...placed(place, held === slices.count ? bytes : held * slices.bytes + keptBytes), ...experts };
  });
  if (placement?.experts === undefined) return { tensors };
  const slots = { slots: 0, experts: 0, bytes: 0 };
  for (const c of plan.slotClasses) {
    slots.slots += c.slots;
    slots.experts += c.experts;
    slots.bytes += c.slots * c.slotBytes;
  }
  return { tensors, slots };
}
