/**
 * Random models of real shapes, written at the speed of the disk: to try a machine before a download of 60 GB, and for
 * benchmarks. Every tensor the declaration names, in the types a quantization mix gives it.
 *
 * Matrices have deviation ~ 1 / sqrt(columns), so products keep the size of their input; the two that write to the
 * residual stream are smaller by sqrt(2 * layers), so the stream grows by a factor of about sqrt(2) over any depth.
 */
import { type Mix, mixFileType, mixTypes } from "../compress/mix.js";
import { HundredweightError } from "../errors.js";
import {
  blocksBytes,
  type Checkpoint,
  type Dtype,
  dtypeByName,
  type TensorInfo,
  type TensorSource,
  TypedMetadata,
  type TypedValue,
  writeGguf,
} from "../formats/index.js";
import { checkRoom } from "../formats/room.js";
import type { ModelSpec } from "../models/flow/architecture.js";
import { type Fill, layerPrefix, localName, type TensorDeclaration } from "../models/flow/tensors.js";
import { archMetadata, declareOnPaper, paperTensors } from "../models/paper.js";
import { idsType, randomIds } from "./ids.js";
import { seededWords } from "./random.js";
import { ranks, rowFactors } from "./router.js";
import type { SynthShape } from "./shape.js";
import { RandomTensors } from "./values.js";
import { minVocab, syntheticVocabulary } from "./vocabulary.js";

export interface SynthOptions {
  /** Default: the mix the shape is usually met in. */
  readonly quant?: Mix;
  readonly seed?: number;
  /** Popularity of experts falls like 1 / rank^skew; 0 = flat. */
  readonly routerSkew?: number;
}

export interface SynthTensor extends TensorDeclaration {
  readonly dtype: Dtype;
  readonly bytes: number;
}

/** A model before it is written. */
export interface SynthModel {
  readonly shape: SynthShape;
  readonly quant: Mix;
  /** Made at each call: the vocabulary takes a while and only a file needs it. */
  metadata(vocabulary?: boolean): [string, TypedValue][];
  readonly spec: ModelSpec;
  readonly tensors: readonly SynthTensor[];
  readonly tensorBytes: number;
  readonly parameters: number;
}

const ropeDivisorsTensor = "rope_freqs.weight";

/**
 * Lays out a model; nothing is written.
 * @throws OPTION_INVALID for a shape that cannot be
 */
export function layOutSynth(name: string, shape: SynthShape, quant: Mix = shape.quant): SynthModel {
  if (shape.vocab < minVocab)
    throw new HundredweightError("OPTION_INVALID", `a vocabulary of ${shape.vocab} is less than ${minVocab} tokens`);
  const own: [string, TypedValue][] = [
    ["general.architecture", { type: "string", value: shape.arch }],
    ["general.name", { type: "string", value: `random ${name}` }],
    ["general.file_type", { type: "u32", value: mixFileType(quant) }],
    ["general.quantization_version", { type: "u32", value: 2 }],
    ...archMetadata(shape.arch, shape.metadata),
  ];
  const spec = declare(name, shape, own);
  const { ropeDivisors, optionalTensors = [] } = shape;
  const optional = ropeDivisors === undefined ? optionalTensors : [ropeDivisorsTensor, ...optionalTensors];
  const declared = paperTensors(spec, shape.tied, optional);
  const dtypes = mixTypes(quant, mixModel(shape, spec), declared);
  let tensorBytes = 0;
  let parameters = 0;
  const tensors = declared.map((tensor, i): SynthTensor => {
    const dtype = tensor.ids !== undefined ? idsType : tensor.floor === "f32" ? dtypeByName("F32")! : dtypes[i]!;
    const row = blocksBytes(dtype, tensor.shape[0]!)!;
    const bytes = tensor.shape.slice(1).reduce((product, size) => product * size, row);
    tensorBytes += bytes;
    parameters += tensor.shape.reduce((product, size) => product * size, 1);
    return { ...tensor, dtype, bytes };
  });
  const metadata = (vocabulary = true) => (vocabulary ? [...own, ...syntheticVocabulary(shape.vocab, shape.pre)] : own);
  return { shape, quant, metadata, spec, tensors, tensorBytes, parameters };
}

/** A shape the declaration refuses is a wrong specification, not a damaged file. */
function declare(name: string, shape: SynthShape, metadata: readonly (readonly [string, TypedValue])[]): ModelSpec {
  try {
    const { vocab, optionalTensors } = shape;
    const [dim, layers] = [firstOf(shape, "embedding_length"), firstOf(shape, "block_count")];
    // A block that guesses is known to be there by a tensor of it.
    const blocks = Array.from({ length: firstOf(shape, "nextn_predict_layers") }, (_, i) => [
      `${layerPrefix(layers - 1 - i)}nextn.eh_proj.weight`,
      [2 * dim, dim],
    ]);
    const shapes = Object.fromEntries(blocks);
    return declareOnPaper(`random ${name}`, shape.arch, metadata, { dim, vocab, optionalTensors, shapes });
  } catch (cause) {
    if (!(cause instanceof HundredweightError) || cause.code !== "MODEL_INVALID") throw cause;
    throw new HundredweightError("OPTION_INVALID", cause.message, { ...cause.details }, { cause });
  }
}

