/** Files as they would be: exact bytes, and how they would run on a machine. */
import type { PlannedTensor, QuantizePlan } from "../../compress/quantize-model.js";
import { blocksBytes, type Checkpoint, planGguf, type TensorInfo } from "../../formats/index.js";
import { describeModel } from "../../models/index.js";
import type { MachineProfile } from "../../weights/machine.js";
import { type Plan, Planner } from "../../weights/plan.js";
import type { Choice } from "./candidates.js";
import { type Assignment, solve } from "./solve.js";

/** Bytes of the files of a plan. */
export function fileBytes({ files }: QuantizePlan): number {
  const source = ({ tensor, to }: PlannedTensor) => ({ name: tensor.name, dtype: to, shape: tensor.shape, data: [] });
  return files.reduce((sum, { metadata, tensors }) => {
    const { head, totalBytes } = planGguf("the result", { metadata, tensors: tensors.map(source) });
    return sum + head.length + totalBytes;
  }, 0);
}

/** The model with other types, of which nothing can be read. */
export function futureModel(checkpoint: Checkpoint, choices: readonly Choice[], assignment: Assignment): Checkpoint {
  const tensors = new Map<string, TensorInfo>(checkpoint.tensors);
  let offset = 0;
  for (const [i, { planned }] of choices.entries()) {
    const { dtype, bytes } = assignment[i]!;
    const [cols = 1, ...rest] = planned.tensor.shape;
    const own = rest.reduce((product, size) => product * size, blocksBytes(dtype, cols)!);
    const extent = { file: checkpoint.path, offset, bytes: own };
    offset += bytes;
    tensors.set(planned.tensor.name, { ...planned.tensor, layout: dtype, planes: { blocks: [extent] } });
  }
  return { ...checkpoint, files: [], tensors };
}

/** The wish of `--fits-memory`: all of it in memory, or so many seconds a token. */
export interface Fit {
  readonly memoryBytes: number;
  readonly secondsPerToken?: number;
  readonly machine: MachineProfile;
}

export function planOf(model: Checkpoint, { memoryBytes, machine }: Fit): Plan | undefined {
  return new Planner(describeModel(model), machine).tryPlan(memoryBytes);
}

export function isFit(plan: Plan | undefined, { secondsPerToken }: Fit): boolean {
  if (plan === undefined) return false;
  return secondsPerToken === undefined
    ? plan.strategy === "resident"
    : plan.prediction.secondsPerToken <= secondsPerToken;
}

/** Halvings of the range between the smallest and the largest assignment. */
const steps = 14;

/**
 * The most bytes of tensors with which a model still fits.
 * @param solved the assignment of so many bytes; undefined below the smallest
 * @returns undefined where not even the smallest does
 */
export function mostBytes(
  range: { readonly least: number; readonly most: number },
  fits: (bytes: number) => boolean,
): number | undefined {
  if (fits(range.most)) return range.most;
  if (!fits(range.least)) return undefined;
  let { least: low, most: high } = range;
  for (let step = 0; step < steps; step++) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Whether a model with these candidates would run as it was asked for. */
export const fitsWith =
  (checkpoint: Checkpoint, choices: readonly Choice[], fit: Fit) =>
  (assignment: Assignment): boolean =>
    isFit(planOf(futureModel(checkpoint, choices, assignment), fit), fit);

/** The most bytes of tensors with which a model fits, all errors at one price. @returns undefined where none do */
export function fittingBytes(checkpoint: Checkpoint, choices: readonly Choice[], fit: Fit): number | undefined {
  const fits = fitsWith(checkpoint, choices, fit);
  const weights = choices.map(() => 1);
  const sum = (at: 0 | -1): number => choices.reduce((bytes, { candidates }) => bytes + candidates.at(at)!.bytes, 0);
  return mostBytes({ least: sum(0), most: sum(-1) }, (bytes) => {
    const assignment = solve(choices, weights, bytes);
    return assignment !== undefined && fits(assignment);
  });
}

/** The share of a size that did not fit by which the next attempt is smaller. */
const less = 0.005;

/**
 * The types of least damage that fit: what a plan keeps in memory depends on the tensors, not on their sum alone.
 * @returns undefined where none do
 */
export function solveFitting(
  choices: readonly Choice[],
  weights: readonly number[],
  bytes: number,
  fits: (assignment: Assignment) => boolean,
): Assignment | undefined {
  for (let most = bytes; ; most *= 1 - less) {
    const assignment = solve(choices, weights, most);
    if (assignment === undefined || fits(assignment)) return assignment;
  }
}
