/** The facts of a greeting on this machine. */
import { load } from "../../library/model.js";
import { describeModel } from "../../models/index.js";
import { addonStatus } from "../../native/addon.js";
import { packageVersion } from "../../package-root.js";
import { localModels } from "../../store/local/local-models.js";
import type { LocalModel } from "../../store/local/types.js";
import { modelFile } from "../../store/model-word.js";
import { representativeShape } from "../../synth/representative.js";
import { layOutSynth, synthCheckpoint } from "../../synth/synth.js";
import type { MachineProfile } from "../../weights/machine.js";
import { Planner } from "../../weights/plan.js";
import { defaultContextTokens } from "../../weights/plan-defaults.js";
import { knownMachine } from "../../weights/probe.js";
import { formatBytes, standardOutput } from "../terminal/output.js";
import { type GreetingFacts, greet, type SizeClass } from "./greeting.js";

/** Billions of parameters, in all and used by a token. */
const sizes: readonly (readonly [number, number?])[] = [[8], [32], [70], [120, 5]];

/** The line is written while plans are made; then it is waited for so long. */
const lineMs = 3000;
const lineTokens = 32;
const beginnings = ["In the beginning", "And it came to pass", "The wisdom of", "Behold", "And the king said"];

export async function greetHere(): Promise<void> {
  const { profile, disk, cpu } = knownMachine({ path: process.cwd() });
  const patience = new AbortController();
  const line = bundledLine(patience.signal);
  const facts: GreetingFacts = {
    version: packageVersion(),
    machine: machineSentence(profile, disk?.bytesPerSecond),
    guessed: disk === undefined || cpu === undefined,
    sizes: sizes.map(
      ([billions, active]) =>
        () =>
          sizeClass(profile, billions, active),
    ),
    line: () => {
      setTimeout(() => patience.abort(), lineMs).unref();
      return line;
    },
    models: newest,
  };
  await greet(facts, (text) => void process.stdout.write(text), standardOutput());
}

function machineSentence({ threads, availableBytes }: MachineProfile, diskRate: number | undefined): string {
  const { isa, reason } = addonStatus();
  const kernels = isa === undefined ? `no native addon (${reason})` : `${isa} kernels`;
  const disk = diskRate === undefined ? "" : `, disk ${(diskRate / 1e9).toFixed(1)} GB/s`;
  return `${threads} threads, ${kernels}, ${formatBytes(availableBytes)} of memory for models${disk}`;
}

function sizeClass(machine: MachineProfile, billions: number, active: number | undefined): SizeClass {
  const shape = representativeShape(billions * 1e9, active && active * 1e9, "Q4_K_M");
  const synth = layOutSynth("representative", shape);
  const planner = new Planner(describeModel(synthCheckpoint(synth)), machine, { contextTokens: defaultContextTokens });
  const plan = planner.tryPlan(machine.availableBytes);
  const name = active === undefined ? `${billions}B` : `${billions}B, ${active}B a token`;
  const minimumBudgetBytes = plan === undefined ? planner.minimumBudgetBytes() : 0;
  const known = { name, weightBytes: synth.tensorBytes, minimumBudgetBytes };
  if (plan === undefined) return known;
  return { ...known, strategy: plan.strategy, secondsPerToken: plan.prediction.secondsPerToken };
}

const newest = (): LocalModel[] => localModels().sort((a, b) => b.modifiedMs - a.modifiedMs);

/** Written now, by the model of some megabytes that every package holds. */
async function bundledLine(signal: AbortSignal): Promise<string | undefined> {
  if (addonStatus().state !== "loaded") return undefined; // plain TypeScript would take its time
  try {
    const model = await load(modelFile(undefined), { contextTokens: 256, signal });
    try {
      const begun = beginnings[Math.floor(Math.random() * beginnings.length)]!;
      let text = begun;
      for await (const piece of model.generate(begun, { maxTokens: lineTokens, signal })) text += piece;
      return asLine(text);
    } finally {
      await model.close();
    }
  } catch {
    return undefined; // a greeting without it is one
  }
}

/** Up to the last pause, where there is one behind the first words. */
export function asLine(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  const pause = /^.{24,}[.,;:!?]/.exec(line)?.[0];
  return pause === undefined ? `${line} ...` : pause.replace(/[,;:]$/, " ...");
}
