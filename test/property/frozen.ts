/**
 * Hashes of the logits of a fixed set of random models: every architecture variant, every tensor type with kernels,
 * every KV type. The invariance property says that all ways agree with each other; these say that they agree with
 * yesterday.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../src/containers/index.js";
import { type Dtype, dtypes } from "../../src/formats/index.js";
import type { KvCacheType } from "../../src/ops/ops.js";
import { packageRoot } from "../../src/package-root.js";
import { placements } from "../support/placements.js";
import {
  firstArchitectures,
  type RandomModelSpec,
  randomModelVocab,
  shallow,
  writeRandomModel,
} from "../support/random-model.js";
import { textVariants } from "../support/variants.js";
import type { Case, Way } from "./cases.js";
import { evaluateReference, type Logits } from "./evaluate-way.js";

export interface FrozenModel {
  readonly name: string;
  readonly case: Case;
}

export interface FrozenHashes {
  /**
   * A hash of all tensors, in the order of their names: when it differs the model is another one, and its logits say
   * nothing.
   */
  readonly model: string;
  /** A hash of every logit of every position. */
  readonly logits: string;
}

/** The golden file. */
export interface Frozen {
  /** Raised whenever the bits of a logit change on purpose. */
  readonly numericVersion: number;
  /** Why each version began. */
  readonly history: readonly { readonly numericVersion: number; readonly reason: string }[];
  readonly models: Readonly<Record<string, FrozenHashes>>;
}

export const frozenPath = join(packageRoot(), "test/golden/frozen-logits.json");
export const readFrozen = (): Frozen => JSON.parse(readFileSync(frozenPath, "utf8")) as Frozen;

/** Every variant meets four types, so that every type is met. */
const typesOfVariant = 4;
const kvTypes: readonly KvCacheType[] = ["f16", "q8_0", "q4_0"];

/** Types that got kernels after the first sixteen: one model each, so that the others stay what they were. */
const laterTypes = "IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ3_S IQ2_S IQ1_M TQ1_0 TQ2_0 NVFP4 Q1_0 Q2_0".split(" ");

export function frozenModels(): FrozenModel[] {
  const types = dtypes.filter((dtype) => dtype.acts !== undefined && !laterTypes.includes(dtype.name));
  const variants = textVariants.filter(({ arch }) => firstArchitectures.includes(arch));
  const frozen = (arch: string, variant: string, dtype: Dtype, i: number, number: number): FrozenModel => {
    const dims = dtype.blockValues > 64 ? 256 : 64;
    const { name } = dtype;
    // The first were cut without what else may change, and stay what they were.
    const own = firstArchitectures.includes(arch) ? { block_count: 2 } : shallow(arch, variant);
    const model: RandomModelSpec = {
      arch,
      variant,
      dims,
      types: { attention: name, ffn: name, expert: name, embedding: name, head: name },
      seed: number + 1,
      ...(dims === 256 && { overrides: { feed_forward_length: 256, ...own } }),
    };
    const kvType = kvTypes[number % kvTypes.length]!;
    // One model of each variant crosses a page of 256 positions, the others a window.
    const lengths = i === 0 ? [262, 9] : [40, 21];
    const prompts = lengths.map((n, s) => Int32Array.from({ length: n }, (_, t) => (37 * t + 101 * s + t * t) % vocab));
    const c: Case = { seed: number, model, kvType, prompts, shared: 0, ways: [] };
    return { name: `${arch} ${variant} ${name} ${kvType}`, case: c };
  };
  // 5 has no common factor with the number of types: one after the other, every type has its turn.
  const first = variants.flatMap(({ arch, variant }, v) =>
    Array.from({ length: typesOfVariant }, (_, i) => {
      const number = v * typesOfVariant + i;
      return frozen(arch, variant, types[(5 * number) % types.length]!, i, number);
    }),
  );
  const later = laterTypes.map((name, i) => {
    const { arch, variant } = variants[i % 8]!;
    return frozen(arch, variant, dtypes.find((dtype) => dtype.name === name)!, 1, 1000 + i);
  });
  // Architectures that came after the first: one model of each variant.
  const others = textVariants
    .filter(({ arch }) => !firstArchitectures.includes(arch))
    .map(({ arch, variant }, i) => frozen(arch, variant, types[(5 * i) % types.length]!, 1, 2000 + i));
  return [...first, ...later, ...others];
}
const vocab = randomModelVocab;

/**
 * In chunks, a token at a time, several sequences in one pass; mapped, streamed, pinned, in slots. Each model takes two
 * of the four ways, and the four models of a variant all of them twice; the long prompts are spared single tokens.
 */
export function frozenWays(number: number, isa: string): Way[] {
  const [mapped, direct, threads, buffered] = placements as readonly [Way["placement"], ...Way["placement"][]];
  const ways: Way[] = [
    { isa, threads: 2, chunk: 7, batched: false, logitRows: 16, placement: mapped },
    { isa, threads: 1, chunk: 1, batched: true, logitRows: 2, placement: direct! },
    { isa, threads: 2, chunk: 31, batched: true, logitRows: 64, placement: threads! },
    { isa, threads: 2, chunk: "random", batched: true, logitRows: 5, placement: buffered! },
  ];
  return [ways[number % 4]!, ways[(number + 2) % 4]!];
}

/** The order of the tensors in the file says nothing. */
async function hashTensors(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = readFileSync(path);
  const tensors = [...(await openCheckpoint(path)).tensors.values()];
  for (const { name, planes } of tensors.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(name);
    for (const { offset, bytes } of Object.values(planes).flat()) hash.update(file.subarray(offset, offset + bytes));
  }
  return hash.digest("hex");
}

/** Writes the model to `path`, evaluates it whole and hashes both. */
export async function freeze(path: string, { case: c }: FrozenModel, isa: string): Promise<[FrozenHashes, Logits]> {
  await writeRandomModel(path, c.model);
  const logits = await evaluateReference(path, c, isa);
  const hash = createHash("sha256");
  for (const rows of logits) for (const row of rows) hash.update(row!);
  const short = (digest: string): string => digest.slice(0, 32);
  return [{ model: short(await hashTensors(path)), logits: short(hash.digest("hex")) }, logits];
}
