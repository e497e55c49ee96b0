/** The ring and the tile program: what is streamed, cut into whole slices, in the order the ops consume it. */
import type { PlanMatrix } from "./plan-model.js";

/** Direct reads begin and end at whole pages: what lies before and behind the slices comes along. */
const page = 4096;
const leastSlotBytes = 256 * 1024;
const usualSlotBytes = 4 * 2 ** 20;
const leastSlots = 4;
/** Deep enough that several reads are in flight while one tile is computed and others wait their turn. */
const wantedSlots = 16;
/** What a read costs beyond its bytes, as bytes: little with several in flight, still enough to favour megabytes. */
const requestOverhead = 16 * 1024;

export interface Ring {
  readonly slots: number;
  /** Room for a tile and the pages around it. */
  readonly slotBytes: number;
  readonly bytes: number;
}

export const noRing: Ring = { slots: 0, slotBytes: 0, bytes: 0 };

/** Share of the disk's rate that reading through the ring gets: small requests cost, few slots wait for each other. */
export function ringEfficiency({ slots, slotBytes }: Ring): number {
  return slots === 0 ? 1 : (1 - 1 / (2 * slots)) * (slotBytes / (slotBytes + requestOverhead));
}

/** Sizes a plan may choose from, largest first. */
export const ringSizes: readonly number[] = [64, 32, 16, 8, 4, 2, 1].map((mebibytes) => mebibytes * 2 ** 20);

/**
 * A ring of at most `bytes`, but always of four slots that hold a slice each.
 * @param largestSlice bytes of the largest slice that will be streamed, with the pages around its planes
 * @param requestBytes size of the disk's fastest reads: tiles are no larger
 */
export function makeRing(bytes: number, largestSlice: number, requestBytes: number = usualSlotBytes): Ring {
  const least = Math.max(leastSlotBytes, Math.ceil(largestSlice / page) * page);
  const even = 2 ** Math.floor(Math.log2(Math.max(1, bytes / wantedSlots)));
  const slotBytes = Math.max(least, Math.min(requestBytes, even));
  const slots = Math.max(leastSlots, Math.floor(bytes / slotBytes));
  return { slots, slotBytes, bytes: slots * slotBytes };
}

/** Slices [from, to) of a matrix of the trunk: one piece of each plane. */
export interface Tile {
  /** Index in the plan's matrices. */
  readonly matrix: number;
  readonly from: number;
  readonly to: number;
  /** Of all planes. */
  readonly bytes: number;
}

/** What the pages before and behind the pieces of a tile may take. */
export function edgeBytes({ layout }: PlanMatrix): number {
  return 2 * page * layout.planes.length;
}

/** Tiles of the slices that are not pinned; those of a matrix differ by at most one slice. */
export function tileProgram(trunk: readonly PlanMatrix[], pinned: Int32Array, ring: Ring): Tile[] {
  const program: Tile[] = [];
  for (const [matrix, m] of trunk.entries()) {
    const first = pinned[matrix]!;
    const slices = m.slices.count - first;
    if (slices === 0) continue;
    const most = Math.max(1, Math.floor((ring.slotBytes - edgeBytes(m)) / m.slices.bytes));
    const count = Math.ceil(slices / most);
    for (let t = 0; t < count; t++) {
      const from = first + Math.floor((t * slices) / count);
      const to = first + Math.floor(((t + 1) * slices) / count);
      program.push({ matrix, from, to, bytes: (to - from) * m.slices.bytes });
    }
  }
  return program;
}
