/** The models people ask about, on paper: sizes that are known of them, and plans for machines of stated rates. */
import { describeModel, type ModelDescription } from "../../src/models/index.js";
import { presets } from "../../src/synth/presets.js";
import { layOutSynth, type SynthModel, synthCheckpoint } from "../../src/synth/synth.js";
import type { MachineProfile } from "../../src/weights/machine.js";
import { type Plan, Planner } from "../../src/weights/plan.js";

/**
 * Billions of parameters, of the model cards and without blocks that guess further tokens; gigabytes of a file in the
 * mix it is usually met in, reckoned apart from bits a weight.
 */
export const asked: Readonly<Record<string, { readonly parameters: number; readonly gigabytes?: number }>> = {
  "gemma-4-26b-a4b": { parameters: 25.2, gigabytes: 17 },
  "qwen3.6-27b": { parameters: 26.9 },
  "qwen3.6-35b-a3b": { parameters: 34.7, gigabytes: 21 },
  "gpt-oss-120b": { parameters: 116.8, gigabytes: 63 },
  "llama-4-scout": { parameters: 107.8, gigabytes: 66 },
  "command-a": { parameters: 111.1 },
  "glm-4.5-air": { parameters: 106.9, gigabytes: 71 },
  "nemotron-3-super": { parameters: 120.7, gigabytes: 86 },
  "mistral-large": { parameters: 122.6 },
  "minimax-m2": { parameters: 228.7, gigabytes: 139 },
  // 83 GB and a table of n-grams.
  "qwen3.8-flash-next": { parameters: 176.9, gigabytes: 83 + 35 },
  "ling-3.0-flash": { parameters: 124.4, gigabytes: 75 },
  "deepseek-v3": { parameters: 671.0, gigabytes: 407 },
  "deepseek-v4-flash": { parameters: 284.3, gigabytes: 155 },
  "kimi-k2": { parameters: 1026.4, gigabytes: 622 },
};

const GiB = 2 ** 30;
export const memories = [16, 24, 32, 64, 128] as const;
export const diskRates = [3e9, 7e9] as const;
/** The memory the system and other programs keep. */
export const keptBytes = 2 * GiB;
export const contextTokens = 8192;

/** A desktop of eight cores with two channels of DDR5. */
const rates = { memoryReadBytesPerSecond: 60e9, gemmOpsPerSecond: 600e9, threads: 8 } as const;
export const { memoryReadBytesPerSecond, gemmOpsPerSecond } = rates;

export interface AskedModel {
  readonly synth: SynthModel;
  readonly description: ModelDescription;
}

export function askedModel(name: string): AskedModel {
  const synth = layOutSynth(name, presets[name]!);
  return { synth, description: describeModel(synthCheckpoint(synth)) };
}

/** Undefined where the model does not run in so much memory. */
export function askedPlan({ description }: AskedModel, gibibytes: number, diskRate: number): Plan | undefined {
  const machine: MachineProfile = {
    ...rates,
    memoryLimitBytes: gibibytes * GiB,
    availableBytes: gibibytes * GiB - keptBytes,
    diskReadBytesPerSecond: diskRate,
    diskFirstTouchBytesPerSecond: diskRate,
  };
  return new Planner(description, machine, { contextTokens }).tryPlan(machine.availableBytes);
}
