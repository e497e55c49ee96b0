/** How much memory a KV cache takes that is partly on the disk: pure, for plans and for those who make it. */
import { HundredweightError } from "../errors.js";
import { kvPositionBytes } from "./kv-form.js";
import { type KvPoolSpec, pagePositions } from "./ops.js";

const mebibyte = 2 ** 20;
const diskPage = 4096;
/** Bytes that are read ahead while products are computed: a few milliseconds of a fast disk. */
const stagedBytes = 16 * mebibyte;
/** Two spans of attention: one is computed, the next is read. */
const leastPlaces = 8;
const mostPlaces = 64;

/** A layer's part of every page. */
export interface ColdLayer {
  /** Where it begins in a page, and its length. */
  readonly offset: number;
  readonly bytes: number;
  /** Where the part of page 0 begins in the file, and how far it is from there to the next page's. */
  readonly base: number;
  readonly stride: number;
}

/**
 * The file of pages: layer after layer, in each the parts of all pages in their order, so that neighbours are one read
 * (native/cold_pages.h counts in the same way). Parts begin at multiples of what the disk reads.
 * @param partBytes of each layer
 */
export function coldLayers(partBytes: readonly number[], pages: number): ColdLayer[] {
  let [offset, base] = [0, 0];
  return partBytes.map((bytes) => {
    const layer = { offset, bytes, base, stride: wholePages(bytes) };
    offset += bytes;
    base += layer.stride * pages;
    return layer;
  });
}

/** Bytes of each layer's part of a page. */
export function coldPartBytes({ layers, type }: Pick<KvPoolSpec, "layers" | "type">): number[] {
  return layers.map((layer) => pagePositions * kvPositionBytes(type, layer));
}

const wholePages = (bytes: number): number => Math.ceil(bytes / diskPage) * diskPage;

/** Places for parts of pages, a layer of a page each, and the memory they take (native/io/staging.h). */
export function stagedParts(pool: Pick<KvPoolSpec, "layers" | "type">): {
  readonly places: number;
  readonly bytes: number;
} {
  const placeBytes = wholePages(Math.max(...coldPartBytes(pool)));
  const places = Math.min(mostPlaces, Math.max(leastPlaces, Math.floor(stagedBytes / placeBytes)));
  return { places, bytes: places * placeBytes + diskPage };
}

export interface PoolSize {
  readonly layers: KvPoolSpec["layers"];
  readonly type: KvPoolSpec["type"];
  readonly pages: number;
  /** 0: it forgets nothing. Others hold little and stay in memory. */
  readonly window: number;
  /** Pages that one pass writes at most. */
  readonly written: number;
}

/**
 * Frames of each pool for all of them to take so much memory, or as few as work; undefined where a pool's pages are all
 * in memory.
 * @throws OPTION_INVALID when that is less than a pass needs
 */
export function framesOf(pools: readonly PoolSize[], memoryBytes: number | "least"): (number | undefined)[] {
  if (memoryBytes === "least")
    return pools.map(({ window, pages, written }) => (window > 0 || written >= pages ? undefined : written));
  const pageBytes = pools.map((pool) => coldPartBytes(pool).reduce((sum, bytes) => sum + bytes, 0));
  const all = pools.map(({ pages }, i) => pages * pageBytes[i]!);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  if (sum(all) <= memoryBytes) return pools.map(() => undefined);
  // Each pool that forgets nothing has a share by its size.
  const stays = sum(all.filter((_, i) => pools[i]!.window > 0));
  const whole = sum(all) - stays;
  const needs = pools.map((pool, i) => {
    const { window, pages, written } = pool;
    return window > 0 ? 0 : (Math.min(pages, written) * pageBytes[i]! + stagedParts(pool).bytes) * (whole / all[i]!);
  });
  const least = Math.ceil(stays + Math.max(0, ...needs));
  if (memoryBytes >= least)
    return pools.map((pool, i) => {
      const share = ((memoryBytes - stays) * all[i]!) / whole - stagedParts(pool).bytes;
      const frames = Math.min(pool.pages, Math.max(pool.written, Math.floor(share / pageBytes[i]!)));
      return pool.window > 0 || frames === pool.pages ? undefined : frames;
    });
  const mib = (bytes: number): string => `${Math.ceil(bytes / mebibyte)} MiB`;
  throw new HundredweightError(
    "OPTION_INVALID",
    `a KV cache of ${mib(memoryBytes)} cannot hold what one pass writes: at least ${mib(least)}, less with a smaller ` +
      "--chunk",
    { kvMemoryBytes: memoryBytes, minimumBytes: least },
  );
}
