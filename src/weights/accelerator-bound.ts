/**
 * The least time of a token when an accelerator holds part of the weights: bytes over rates, nothing measured. Weights
 * in its memory are read there, those in the machine's memory by the processor, the rest comes from the disk.
 */
import type { MachineProfile } from "./machine.js";
import type { PlanModel } from "./plan-model.js";
import type { Accelerator } from "./profiles.js";

export interface AcceleratorBound {
  /** Weights that lie in each memory. */
  readonly acceleratorBytes: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** The part of those that a token uses. */
  readonly usedBytes: number;
  readonly secondsPerToken: number;
  /** The same when weights of the machine's memory were copied over the bus at every token. */
  readonly secondsCopied: number;
}

/** Taken of the accelerator's memory by drivers, buffers and activations. */
export const acceleratorKeptBytes = 1.5 * 2 ** 30;

export interface BoundInput {
  readonly model: Pick<PlanModel, "trunkBytes" | "expertBytes" | "expertLayers" | "topK">;
  readonly machine: MachineProfile;
  readonly accelerator: Accelerator;
  /** Lies beside the weights it belongs to. */
  readonly kvBytes: number;
  /** The machine's memory that is left for weights. */
  readonly memoryForWeights: number;
}

/** @source systems' formula: the sum over devices of used bytes over bandwidth; reads from the disk hide behind it */
export function acceleratorBound(input: BoundInput): AcceleratorBound {
  const { model, machine, accelerator, kvBytes, memoryForWeights } = input;
  const chosen = model.expertLayers.reduce((sum, l) => sum + Math.min(model.topK, l.experts) * l.bytesPerExpert, 0);
  const room = Math.max(0, accelerator.memoryBytes - acceleratorKeptBytes - kvBytes);
  // The trunk is used by every token, an expert by few.
  const place = (bytes: number, left: readonly [number, number]): [number, number, number] => {
    const there = Math.min(bytes, left[0]);
    const here = Math.min(bytes - there, left[1]);
    return [there, here, bytes - there - here];
  };
  const trunk = place(model.trunkBytes, [room, memoryForWeights]);
  const experts = place(model.expertBytes, [room - trunk[0], memoryForWeights - trunk[1]]);
  const share = model.expertBytes === 0 ? 0 : chosen / model.expertBytes;
  const used = trunk.map((bytes, i) => bytes + share * experts[i]!) as [number, number, number];
  const onAccelerator = used[0] === 0 ? 0 : used[0] / accelerator.memoryBytesPerSecond;
  const computed = onAccelerator + used[1] / machine.memoryReadBytesPerSecond;
  const copied = onAccelerator + used[1] / accelerator.busBytesPerSecond;
  // Which experts are missing is known only when they are wanted.
  const [, , trunkRead] = trunk;
  const late = (share * experts[2]) / machine.diskReadBytesPerSecond;
  const seconds = (work: number): number => Math.max(trunkRead / machine.diskReadBytesPerSecond, work) + late;
  return {
    acceleratorBytes: trunk[0] + experts[0],
    memoryBytes: trunk[1] + experts[1],
    diskBytes: trunk[2] + experts[2],
    usedBytes: used[0] + used[1] + used[2],
    secondsPerToken: seconds(computed),
    secondsCopied: seconds(copied),
  };
}
