/** Plans for machines one does not sit at: what stands above a plan's table, and many models in one table. */
import { describeModel } from "../../models/index.js";
import { presets } from "../../synth/presets.js";
import { layOutSynth, synthCheckpoint } from "../../synth/synth.js";
import { type AcceleratorBound, acceleratorBound } from "../../weights/accelerator-bound.js";
import { type Plan, Planner, type PlanOptions } from "../../weights/plan.js";
import type { HardwareProfile } from "../../weights/profiles.js";
import { formatBytes, formatRate, prose, standardOutput } from "../terminal/output.js";
import { type Cell, type Column, type TableOptions, table } from "../terminal/table.js";
import { wrap } from "../terminal/wrap.js";
import { strategyColours } from "./strategy-colours.js";

/** Models people ask about, from small to large. */
const shown = [
  ..."llama-3-8b qwen3-30b-a3b qwen2.5-32b qwen3.6-35b-a3b llama-70b command-a glm-4.5-air gpt-oss-120b".split(" "),
  ..."mistral-large llama-4-scout minimax-m2 deepseek-v4-flash deepseek-v3 kimi-k2".split(" "),
].filter((name) => presets[name] !== undefined);

/** Undefined without an accelerator that could hold weights. */
function boundOf(
  { accelerator, machine }: HardwareProfile,
  planner: Planner,
  plan: Plan,
): AcceleratorBound | undefined {
  if (accelerator === undefined || accelerator.tooSmall !== undefined) return undefined;
  const { pinned, expertSlots, ring, kv } = plan.bytes;
  const fixed = plan.totalBytes - pinned - expertSlots - ring - kv;
  const memoryForWeights = Math.max(0, plan.budgetBytes - fixed);
  return acceleratorBound({ model: planner.model, machine, accelerator, kvBytes: kv, memoryForWeights });
}

export function profileDocument(profile: HardwareProfile, planner?: Planner, plan?: Plan) {
  const { word, description, accelerator, notes } = profile;
  const bound = planner && plan && boundOf(profile, planner, plan);
  return { word, description, accelerator, arithmeticOnly: accelerator !== undefined, notes, ...(bound && { bound }) };
}

/** The lines above the table of a plan. */
export function profileHead(profile: HardwareProfile, planner: Planner, plan: Plan): string {
  const { description, accelerator, notes } = profile;
  const lines = [`on paper: ${description}`, ...notes.map((note) => `  ${note}`)];
  const bound = boundOf(profile, planner, plan);
  if (accelerator !== undefined && bound !== undefined)
    lines.push(
      `  with the ${accelerator.name}, arithmetic only (hundredweight computes on the processor today): ` +
        `${formatBytes(bound.acceleratorBytes)} of weights on it, ${formatBytes(bound.memoryBytes)} in memory` +
        `${bound.diskBytes > 0 ? `, ${formatBytes(bound.diskBytes)} on the disk` : ""}`,
      `    at best ${formatRate(bound.secondsPerToken)}; ` +
        `copying the part in memory over the bus, as some programs do: ${formatRate(bound.secondsCopied)}`,
      "  the table below is without it:",
    );
  return `${prose(lines.join("\n"))}\n\n`;
}

export interface ProfileRow {
  readonly model: string;
  readonly quant: string;
  readonly weightBytes: number;
  /** Absent: it does not run in the memory. */
  readonly strategy?: Plan["strategy"];
  readonly secondsPerToken?: number;
  readonly minimumBudgetBytes?: number;
  /** At best, with the accelerator. */
  readonly boundSecondsPerToken?: number;
}

export function profileRows(profile: HardwareProfile, options: PlanOptions): ProfileRow[] {
  return shown.map((model): ProfileRow => {
    const synth = layOutSynth(model, presets[model]!);
    const planner = new Planner(describeModel(synthCheckpoint(synth)), profile.machine, options);
    const plan = planner.tryPlan(options.budgetBytes ?? profile.machine.availableBytes);
    const named = { model, quant: synth.quant, weightBytes: synth.tensorBytes };
    if (plan === undefined) return { ...named, minimumBudgetBytes: planner.minimumBudgetBytes() };
    const bound = boundOf(profile, planner, plan);
    const { strategy, prediction } = plan;
    const { secondsPerToken } = prediction;
    return { ...named, strategy, secondsPerToken, ...(bound && { boundSecondsPerToken: bound.secondsPerToken }) };
  });
}

export function profileTable(
  { description, accelerator, notes }: HardwareProfile,
  rows: readonly ProfileRow[],
  shape: TableOptions = standardOutput(),
): string {
  const withBound = rows.some(({ boundSecondsPerToken }) => boundSecondsPerToken !== undefined);
  const columns: Column[] = [
    { title: "model", cut: "end" },
    { title: "mix" },
    { title: "weights", align: "right" },
    {},
    { title: "at best" },
    ...(withBound ? [{ title: accelerator!.name }] : []),
  ];
  const cells = rows.map((row): Cell[] => [
    row.model,
    row.quant,
    formatBytes(row.weightBytes),
    row.strategy === undefined
      ? { text: "does not fit", colour: "red" }
      : { text: row.strategy, colour: strategyColours[row.strategy] },
    row.secondsPerToken === undefined
      ? `needs ${formatBytes(row.minimumBudgetBytes ?? 0)}`
      : formatRate(row.secondsPerToken),
    ...(withBound ? [row.boundSecondsPerToken === undefined ? "" : formatRate(row.boundSecondsPerToken)] : []),
  ]);
  const above = [`on paper: ${description}`, ...notes.map((note) => `  ${note}`)];
  if (withBound) above.push("  the last column is arithmetic only: hundredweight computes on the processor today");
  return `${wrap(above.join("\n"), shape.edge)}\n\n${table(columns, cells, shape)}`;
}
