/** Before a plan rests on rates of disk and memory that nobody has measured: measures them, once. */
import { statSync } from "node:fs";
import { loadavg } from "node:os";
import { memoryLimit } from "../../weights/memory-limit.js";
import type { MeasureOptions, ProbedMachine } from "../../weights/probe.js";
import { tell } from "../terminal/output.js";
import { loadOptions, type ModelFlags } from "./model-options.js";

const seconds = 3;

export const noProbe = ["--no-probe", "do not measure disk and memory where nobody has"] as const;

/** Measures what is not known and says on stderr what was found. */
export async function measureFirst(options: Omit<MeasureOptions, "seconds">): Promise<ProbedMachine> {
  const { probeMachine } = await import("../../weights/probe.js");
  const what = options.disk === false ? "memory" : "disk and memory";
  const about = options.disk === false ? seconds / 2 : seconds;
  tell(`measuring ${what} for the first time, about ${about} s (--no-probe skips it)`);
  const load = loadavg()[0]!; // before: measuring is work itself
  const probed = probeMachine({ ...options, seconds });
  for (const line of [...probeLines(probed), ...probed.notes, ...busyNote(probed.profile.threads, load)])
    tell(`  ${line}`);
  return probed;
}

interface ProbeFlags extends ModelFlags {
  readonly probe?: boolean;
}

/** The machine as it is known, where rates of memory or of this file's disk are not, and may be measured. */
async function unmeasured(path: string, flags: ProbeFlags): Promise<ProbedMachine | undefined> {
  const [{ loadAddon }, probe] = await Promise.all([import("../../native/addon.js"), import("../../weights/probe.js")]);
  if (flags.probe === false || flags.ops === "reference" || !probe.probeAllowed() || loadAddon() === undefined)
    return undefined;
  const known = probe.knownMachine(machineFor(path, flags));
  return known.disk === undefined || known.cpu === undefined ? known : undefined;
}

const machineFor = (path: string, { threads }: ProbeFlags) => ({ path, ...(threads !== undefined && { threads }) });

/** Whatever the model: what is not known is measured. */
export async function measureUnknown(path: string, flags: ProbeFlags): Promise<void> {
  if ((await unmeasured(path, flags)) !== undefined) await measureFirst(machineFor(path, flags));
}

/**
 * Does nothing for a model that will be resident, and where the rates are known. Says on stderr what it does.
 * @throws what opening the model throws
 */
export async function probeOnFirstUse(path: string, flags: ProbeFlags): Promise<void> {
  if (flags.weightsMemory !== undefined || flags.io === "mmap") return;
  // A header with a large vocabulary takes a while to read, what reads it a while to load: not for models that are
  // clearly small.
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size < (flags.memory ?? memoryLimit().budgetBytes) / 4 && !/-of-\d+\.gguf$/i.test(path)) return;
  const known = await unmeasured(path, flags);
  if (known === undefined) return;
  const [{ planOptions }, { openCheckpoint }, { describeModel }, { Planner }] = await Promise.all([
    import("../../engine/resources.js"),
    import("../../containers/checkpoint.js"),
    import("../../models/index.js"),
    import("../../weights/plan.js"),
  ]);
  const description = describeModel(await openCheckpoint(path));
  const planner = new Planner(description, known.profile, planOptions(loadOptions(flags)));
  const plan = planner.tryPlan(flags.memory ?? known.profile.availableBytes);
  if (plan === undefined || plan.strategy === "resident") return; // the engine says why nothing fits
  await measureFirst(machineFor(path, flags));
}

/** Asked before measuring, which is work itself: whether others had work for more than half of the threads. */
export function busyNote(threads: number, load = loadavg()[0]!): string[] {
  if (load <= threads / 2) return [];
  return [
    `the machine was busy (load ${load.toFixed(1)}, ${threads} threads): rates may be too low; doctor ` +
      `--probe measures again`,
  ];
}

/** The measured rates, a line each. */
export function probeLines({ cpu, disk, profile }: Pick<ProbedMachine, "cpu" | "disk" | "profile">): string[] {
  const gbs = (rate: number) => `${(rate / 1e9).toFixed(2)} GB/s`;
  const lines: string[] = [];
  if (disk !== undefined) {
    const first = disk.firstTouchBytesPerSecond;
    lines.push(
      `disk ${gbs(disk.bytesPerSecond)}${first === undefined ? "" : `, ${gbs(first)} the first time`} ` +
        `(${disk.mode}, ${disk.engine === "uring" ? "io_uring" : "threads"}, ${disk.depth} reads of ` +
        `${disk.requestBytes / 2 ** 20} MiB in flight); measured on ${disk.measuredAt.slice(0, 10)}`,
    );
  }
  if (cpu !== undefined)
    lines.push(
      `memory ${gbs(cpu.memoryReadBytesPerSecond)} (${cpu.loop}), products ` +
        `${(cpu.gemmOpsPerSecond / 1e9).toFixed(0)} GOP/s, ` +
        `${profile.threads} threads; measured on ${cpu.measuredAt.slice(0, 10)}`,
    );
  return lines;
}
