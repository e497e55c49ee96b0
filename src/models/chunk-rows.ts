/** Rows of texts that are evaluated whole, each alone and behind nothing: for measuring, not for answering. */
import { pagePositions, type RowTable } from "../ops/ops.js";
import type { BoundModel } from "./bind.js";

/**
 * Rows [from, to) of chunks of equal length that lie one behind the other. Each chunk is a sequence with pages and a
 * slot of its own; what lies before `from` has to be evaluated.
 */
export function chunkRows(
  chunks: readonly Int32Array[],
  from: number,
  to: number,
  kvGroups: BoundModel["kvGroups"],
): RowTable {
  const length = chunks[0]!.length;
  const count = to - from;
  const each = (of: (chunk: number, i: number) => number) =>
    Int32Array.from({ length: count }, (_, row) => of(Math.floor((from + row) / length), (from + row) % length));
  const pages = Math.ceil(length / pagePositions);
  return {
    count,
    ids: each((chunk, i) => chunks[chunk]![i]!),
    positions: each((_, i) => i),
    sequences: each((chunk) => chunk),
    blockTables: kvGroups.map(({ every }) => {
      const own = Math.ceil(pages / every);
      return chunks.map((_, s) => Int32Array.from({ length: own }, (_, page) => s * own + page));
    }),
    tokens: [...chunks],
    // A sequence begins from nothing in its slot, and goes on from there.
    slots: Int32Array.from(chunks.flatMap((_, s) => [s * length < from ? s : -1, s, -1])),
  };
}
