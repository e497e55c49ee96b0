/**
 * How fast a disk is read and how it is read best: direct or buffered, by io_uring or threads, and at what rate reads
 * of each size come in, so many in flight. What is read for the first time is timed apart from what is read again.
 */
import { randomFillSync } from "node:crypto";
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statSync, unlinkSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { asHundredweightError } from "../errors.js";
import type { NativeAddon } from "../native/addon.types.js";
import { ioEngines, readRates } from "../native/boundary.js";
import { idsOf, NamedNumbers } from "../native/named-numbers.js";
import { type DiskTable, fastestCell, usualDepth, usualRequestBytes, worthwhile } from "./disk-rates.js";

export interface DiskWay {
  readonly mode: "direct" | "buffered";
  readonly engine: "uring" | "threads";
  /** Reads in flight. */
  readonly depth: number;
  readonly requestBytes: number;
}

export interface DiskMeasurement extends DiskWay {
  /** The rate of what has been read before, this way. */
  readonly bytesPerSecond: number;
  /** Undefined when there was nothing to read that had not just been written. */
  readonly firstTouchBytesPerSecond: number | undefined;
  /** By size and number of reads; undefined where the disk is too slow for it in the time there is. */
  readonly table?: DiskTable | undefined;
  /** Processor time of all threads of this process, system time included. Undefined: an earlier version measured. */
  readonly processorSecondsPerByte?: number;
}

/** Bytes per second of reads; `direct` tells whether the file system did them as asked. */
export type ReadSample = (
  way: DiskWay,
  offset: number,
  bytes: number,
) => {
  rate: number;
  direct: boolean;
  processorSeconds?: number;
};

const MiB = 2 ** 20;
/** All reads of a probe together. */
const mostBytes = 1.25 * 2 ** 30;
const regionBytes = 128 * MiB;
const sampleBytes = 32 * MiB;
/** The first read is small: it tells how much the next may be on a disk that is slow. */
const firstBytes = 4 * MiB;
/** As the ring reads when nothing is known. */
export const defaultWay: DiskWay = {
  mode: "direct",
  engine: "uring",
  depth: usualDepth,
  requestBytes: usualRequestBytes,
};
/** The read sizes of tiles and rings; rates in between follow from these. */
const tableSizes = [MiB / 4, MiB, 4 * MiB];
const tableDepths = [1, 2, 4, 8, 16, 32];
/** More in flight than this is no ring's size; such a cell gets the rate of the one before it. */
const mostInFlight = 32 * MiB;

/**
 * Reads at most 1.25 GiB in about `seconds`. The first region decides about the first touch; modes and engines are then
 * compared on it in two rounds, and one replaces the default only when its slower round is a tenth above the other's
 * faster one: virtual disks are noisy, and a way chosen by chance would be kept for weeks. Then come sizes and depths.
 * @param fileBytes at least one page
 * @param fresh the file may hold what has not been read yet
 */
export function measureDisk(
  sample: ReadSample,
  fileBytes: number,
  fresh: boolean,
  seconds: number,
  random: () => number = Math.random,
  now: () => number = () => performance.now() / 1000,
): DiskMeasurement {
  const deadline = now() + seconds;
  let left = mostBytes;
  let [lastRate, lastProcessor] = [0, 0];
  const span = Math.min(regionBytes, fileBytes);
  // Elsewhere every time: a probe that is repeated should not find what the last one has warmed.
  const start = Math.floor((random() * (fileBytes - span)) / MiB) * MiB;
  const affordable = (bytes: number, until: number) => bytes <= left && now() + bytes / lastRate <= until;
  const read = (way: DiskWay, offset: number, bytes: number) => {
    const result = sample(way, start + offset, bytes);
    left -= bytes;
    lastRate = result.rate;
    lastProcessor = result.processorSeconds ?? 0;
    return result;
  };

  // A third of the time for what was never read, in growing steps.
  const touchUntil = now() + seconds / 3;
  let region = Math.min(firstBytes, span);
  const first = read(defaultWay, 0, region);
  let [touched, touchSeconds] = [region, region / first.rate];
  while (region < span) {
    const step = Math.min(Math.max(region, sampleBytes), span - region);
    if (!affordable(step, touchUntil)) break;
    touched += step;
    touchSeconds += step / read(defaultWay, region, step).rate;
    region += step;
  }
  const firstTouch = fresh ? touched / touchSeconds : undefined;
  const piece = Math.min(sampleBytes, region);

  // Not measured: drops what was in the page cache, which would make buffered reads look as fast as memory.
  if (affordable(region, deadline)) read({ ...defaultWay, mode: "buffered" }, 0, region);
  let at = 0;
  const again = (way: DiskWay): number => {
    const offset = at + piece <= region ? at : 0;
    at = offset + piece;
    return read(way, offset, piece).rate;
  };
  /** The incumbent, or the challenger that beats it; undefined time or bytes: the incumbent. */
  const contest = (incumbent: DiskWay, challengers: readonly DiskWay[]): DiskWay => {
    const rounds = [incumbent, ...challengers].map((way) => ({ way, rates: [] as number[] }));
    for (let round = 0; round < 2; round++)
      for (const { way, rates } of rounds) {
        // The last measurement, of the winner, needs its share.
        if (!affordable(piece + Math.min(region, 2 * piece), deadline)) return incumbent;
        rates.push(again(way));
      }
    const toBeat = worthwhile * Math.max(...rounds[0]!.rates);
    let [best, bestRate] = [incumbent, toBeat];
    for (const { way, rates } of rounds.slice(1)) {
      const slower = Math.min(...rates);
      if (slower > bestRate) [best, bestRate] = [way, slower];
    }
    return best;
  };
  // Where direct reads are refused all ways are buffered.
  const modes: DiskWay["mode"][] = first.direct ? ["direct", "buffered"] : ["buffered"];
  const all = modes.flatMap((mode) =>
    (["uring", "threads"] as const).map((engine) => ({ ...defaultWay, mode, engine })),
  );
  let way = contest(all[0]!, all.slice(1));
  const table = measureTable((requestBytes, depth) => {
    const least = Math.max(2 * requestBytes * depth, sampleBytes / 4);
    const bytes = Math.min(least, sampleBytes, region);
    // The last measurement, of the winner, needs its share.
    if (!affordable(bytes + Math.min(region, 2 * piece), deadline)) return undefined;
    const offset = at + bytes <= region ? at : 0;
    at = offset + bytes;
    return { bytes, rate: read({ ...way, requestBytes, depth }, offset, bytes).rate };
  });
  if (table !== undefined) {
    const { requestBytes, depth } = fastestCell(table);
    way = { ...way, requestBytes, depth };
  }

  let [bytes, time, processor] = [0, 0, 0];
  do {
    bytes += piece;
    time += piece / again(way);
    processor += lastProcessor;
  } while (bytes < 4 * sampleBytes && affordable(piece, deadline));
  const rates = { bytesPerSecond: bytes / time, firstTouchBytesPerSecond: firstTouch, table };
  return { ...way, ...rates, processorSecondsPerByte: processor / bytes };
}

