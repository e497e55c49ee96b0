/**
 * Where the weights of a model lie, at random. Placement decides speed, never bits: every strategy that holds weights
 * otherwise than whole in memory is one more entry here, and the property tests it with everything else.
 */
import { availableParallelism } from "node:os";
import { type BoundModel, bindDescription, type ModelDescription, type ModelOptions } from "../../src/models/index.js";
import type { ThreadLayout } from "../../src/native/threads.js";
import { createOps } from "../../src/ops/index.js";
import type { Backend } from "../../src/ops/ops.js";
import type { PlacedExperts, WeightPlacement } from "../../src/ops/placement.js";
import { type PlanModel, planModel } from "../../src/weights/plan-model.js";
import { edgeBytes } from "../../src/weights/plan-tiles.js";

/** A whole number in [0, n). */
export type Below = (n: number) => number;

export interface Placement {
  readonly name: string;
  /** Where this model's weights shall lie; undefined: the file is mapped. */
  place(model: PlanModel, below: Below): WeightPlacement | undefined;
}

const page = 4096;
const pages = (bytes: number): number => (Math.ceil(bytes / page) + 1) * page;

/** Matrices pinned, streamed and both; tiles of any height; rings of 4 to 9 tiles. */
function partly(
  model: PlanModel,
  below: Below,
  { io, engine, packed }: Pick<WeightPlacement, "io" | "engine" | "packed">,
): WeightPlacement {
  const pinned = new Map<string, number>();
  const tiles: { name: string; from: number; to: number }[] = [];
  let largest = 0;
  // Many small reads are slow, and a few models show as much as all.
  const fine = below(8) === 0;
  for (const matrix of model.trunk) {
    const { name, slices } = matrix;
    const first = [0, slices.count, below(slices.count)][below(3)]!;
    pinned.set(name, first);
    const height = fine ? 1 + below(7) : 24 + below(100);
    for (let from = first, to = 0; from < slices.count; from = to) {
      to = Math.min(matrix.segments.find((bound) => bound > from)!, from + height);
      tiles.push({ name, from, to });
    }
    largest = Math.max(largest, height * slices.bytes + 2 * edgeBytes(matrix));
  }
  for (const { name, slices } of model.beside) pinned.set(name, slices.count);
  const experts = below(3) > 0 ? slots(model, below) : undefined;
  if (experts === undefined)
    for (const { matrices } of model.expertLayers)
      for (const { name, slices } of matrices) pinned.set(name, slices.count);
  const ringBytes = tiles.length === 0 ? 0 : largest * (4 + below(6));
  const depth = 1 + below(8);
  return {
    io,
    ...(engine !== undefined && { engine }),
    depth,
    pinned,
    packed,
    tiles,
    ringBytes,
    experts,
    lock: false,
  };
}

/** From one slot for all layers to one for every expert. */
function slots({ expertLayers }: PlanModel, below: Below): PlacedExperts | undefined {
  if (expertLayers.length === 0) return undefined;
  const count = expertLayers.reduce((sum, { experts }) => sum + experts, 0);
  // Each matrix of an expert begins and ends at a page of its own.
  const room = Math.max(
    ...expertLayers.map((e) => e.matrices.reduce((sum, m) => sum + 2 * page + pages(m.bytes / m.experts), 0)),
  );
  return {
    groups: expertLayers.map(({ matrices }) => matrices.map(({ name }) => name)),
    classes: [{ slots: 1 + below(count), groups: expertLayers.map((_, i) => i) }],
    stagingBytes: below(2) === 0 ? 0 : room * (1 + below(3)),
    policy: {
      halfLifePasses: 1 + below(100),
      oldShare: 1 + below(10),
      mostScanned: 1 + below(20),
      evictingRows: below(20),
      leastRight: below(3) / 2,
      trust: below(5) / 4,
      slotsPerGuess: below(6),
      fillingReads: 2,
    },
  };
}

export const placements: readonly Placement[] = [
  { name: "mapped", place: () => undefined },
  { name: "direct, packed", place: (model, below) => partly(model, below, { io: "direct", packed: true }) },
  {
    name: "direct, threads",
    place: (model, below) => partly(model, below, { io: "direct", engine: "threads", packed: false }),
  },
  { name: "buffered", place: (model, below) => partly(model, below, { io: "buffered", packed: false }) },
  { name: "buffered, packed", place: (model, below) => partly(model, below, { io: "buffered", packed: true }) },
];

/** Binds the model to native Ops of its own; `close` of the result frees both. */
export async function bindPlaced(
  description: ModelDescription,
  { isa, threads, placement }: { readonly isa: string; readonly threads: number; readonly placement: Placement },
  options: ModelOptions,
  below: Below,
): Promise<BoundModel & { readonly backend: Backend }> {
  const placed = placement.place(planModel(description, options.programs), below);
  const layout = layoutOf(threads);
  const ops = createOps({
    kind: "native",
    isa,
    ...(layout === undefined ? { threads } : { layout }),
    ...(placed !== undefined && { placement: placed }),
  });
  try {
    return { ...(await bindDescription(description, ops, options)), backend: ops };
  } catch (error) {
    ops.close();
    throw error;
  }
}

/** Three threads stand for a machine of two memory nodes, on which passes of one row take two of them. */
function layoutOf(threads: number): ThreadLayout | undefined {
  if (threads !== 3) return undefined;
  const cpuList = [0, availableParallelism() > 1 ? 1 : 0, 0];
  return { threads: 2, threadsBatch: 3, most: 3, cpuList, nodes: 2 };
}
