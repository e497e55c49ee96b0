/**
 * Weights that were quantized before they were stored: which tensors of a module are its values, scales and offsets,
 * and which layout they are. What a folder says (`quantization_config`) is held against the shapes of its tensors.
 * Files that ask for quantized activations run with their weights only.
 */
import type { JsonObject } from "../../formats/json-reader.js";
import {
  awqLayout,
  fp8Layout,
  gptqLayout,
  int8Layout,
  llmInt8Layout,
  mxfp4Layout,
  packedLayout,
} from "../../formats/plane-layouts.js";
import type { StoredTensor } from "../stored/stored.js";
import { bnb4Weight } from "./bnb-weights.js";
import {
  invalid,
  type Module,
  partsOf,
  smallTensor,
  unsupported,
  type WeightReader,
  weightOf,
} from "./module-weight.js";

/** The index of a matrix of 2^20 inputs. */
const limits = { indexBytes: 4 * 2 ** 20 } as const;

const scaleTypes: Readonly<Record<string, "f32" | "f16" | "bf16">> = { F32: "f32", F16: "f16", BF16: "bf16" };

/** @throws FORMAT_UNSUPPORTED */
function scalesOf(module: Module, tensor: StoredTensor): "f32" | "f16" | "bf16" {
  const type = scaleTypes[tensor.dtype];
  if (type === undefined) throw unsupported(module, `has scales of the type ${tensor.dtype}`);
  return type;
}

const numberOf = (config: JsonObject | undefined, ...keys: string[]): number | undefined => {
  for (const key of keys) if (typeof config?.[key] === "number") return config[key];
  return undefined;
};

const textOf = (config: JsonObject | undefined, key: string): string | undefined =>
  typeof config?.[key] === "string" ? config[key] : undefined;

const twoDims = (module: Module, { name, shape }: StoredTensor): [number, number] => {
  if (shape.length !== 2) throw invalid(module, `: '${name}' has ${shape.length} dimensions, not two`);
  return [shape[0]!, shape[1]!];
};

/** GPTQ and AWQ: `qweight`, `qzeros`, `scales`, and `g_idx` of GPTQ. */
const groupedIntegers: WeightReader = (module) => {
  if (!module.parts.has("qweight")) return undefined;
  const [words, zeros, scales] = partsOf(module, "qweight", "qzeros", "scales") as [
    StoredTensor,
    StoredTensor,
    StoredTensor,
  ];
  const config = module.quantization;
  const method = textOf(config, "quant_method") ?? textOf(config, "method") ?? "gptq";
  const [groups, rows] = twoDims(module, scales);
  const [tall, wide] = twoDims(module, words);
  if (method === "awq") {
    const version = (textOf(config, "version") ?? "gemm").toLowerCase();
    if (version !== "gemm" || rows !== 8 * wide)
      throw unsupported(module, `is AWQ's '${version}' version of its bytes`);
    const group = groupOf(module, tall, groups);
    return weightOf(module, awqLayout(group, scalesOf(module, scales)), [tall, rows], [words, scales, zeros]);
  }
  const bits =
    numberOf(config, "bits", "w_bit") ?? (32 * tall) / Math.max(1, module.parts.get("g_idx")?.shape[0] ?? 8 * tall);
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8) throw unsupported(module, `has values of ${bits} bits`);
  const format = textOf(config, "checkpoint_format") ?? textOf(config, "format") ?? "gptq";
  if (format !== "gptq" && format !== "gptq_v2") throw unsupported(module, `is in the format '${format}'`);
  if (wide !== rows) throw invalid(module, `has ${wide} rows of values, and ${rows} of scales`);
  const cols = (32 * tall) / bits;
  const index = module.parts.get("g_idx");
  const group = groupOf(module, cols, groups);
  const actOrder = index !== undefined && group > 0 && isScattered(module, index, cols, group);
  const layout = gptqLayout({
    bits,
    group,
    format: format === "gptq_v2" ? 2 : 1,
    actOrder,
    scales: scalesOf(module, scales),
  });
  return weightOf(module, layout, [cols, rows], [words, scales, zeros, ...(actOrder ? [index] : [])]);
};

