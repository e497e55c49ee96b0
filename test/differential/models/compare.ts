/**
 * A random tiny model of an architecture beside llama.cpp: how far the distributions are apart, and what is left of
 * them without a mechanism. Used by the tests and by the script that writes docs/models.md.
 */
import { join } from "node:path";
import { ablations, findArchitecture, type Mutation } from "../../../src/models/index.js";
import { addonStatus } from "../../../src/native/addon.js";
import { createOps } from "../../../src/ops/index.js";
import type { Ops, RouteSpec, Routing, Tensor } from "../../../src/ops/ops.js";
import { ReferenceOps } from "../../../src/ops/reference.js";
import { bestPositions } from "../../../src/ops/reference-attention.js";
import { routeScores } from "../../../src/ops/reference-math.js";
import { makeTinyModel } from "../../../src/synth/tiny.js";
import { evaluate, klOfLogs, logSoftmax, meanKl, openModel, randomTokens } from "../../support/evaluate.js";
import type { Peer } from "../../support/peer.js";
import { clearest } from "./clearest.js";

/** Longer than two windows of 16. */
export const promptTokens = 40;
const seeds = [1, 2, 3, 4, 5, 6];

/** The addon where there is one. */
export const bestOps = (): Ops =>
  addonStatus().state === "loaded" ? createOps({ kind: "native", threads: 2 }) : new ReferenceOps();

class NotClearer extends Error {}

/**
 * Smallest distance between the last chosen and the first refused expert. Choosing is the one discontinuity of the
 * forward pass: at a near tie any two correct engines may differ by a whole expert.
 */
class RoutingMargin extends ReferenceOps {
  margin = Infinity;
  /** @param least that of a model already seen: one that is not clearer is given up as soon as that shows */
  constructor(least: number) {
    super();
    this.#least = least;
  }
  readonly #least: number;
  #see(gap: number): void {
    this.margin = Math.min(this.margin, gap);
    if (this.margin <= this.#least) throw new NotClearer();
  }
  override route(out: Routing, logits: Tensor, n: number, spec: RouteSpec): number {
    const values = this.read(logits, n);
    const bias = spec.selectionBias === null ? null : (spec.selectionBias as unknown as { data: Float32Array }).data;
    for (let t = 0; t < n && !spec.table; t++) {
      const scores = routeScores(values.slice(t * logits.cols, (t + 1) * logits.cols), spec, bias);
      const sorted = scores.sort((a, b) => b - a);
      if (spec.topK < sorted.length) this.#see(sorted[spec.topK - 1]! - sorted[spec.topK]!);
    }
    return super.route(out, logits, n, spec);
  }
  /** Positions are chosen as experts are; their scores have no size of their own, so the gap is in deviations. */
  protected override readonly bestOf = (scores: Float64Array, topK: number): number[] => {
    if (topK < scores.length) {
      const sorted = scores.slice().sort((a, b) => b - a);
      const squares = scores.reduce((sum, score) => sum + score ** 2, 0);
      this.#see((sorted[topK - 1]! - sorted[topK]!) / Math.sqrt(squares / scores.length));
    }
    return bestPositions(scores, topK);
  };
}
/** Enough: activations differ by the rounding of F16. */
export const clearMargin = 1e-3;

export interface TinyCase {
  readonly path: string;
  readonly vocab: number;
  readonly ids: readonly number[];
  /** The reference's, after each token. */
  readonly logits: readonly Float32Array[];
  readonly windows: number;
  /** Positions after which llama.cpp means the same. */
  readonly comparable: (position: number) => boolean;
}

/** Writes a model and evaluates it; undefined where its routing turned out to be no clearer than `least`. */
async function makeSeed(path: string, [arch, variant, dtype]: Names, seed: number, least: number) {
  const { promptTokens: count = promptTokens, comparable = () => true } = findArchitecture(arch).tiny.find(
    (t) => t.variant === variant,
  )!;
  const { vocab } = await makeTinyModel(path, arch, { variant, dtype, seed });
  const ids = randomTokens(count, vocab);
  const ops = new RoutingMargin(least);
  const model = await openModel(path, ops);
  try {
    const logits = await evaluate(model, ids);
    const made: TinyCase = { path, vocab, ids, logits, windows: model.config.window, comparable };
    return { seed, margin: ops.margin, made };
  } catch (error) {
    if (error instanceof NotClearer) return undefined;
    throw error;
  } finally {
    model.close();
  }
}

