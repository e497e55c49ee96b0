/**
 * How long a pass takes whose weights partly come through a ring: the disk fills it while products run, waits when it
 * is full, and products wait when what they want is not there yet. Where reads and products take about as long, or the
 * ring holds less than a few products stream, neither hides the other whole; so the pass is followed tile by tile.
 */
import { type DiskProfile, diskRate } from "./disk-rates.js";
import type { PlanMatrix } from "./plan-model.js";
import { type Ring, tilesOf } from "./plan-tiles.js";

/** Seconds a tile costs besides its bytes: threads meet, the reader is woken. */
const tileSeconds = 20e-6;
/** From the moment there is room to the moment a read is under way, on processors that are busy with products. */
const wakeSeconds = 100e-6;

export interface PipelineInput {
  /** In the order of consumption. */
  readonly trunk: readonly PlanMatrix[];
  readonly pinned: Int32Array;
  readonly ring: Ring;
  readonly disk: DiskProfile;
  /** Seconds to compute a byte in memory, and one that came from the disk. */
  readonly pinnedByteSeconds: number;
  readonly streamedByteSeconds: number;
  /** Whatever else a layer computes. */
  readonly layerSeconds: number;
  /** By which a byte that is read while products run delays them: the reader works on the same processors. */
  readonly readByteSeconds?: number;
}

/** Seconds of a pass among others like it: what is read ahead at its end belongs to the next. */
export function pipelineSeconds(input: PipelineInput): number {
  const stages = stagesOf(input);
  const { slots, depth } = input.ring;
  // When the tile in a place was released, and when the read before so many others was done.
  const released = new Float64Array(slots);
  const arrived = new Float64Array(depth);
  let [now, began, arrivedLast, tile] = [0, 0, 0, 0];
  for (let pass = 0; pass < 2; pass++) {
    began = now;
    for (const stage of stages) {
      now += stage.seconds;
      for (const { tiles, readSeconds, latency, computeSeconds, delaySeconds } of stage.tiles)
        for (let i = 0; i < tiles; i++, tile++) {
          const start = Math.max(released[tile % slots]!, arrived[tile % depth]!);
          arrivedLast = Math.max(start + latency, arrivedLast + readSeconds);
          arrived[tile % depth] = arrivedLast;
          // Of the time in which products wait anyway the reader takes nothing from them.
          const waited = Math.max(0, arrivedLast - now);
          now += waited + computeSeconds + delaySeconds * Math.max(0, 1 - waited / readSeconds);
          released[tile % slots] = now;
        }
    }
  }
  return now - began;
}

interface Stage {
  /** Seconds of what is in memory, computed first. */
  seconds: number;
  readonly tiles: {
    readonly tiles: number;
    /** Seconds of a tile: its share of a busy disk, a read alone, its product. */
    readonly readSeconds: number;
    readonly latency: number;
    readonly computeSeconds: number;
    /** Seconds that its reading takes from products beside which it is read. */
    readonly delaySeconds: number;
  }[];
}

/**
 * Matrices that one call multiplies: the same input, so the same layer, role and width. Their pinned slices come first.
 */
function stagesOf({ trunk, pinned, ring, disk, ...cost }: PipelineInput): Stage[] {
  const stages: Stage[] = [];
  let before: PlanMatrix | undefined;
  for (const [i, m] of trunk.entries()) {
    if (before === undefined || before.layer !== m.layer || before.role !== m.role || before.cols !== m.cols)
      stages.push({ seconds: before?.layer === m.layer ? 0 : cost.layerSeconds, tiles: [] });
    before = m;
    const stage = stages.at(-1)!;
    stage.seconds += pinned[i]! * m.slices.bytes * cost.pinnedByteSeconds;
    const streamed = (m.slices.count - pinned[i]!) * m.slices.bytes;
    if (streamed === 0) continue;
    const tiles = tilesOf(m, pinned[i]!, ring);
    const bytes = streamed / tiles;
    stage.tiles.push({
      tiles,
      readSeconds: bytes / diskRate(disk, bytes, ring.depth),
      latency: bytes / diskRate(disk, bytes, 1) + wakeSeconds,
      computeSeconds: bytes * cost.streamedByteSeconds + tileSeconds,
      delaySeconds: bytes * (cost.readByteSeconds ?? 0),
    });
  }
  return stages;
}