/** Whether groups are other than the inputs in their order, whatever the folder says of its order of quantizing. */
function isScattered(module: Module, index: StoredTensor, cols: number, group: number): boolean {
  const bytes = smallTensor(module, index, limits.indexBytes);
  if (bytes.length !== 4 * cols) throw invalid(module, `has an index of ${bytes.length / 4} inputs, not ${cols}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let i = 0; i < cols; i++) if (view.getUint32(4 * i, true) !== Math.floor(i / group)) return true;
  return false;
}

/** Inputs of a group; 0: one for all. */
function groupOf(module: Module, cols: number, groups: number): number {
  if (groups === 1) return 0;
  if (cols % groups !== 0)
    throw unsupported(module, `has ${groups} groups of ${cols} inputs, the last of them shorter`);
  return cols / groups;
}

/** compressed-tensors' pack-quantized. */
const packedIntegers: WeightReader = (module) => {
  const words = module.parts.get("weight_packed");
  if (words === undefined) return undefined;
  if (words.dtype !== "I32") throw unsupported(module, `is packed in ${words.dtype}`);
  const [scales] = partsOf(module, "weight_scale") as [StoredTensor];
  const [rows, groups] = twoDims(module, scales);
  const [, wide] = twoDims(module, words);
  const weights = groupConfig(module);
  const bits = words.bits ?? numberOf(weights, "num_bits") ?? 4;
  if (bits !== 4 && bits !== 8) throw unsupported(module, `has values of ${bits} bits`);
  const cols = (wide * 32) / bits;
  const zeros = module.parts.get("weight_zero_point");
  const index = module.parts.get("weight_g_idx");
  // ONNX's lie along the groups of a row.
  const ragged = (groups * bits) % 8 !== 0;
  const offsets = words.bits === undefined ? {} : ({ offsets: ragged ? "of groups, ragged" : "of groups" } as const);
  const layout = packedLayout({
    bits,
    ...offsets,
    group: groupOf(module, cols, groups),
    symmetric: zeros === undefined,
    scales: scalesOf(module, scales),
    actOrder: index !== undefined,
  });
  return weightOf(module, layout, [cols, rows], [words, scales, ...(zeros ? [zeros] : []), ...(index ? [index] : [])]);
};

/** The configuration of weights in compressed-tensors: of the only group there is, or of the first. */
function groupConfig(module: Module): JsonObject | undefined {
  const groups = module.quantization?.config_groups;
  if (typeof groups !== "object" || groups === null) return undefined;
  for (const group of Object.values(groups as JsonObject)) {
    const weights = (group as JsonObject | null)?.weights;
    if (typeof weights === "object" && weights !== null) return weights as JsonObject;
  }
  return undefined;
}

/** Bytes with scales: FP8 of any arrangement, int8 by rows. */
const scaledBytes: WeightReader = (module) => {
  const values = module.parts.get("weight");
  const type = values?.dtype;
  if (values === undefined || (type !== "F8_E4M3" && type !== "F8_E5M2" && type !== "I8")) return undefined;
  const [rows, cols] = twoDims(module, values);
  const scb = module.parts.get("SCB");
  if (type === "I8" && scb !== undefined) return weightOf(module, llmInt8Layout, [cols, rows], [values, scb]);
  const scale =
    module.parts.get("weight_scale_inv") ?? module.parts.get("weight_scale") ?? module.parts.get("qscale_weight");
  if (scale === undefined) throw invalid(module, `is of ${type} and has no scales`);
  const scales = scalesOf(module, scale);
  const count = scale.shape.reduce((product, size) => product * size, 1);
  if (type === "I8") {
    if (count !== rows) throw unsupported(module, `has ${count} scales for ${rows} rows of int8`);
    return weightOf(module, int8Layout(scales), [cols, rows], [values, scale]);
  }
  const codes = type === "F8_E4M3" ? "e4m3" : "e5m2";
  const layout = fp8Layout({ codes, by: arrangement(module, scale, rows, cols, count), scales });
  return weightOf(module, layout, [cols, rows], [values, scale]);
};

function arrangement(
  module: Module,
  scale: StoredTensor,
  rows: number,
  cols: number,
  count: number,
): "tensor" | "row" | [number, number] {
  if (count === 1) return "tensor";
  if (count === rows && (scale.shape.length === 1 || scale.shape[1] === 1)) return "row";
  const [tall, wide] = twoDims(module, scale);
  const said = module.quantization?.weight_block_size ?? groupConfig(module)?.block_structure;
  const [high, long] = Array.isArray(said) && said.length === 2 ? (said as number[]) : [128, 128];
  if (Math.ceil(rows / high!) !== tall || Math.ceil(cols / long!) !== wide)
    throw invalid(
      module,
      `of ${rows} x ${cols} values has ${tall} x ${wide} scales, blocks of ${high} x ${long} have others`,
    );
  return [high!, long!];
}

/** gpt-oss: stacked experts, a block of 32 values in 16 bytes. */
const stackedMxfp4: WeightReader = (module) => {
  const blocks = module.parts.get("blocks");
  if (blocks === undefined) return undefined;
  const [scales] = partsOf(module, "scales") as [StoredTensor];
  const [experts, rows, count, bytes] = blocks.shape;
  if (blocks.shape.length !== 4 || bytes !== 16) throw invalid(module, `has blocks of [${blocks.shape.join(", ")}]`);
  return weightOf(module, mxfp4Layout, [32 * count!, rows!, experts!], [blocks, scales]);
};

export const quantizedReaders: readonly WeightReader[] = [
  groupedIntegers,
  packedIntegers,
  bnb4Weight,
  scaledBytes,
  stackedMxfp4,
];
