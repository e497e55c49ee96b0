/**
 * Where weight bytes live while a model runs. Three strategies behind one interface: everything resident (mapped, or
 * read into memory of our own), pinned + streamed through a ring, trunk + expert slots. A plan decides; this turns it
 * into what the native implementation executes.
 */
import { existsSync, statSync } from "node:fs";
import type { WeightPlacement } from "../ops/ops.js";
import { watchLimit } from "./limit-watch.js";
import { isCached } from "./page-cache.js";
import type { Plan } from "./plan.js";
import type { PlanModel } from "./plan-model.js";
import type { IoMode } from "./plan-summary-types.js";
import type { DiskWay } from "./probe-disk.js";

export interface Residency {
  /** How weights are read. */
  readonly io: Exclude<IoMode, "auto">;
  /** Undefined: the files are mapped. */
  readonly placement: WeightPlacement | undefined;
  /** Pinned, ring and slots: what the placement holds; of mapped files what a pass uses. */
  readonly heldBytes: number;
}

/** Smaller models load at once either way. */
const leastDirectBytes = 256 * 2 ** 20;

export interface ResidencyChoice {
  readonly io?: IoMode | undefined;
  /** The best way to read this disk, where it has been measured. */
  readonly way?: DiskWay | undefined;
  /** The model is used for long: a second of loading a gigabyte is soon regained. */
  readonly stays?: boolean;
  /** The share of earlier passes that asked for each of so many experts, where it is known. */
  readonly uses?: ((experts: number) => Float32Array | undefined) | undefined;
}

/**
 * `auto` reads a model that fits into huge pages of our own: decoding is a tenth faster there, with one row or sixteen
 * (decision 0013), and passes of few rows by more where rows are packed (decision 0016). A model that does not stay is
 * mapped when it is small or in the page cache: nothing to load, shared with other processes. What does not fit is read
 * directly, unless buffered reads were measured to be faster. `mmap` maps whatever the plan says: the system decides
 * what stays, and the budget is not kept.
 */
export function openResidency(model: PlanModel, plan: Plan, choice: ResidencyChoice = {}): Residency {
  const { io = "auto", way, stays = false, uses } = choice;
  const heldBytes = plan.bytes.pinned + plan.bytes.adapters + plan.bytes.ring + plan.bytes.expertSlots;
  const mapped = plan.strategy === "resident" && !stays && mappedIsBest(model);
  const mode = io !== "auto" ? io : mapped ? "mmap" : (way?.mode ?? "direct");
  if (mode === "mmap") return { io: mode, placement: undefined, heldBytes };
  return { io: mode, placement: placementOf(model, plan, { io: mode, way, uses }), heldBytes };
}

function mappedIsBest({ trunk, trunkBytes, expertBytes }: PlanModel): boolean {
  if (trunkBytes + expertBytes < leastDirectBytes) return true;
  // Of a split model the first file speaks for all. A model on paper has none.
  const { file } = Object.values(trunk[0]!.planes)[0]![0]!;
  return !existsSync(file) || isCached(file, statSync(file).size);
}

/**
 * A disk that answers one large read as fast as eight is still read in bursts here: whatever runs dry between two reads
 * is lost (a pass of a 1B model streamed whole took three times as long with one read in flight).
 */
const leastDepth = 8;

function placementOf(
  model: PlanModel,
  plan: Plan,
  { io, way, uses }: Pick<ResidencyChoice, "way" | "uses"> & { readonly io: "direct" | "buffered" },
): WeightPlacement {
  const { matrices, slotClasses, ring } = plan;
  const { expertLayers, beside } = model;
  const pinned = new Map(matrices.map((matrix, i) => [matrix.name, plan.pinned[i]!]));
  const tiles = plan.program.map(({ matrix, from, to }) => ({ name: matrices[matrix]!.name, from, to }));
  if (slotClasses.length === 0)
    for (const { matrices: experts } of expertLayers) for (const m of experts) pinned.set(m.name, m.slices.count);
  for (const { name, slices } of beside) pinned.set(name, slices.count);
  const groups = expertLayers.map(({ matrices }) => matrices.map(({ name }) => name));
  const indexOf = new Map(expertLayers.map(({ layer }, i) => [layer, i]));
  return {
    io,
    ...(way !== undefined && way.mode === io && { engine: way.engine }),
    // Small tiles: more of them.
    depth: Math.max(leastDepth, tiles.length > 0 ? ring.depth : (way?.depth ?? 0)),
    pinned,
    packed: true,
    tiles,
    ringBytes: ring.bytes,
    experts:
      slotClasses.length === 0
        ? undefined
        : {
            groups,
            classes: slotClasses.map((c) => ({ slots: c.slots, groups: c.layers.map((layer) => indexOf.get(layer)!) })),
            // With the whole trunk in memory nothing else uses the ring.
            stagingBytes: tiles.length === 0 ? ring.bytes : 0,
            policy: plan.expertPolicy,
            uses: uses?.(expertLayers.reduce((sum, { experts }) => sum + experts, 0)),
          },
    lock: true,
    watch: watchLimit(),
  };
}
