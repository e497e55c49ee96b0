/** A model on paper: its declaration read from metadata alone, and the tensors that a file of it has to hold. */
import { type Checkpoint, dtypeByName, TypedMetadata, type TypedValue } from "../formats/index.js";
import { branchTensors, layerPrefix, modelTensors } from "./describe.js";
import { MetadataReader } from "./metadata-reader.js";
import { findArchitecture } from "./registry.js";
import type { ModelSpec, TensorSpec, TinyMetadata } from "./spec.js";

/** Keys that GGUF stores as floats even when the value is whole; loaders check the type. */
const floatKey = /(epsilon|freq_base|freq_base_swa|factor|scale|softcapping|beta_fast|beta_slow|multiplier)$/;

/** Hyper-parameters under their keys in a file. */
export function archMetadata(arch: string, values: TinyMetadata): [string, TypedValue][] {
  return Object.entries(values).map(([key, value]) => [`${arch}.${key}`, typed(key, value)]);
}

function typed(key: string, value: TinyMetadata[string]): TypedValue {
  switch (typeof value) {
    case "string":
      return { type: "string", value };
    case "boolean":
      return { type: "bool", value };
    case "number":
      return { type: floatKey.test(key) || !Number.isInteger(value) ? "f32" : "u32", value };
    default:
      return { type: "array", element: "u32", value: Uint32Array.from(value) };
  }
}

/**
 * The model that metadata declares. `where` begins the error messages.
 * @throws ARCHITECTURE_UNKNOWN, MODEL_INVALID
 */
export function declareOnPaper(
  where: string,
  arch: string,
  metadata: Iterable<readonly [string, TypedValue]>,
  embedding: { readonly dim: number; readonly vocab: number },
): ModelSpec {
  const dtype = dtypeByName("F32")!;
  const name = "token_embd.weight";
  const { dim, vocab } = embedding;
  const extent = { file: where, offset: 0, bytes: dim * vocab * 4 };
  const checkpoint: Checkpoint = {
    path: where,
    format: "gguf",
    files: [],
    metadata: new TypedMetadata(new Map(metadata), where),
    // The declaration reads the vocabulary off the embedding.
    tensors: new Map([[name, { name, layout: dtype, shape: [dim, vocab], planes: { blocks: [extent] } }]]),
    tensorBytes: 0,
  };
  const reader = new MetadataReader(checkpoint, arch);
  const spec = findArchitecture(arch).declare(reader);
  reader.check();
  return spec;
}

export interface PaperTensor {
  /** Full name in the file. */
  readonly name: string;
  /** -1 for tensors of the whole model. */
  readonly layer: number;
  readonly spec: TensorSpec;
}

/** Every tensor of the model in the order a pass uses them; of the optional ones those that are named. */
export function paperTensors(spec: ModelSpec, tied: boolean, optional: readonly string[] = []): PaperTensor[] {
  const found = new Map<string, PaperTensor>();
  const put = (tensor: TensorSpec, layer: number) => {
    const whole = layer < 0 || tensor.shared === true;
    const name = whole ? tensor.name : layerPrefix(layer) + tensor.name;
    if (found.has(name) || (tensor.optional && !optional.includes(tensor.name))) return;
    found.set(name, { name, layer: whole ? -1 : layer, spec: tensor });
  };
  const { before, after } = modelTensors(spec, tied);
  for (const tensor of before) put(tensor, -1);
  for (let i = 0; i < spec.config.layers; i++) {
    const { mixer, ffn } = spec.layer(i);
    for (const tensor of [mixer, ffn].flatMap((branch) => branchTensors(branch, spec.config.dim))) put(tensor, i);
  }
  for (const tensor of after) put(tensor, -1);
  return [...found.values()];
}
