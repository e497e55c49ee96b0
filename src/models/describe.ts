/** What a checkpoint holds, judged against its architecture's declaration: metadata only, no weight is touched. */
import { HundredweightError } from "../errors.js";
import { storedBytes } from "../formats/layouts.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import { MetadataReader, modelInvalid } from "./metadata-reader.js";
import { findArchitecture } from "./registry.js";
import type { BranchSpec, KvSpec, LayerSpec, ModelConfig, ModelSpec, Role, TensorSpec } from "./spec.js";

export interface ModelTensor {
  readonly name: string;
  readonly role: Role;
  /** -1 for tensors of the whole model. */
  readonly layer: number;
  readonly kind: TensorSpec["kind"];
  readonly info: TensorInfo;
}

export interface LayerDescription {
  readonly spec: LayerSpec;
  readonly kv: KvSpec;
}

export interface ModelDescription {
  readonly arch: string;
  readonly config: ModelConfig;
  readonly spec: ModelSpec;
  readonly layers: readonly LayerDescription[];
  /** Every tensor the model uses, in the order a pass uses them. */
  readonly tensors: readonly ModelTensor[];
  /** Names in the file that nothing uses. */
  readonly unusedTensors: readonly string[];
  /** The head is the token embedding. */
  readonly tied: boolean;
  readonly weightBytes: Readonly<Record<Role, number>>;
  readonly warnings: readonly string[];
}

/** Layer tensors carry this prefix in the file. */
export const layerPrefix = (layer: number): string => `blk.${layer}.`;

/** Norms around a branch, and the tensors of its part. */
export function branchTensors(branch: BranchSpec, dim: number): TensorSpec[] {
  const norm = (name: string): TensorSpec => ({ name: `${name}.weight`, shape: [dim], role: "norm", kind: "vector" });
  // A tied head favours the row's own token by sqrt(dim); branches must grow alike to have a say in a tiny model.
  const tiny = { mean: Math.sqrt(dim) / 5, deviation: Math.sqrt(dim) / 25 };
  return [
    norm(branch.norm),
    ...branch.part.tensors,
    ...(branch.postNorm === undefined ? [] : [{ ...norm(branch.postNorm), tiny }]),
  ];
}

/** Tensors of the whole model: before the layers, and after them. */
export function modelTensors(spec: ModelSpec, tied: boolean): { before: TensorSpec[]; after: TensorSpec[] } {
  const { dim, vocab } = spec.config;
  const table: TensorSpec = {
    name: "token_embd.weight",
    shape: [dim, vocab],
    // A tied embedding is read whole at every pass: it is placed and quantized as the head it is.
    role: tied ? "head" : "embedding",
    kind: "matrix",
    // A tied one makes the logits too, and those need a deviation of a few units.
    tiny: { mean: 0, deviation: tied ? 2.5 / Math.sqrt(dim) : 1 },
  };
  const after: TensorSpec[] = [{ name: "output_norm.weight", shape: [dim], role: "norm", kind: "vector" }];
  if (!tied)
    after.push({
      name: "output.weight",
      shape: [dim, vocab],
      role: "head",
      kind: "matrix",
      // Logits of deviation 3.3: a distribution far from uniform.
      tiny: { mean: 0, deviation: 3.3 / Math.sqrt(dim) },
    });
  if (spec.headBias) after.push({ name: "output.bias", shape: [vocab], role: "head", kind: "vector", optional: true });
  return { before: [table], after };
}

const oldExpertTensor = /^blk\.\d+\.ffn_(gate|up|down)\.\d+\.weight$/;

/**
 * Resolves and checks everything a model needs. All faults are reported in one error.
 * @throws ARCHITECTURE_UNKNOWN, MODEL_INVALID, FORMAT_UNSUPPORTED (tensor types without kernels, per-expert tensors),
 *   TOKENIZER_INVALID (more tokens than embedding rows)
 */
