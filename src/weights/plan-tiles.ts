/** The ring and the tile program: what is streamed, cut into whole slices, in the order the ops consume it. */
import { bestDepth, type DiskProfile } from "./disk-rates.js";
import type { PlanMatrix } from "./plan-model.js";

/** Direct reads begin and end at whole pages: what lies before and behind the slices comes along. */
const page = 4096;
const leastSlotBytes = 256 * 1024;
const leastSlots = 4;

export interface Ring {
  readonly slots: number;
  /** Room for a tile and the pages around it. */
  readonly slotBytes: number;
  readonly bytes: number;
  /** Reads in flight, fewer than slots: one tile is being used. */
  readonly depth: number;
}

export const noRing: Ring = { slots: 0, slotBytes: 0, bytes: 0, depth: 0 };

/** Sizes a plan may choose from, largest first. */
export const ringSizes: readonly number[] = [128, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1].map((n) => n * 2 ** 20);
export const tileSizes: readonly number[] = [4, 2, 1, 1 / 2, 1 / 4].map((n) => n * 2 ** 20);

/**
 * A ring of at most `bytes`, but always of four slots that hold a slice each.
 * @param largestSlice bytes of the largest slice that will be streamed, with the pages around its planes
 * @param tileBytes wanted size of a slot; smaller where four of them do not fit
 */
export function makeRing(bytes: number, largestSlice: number, tileBytes: number, disk: DiskProfile): Ring {
  const least = Math.max(leastSlotBytes, Math.ceil(largestSlice / page) * page);
  const most = Math.floor(bytes / leastSlots / page) * page;
  const slotBytes = Math.max(least, Math.min(tileBytes, most));
  const slots = Math.max(leastSlots, Math.floor(bytes / slotBytes));
  return { slots, slotBytes, bytes: slots * slotBytes, depth: bestDepth(disk, slotBytes, slots - 1) };
}

/** Slices [from, to) of a matrix of the trunk: one piece of each plane. */
export interface Tile {
  /** Index in the plan's matrices. */
  readonly matrix: number;
  readonly from: number;
  readonly to: number;
  /** Bytes of all planes. */
  readonly bytes: number;
}

/** Bytes that the pages before and behind the pieces of a tile may take. */
export function edgeBytes({ layout }: PlanMatrix): number {
  return 2 * page * layout.planes.filter(({ whole }) => !whole).length;
}

/** Bytes that the pages around a pinned matrix may take: each extent is read by itself. */
export function pinnedEdgeBytes({ planes }: PlanMatrix): number {
  return 2 * page * Object.values(planes).flat().length;
}

const mostSlices = (m: PlanMatrix, ring: Ring): number =>
  Math.max(1, Math.floor((ring.slotBytes - edgeBytes(m)) / m.slices.bytes));

/** Stretches of the slices from `first` on that lie together in the files: a tile is read in one piece. */
function stretches({ segments }: PlanMatrix, first: number): [from: number, to: number][] {
  return segments.slice(1).flatMap((to, i): [number, number][] => {
    const from = Math.max(first, segments[i]!);
    return from < to ? [[from, to]] : [];
  });
}

/** Tiles into which the slices from `first` on are cut. */
export function tilesOf(m: PlanMatrix, first: number, ring: Ring): number {
  const most = mostSlices(m, ring);
  return stretches(m, first).reduce((sum, [from, to]) => sum + Math.ceil((to - from) / most), 0);
}

/** Tiles of the slices that are not pinned; those of a stretch differ by at most one slice. */
export function tileProgram(trunk: readonly PlanMatrix[], pinned: Int32Array, ring: Ring): Tile[] {
  const program: Tile[] = [];
  for (const [matrix, m] of trunk.entries()) {
    for (const [first, end] of stretches(m, pinned[matrix]!)) {
      const slices = end - first;
      const count = Math.ceil(slices / mostSlices(m, ring));
      for (let t = 0; t < count; t++) {
        const from = first + Math.floor((t * slices) / count);
        const to = first + Math.floor(((t + 1) * slices) / count);
        program.push({ matrix, from, to, bytes: (to - from) * m.slices.bytes });
      }
    }
  }
  return program;
}
