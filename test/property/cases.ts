/** Seeded cases of the invariance property: a random model, prompts, and several ways to evaluate them. */
import { dtypes } from "../../src/formats/index.js";
import type { Role } from "../../src/models/index.js";
import { type KvCacheType, kvCacheTypes } from "../../src/ops/kv-form.js";
import { seededWords } from "../../src/synth/random.js";
import { type Placement, placements } from "../support/placements.js";
import { adapterSets } from "../support/random-adapters.js";
import { type RandomModelSpec, randomModelVocab, shallow } from "../support/random-model.js";
import { wholeSweeps } from "../support/sweeps.js";
import { textVariants } from "../support/variants.js";

/** One way to evaluate the prompts of a case. All ways must give the same bits. */
export interface Way {
  readonly isa: string;
  readonly threads: number;
  /** Rows one sequence adds to a pass: this many, or a random one of `chunkSizes` each time. */
  readonly chunk: number | "random";
  /** All sequences share passes; otherwise one after the other. */
  readonly batched: boolean;
  /** Most rows of a logits slice. */
  readonly logitRows: number;
  readonly placement: Placement;
  /** Now and then what a sequence holds goes into a file and comes back in other pages and slots. */
  readonly restores?: boolean;
  /** Only as many pages are in memory as a pass writes; the others lie on the disk. */
  readonly cold?: boolean;
}

export interface Case {
  readonly seed: number;
  readonly model: RandomModelSpec;
  readonly kvType: KvCacheType;
  /** Token ids of each sequence. */
  readonly prompts: readonly Int32Array[];
  /** Leading tokens that all prompts have in common: evaluated once and forked when sequences are batched. */
  readonly shared: number;
  readonly ways: readonly Way[];
  /** Two random adapters beside the model, for all sequences alike or for each its own. */
  readonly adapters?: "alike" | "each" | "none";
  /** Rows see rows after them: a pass must hold no others. */
  readonly whole?: boolean;
}

/** The sizes at which kernels change their shape. */
export const chunkSizes = [...Array.from({ length: 17 }, (_, i) => i + 1), 31, 64, 65];

/** Every tensor type with kernels for every declared tiny variant. */
const types = dtypes.filter((d) => d.acts !== undefined);
const combinations = types.flatMap((dtype) => textVariants.map((variant) => ({ dtype, ...variant })));
export const combinationCount = combinations.length;

/** Architectures whose models may have factors in the place of matrices. */
const factorized: readonly string[] = ["llama", "qwen2", "qwen3", "gemma3"];

/** Multiply-adds a case may cost in the scalar kernels, which do about 10^9 a second. */
const scalarBudget = 4e7;

/** Each pass of a streamed model reads all of it: an ordinary run has so many at most where chunks are equal. */
const mostStreamedPasses = 60;

function bearable(chunk: Case["ways"][number]["chunk"], rows: number): Case["ways"][number]["chunk"] {
  if (wholeSweeps || chunk === "random" || rows / chunk <= mostStreamedPasses) return chunk;
  return chunkSizes.find((size) => rows / size <= mostStreamedPasses)!;
}