/** Each cell twice, far apart in time; undefined when there is no time for all of them once. */
function measureTable(
  sample: (requestBytes: number, depth: number) => { bytes: number; rate: number } | undefined,
): DiskTable | undefined {
  const sums = tableSizes.map(() => tableDepths.map(() => ({ bytes: 0, seconds: 0 })));
  let complete = false;
  rounds: for (let round = 0; round < 2; round++) {
    for (const [i, requestBytes] of tableSizes.entries())
      for (const [j, depth] of tableDepths.entries()) {
        if (requestBytes * depth > mostInFlight) continue;
        const found = sample(requestBytes, depth);
        if (found === undefined) break rounds;
        const sum = sums[i]![j]!;
        sum.bytes += found.bytes;
        sum.seconds += found.bytes / found.rate;
      }
    complete = true;
  }
  if (!complete) return undefined;
  const bytesPerSecond = sums.map((row) => {
    let rate = 0;
    return row.map(({ bytes, seconds }) => {
      if (seconds > 0) rate = bytes / seconds;
      return rate;
    });
  });
  return { requestBytes: tableSizes, depths: tableDepths, bytesPerSecond };
}

const engineIds = idsOf(ioEngines);

/** @throws FILE_IO and others of the addon */
export function sampler(addon: NativeAddon, path: string): ReadSample {
  const out = new NamedNumbers(readRates);
  return ({ mode, engine, depth, requestBytes }, offset, bytes) => {
    const extents = Float64Array.of(offset, bytes);
    const before = process.cpuUsage();
    addon.readRate(path, mode === "direct", engineIds[engine], depth, requestBytes, extents, out.values);
    const { user, system } = process.cpuUsage(before);
    const rate = out.get("bytes") / Math.max(1e-9, out.get("seconds"));
    return { rate, direct: out.get("direct") === 1, processorSeconds: (user + system) / 1e6 };
  };
}

/** Models below this are not worth a disk measurement of their own: a temporary file beside them stands for them. */
const leastFile = 64 * MiB;

/**
 * The disk on which a model, or a folder, lies.
 * @throws FILE_IO when it cannot be read, or a temporary file cannot be written in the folder
 */
export function measureDiskOf(addon: NativeAddon, path: string, seconds: number): DiskMeasurement {
  const stats = statSync(path);
  if (stats.isFile() && stats.size >= leastFile) return measureDisk(sampler(addon, path), stats.size, true, seconds);
  const folder = stats.isDirectory() ? path : dirname(path);
  const { file, remove } = temporaryFile(folder, regionBytes, seconds / 3);
  try {
    return measureDisk(sampler(addon, file), statSync(file).size, false, seconds);
  } finally {
    remove();
  }
}

/** Random bytes on the disk, as many as can be written in `seconds`; gone with the process whatever happens (Linux). */
function temporaryFile(folder: string, bytes: number, seconds: number): { file: string; remove: () => void } {
  let made: string | undefined;
  let fd: number | undefined;
  try {
    made = mkdtempSync(join(folder, ".hundredweight-probe-"));
    const name = join(made, "data");
    fd = openSync(name, "wx+", 0o600);
    const descriptor = fd;
    const folderMade = made;
    if (process.platform === "linux") {
      unlinkSync(name);
      rmSync(made, { recursive: true });
    }
    const block = randomFillSync(new Uint8Array(4 * MiB));
    const until = performance.now() + 1000 * seconds;
    for (let written = 0; written < bytes && (written === 0 || performance.now() < until); written += block.length) {
      if (writeSync(fd, block) !== block.length) break;
      fsyncSync(fd);
    }
    return {
      file: process.platform === "linux" ? `/proc/self/fd/${fd}` : name,
      remove: () => {
        closeSync(descriptor);
        rmSync(folderMade, { recursive: true, force: true });
      },
    };
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    if (made !== undefined) rmSync(made, { recursive: true, force: true });
    throw asHundredweightError(error, "FILE_IO");
  }
}
