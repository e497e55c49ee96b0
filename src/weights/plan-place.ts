/**
 * Which slices of the trunk stay in memory: a prefix of each matrix. Small matrices that every pass reads come first,
 * then the head if it fits whole, then the layers, so that what is left to stream is even over the layers: reads then
 * keep the disk busy everywhere instead of in a few places.
 */
import type { PlanMatrix } from "./plan-model.js";

/** A matrix of at most this part of its layer's largest is small: K and V under grouped queries, routers. */
const smallShare = 1 / 8;

/**
 * @param room bytes there are for pinned slices
 * @returns pinned slices of each matrix; together at most `room` bytes, and less only by what is smaller than a slice
 */
export function placeTrunk(trunk: readonly PlanMatrix[], room: number): Int32Array {
  const placement = new Placement(trunk, room);
  const largest = new Map<number, number>();
  for (const m of trunk) largest.set(m.layer, Math.max(largest.get(m.layer) ?? 0, m.bytes));
  const all = trunk.map((_, i) => i);
  const isHead = (i: number) => trunk[i]!.role === "head";
  const small = all.filter((i) => !isHead(i) && trunk[i]!.bytes <= smallShare * largest.get(trunk[i]!.layer)!);
  if (placement.bytesOf(small) <= placement.room) placement.pinWhole(small);
  const head = all.filter(isHead);
  if (placement.bytesOf(head) <= placement.room) placement.pinWhole(head);

  const layers = new Map<number, number[]>();
  for (const i of all.filter((i) => !isHead(i)))
    layers.set(trunk[i]!.layer, [...(layers.get(trunk[i]!.layer) ?? []), i]);
  const groups = [...layers.values()];
  const level = waterLevel(
    groups.map((group) => placement.streamedOf(group)),
    placement.room,
  );
  for (const group of groups) placement.pinDownTo(group, level);
  placement.useUp(groups);
  if (placement.room > 0) placement.pinPrefix(head, placement.room);
  return placement.pinned;
}

/** The level to which amounts must be cut so that the cuts are `room` in sum; 0 when everything can go. */
export function waterLevel(amounts: readonly number[], room: number): number {
  const sorted = [...amounts].sort((a, b) => b - a);
  let cut = 0;
  for (let n = 1; n <= sorted.length; n++) {
    cut += sorted[n - 1]!;
    const level = (cut - room) / n;
    if (level >= (sorted[n] ?? 0)) return Math.max(0, level);
  }
  return 0;
}

class Placement {
  readonly pinned: Int32Array;
  room: number;
  readonly #trunk: readonly PlanMatrix[];

  constructor(trunk: readonly PlanMatrix[], room: number) {
    this.#trunk = trunk;
    this.room = room;
    this.pinned = new Int32Array(trunk.length);
  }

  bytesOf(group: readonly number[]): number {
    return group.reduce((sum, i) => sum + this.#trunk[i]!.bytes, 0);
  }

  #streamed(i: number): number {
    return (this.#trunk[i]!.slices.count - this.pinned[i]!) * this.#trunk[i]!.slices.bytes;
  }

  streamedOf(group: readonly number[]): number {
    return group.reduce((sum, i) => sum + this.#streamed(i), 0);
  }

  #pin(i: number, wanted: number): void {
    const { count: all, bytes } = this.#trunk[i]!.slices;
    const count = Math.min(wanted, all - this.pinned[i]!, Math.floor(this.room / bytes));
    if (count <= 0) return;
    this.pinned[i] = this.pinned[i]! + count;
    this.room -= count * bytes;
  }

  pinWhole(group: readonly number[]): void {
    for (const i of group) this.#pin(i, this.#trunk[i]!.slices.count);
  }

  /** Pins the same share of each matrix: at most `bytes` together. */
  pinPrefix(group: readonly number[], bytes: number): void {
    const streamed = this.streamedOf(group);
    const share = streamed === 0 ? 0 : Math.min(1, bytes / streamed);
    for (const i of group) this.#pin(i, Math.floor(share * (this.#trunk[i]!.slices.count - this.pinned[i]!)));
  }

  /** Leaves about `level` bytes of a layer to be streamed: the FFN is pinned first, attention when that is done. */
  pinDownTo(group: readonly number[], level: number): void {
    const ffn = group.filter((i) => this.#trunk[i]!.role === "ffn");
    const rest = group.filter((i) => this.#trunk[i]!.role !== "ffn");
    this.pinPrefix(ffn, Math.max(0, this.streamedOf(group) - level));
    if (this.streamedOf(ffn) === 0) this.pinPrefix(rest, Math.max(0, this.streamedOf(group) - level));
  }

  /** Shares of matrices left fractions of slices: they go where most is streamed, a slice of each layer in turn. */
  useUp(groups: readonly (readonly number[])[]): void {
    for (let progress = true; progress; ) {
      progress = false;
      const order = [...groups].sort((a, b) => this.streamedOf(b) - this.streamedOf(a));
      for (const group of order) {
        const before = this.room;
        const largest = group.reduce((best, i) => (this.#streamed(i) > this.#streamed(best) ? i : best), group[0]!);
        this.#pin(largest, 1);
        if (this.room === before) for (const i of group) this.#pin(i, 1);
        progress ||= this.room < before;
      }
    }
  }
}