/** A value of the metadata that may differ between layers, in the first one. */
function firstOf({ metadata }: SynthShape, key: string): number {
  const value = metadata[key];
  return Number((Array.isArray(value) ? value[0] : value) ?? 0);
}

const mixModel = (shape: SynthShape, { config }: ModelSpec) => ({
  layers: firstOf(shape, "block_count"),
  heads: firstOf(shape, "attention.head_count"),
  kvHeads: firstOf(shape, "attention.head_count_kv"),
  experts: config.experts,
});

/** The model as if it had been written and opened, without a vocabulary: for plans. */
export function synthCheckpoint(model: SynthModel): Checkpoint {
  const path = `random ${model.shape.arch}`;
  let offset = 0;
  const tensors = model.tensors.map(({ name, dtype, shape, bytes }): [string, TensorInfo] => {
    const extent = { file: path, offset, bytes };
    offset += Math.ceil(bytes / 32) * 32; // the default alignment
    return [name, { name, layout: dtype, shape, planes: { blocks: [extent] } }];
  });
  return {
    path,
    format: "gguf",
    files: [],
    metadata: new TypedMetadata(new Map(model.metadata(false)), path),
    tensors: new Map(tensors),
    tensorBytes: model.tensorBytes,
  };
}

export interface WriteSynthOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Writes the model, whole or not at all.
 * @returns bytes written
 * @throws FILE_IO when the disk has no room for it (before anything is written) or writing fails; CANCELLED
 */
export async function writeSynth(
  path: string,
  model: SynthModel,
  options: SynthOptions & WriteSynthOptions = {},
): Promise<number> {
  await checkRoom(path, model.tensorBytes);
  const random = new RandomTensors(options.seed ?? 1);
  const tensors = model.tensors.map((tensor) => source(tensor, model, random, options));
  return writeGguf(
    path,
    { metadata: model.metadata(), tensors },
    { ...options, direct: model.tensorBytes > directFrom },
  );
}

/** A small model will be read soon and may stay in the page cache. */
const directFrom = 256 * 2 ** 20;

function source(tensor: SynthTensor, model: SynthModel, random: RandomTensors, options: SynthOptions): TensorSource {
  const { name, dtype, shape, role, kind, bytes, ids } = tensor;
  const cols = shape[0]!;
  const { experts, topK, layers } = model.spec.config;
  const fill = fillOf(tensor, layers);
  // The gate of a shared expert is a router of one row, which prefers nothing.
  const skewed = role === "router" && kind === "matrix" && shape[1] === experts && (options.routerSkew ?? 0) !== 0;
  const data = () => {
    if (ids !== undefined) return randomIds(ids, shape, seededWords(options.seed ?? 1, name));
    if (name === ropeDivisorsTensor) return new Uint8Array(divisors(model.shape, cols).buffer);
    if (skewed) {
      const byRank = rowFactors(experts, topK, options.routerSkew ?? 0);
      const order = ranks(experts, options.seed ?? 1, name);
      const factors = new Float64Array(experts);
      for (let r = 0; r < experts; r++) factors[order[r]!] = byRank[r]!;
      return random.scaledRows(name, dtype, fill.deviation, cols, factors);
    }
    const distinct = role === "head" || role === "embedding";
    return random.bytes(name, dtype, fill, bytes, blocksBytes(dtype, cols)!, distinct);
  };
  return { name, dtype, shape, data };
}

/** These add to the residual stream. */
const residual = /^(attn_output|ffn_down|ffn_down_exps)\./;

/** Values of a tensor, matrices that add to the residual stream smaller. */
export function fillOf({ name, role, kind, fill }: TensorDeclaration, layers: number): Fill {
  // A bias of the router would prefer experts by itself.
  if (role === "router" && kind === "vector") return { mean: 0, deviation: 0.01 };
  const factor = residual.test(localName(name)) ? 1 / Math.sqrt(2 * layers) : 1;
  return { ...fill, mean: fill.mean * factor, deviation: fill.deviation * factor };
}

/** Pairs that turn less than `lowFrequency` times in the original context are slowed by `factor`, with a ramp below. */
function divisors(shape: SynthShape, pairs: number): Float32Array {
  const rope = shape.ropeDivisors!;
  if ("turning" in rope) return Float32Array.from({ length: pairs }, (_, i) => (i < rope.turning ? 1 : 1e30));
  const base = firstOf(shape, "rope.freq_base");
  return Float32Array.from({ length: pairs }, (_, i) => {
    const turns = rope.originalTokens / (2 * Math.PI * base ** (i / pairs));
    if (turns > rope.highFrequency) return 1;
    if (turns < rope.lowFrequency) return rope.factor;
    const smooth = (turns - rope.lowFrequency) / (rope.highFrequency - rope.lowFrequency);
    return 1 / ((1 - smooth) / rope.factor + smooth);
  });
}