/** Case `number` of the run with this seed: the combination follows the number, so that few cases cover all of them. */
export function makeCase(seed: number, number: number, isas: readonly string[]): Case {
  const words = seededWords(seed, `invariance ${number}`);
  const below = (n: number): number => words() % n;
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  // 61 and the number of combinations have no common factor: neighbours differ in type and architecture.
  const { dtype, arch, variant } = combinations[(number * 61) % combinations.length]!;
  const dims = dtype.blockValues > 64 ? 256 : 64;
  const mixed = Object.fromEntries(
    (["attention", "ffn", "expert", "embedding", "head"] as const).map((role): [Role, string] => [
      role,
      below(4) > 0 ? dtype.name : pick(types.filter((d) => dims % d.blockValues === 0)).name,
    ]),
  );

  const prompts = randomPrompts(below, dims);
  const rows = prompts.ids.reduce((sum, ids) => sum + ids.length, 0);
  const cost = rows * (dims === 64 ? 1.5e5 : 9e5);
  const ways = isas
    .filter((isa) => isa !== "scalar" || cost < scalarBudget)
    .map((isa, i) => ({
      isa,
      threads: 1 + below(3),
      chunk: below(3) > 0 ? ("random" as const) : pick(chunkSizes),
      batched: prompts.ids.length > 1 && (i === 0 || below(2) === 0),
      logitRows: pick([1, 5, 16, 64]),
      placement: below(2) === 0 ? placements[0]! : pick(placements),
      restores: (number + i) % 3 === 0,
      cold: (number + i) % 2 === 0,
    }))
    .map((way) => ({ ...way, chunk: way.placement === placements[0] ? way.chunk : bearable(way.chunk, rows) }));
  const kvType = below(2) > 0 ? "f16" : pick(kvCacheTypes);
  return {
    seed: seed * 1000 + number,
    model: {
      arch,
      variant,
      dims,
      types: mixed,
      seed: number + 1,
      ...(factorized.includes(arch) && number % 3 === 0 && { rank: 32 }),
      // Wide models get few layers: one windowed, one full where there are both.
      ...(dims === 256 && {
        overrides: {
          feed_forward_length: 256,
          ...shallow(arch, variant),
        },
      }),
    },
    kvType,
    adapters: below(3) > 0 ? "none" : prompts.shared > 0 ? "alike" : "each",
    prompts: prompts.ids,
    shared: prompts.shared,
    ways,
  };
}

/** One to three prompts; a third of them crosses 256 positions, some also 512; some share their beginning. */
function randomPrompts(below: (n: number) => number, dims: number): { ids: Int32Array[]; shared: number } {
  const length = (): number => {
    const kind = below(6);
    if (kind < 4) return 2 + below(80);
    return kind === 4 || dims === 256 ? 250 + below(40) : 505 + below(30);
  };
  const token = (): number => below(randomModelVocab);
  const lengths = Array.from({ length: 1 + below(3) }, length);
  const shared = lengths.length > 1 && below(2) === 0 ? 1 + below(Math.min(...lengths) - 1) : 0;
  const first = Int32Array.from({ length: Math.max(...lengths) }, token);
  const ids = lengths.map((n, i) => (i === 0 ? first.slice(0, n) : Int32Array.from({ length: n }, token)));
  for (const list of ids) list.set(first.subarray(0, shared));
  return { ids, shared };
}

/** The adapters of a sequence. What shares its beginning has the same. */
export const adaptersOf = ({ adapters = "none", seed }: Case, sequence: number): readonly number[] =>
  adapters === "none" ? [] : adapterSets[(seed + (adapters === "each" ? sequence : 0)) % adapterSets.length]!;

/** The text that describes a failing case. */
export function describeCase({ model, kvType, prompts, shared, adapters = "none" }: Case): string {
  const tensors = Object.entries(model.types).map(([role, type]) => `${role} ${type}`);
  const lengths = prompts.map((ids) => ids.length).join("+");
  if (model.rank !== undefined) tensors.push("factors");
  return (
    `${model.arch} ${model.variant} (${tensors.join(", ")}), KV ${kvType}, prompts of ${lengths}, ` +
    `${shared} shared${adapters === "none" ? "" : ", adapters"}`
  );
}

export function describeWay({ isa, threads, chunk, batched, logitRows, placement, restores, cold }: Way): string {
  const passes = `${batched ? "batched" : "alone"}, chunk ${chunk}, logits by ${logitRows}`;
  const pages = `${restores ? ", restored from files" : ""}${cold ? ", pages on the disk" : ""}`;
  return `${isa}, ${threads} threads, ${passes}, weights ${placement.name}${pages}`;
}
