/**
 * How many compute threads to start by default: one per physical core this process may use, at most its cgroup's CPU
 * quota. A second hyper-thread of a core adds nothing to memory-bound kernels and halves what the first one gets.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** Contents of a system file, undefined when it cannot be read. */
export type ReadText = (path: string) => string | undefined;

const fromSystem: ReadText = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

export function defaultThreads(read: ReadText = fromSystem): number {
  const cpus = allowedCpus(read);
  const cores = cpus === undefined ? availableParallelism() : countCores(cpus, read);
  // A quota of 1.5 CPUs runs one thread at full speed and would stall the second half of the time.
  const quota = Math.max(1, Math.floor(cpuQuota(read) ?? Infinity));
  return Math.max(1, Math.min(cores, quota));
}

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

/** CPUs of the affinity mask (taskset, cpusets of a container). */
function allowedCpus(read: ReadText): number[] | undefined {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(read("/proc/self/status") ?? "");
  return list === null ? undefined : parseCpuRanges(list[1]!);
}

function countCores(cpus: readonly number[], read: ReadText): number {
  const cores = new Set<string>();
  for (const cpu of cpus) {
    const folder = `/sys/devices/system/cpu/cpu${cpu}/topology`;
    const core = read(`${folder}/core_id`)?.trim();
    // Without a topology (some virtual machines) every CPU counts.
    cores.add(core === undefined ? `cpu${cpu}` : `${read(`${folder}/physical_package_id`)?.trim()}/${core}`);
  }
  return cores.size;
}

/** CPUs' worth of time per period that this process's cgroup and those above it leave; undefined = no limit. */
export function cpuQuota(read: ReadText = fromSystem): number | undefined {
  let least: number | undefined;
  const take = (quota: number, period: number) => {
    if (quota > 0 && period > 0) least = Math.min(least ?? Infinity, quota / period);
  };
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    if (controllers === "") {
      forEachAncestor(path, (folder) => {
        const [quota, period] = (read(`/sys/fs/cgroup${folder}/cpu.max`) ?? "").trim().split(/\s+/).map(Number);
        take(quota ?? 0, period ?? 0);
      });
    } else if (controllers.split(",").includes("cpu")) {
      for (const root of [`/sys/fs/cgroup/${controllers}`, "/sys/fs/cgroup/cpu"]) {
        forEachAncestor(path, (folder) => {
          const quota = Number(read(`${root}${folder}/cpu.cfs_quota_us`) ?? 0);
          take(quota, Number(read(`${root}${folder}/cpu.cfs_period_us`) ?? 0));
        });
      }
    }
  }
  return least;
}

/** `/a/b` -> `/a/b`, `/a`, and the root, which is what a container sees as its own group. */
function forEachAncestor(path: string, use: (folder: string) => void): void {
  for (let folder = path.replace(/\/+$/, ""); folder !== ""; folder = folder.slice(0, folder.lastIndexOf("/")))
    use(folder);
  use("");
}