type Names = readonly [arch: string, variant: string, dtype: string];

/** The model whose routing is clearest of a few (any, for a dense one), looked for. */
export async function findClearest(path: string, names: Names) {
  let best: Awaited<ReturnType<typeof makeSeed>>;
  for (const seed of seeds) {
    best = (await makeSeed(path, names, seed, best?.margin ?? -1)) ?? best;
    if (best!.margin > clearMargin) break;
    if (seed === seeds.at(-1) && seed !== best!.seed) {
      const [arch, variant, dtype] = names;
      await makeTinyModel(path, arch, { variant, dtype, seed: best!.seed });
    }
  }
  return best!;
}

/**
 * Writes the model whose routing is clearest of a few and evaluates it. Which one that is stands in a table; where its
 * margin is not the one of the table, all are looked at.
 */
export async function makeCase(folder: string, ...names: Names): Promise<TinyCase> {
  const path = join(folder, `${names.join("-")}.gguf`);
  const known = clearest[names.join(" ")];
  if (known !== undefined) {
    const [seed, margin] = known;
    const found = await makeSeed(path, names, seed, -1);
    if (Math.abs(found!.margin / margin - 1) < 1e-6) return found!.made;
    console.log(`${names.join(" ")}: its margin in clearest.ts is ${margin}, it is ${found!.margin}: write it anew`);
  }
  return (await findClearest(path, names)).made;
}

export async function logitsOf(
  { path }: TinyCase,
  ids: readonly number[],
  options: Parameters<typeof openModel>[2] = {},
  chunk?: number,
): Promise<Float32Array[]> {
  const model = await openModel(path, bestOps(), options);
  try {
    return await evaluate(model, ids, chunk);
  } finally {
    model.close();
  }
}

/** KL to the model without a mechanism. */
export async function missed(tiny: TinyCase, mechanism: Mutation): Promise<number> {
  return meanKl(tiny.logits, await logitsOf(tiny, tiny.ids, { ablate: ablations[mechanism] }));
}

export interface Distance {
  /** Mean over positions, nats. */
  readonly kl: number;
  /** Greatest difference of a log-probability, of tokens with a probability above 1e-6. */
  readonly greatest: number;
}

export function distance(
  { comparable }: Pick<TinyCase, "comparable">,
  all: readonly Float64Array[],
  logits: readonly Float32Array[],
): Distance {
  const theirs = all.filter((_, t) => comparable(t));
  const ours = logits.filter((_, t) => comparable(t)).map(logSoftmax);
  let greatest = 0;
  for (const [t, row] of theirs.entries())
    for (let i = 0; i < row.length; i++)
      if (row[i]! > Math.log(1e-6)) greatest = Math.max(greatest, Math.abs(row[i]! - ours[t]![i]!));
  return { kl: klOfLogs(theirs, ours), greatest };
}

/** Asks llama.cpp for its distributions after the prompt, and for the tokens with which it goes on greedily. */
export async function askPeer(peer: Peer, tiny: TinyCase, folder: string, greedy = 0) {
  await peer.load({ path: tiny.path, threads: 2, contextTokens: 512, batch: 512, flashAttention: false });
  const theirs = await peer.logProbabilities(tiny.ids, join(folder, "peer.f32"));
  const { ids } =
    greedy === 0 ? { ids: [] } : await peer.ask<{ ids: number[] }>("greedy", { ids: tiny.ids, count: greedy });
  await peer.ask("unload");
  return { theirs, greedy: ids };
}

/** How many of the tokens that llama.cpp chose greedily we would have chosen there too, and of how many. */
export async function agreement(tiny: TinyCase, greedy: readonly number[]): Promise<[same: number, of: number]> {
  const logits = await logitsOf(tiny, [...tiny.ids, ...greedy.slice(0, -1)]);
  const best = (row: Float32Array): number => row.indexOf(row.reduce((a, b) => Math.max(a, b)));
  const before = tiny.ids.length - 1;
  const asked = greedy.map((id, i) => [id, before + i] as const).filter(([, at]) => tiny.comparable(at));
  return [asked.filter(([id, at]) => best(logits[at]!) === id).length, asked.length];
}
