/** A model on paper: its declaration read from metadata alone, and the tensors that a file of it has to hold. */
import { type Checkpoint, dtypeByName, PackedStrings, TypedMetadata, type TypedValue } from "../formats/index.js";
import type { Declaration, ModelSpec, TinyMetadata } from "./flow/architecture.js";
import { MetadataReader } from "./flow/metadata-reader.js";
import { localName, storedTensors, type TensorDeclaration } from "./flow/tensors.js";
import { record } from "./record.js";
import { findArchitecture } from "./registry.js";

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
      return typeof value[0] === "string"
        ? { type: "array", element: "string", value: PackedStrings.from(value as readonly string[]) }
        : { type: "array", element: "u32", value: Uint32Array.from(value as readonly number[]) };
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
  embedding: {
    readonly dim: number;
    readonly vocab: number;
    /** Shapes of further tensors that the configuration looks at. */
    readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  },
  declaration: Declaration = findArchitecture(arch),
): ModelSpec {
  const dtype = dtypeByName("F32")!;
  const { dim, vocab, shapes = {} } = embedding;
  // The declaration reads the vocabulary off the embedding.
  const tensors = Object.entries({ "token_embd.weight": [dim, vocab], ...shapes }).map(([name, shape]) => {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    return [name, { name, layout: dtype, shape, planes: { blocks: [{ file: where, offset: 0, bytes }] } }] as const;
  });
  const checkpoint: Checkpoint = {
    path: where,
    format: "gguf",
    files: [],
    metadata: new TypedMetadata(new Map(metadata), where),
    tensors: new Map(tensors),
    tensorBytes: 0,
  };
  const reader = new MetadataReader(checkpoint, arch);
  const spec = declaration.declare(reader);
  reader.check();
  return spec;
}

/** Every tensor a file of the model holds, in the order a pass uses them; of the optional ones those that are named, by their local names. */
export function paperTensors(spec: ModelSpec, tied: boolean, optional: readonly string[] = []): TensorDeclaration[] {
  const has = (name: string): boolean => (name === "output.weight" ? !tied : optional.includes(localName(name)));
  const found = new Map<string, TensorDeclaration>();
  for (const program of ["trunk", ...Object.keys(spec.programs)])
    for (const tensor of record(spec, { format: "gguf", has }, program).tensors.flatMap(storedTensors))
      if (!found.has(tensor.name)) found.set(tensor.name, tensor);
  return [...found.values()];
}
