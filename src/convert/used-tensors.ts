/** The tensors of a source that its model uses, each once, in the order of their use. */
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import { storedTensors } from "../models/flow/tensors.js";
import type { ModelDescription } from "../models/index.js";

export interface UsedTensor {
  readonly info: TensorInfo;
  /** Kept in F32: norms, biases, and matrices where rounding would be seen, such as a router's. */
  readonly vector: boolean;
  /** As a GGUF file has it. */
  readonly shape: readonly number[];
  /** The tensors of the source where it is made of rows of others. */
  readonly of?: readonly TensorInfo[];
}

/**
 * Those of the trunk, then those of blocks that guess further tokens. Experts whose two first matrices lie as one get
 * them apart: not every family in llama.cpp reads the fused form.
 */
export function usedTensors({ tensors, format }: Checkpoint, description: ModelDescription): UsedTensor[] {
  const found = new Map<string, UsedTensor>();
  const programs = [description, ...description.programs.values()];
  for (const declared of programs.flatMap((program) => program.tensors)) {
    const { role, made, info, shape, kind } = declared;
    if (role === "expert" && made !== undefined && kind === "matrix" && format !== "gguf") {
      const of = storedTensors(declared).map(({ name }) => tensors.get(name)!);
      found.set(info.name, { info, vector: false, shape, of });
      continue;
    }
    for (const { name, kind, floor, shape, ids } of storedTensors(declared)) {
      const info = tensors.get(name);
      if (info === undefined || found.has(name)) continue;
      const plain = info.transposed === undefined && ids === undefined;
      const vector = kind === "vector" || (floor === "f32" && plain);
      found.set(name, { info, vector, shape: kind === "vector" ? shape : info.shape });
    }
  }
  return [...found.values()];
}
