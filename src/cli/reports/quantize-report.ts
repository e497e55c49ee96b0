/** The report of `quantize --dry-run`: types, exact sizes, and how the result would run here. */
import type { PlannedTensor, QuantizePlan } from "../../compress/quantize-model.js";
import { asHundredweightError } from "../../errors.js";
import type { Checkpoint, GgufCheckpoint, TensorInfo } from "../../formats/index.js";
import { describeModel } from "../../models/index.js";
import { type Plan, Planner } from "../../weights/plan.js";
import { knownMachine } from "../../weights/probe.js";
import { formatBytes } from "../terminal/output.js";

/** The file as it would be, of which nothing can be read. */
function futureCheckpoint(checkpoint: GgufCheckpoint, plan: QuantizePlan): Checkpoint {
  let offset = 0;
  const tensors = plan.tensors.map(({ tensor, to, bytes }): [string, TensorInfo] => {
    const extent = { file: checkpoint.path, offset, bytes };
    offset += Math.ceil(bytes / 32) * 32;
    return [tensor.name, { ...tensor, layout: to, planes: { blocks: [extent] } }];
  });
  return { ...checkpoint, files: [], tensors: new Map(tensors), tensorBytes: plan.bytes };
}

interface Outlook {
  readonly plan?: Plan | undefined;
  readonly minimumBudgetBytes?: number;
  /** Why there is none. */
  readonly reason?: string;
}

function outlook(checkpoint: GgufCheckpoint, plan: QuantizePlan): Outlook {
  try {
    const planner = new Planner(describeModel(futureCheckpoint(checkpoint, plan)), knownMachine().profile);
    return { plan: planner.tryPlan(planner.machine.availableBytes), minimumBudgetBytes: planner.minimumBudgetBytes() };
  } catch (error) {
    return { reason: asHundredweightError(error).message };
  }
}

function typesOf(tensors: readonly PlannedTensor[]): { type: string; tensors: number; bytes: number }[] {
  const found = new Map<string, { type: string; tensors: number; bytes: number }>();
  for (const { to, bytes } of tensors) {
    const entry = found.get(to.name) ?? { type: to.name, tensors: 0, bytes: 0 };
    entry.tensors++;
    entry.bytes += bytes;
    found.set(to.name, entry);
  }
  return [...found.values()].sort((a, b) => b.bytes - a.bytes);
}

export function planDocumentOf(checkpoint: GgufCheckpoint, plan: QuantizePlan) {
  const { plan: run, minimumBudgetBytes, reason } = outlook(checkpoint, plan);
  return {
    sourceBytes: plan.sourceBytes,
    bytes: plan.bytes,
    bitsPerValue: (8 * plan.bytes) / plan.values,
    types: typesOf(plan.tensors),
    tensors: plan.tensors.map(({ tensor, from, to, unfit, bytes, importance }) => ({
      name: tensor.name,
      shape: tensor.shape,
      from: from.name,
      to: to.name,
      ...(unfit && { insteadOf: unfit.name }),
      bytes,
      weighed: importance !== undefined,
    })),
    lacking: plan.lacking,
    unweighed: plan.unweighed,
    outlook: {
      ...(reason !== undefined && { reason }),
      ...(minimumBudgetBytes !== undefined && { minimumBudgetBytes }),
      ...(run && {
        strategy: run.strategy,
        predictedSecondsPerToken: run.prediction.secondsPerToken,
        streamedBytesPerPass: run.prediction.streamedBytesPerPass,
      }),
    },
  };
}

export function planTextOf(checkpoint: GgufCheckpoint, plan: QuantizePlan): string {
  const lines = plan.tensors.map(({ tensor, from, to, unfit, bytes }) => {
    const change = from === to ? from.name : `${from.name} -> ${to.name}`;
    const instead = unfit === undefined ? "" : `   instead of ${unfit.name}: rows of ${tensor.shape[0]} values`;
    return `${tensor.name.padEnd(36)} ${change.padEnd(18)} ${formatBytes(bytes).padStart(10)}${instead}`;
  });
  for (const { type, tensors, bytes } of typesOf(plan.tensors))
    lines.push(`${type.padEnd(8)} ${String(tensors).padStart(5)} tensors ${formatBytes(bytes).padStart(10)}`);
  const bits = (8 * plan.bytes) / plan.values;
  lines.push(`${formatBytes(plan.sourceBytes)} become ${formatBytes(plan.bytes)}, ${bits.toFixed(2)} bits a value`);
  if (plan.lacking.length > 0) lines.push(`${plan.lacking.length} tensors need importance: give --imatrix FILE`);
  const { plan: run, minimumBudgetBytes, reason } = outlook(checkpoint, plan);
  if (reason !== undefined) lines.push(`how it would run here is not known: ${reason}`);
  else if (run === undefined) lines.push(`it does not run here; it takes ${formatBytes(minimumBudgetBytes!)} at least`);
  else
    lines.push(
      `here: ${run.strategy}, about ${run.prediction.secondsPerToken.toPrecision(2)} s a token, ` +
        `${formatBytes(run.prediction.streamedBytesPerPass)} from the disk for each`,
    );
  return `${lines.join("\n")}\n`;
}
