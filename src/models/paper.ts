/** A model on paper: its declaration read from metadata alone, and the tensors that a file of it has to hold. */
import { type Checkpoint, dtypeByName, PackedStrings, TypedMetadata, type TypedValue } from "../formats/index.js";
import type { Declaration, ModelSpec, TinyMetadata } from "./flow/architecture.js";
import { MetadataReader } from "./flow/metadata-reader.js";
import { layerPrefix, localName, storedTensors, type TensorDeclaration } from "./flow/tensors.js";
import { record } from "./record.js";
import { findArchitecture } from "./registry.js";

/** Keys that GGUF stores as floats even when the value is whole; loaders check the type. */
const floatKey =
  /(epsilon|freq_base(_swa)?|factor|scale|softcapping|beta_(fast|slow)|multiplier|alpha|lower_bound|clamp_(sh)?exp)$/;

/** Hyper-parameters under their keys in a file; those that begin with a slash stand without the architecture's name. */
export function archMetadata(arch: string, values: TinyMetadata): [string, TypedValue][] {
  return Object.entries(values).map(([key, value]) => [
    key.startsWith("/") ? key.slice(1) : `${arch}.${key}`,
    typed(key, value),
  ]);
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
      return listed(key, value);
  }
}

function listed(key: string, value: readonly (number | string | bigint)[]): TypedValue {
  if (typeof value[0] === "bigint")
    return { type: "array", element: "u64", value: BigUint64Array.from(value as readonly bigint[]) };
  if (typeof value[0] === "string")
    return { type: "array", element: "string", value: PackedStrings.from(value as readonly string[]) };
  const numbers = value as readonly number[];
  return floatKey.test(key) || !numbers.every(Number.isInteger)
    ? { type: "array", element: "f32", value: Float32Array.from(numbers) }
    : { type: "array", element: "u32", value: Uint32Array.from(numbers) };
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
    /** Further tensors of the first layer that the configuration asks for. */
    readonly optionalTensors?: readonly string[] | undefined;
    /** Shapes of further tensors that the configuration looks at. */
    readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  },
  declaration: Declaration = findArchitecture(arch),
): ModelSpec {
  const dtype = dtypeByName("F32")!;
  const { dim, vocab, optionalTensors = [], shapes = {} } = embedding;
  // The declaration reads the vocabulary off the embedding; whether there are optional tensors, off the first layer.
  const inFirst = (name: string) => (name.startsWith("blk.") ? name : layerPrefix(0) + name);
  const optional = optionalTensors.map((name): [string, number[]] => [inFirst(name), [dim, vocab]]);
  const shaped = { "token_embd.weight": [dim, vocab], ...Object.fromEntries(optional), ...shapes };
  const tensors = Object.entries(shaped).map(([name, shape]) => {
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

/**
 * Every tensor a file of the model holds, in the order a pass uses them; of the optional ones those that are named, by
 * a local name in every layer, by a full one in one.
 */
export function paperTensors(spec: ModelSpec, tied: boolean, optional: readonly string[] = []): TensorDeclaration[] {
  const has = (name: string): boolean =>
    name === "output.weight" ? !tied : optional.includes(localName(name)) || optional.includes(name);
  const found = new Map<string, TensorDeclaration>();
  for (const program of ["trunk", ...Object.keys(spec.programs)])
    for (const tensor of record(spec, { format: "gguf", has }, program).tensors.flatMap(storedTensors))
      if (!found.has(tensor.name)) found.set(tensor.name, tensor);
  return [...found.values()];
}
