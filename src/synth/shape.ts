/**
 * The shape of a model: what its file says under the keys its architecture reads, and little that a file does not say.
 */

import type { Mix } from "../compress/mix.js";
import { HundredweightError } from "../errors.js";
import type { TinyMetadata } from "../models/flow/architecture.js";
import { findArchitecture } from "../models/registry.js";

/** Frequencies of slow pairs divided for long contexts.  @source Llama 3.1 model card, rope_scaling "llama3" */
export interface SlowedPairs {
  readonly factor: number;
  readonly lowFrequency: number;
  readonly highFrequency: number;
  readonly originalTokens: number;
}

/** Pairs that turn; the others stand still. */
export interface TurningPairs {
  readonly turning: number;
}

export interface SynthShape {
  readonly arch: string;
  /** Hyper-parameters under their keys in a file, without the architecture's name. */
  readonly metadata: TinyMetadata;
  readonly vocab: number;
  /** The head is the token embedding. */
  readonly tied: boolean;
  /** Pre-tokenizer of the vocabulary. */
  readonly pre: string;
  /** The mix it is usually met in. */
  readonly quant: Mix;
  /** Optional tensors its files have: a local name for that of every layer, a full one for that of one layer. */
  readonly optionalTensors?: readonly string[];
  readonly ropeDivisors?: SlowedPairs | TurningPairs;
}

/** Short names of numbers a specification may replace -> their keys. */
const shortNames = {
  layers: ["block_count"],
  dim: ["embedding_length"],
  hidden: ["feed_forward_length"],
  heads: ["attention.head_count"],
  "kv-heads": ["attention.head_count_kv"],
  "head-dim": ["attention.key_length", "attention.value_length"],
  vocab: [],
  experts: ["expert_count"],
  "top-k": ["expert_used_count"],
  "expert-hidden": ["expert_feed_forward_length"],
  context: ["context_length"],
  // Blocks that guess further tokens, behind the layers.
  mtp: ["nextn_predict_layers"],
} as const satisfies Record<string, readonly string[]>;

type ShortName = keyof typeof shortNames;
export const overrideNames = Object.keys(shortNames) as readonly ShortName[];

/** Short names or keys of the metadata -> numbers. */
export type Overrides = Readonly<Record<string, number>>;

const isShort = (name: string): name is ShortName => Object.hasOwn(shortNames, name);

/**
 * The shape with other numbers. Lists with a value for each layer are cut, or go on from their beginning; the turned
 * part of a head keeps its share.
 * @throws OPTION_INVALID for a name that is neither short nor a number of the metadata
 */
export function withOverrides(shape: SynthShape, given: Overrides): SynthShape {
  const metadata: Record<string, TinyMetadata[string]> = { ...shape.metadata };
  const layers = shape.metadata.block_count;
  for (const [name, value] of Object.entries(given)) {
    if (!isShort(name) && !hasNumber(shape, name)) throw unknown(name, value);
    for (const key of isShort(name) ? shortNames[name] : [name]) metadata[key] = value;
  }
  const headDim = given["head-dim"];
  const { "rope.dimension_count": turned, "attention.key_length": key } = shape.metadata;
  if (headDim !== undefined && typeof turned === "number" && typeof key === "number")
    metadata["rope.dimension_count"] = Math.ceil((turned * headDim) / key / 2) * 2;
  if (given.layers !== undefined)
    for (const [key, list] of Object.entries(shape.metadata))
      if (Array.isArray(list) && list.length === layers && metadata[key] === list)
        metadata[key] = Array.from({ length: given.layers }, (_, i) => list[i % list.length]);
  if (given.mtp !== undefined) addBlocks(shape.arch, metadata, given.mtp);
  return { ...shape, metadata, vocab: given.vocab ?? shape.vocab };
}

/** Blocks are counted as layers, and lists have a value for them too. @throws OPTION_INVALID */
function addBlocks(arch: string, metadata: Record<string, TinyMetadata[string]>, blocks: number): void {
  if (!findArchitecture(arch).hasPrograms)
    throw new HundredweightError("OPTION_INVALID", `'mtp=${blocks}': files of '${arch}' have no blocks that guess`);
  const layers = metadata.block_count as number;
  for (const [key, list] of Object.entries(metadata))
    if (Array.isArray(list) && list.length === layers) metadata[key] = [...list, ...Array(blocks).fill(list.at(-1))];
  metadata.block_count = layers + blocks;
}

function hasNumber({ metadata }: SynthShape, name: string): boolean {
  return Object.hasOwn(metadata, name) && typeof metadata[name] === "number";
}

function unknown(name: string, value: number): HundredweightError {
  return new HundredweightError(
    "OPTION_INVALID",
    `'${name}=${value}': the name is neither one of ${overrideNames.join(", ")} nor a number of the model's metadata`,
  );
}
