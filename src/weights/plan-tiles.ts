/** The ring and the tile program: what is streamed, cut into whole output rows, in the order the ops consume it. */
import type { PlanMatrix } from "./plan-model.js";

/** Direct reads begin and end at whole pages: what lies before and behind the rows comes along. */
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
 * A ring of at most `bytes`, but always of four slots that hold a row each.
 * @param largestRow bytes of the largest row that will be streamed
 * @param requestBytes size of the disk's fastest reads: tiles are no larger
 */
export function makeRing(bytes: number, largestRow: number, requestBytes: number = usualSlotBytes): Ring {
  const least = Math.max(leastSlotBytes, Math.ceil((largestRow + 2 * page) / page) * page);
  const even = 2 ** Math.floor(Math.log2(Math.max(1, bytes / wantedSlots)));
  const slotBytes = Math.max(least, Math.min(requestBytes, even));
  const slots = Math.max(leastSlots, Math.floor(bytes / slotBytes));
  return { slots, slotBytes, bytes: slots * slotBytes };
}

/** Rows [row0, row1) of a matrix of the trunk. */
export interface Tile {
  /** Index in the plan's matrices. */
  readonly matrix: number;
  readonly row0: number;
  readonly row1: number;
  /** In the matrix's file. */
  readonly offset: number;
  readonly bytes: number;
}

/** Tiles of the rows that are not pinned; those of a matrix differ by at most one row. */
export function tileProgram(trunk: readonly PlanMatrix[], pinned: Int32Array, ring: Ring): Tile[] {
  const program: Tile[] = [];
  for (const [matrix, m] of trunk.entries()) {
    const first = pinned[matrix]!;
    const rows = m.rows - first;
    if (rows === 0) continue;
    const most = Math.max(1, Math.floor((ring.slotBytes - 2 * page) / m.rowBytes));
    const count = Math.ceil(rows / most);
    for (let t = 0; t < count; t++) {
      const row0 = first + Math.floor((t * rows) / count);
      const row1 = first + Math.floor(((t + 1) * rows) / count);
      const offset = m.extent.offset + row0 * m.rowBytes;
      program.push({ matrix, row0, row1, offset, bytes: (row1 - row0) * m.rowBytes });
    }
  }
  return program;
}
