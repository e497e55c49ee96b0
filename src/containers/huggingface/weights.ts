/**
 * The weights of a folder: the tensors of each module become a layout with planes. A quantized matrix is several
 * tensors (`qweight`, `scales`, `qzeros`); how those are one weight is said by a reader of the list below.
 */
import { dtypeByName } from "../../formats/dtypes.js";
import type { Layout } from "../../formats/layouts.js";
import type { StoredTensor } from "../stored/stored.js";
import type { ModuleWeight, WeightReader } from "./module-weight.js";
import { prunedReaders } from "./pruned-weights.js";
import { quantizedReaders } from "./quantized-weights.js";

/** The first that knows a module's form reads it. */
export const weightReaders: readonly WeightReader[] = [...quantizedReaders, ...prunedReaders];

/** Endings of tensors that are part of a module's weight, beside those of modules without quantization. */
const partNames =
  "weight|bias|qweight|qzeros|scales|g_idx|weight_packed|weight_scale|weight_scale_inv|weight_scale_2|" +
  "weight_zero_point|weight_g_idx|weight_shape|weight_global_scale|input_scale|input_global_scale|SCB|weight_format|" +
  "weight_orig|weight_mask|compressed|bitmask|row_offsets|shape";
const moduleName = new RegExp(`^(.+)\\.(weight\\.[^/]+|${partNames})$`);
/** compressed-tensors' sparse-bitmask keeps the ending of the weight. */
const sparseName = /^(.+)\.(weight\.(?:compressed|bitmask|row_offsets|shape))$/;
/** Stacked experts of gpt-oss have no module each. */
const stackName = /^(.+\.(?:gate_up_proj|down_proj))_(blocks|scales|bias)$/;

/** A tensor's name as that of its module and the rest. */
export function splitName(name: string): [module: string, part: string] {
  const [, module, part] = sparseName.exec(name) ?? moduleName.exec(name) ?? stackName.exec(name) ?? [];
  return module === undefined ? [name, ""] : [module, part!];
}

const unknown = new Map<string, Layout>();

/** The layout of one tensor's own type; those without kernels can be listed and copied. */
export function layoutOf({ dtype, bytes, shape }: StoredTensor): Layout {
  const known = dtypeByName(dtype);
  if (known !== undefined) return known;
  let made = unknown.get(dtype);
  if (made === undefined) {
    const cell =
      bytes /
      Math.max(
        1,
        shape.reduce((product, size) => product * size, 1),
      );
    made = { id: -1, name: dtype, order: "rows", planes: [{ name: "blocks", rows: 1, cols: 1, bytes: cell }] };
    unknown.set(dtype, made);
  }
  return made;
}

/** A tensor as it lies. */
export function plainWeight(tensor: StoredTensor): ModuleWeight {
  const layout = layoutOf(tensor);
  const { file, offset, bytes } = tensor;
  // Convolutions have a dimension of one between taps and columns.
  const dims = tensor.shape.length === 3 && tensor.shape[1] === 1 ? [tensor.shape[0]!, tensor.shape[2]!] : tensor.shape;
  const shape = dims.length === 0 ? [1] : dims.toReversed();
  const planes = { [layout.planes[0]!.name]: [{ file, offset, bytes }] };
  return { layout, shape, planes, ...(tensor.turned && { turned: true }) };
}