export function describeModel(checkpoint: Checkpoint): ModelDescription {
  const arch = checkpoint.metadata.string("general.architecture");
  if (arch === undefined) throw modelInvalid(checkpoint.path, ["metadata 'general.architecture' is missing"]);
  const declaration = findArchitecture(arch);
  const reader = new MetadataReader(checkpoint, arch);
  const spec = declaration.declare(reader);
  const { config } = spec;
  // Each layer has tensors, so a hostile count ends here and not in a loop of 10^9.
  if (config.layers > checkpoint.tensors.size)
    reader.fault(`'${arch}.block_count' is ${config.layers} but the file has only ${checkpoint.tensors.size} tensors`);
  const old = [...checkpoint.tensors.keys()].find((name) => oldExpertTensor.test(name));
  if (old !== undefined)
    throw modelInvalid(
      checkpoint.path,
      [`tensor '${old}': one tensor for each expert is an old layout; convert the model again to get stacked experts`],
      "FORMAT_UNSUPPORTED",
    );
  reader.check();

  const tied = !checkpoint.tensors.has("output.weight");
  const resolver = new Resolver(checkpoint);
  const { before, after } = modelTensors(spec, tied);
  for (const tensor of before) resolver.resolve(tensor, -1);
  const layers: LayerDescription[] = [];
  for (let i = 0; i < config.layers; i++) {
    const layer = spec.layer(i);
    for (const branch of [layer.mixer, layer.ffn])
      for (const tensor of branchTensors(branch, config.dim)) resolver.resolve(tensor, i);
    const kv = layer.mixer.part.kv;
    if (kv === undefined) throw new HundredweightError("INTERNAL", `${arch}: layer ${i} keeps no keys and values`);
    layers.push({ spec: layer, kv });
  }
  for (const tensor of after) resolver.resolve(tensor, -1);
  resolver.check();
  checkVocabulary(checkpoint, config.vocab);

  const unusedTensors = [...checkpoint.tensors.keys()].filter((name) => !resolver.found.has(name));
  const tensors = [...resolver.found.values()];
  const weightBytes = { norm: 0, router: 0, attention: 0, ffn: 0, expert: 0, embedding: 0, head: 0 };
  for (const tensor of tensors) weightBytes[tensor.role] += storedBytes(tensor.info.planes);
  const warnings =
    unusedTensors.length === 0
      ? []
      : [`${unusedTensors.length} tensors are not used: ${unusedTensors.slice(0, 8).join(", ")}`];
  return { arch, config, spec, layers, tensors, unusedTensors, tied, weightBytes, warnings };
}

class Resolver {
  readonly found = new Map<string, ModelTensor>();
  readonly #checkpoint: Checkpoint;
  readonly #faults: string[] = [];
  #unsupported = 0;

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
  }

  resolve(spec: TensorSpec, layer: number): void {
    const name = layer < 0 || spec.shared ? spec.name : layerPrefix(layer) + spec.name;
    if (this.found.has(name)) return;
    const info = this.#checkpoint.tensors.get(name);
    if (info === undefined) {
      if (!spec.optional) this.#faults.push(`tensor '${name}' is missing`);
      return;
    }
    if (!sameShape(info.shape, spec.shape))
      this.#faults.push(`tensor '${name}' is [${info.shape.join(", ")}], expected [${spec.shape.join(", ")}]`);
    else if (info.layout.acts === undefined) {
      this.#unsupported++;
      this.#faults.push(`tensor '${name}' has type ${info.layout.name}, which has no kernels`);
    }
    this.found.set(name, { name, role: spec.role, layer: spec.shared ? -1 : layer, kind: spec.kind, info });
  }

  check(): void {
    if (this.#faults.length === 0) return;
    const code = this.#unsupported === this.#faults.length ? "FORMAT_UNSUPPORTED" : "MODEL_INVALID";
    throw modelInvalid(this.#checkpoint.path, this.#faults, code);
  }
}

/** Containers may leave out trailing dimensions of 1. */
function sameShape(found: readonly number[], expected: readonly number[]): boolean {
  const length = Math.max(found.length, expected.length);
  for (let i = 0; i < length; i++) if ((found[i] ?? 1) !== (expected[i] ?? 1)) return false;
  return true;
}

/** More rows than tokens is padding; more tokens than rows would read past the embedding. */
function checkVocabulary(checkpoint: Checkpoint, rows: number): void {
  const tokens = (checkpoint.metadata.packedStrings("tokenizer.ggml.tokens")?.offsets.length ?? 1) - 1;
  if (tokens > rows)
    throw new HundredweightError(
      "TOKENIZER_INVALID",
      `${checkpoint.path}: the vocabulary has ${tokens} tokens but 'token_embd.weight' only ${rows} rows`,
      { tokens, rows },
    );
}
