/**
 * Keeps what a process of ours holds beside the model small. Three things would grow with the hardest moment and stay
 * so. All of them are set while the program runs: the options of `node` are heard only before its heap exists, when
 * `npx` or a service manager has the say. For processes that are ours alone, not for one that uses the library.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { loadAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";

/** Both halves of the young generation. */
const youngBytes = 8 * 2 ** 20;
/**
 * How much the old generation may grow over what a full collection left, in percent. V8 lets it grow fourfold; what an
 * answer holds for some seconds becomes old and is garbage then. With 30 a request cost a millisecond more, for 5 MB
 * less; with 100 the collections were asked for where large bodies ended, and each held everybody up for 50 ms, where
 * those that V8 begins by itself, in steps and beside the program, take 8.
 */
const oldGrowth = 50;
/**
 * Blocks from here on are mappings of their own, and as much free memory at an arena's end is given back. Bodies of
 * megabytes make glibc raise both to twice their size, and each of V8's helper threads keeps an arena as large as its
 * largest collection.
 */
const mallocBytes = 128 * 1024;

let factor = 2; // V8's own

/** No growth until `boundYoungGeneration` is called: for what happens before requests come, like loading a program. */
export function holdYoungGeneration(): void {
  growBy(1);
}

/**
 * Under load V8 lets the young generation grow to twice 16 MiB, and more while it is collected. A server's garbage dies
 * young and needs a quarter of it. The factor by which it grows is looked at in every collection, and with 1 it stays
 * as it is. To be called again and again while there is garbage; takes 1 microsecond. A collection doubles the size at
 * most.
 */
export function boundYoungGeneration(): void {
  const { space_size: bytes } = getHeapSpaceStatistics().find(({ space_name: name }) => name === "new_space")!;
  growBy(bytes < youngBytes ? 2 : 1);
}

/** Old generation and malloc. Heard from the next full collection on. */
export function boundOwnMemory(): void {
  setFlagsFromString(`--heap-growing-percent=${oldGrowth}`);
  usableAddon()?.boundMalloc(mallocBytes, mallocBytes);
}

/** Gives back what malloc keeps in pages that nobody uses, in all threads of the process. */
export function trimOwnMemory(): void {
  usableAddon()?.trimMemory();
}

/**
 * Whatever this process does from now on, it takes at most so much private memory more. For a process that runs
 * programs of strangers: V8 makes a string of hundreds of megabytes first and looks at the limit of its heap
 * afterwards.
 * @returns false where the system knows no such limit
 */
export function limitOwnMemory(growthBytes: number): boolean {
  return usableAddon()?.limitMemory(growthBytes) === 1;
}

function growBy(wanted: number): void {
  if (wanted === factor) return;
  factor = wanted;
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}

/** An addon that cannot be used is the engine's to complain of. */
export function usableAddon(): NativeAddon | undefined {
  try {
    return loadAddon();
  } catch {
    return undefined;
  }
}
