/** Pruned matrices: torch.nn.utils.prune's values and masks, compressed-tensors' sparse forms. */
import { type FoldedMask, type FoldedValues, maskedLayout, twoOfFourLayout } from "../../formats/folded-layouts.js";
import type { StoredTensor } from "../stored/stored.js";
import { invalid, type Module, partsOf, unsupported, type WeightReader, weightOf } from "./module-weight.js";

const plain: ReadonlySet<string> = new Set<FoldedValues>(["F32", "F16", "BF16"]);
const masks: ReadonlySet<string> = new Set<FoldedMask>(["F32", "F16", "BF16", "BOOL", "U8"]);

/** `weight_orig` and `weight_mask`: what a checkpoint holds where prune.remove was not called. */
const masked: WeightReader = (module) => {
  if (!module.parts.has("weight_orig")) return undefined;
  const [values, mask] = partsOf(module, "weight_orig", "weight_mask") as [StoredTensor, StoredTensor];
  if (values.shape.join() !== mask.shape.join())
    throw invalid(module, `is [${values.shape.join(", ")}], its mask [${mask.shape.join(", ")}]`);
  if (!masks.has(mask.dtype)) throw unsupported(module, `has a mask of the type ${mask.dtype}`);
  const layout = maskedLayout(valuesOf(module, values), mask.dtype as FoldedMask);
  const [rows, cols] = matrixOf(module, values);
  return weightOf(module, layout, [cols, rows], [values, mask]);
};

const sparse: WeightReader = (module) => {
  if (module.parts.has("weight.compressed"))
    throw unsupported(module, "is kept as 'sparse-bitmask', rows of different lengths");
  if (!module.parts.has("compressed")) return undefined;
  const [values, bits] = partsOf(module, "compressed", "bitmask") as [StoredTensor, StoredTensor];
  const [rows, half] = matrixOf(module, values);
  return weightOf(module, twoOfFourLayout(valuesOf(module, values)), [2 * half, rows], [values, bits]);
};

function valuesOf(module: Module, { dtype }: StoredTensor): FoldedValues {
  if (!plain.has(dtype)) throw unsupported(module, `is pruned and of the type ${dtype}`);
  return dtype as FoldedValues;
}

function matrixOf(module: Module, { name, shape }: StoredTensor): [rows: number, cols: number] {
  if (shape.length !== 2) throw invalid(module, `: '${name}' has ${shape.length} dimensions, not two`);
  return [shape[0]!, shape[1]!];
}

export const prunedReaders: readonly WeightReader[] = [masked, sparse];
