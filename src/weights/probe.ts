/** Measures what the planner has to know of the machine, and remembers it per processor and per disk. */
import { statSync } from "node:fs";
import { cpus } from "node:os";
import { basename } from "node:path";
import { asHundredweightError } from "../errors.js";
import { addonStatus, loadAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import { memoryRates } from "../native/boundary.js";
import { NamedNumbers } from "../native/named-numbers.js";
import { defaultThreads } from "../native/threads.js";
import { measureCompute } from "./compute-rates.js";
import { diskInfo } from "./disk-info.js";
import { defaultMachine, type MachineProfile } from "./machine.js";
import { memoryLimit } from "./memory-limit.js";
import { type CpuMeasurement, cachePath, type Dated, type LearnedRates, readCache, writeCache } from "./probe-cache.js";
import { type DiskMeasurement, measureDiskOf } from "./probe-disk.js";

export interface ProbedMachine {
  /** Measured rates where there are any, guesses elsewhere. */
  readonly profile: MachineProfile;
  readonly cpu: (CpuMeasurement & Dated) | undefined;
  readonly disk: (DiskMeasurement & Dated) | undefined;
  /** Rates that passes of the same file have shown since the processor was measured: the profile's memory rate then. */
  readonly learned: (LearnedRates & Dated) | undefined;
  /** Notes on what went wrong: no addon, a folder that cannot be written, a cache that cannot be kept. */
  readonly notes: readonly string[];
}

export interface ProbeOptions {
  /** A model file, or the folder of one; without it no disk is meant. */
  readonly path?: string;
  /** Default: one per physical core. */
  readonly threads?: number;
}

export interface MeasureOptions extends ProbeOptions {
  /** Measures again what is known. */
  readonly refresh?: boolean;
  /** False: of the disk only what is remembered counts. Default true. */
  readonly disk?: boolean;
  /** About how long, memory and disk together. Default 3. */
  readonly seconds?: number;
  readonly addon?: NativeAddon | undefined;
}

/** At least this much memory is read, or a quarter of what a model could have. */
const wantedMemory = 2 ** 31;
const leastMemory = 2 ** 20;

/**
 * HUNDREDWEIGHT_PROBE=off: nothing is measured or remembered, plans are made of guesses alone and the same everywhere.
 */
export const probeAllowed = (): boolean => process.env.HUNDREDWEIGHT_PROBE !== "off";

/** Whether a plan's times rest on rates that nobody has measured. */
export function restsOnGuesses({ cpu, disk }: Pick<ProbedMachine, "cpu" | "disk">, readsDisk: boolean): boolean {
  return cpu === undefined || (readsDisk && disk === undefined);
}

/** The machine with what is remembered of it. Measures nothing. */
export function knownMachine(options: ProbeOptions = {}): ProbedMachine {
  if (!probeAllowed()) return machineWith(options, undefined, undefined, []);
  const known = readCache(cachePath());
  const device = options.path === undefined ? undefined : deviceKey(options.path);
  const model = modelKey(options);
  return machineWith(
    options,
    known.cpus[processorKey(options)],
    device === undefined ? undefined : known.disks[device],
    [],
    model === undefined ? undefined : known.models[model],
  );
}

/**
 * Keeps what a model's passes have shown, for the next plan of the same file. Only beside a probe: a machine that
 * nobody measured stays one of guesses.
 */
export function rememberModel(options: ProbeOptions, memoryBytesPerSecond: number): void {
  const model = modelKey(options);
  if (!probeAllowed() || model === undefined) return;
  const file = cachePath();
  if (readCache(file).cpus[processorKey(options)] === undefined) return;
  writeCache(file, { models: { [model]: { memoryBytesPerSecond, measuredAt: new Date().toISOString() } } });
}

/**
 * Measures what is not remembered, and remembers it. Never fails: what cannot be measured stays a guess, see `notes`.
 * An explicit call measures whatever HUNDREDWEIGHT_PROBE says.
 */
export function probeMachine(options: MeasureOptions = {}): ProbedMachine {
  const { path, refresh = false, disk: wanted = true, seconds = 3, addon = loadAddon() } = options;
  const file = cachePath();
  const known = refresh ? { cpus: {}, disks: {}, models: {} } : readCache(file);
  const notes: string[] = [];
  if (addon === undefined) return machineWith(options, undefined, undefined, ["nothing is measured without the addon"]);
  const attempt = <T extends object>(measure: () => T): (T & Dated) | undefined => {
    try {
      return { ...measure(), measuredAt: new Date().toISOString() };
    } catch (error) {
      notes.push(asHundredweightError(error).message);
      return undefined;
    }
  };
  const processor = processorKey(options);
  const device = path === undefined ? undefined : deviceKey(path);
  const oldDisk = device === undefined ? undefined : known.disks[device];
  const oldCpu = known.cpus[processor];
  // First the disk: the page cache that memory would be taken from is part of what it meets.
  const measured =
    path === undefined || !wanted || oldDisk !== undefined
      ? undefined
      : attempt(() => measureDiskOf(addon, path, seconds / 2));
  // A file made for the purpose has no first touch; that of a model, once measured, still holds.
  const firstTouch = device === undefined ? undefined : readCache(file).disks[device]?.firstTouchBytesPerSecond;
  const disk =
    oldDisk ?? (measured && { ...measured, firstTouchBytesPerSecond: measured.firstTouchBytesPerSecond ?? firstTouch });
  const cpu = oldCpu ?? attempt(() => measureCpu(addon, options.threads ?? defaultThreads(), seconds / 2));
  const more = {
    ...(cpu !== undefined && cpu !== oldCpu && { cpus: { [processor]: cpu } }),
    ...(disk !== undefined && disk !== oldDisk && device !== undefined && { disks: { [device]: disk } }),
  };
  if (Object.keys(more).length > 0) {
    const failed = writeCache(file, more);
    if (failed !== undefined) notes.push(`not remembered: ${failed}`);
  }
  const model = modelKey(options);
  return machineWith(options, cpu, disk, notes, model === undefined ? undefined : known.models[model]);
}

/** Ways of reading memory, as `doctor` names them. */
const loops = {
  hugePlain: "plain, 2 MiB pages",
  hugePrefetch: "prefetch, 2 MiB pages",
  hugePrefetchOnce: "non-temporal prefetch, 2 MiB pages",
  smallPlain: "plain, ordinary pages",
  smallPrefetch: "prefetch, ordinary pages",
  smallPrefetchOnce: "non-temporal prefetch, ordinary pages",
} as const;
const loopNames = Object.keys(loops) as (keyof typeof loops)[];

function measureCpu(addon: NativeAddon, threads: number, seconds: number): CpuMeasurement {
  const rates = new NamedNumbers(memoryRates);
  const quarter = Math.floor(memoryLimit().budgetBytes / 4);
  const computeSeconds = seconds / 2;
  addon.memoryRate(
    threads,
    Math.max(leastMemory, Math.min(wantedMemory, quarter)),
    seconds - computeSeconds,
    rates.values,
  );
  const computeRates = measureCompute(addon, threads, computeSeconds);
  const best = loopNames.reduce((a, b) => (rates.get(b) > rates.get(a) ? b : a));
  return {
    memoryReadBytesPerSecond: rates.get(best),
    loop: loops[best],
    // The commonest type stands for all where one figure is wanted.
    gemmOpsPerSecond: computeRates.products.Q4_K!.opsPerSecond,
    computeRates,
  };
}

function machineWith(
  { threads }: ProbeOptions,
  cpu: ProbedMachine["cpu"],
  disk: ProbedMachine["disk"],
  notes: readonly string[],
  remembered?: LearnedRates & Dated,
): ProbedMachine {
  // Measuring again begins anew.
  const learned =
    cpu !== undefined && remembered !== undefined && remembered.measuredAt > cpu.measuredAt ? remembered : undefined;
  const profile = defaultMachine({
    ...(threads !== undefined && { threads }),
    ...(cpu !== undefined && {
      computeRates: cpu.computeRates,
      memoryReadBytesPerSecond: learned?.memoryBytesPerSecond ?? cpu.memoryReadBytesPerSecond,
      gemmOpsPerSecond: cpu.gemmOpsPerSecond,
    }),
    ...(disk !== undefined && {
      diskReadBytesPerSecond: disk.bytesPerSecond,
      ...(disk.table !== undefined && { diskTable: disk.table }),
      ...(disk.processorSecondsPerByte !== undefined && {
        diskProcessorSecondsPerByte: disk.processorSecondsPerByte,
      }),
    }),
    ...(disk?.firstTouchBytesPerSecond !== undefined && {
      diskFirstTouchBytesPerSecond: disk.firstTouchBytesPerSecond,
    }),
  });
  return { profile, cpu, disk, learned, notes };
}

function processorKey({ threads = defaultThreads() }: ProbeOptions): string {
  const { cpu, isa } = addonStatus();
  return `${cpu?.model ?? cpus()[0]?.model ?? "unknown"}, ${isa ?? "?"}, ${threads} threads`;
}

/** A file of another size is another model. */
function modelKey(options: ProbeOptions): string | undefined {
  if (options.path === undefined) return undefined;
  try {
    return `${processorKey(options)}, ${basename(options.path)} ${statSync(options.path).size}`;
  } catch {
    return undefined;
  }
}

/** Numbers of devices are given anew at a restart; together with the mount point a mistake is unlikely. */
function deviceKey(path: string): string | undefined {
  try {
    return `${statSync(path).dev} ${diskInfo(path).mountPoint ?? ""}`.trim();
  } catch {
    return undefined;
  }
}
