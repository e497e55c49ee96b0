/**
 * Random models of an architecture's tiny variants, written without quantizing: the blocks are random bits with chosen
 * scales, so that a model in any tensor type costs milliseconds. What they say is noise; their bits are what tests
 * want.
 */

import { quantizeRow } from "../../src/compress/quantize.js";
import { blocksBytes, type Dtype, dtypeByName, type TypedValue, writeGguf } from "../../src/formats/index.js";
import type { Declaration, TinyMetadata } from "../../src/models/flow/architecture.js";
import { type Fill, type Role, randomValue, type TensorDeclaration } from "../../src/models/flow/tensors.js";
import { factorSuffixes, findArchitecture } from "../../src/models/index.js";
import { archMetadata, declareOnPaper, paperTensors } from "../../src/models/paper.js";
import { randomBlocks } from "../../src/synth/blocks.js";
import { idsType, randomIds } from "../../src/synth/ids.js";
import { seededWords } from "../../src/synth/random.js";
import { tinyTokenizer, tinyTokens } from "../../src/synth/tiny-tokenizer.js";

export interface RandomModelSpec {
  readonly arch: string;
  readonly variant: string;
  readonly dims: 64 | 256;
  /** Tensor type of the matrices of a role; F32 where none is named. */
  readonly types: Readonly<Partial<Record<Role, string>>>;
  readonly seed: number;
  /** Where the architecture is found; default: among those that are supported. */
  readonly find?: (name: string) => Declaration;
  /** Replaces the variant's metadata, without the architecture prefix. */
  readonly overrides?: TinyMetadata;
  /** Rank of factors that stand for the matrices of feed-forward nets and behind attention; none: they are whole. */
  readonly rank?: number;
  /** Default: the tiny byte-level vocabulary. */
  readonly tokenizer?: readonly [string, TypedValue][];
}

/** Architectures of sweeps that take long: their shapes differ most. The others have their turn in shorter sweeps. */
export const firstArchitectures: readonly string[] = ["llama", "qwen2", "qwen3", "qwen3moe", "gemma3", "gpt-oss"];

/** Metadata of a model that is cut to two layers. */
export const shallow = (arch: string, variant: string): TinyMetadata => ({
  block_count: 2,
  ...findArchitecture(arch).tiny.find((t) => t.variant === variant)?.shallow,
});

/** Rows of every random model's embedding. */
export const randomModelVocab = tinyTokens().length;

const f32 = dtypeByName("F32") as Dtype;

export async function writeRandomModel(path: string, spec: RandomModelSpec): Promise<void> {
  const declaration = (spec.find ?? findArchitecture)(spec.arch);
  const variant = declaration.tiny.find((t) => t.variant === spec.variant);
  if (variant === undefined) throw new Error(`${spec.arch} has no variant ${spec.variant}`);
  const metadata: [string, TypedValue][] = [
    ["general.architecture", { type: "string", value: spec.arch }],
    ...archMetadata(spec.arch, { ...variant.metadata(spec.dims), ...spec.overrides }),
    ...(spec.tokenizer ?? tinyTokenizer(declaration.makes === "vectors")),
  ];
  const embedding = {
    dim: spec.dims,
    vocab: randomModelVocab,
    optionalTensors: variant.optionalTensors,
    shapes: variant.shapes?.(spec.dims),
  };
  const model = declareOnPaper(path, spec.arch, metadata, embedding, declaration);
  const declared = paperTensors(model, variant.tied ?? false, variant.optionalTensors);
  const tensors = declared
    .flatMap((tensor) => factorsOf(tensor, spec.rank))
    .map((tensor) => {
      const { shape, ids } = tensor;
      const words = seededWords(spec.seed, tensor.name);
      if (ids !== undefined) return { name: tensor.name, dtype: idsType, shape, data: randomIds(ids, shape, words) };
      const dtype = typeOf(tensor, spec.types);
      const bytes = (blocksBytes(dtype, shape[0] as number) as number) * shape.slice(1).reduce((a, b) => a * b, 1);
      // By name: a tensor keeps its values when the order of a part's tensors changes.
      const seed = words();
      return { name: tensor.name, dtype, shape, data: values(dtype, bytes, tensor.fill, seed) };
    });
  await writeGguf(path, { metadata, tensors });
}

/** A matrix, or the factors that a file has in its place. */
function factorsOf(tensor: TensorDeclaration, rank: number | undefined): TensorDeclaration[] {
  const [cols, rows, ...others] = tensor.shape;
  if (rank === undefined || others.length > 0 || !/\.(ffn_up|ffn_down|attn_output)\.weight$/.test(tensor.name))
    return [tensor];
  const factor = (suffix: string, shape: readonly number[]): TensorDeclaration => {
    const fill = { mean: 0, deviation: 1 / Math.sqrt(shape[0]!) };
    return { ...tensor, name: `${tensor.name}.${suffix}`, shape, fill };
  };
  return [factor(factorSuffixes.first, [cols!, rank]), factor(factorSuffixes.second, [rank, rows!])];
}

/**
 * Floats are sums of four uniform numbers: nothing but additions and products, so that a model is the same file
 * whatever the runtime's logarithm is. Blocks are random bits.
 */
function values(dtype: Dtype, bytes: number, fill: Fill, seed: number): Uint8Array {
  if (dtype.blockValues !== 1) return randomBlocks(dtype, bytes, fill.mean, fill.deviation, seed);
  const words = seededWords(seed, dtype.name);
  const uniform = (): number => words() / 2 ** 32;
  const wide = { ...fill, deviation: fill.deviation * Math.sqrt(3) };
  const row = new Float32Array(bytes / dtype.blockBytes);
  for (let i = 0; i < row.length; i++) row[i] = randomValue(wide, uniform() + uniform() + uniform() + uniform() - 2);
  const out = new Uint8Array(bytes);
  quantizeRow(dtype, row, out);
  return out;
}

function typeOf({ floor, role, shape }: TensorDeclaration, types: RandomModelSpec["types"]): Dtype {
  if (floor === "f32" || role === "norm") return f32;
  const wanted = dtypeByName(types[role] ?? "F32") as Dtype;
  // Rows that are no whole blocks have a type of smaller blocks, as quantized files have it.
  const fitting = [wanted, dtypeByName("Q8_0") as Dtype, f32];
  return fitting.find((dtype) => blocksBytes(dtype, shape[0] as number) !== undefined) ?? f32;
}
