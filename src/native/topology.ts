/**
 * Which processors and memory nodes this process may use, from Linux's /sys and /proc
 * (Documentation/ABI/stable/sysfs-devices-node, .../sysfs-devices-system-cpu). Elsewhere nothing is known here.
 */
import { readFileSync } from "node:fs";

/** Contents of a system file, undefined when it cannot be read. */
export type ReadText = (path: string) => string | undefined;

/** Only Linux has such files, whatever lies at these places elsewhere. */
export const fromSystem: ReadText = (path) => {
  if (process.platform !== "linux") return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

const cpuFolder = "/sys/devices/system/cpu";
const nodeFolder = "/sys/devices/system/node";

/** `0-2,8` -> [0, 1, 2, 8]; undefined when it is not such a list. */
export function parseCpuRanges(text: string): number[] | undefined {
  const cpus: number[] = [];
  for (const part of text.trim().split(",")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (!match) return undefined;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last - first > 65536) return undefined;
    for (let cpu = first; cpu <= last; cpu++) cpus.push(cpu);
  }
  return cpus;
}

/** CPUs of the affinity mask (taskset, numactl, cpusets of a container). */
export function allowedCpus(read: ReadText = fromSystem): number[] | undefined {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(read("/proc/self/status") ?? "");
  return list === null ? undefined : parseCpuRanges(list[1]!);
}

/** Package and core of a CPU. Without a topology (some virtual machines) every CPU is a core. */
function coreOf(cpu: number, read: ReadText): string {
  const folder = `${cpuFolder}/cpu${cpu}/topology`;
  const core = read(`${folder}/core_id`)?.trim();
  return core === undefined ? `cpu${cpu}` : `${read(`${folder}/physical_package_id`)?.trim()}/${core}`;
}

/** The first CPU of every core among `cpus`, in their order. */
export function oneCpuPerCore(cpus: readonly number[], read: ReadText = fromSystem): number[] {
  const seen = new Set<string>();
  return cpus.filter((cpu) => {
    const core = coreOf(cpu, read);
    return !seen.has(core) && seen.add(core);
  });
}

/**
 * Those of `cpus` whose cores are made for speed, where a processor has two kinds; else all. Intel's hybrids list them;
 * Arm's tell a capacity of each, and a small one has less than half of the largest.
 */
export function fastCpus(cpus: readonly number[], read: ReadText = fromSystem): number[] {
  const performance = parseCpuRanges(read("/sys/devices/cpu_core/cpus") ?? "");
  let fast = cpus.filter((cpu) => performance?.includes(cpu));
  if (performance === undefined) {
    const capacity = new Map(cpus.map((cpu) => [cpu, Number(read(`${cpuFolder}/cpu${cpu}/cpu_capacity`) ?? 0)]));
    const largest = Math.max(0, ...capacity.values());
    fast = cpus.filter((cpu) => 2 * capacity.get(cpu)! >= largest);
  }
  return fast.length > 0 ? fast : [...cpus];
}

export interface MemoryNode {
  readonly node: number;
  /** CPUs of it that this process may use, one for each core first, then their second threads. */
  readonly cpus: readonly number[];
  /** How many of them are cores. */
  readonly cores: number;
}

/** Memory nodes that have CPUs which this process may use, ascending. Empty: the system does not tell. */
export function memoryNodes(read: ReadText = fromSystem): MemoryNode[] {
  const allowed = allowedCpus(read);
  const online = parseCpuRanges(read(`${nodeFolder}/online`) ?? "") ?? [];
  return online.flatMap((node) => {
    const all = parseCpuRanges(read(`${nodeFolder}/node${node}/cpulist`) ?? "") ?? [];
    const usable = all.filter((cpu) => allowed?.includes(cpu) ?? true);
    const cores = oneCpuPerCore(fastCpus(usable, read), read);
    const rest = usable.filter((cpu) => !cores.includes(cpu));
    return usable.length === 0 ? [] : [{ node, cpus: [...cores, ...rest], cores: cores.length }];
  });
}

/** The CPU this process ran on last: field 39 of /proc/self/stat, counted behind the name, which may hold anything. */
export function currentCpu(read: ReadText = fromSystem): number | undefined {
  const fields = (read("/proc/self/stat") ?? "").split(") ").at(-1)!.split(" ");
  const cpu = Number(fields[36]);
  return fields.length > 36 && Number.isInteger(cpu) ? cpu : undefined;
}
