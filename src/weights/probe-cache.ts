/** Earlier measurements, in the user's cache folder: rates of processors and of disks, each with its date. */
import { join } from "node:path";
import { isObject } from "../json-object.js";
import { readTextSync } from "../regular-file.js";
import { writeWholeSync } from "../replace-file.js";
import { cacheFolder, thisUser } from "../user-folders.js";
import type { ComputeRates } from "./machine.js";
import type { DiskMeasurement } from "./probe-disk.js";

export interface CpuMeasurement {
  /** All threads, best loop. */
  readonly memoryReadBytesPerSecond: number;
  /** Which loop that was, e.g. "prefetch, 2 MiB pages". */
  readonly loop: string;
  readonly gemmOpsPerSecond: number;
  readonly computeRates: ComputeRates;
}

export interface Dated {
  /** ISO 8601. */
  readonly measuredAt: string;
}

/** Rates that a model's own passes have shown (live-memory.ts). */
export interface LearnedRates {
  /** The memory rate with which its plan would have been right. */
  readonly memoryBytesPerSecond: number;
}

export interface ProbeCache {
  /** By processor model, instruction set and threads. */
  readonly cpus: Readonly<Record<string, CpuMeasurement & Dated>>;
  /** By device number and mount point. */
  readonly disks: Readonly<Record<string, DiskMeasurement & Dated>>;
  /** By processor as above, and the model's file. */
  readonly models: Readonly<Record<string, LearnedRates & Dated>>;
}

/** 2: disks have a table by size and number of reads. Older files are measured again. */
const version = 2;
/** The highest cost of unpacking the weights of a product, in rows. */
export const mostUnpackRows = 64;
/** Containers mount new devices all the time: the oldest entries go. */
const maxEntries = 64;

export function cachePath(env: NodeJS.ProcessEnv = process.env): string {
  return join(cacheFolder(thisUser(env)), "probe.json");
}

/** Empty when there is none, when it is damaged or of another version; entries that make no sense are left out. */
export function readCache(path: string): ProbeCache {
  let found: unknown;
  try {
    found = JSON.parse(readTextSync(path));
  } catch {
    return { cpus: {}, disks: {}, models: {} };
  }
  const file = isObject(found) && found.version === version ? found : {};
  return {
    cpus: entriesOf(file.cpus, isCpu),
    disks: entriesOf(file.disks, isDisk),
    models: entriesOf(file.models, (e) => isRate(e.memoryBytesPerSecond)),
  };
}

/**
 * Adds to what is there. Atomic; of two processes at once the later one wins, and the other measures again some day.
 * @returns why it could not be written; a cache that cannot be kept is no reason to fail
 */
export function writeCache(path: string, more: Partial<ProbeCache>): string | undefined {
  const known = readCache(path);
  const document = {
    version,
    cpus: newest({ ...known.cpus, ...more.cpus }),
    disks: newest({ ...known.disks, ...more.disks }),
    models: newest({ ...known.models, ...more.models }),
  };
  try {
    writeWholeSync(path, `${JSON.stringify(document, undefined, 2)}\n`);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function newest<T extends Dated>(entries: Record<string, T>): Record<string, T> {
  const sorted = Object.entries(entries).sort(([, a], [, b]) => b.measuredAt.localeCompare(a.measuredAt));
  return Object.fromEntries(sorted.slice(0, maxEntries));
}

function entriesOf<T>(value: unknown, valid: (entry: Record<string, unknown>) => boolean): Record<string, T & Dated> {
  const found: Record<string, T & Dated> = {};
  for (const [key, entry] of isObject(value) ? Object.entries(value) : [])
    if (isObject(entry) && typeof entry.measuredAt === "string" && valid(entry)) found[key] = entry as T & Dated;
  return found;
}
/** From a floppy disk to a hundred times today's fastest memory. */
const isRate = (value: unknown) => typeof value === "number" && value >= 1e3 && value <= 1e15;
/** At most a second of processor time for a megabyte. */
const isShare = (value: unknown) => typeof value === "number" && value >= 0 && value <= 1e-6;
const isCpu = (e: Record<string, unknown>) =>
  isRate(e.memoryReadBytesPerSecond) &&
  isRate(e.gemmOpsPerSecond) &&
  typeof e.loop === "string" &&
  isObject(e.computeRates) &&
  isRate(e.computeRates.attentionOpsPerSecond) &&
  isRate(e.computeRates.gateValuesPerSecond) &&
  isObject(e.computeRates.products) &&
  Object.values(e.computeRates.products).every(isProduct);
const isProduct = (value: unknown) =>
  isObject(value) &&
  isRate(value.opsPerSecond) &&
  typeof value.unpackRows === "number" &&
  value.unpackRows >= 0 &&
  value.unpackRows <= mostUnpackRows;
const isDisk = (e: Record<string, unknown>) =>
  isRate(e.bytesPerSecond) &&
  (e.firstTouchBytesPerSecond === undefined || isRate(e.firstTouchBytesPerSecond)) &&
  (e.mode === "direct" || e.mode === "buffered") &&
  (e.engine === "uring" || e.engine === "threads") &&
  Number.isInteger(e.depth) &&
  (e.depth as number) >= 1 &&
  (e.depth as number) <= 64 &&
  Number.isInteger(e.requestBytes) &&
  (e.requestBytes as number) >= 4096 &&
  (e.processorSecondsPerByte === undefined || isShare(e.processorSecondsPerByte)) &&
  (e.table === undefined || isTable(e.table));
const isScale = (value: unknown): value is number[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((v, i) => Number.isInteger(v) && v >= 1 && (i === 0 || v > value[i - 1]));
const isTable = (value: unknown) =>
  isObject(value) &&
  isScale(value.requestBytes) &&
  isScale(value.depths) &&
  Array.isArray(value.bytesPerSecond) &&
  value.bytesPerSecond.length === value.requestBytes.length &&
  value.bytesPerSecond.every(
    (row) => Array.isArray(row) && row.length === (value.depths as number[]).length && row.every(isRate),
  );
