/** How many answers to make at the same time: as many as bring more tokens a second. */
import type { LineIndex } from "../../batch/line-index.js";
import { openCheckpoint } from "../../containers/index.js";
import type { LoadOptions } from "../../library/model.js";
import { describeModel } from "../../models/index.js";
import { pagePositions } from "../../ops/ops.js";
import { pastBufferBytes } from "../../past/buffers.js";
import { Planner } from "../../weights/plan.js";
import { defaultContextTokens } from "../../weights/plan-defaults.js";
import { knownMachine } from "../../weights/probe.js";

export interface BatchShape {
  readonly contextTokens: number;
  readonly sequences: number;
  readonly kvTokens: number;
}

/** Positions that answers take: of one that is longer than nine of ten, and of the longest. */
export interface BatchNeeds {
  readonly typicalTokens: number;
  readonly longestTokens: number;
}

/** Needs of the lines that are left; the longest of all, so that a batch that is gone on with has the same context. */
export function needsOf(index: LineIndex): BatchNeeds {
  const needs = index.tokensLeft();
  const typicalTokens = needs[Math.min(needs.length - 1, Math.floor(0.9 * needs.length))] ?? 1;
  return { typicalTokens, longestTokens: index.longestTokens };
}

/** A line may turn out longer than it looks. */
export const usualContext = defaultContextTokens;

const mostSequences = 64;
/** Twice as many answers at once must be worth it. */
const leastGain = 1.05;

/**
 * KV takes memory from weights, and a pass that reads more of them takes longer, but serves more: the planner knows.
 * @param parallel what the user wants; undefined: as many as pay
 * @throws MEMORY_BUDGET when not even one fits
 */
export async function batchShape(
  path: string,
  options: LoadOptions,
  needs: BatchNeeds,
  parallel: number | undefined,
): Promise<BatchShape> {
  const { threads, kvType, chunkRows, memoryBytes, ringBytes, weightsMemoryBytes, checkpointBytes } = options;
  const description = describeModel(await openCheckpoint(path));
  const trained = description.config.contextTokens;
  const contextTokens = options.contextTokens ?? Math.min(trained, Math.max(usualContext, needs.longestTokens));
  const typicalTokens = Math.min(contextTokens, Math.max(pagePositions, needs.typicalTokens));
  if (parallel !== undefined || options.ops === "reference") {
    const sequences = parallel ?? 1;
    return { contextTokens, sequences, kvTokens: Math.max(contextTokens, sequences * typicalTokens) };
  }
  const machine = knownMachine({ path, ...(threads !== undefined && { threads }) }).profile;
  let best: (BatchShape & { readonly rate: number }) | undefined;
  for (let sequences = 1; sequences <= mostSequences; sequences *= 2) {
    const kvTokens = sequences * typicalTokens;
    const planner = new Planner(description, machine, {
      sequences,
      kvTokens,
      logitRows: Math.max(16, sequences),
      contextTokens,
      textProcess: true, // as the engine of a batch counts it: else the KV chosen here would not fit there
      ...(options.pastStore !== undefined && { pastBytes: pastBufferBytes }),
      ...(kvType !== undefined && { kvType }),
      ...(chunkRows !== undefined && { rows: chunkRows }),
      ...(memoryBytes !== undefined && { budgetBytes: memoryBytes }),
      ...(ringBytes !== undefined && { ringBytes }),
      ...(checkpointBytes !== undefined && { checkpointBytes }),
      ...(weightsMemoryBytes !== undefined && { weightsMemoryBytes }),
    });
    const plan = sequences === 1 ? planner.plan() : planner.tryPlan(memoryBytes ?? machine.availableBytes);
    if (plan === undefined) break;
    const { secondsPerToken, prefillTokensPerSecond } = plan.prediction;
    const rate = sequences / Math.max(secondsPerToken, sequences / prefillTokensPerSecond);
    if (best !== undefined && rate < leastGain * best.rate) break;
    best = { contextTokens, sequences, kvTokens: plan.kvTokens, rate };
  }
  return best!;
}
