/**
 * How many compute threads to start, and on which CPUs. By default one per physical core this process may use, at most
 * its cgroup's CPU quota: a second hyper-thread of a core adds nothing to memory-bound kernels and halves what the
 * first one gets.
 */
import { availableParallelism } from "node:os";
import { HundredweightError } from "../errors.js";
import { addonStatus } from "./addon.js";
import {
  allowedCpus,
  currentCpu,
  fastCpus,
  fromSystem,
  memoryNodes,
  oneCpuPerCore,
  type ReadText,
} from "./topology.js";

/**
 * @param environment OMP_NUM_THREADS is honoured, as programs are that use OpenMP: its first number
 * @param known cores as the addon counts them, where the system has no files that tell
 */
export function defaultThreads(
  read: ReadText = fromSystem,
  environment: { readonly OMP_NUM_THREADS?: string | undefined } = process.env,
  known: () => CoreCount | undefined = coresOfAddon,
): number {
  const wanted = /^\s*(\d{1,4})\s*(?:,|$)/.exec(environment.OMP_NUM_THREADS ?? "");
  if (wanted !== null && Number(wanted[1]) > 0) return Number(wanted[1]);
  const cpus = allowedCpus(read);
  const cores = cpus === undefined ? coresElsewhere(known()) : oneCpuPerCore(fastCpus(cpus, read), read).length;
  // A quota of 1.5 CPUs runs one thread at full speed and would stall the second half of the time.
  const quota = Math.max(1, Math.floor(cpuQuota(read) ?? Infinity));
  return Math.max(1, Math.min(cores, quota));
}

export interface CoreCount {
  readonly physicalCores: number;
  readonly fastestCores: number;
}

/**
 * On Windows and macOS the addon counts cores. Of two kinds the fast ones are enough where they are half of all or
 * more: every region waits for its slowest thread.
 */
function coresElsewhere(known: CoreCount | undefined): number {
  if (known === undefined) return availableParallelism();
  const { physicalCores, fastestCores } = known;
  const cores = 2 * fastestCores >= physicalCores ? fastestCores : physicalCores;
  return Math.min(cores, availableParallelism());
}

function coresOfAddon(): CoreCount | undefined {
  if (process.platform === "linux") return undefined; // without /proc its topology is missing, too
  return addonStatus().cpu;
}

/** As llama.cpp names them: over all memory nodes, on the one we are on, or where numactl has put us. */
export const numaModes = ["distribute", "isolate", "numactl"] as const;
export type NumaMode = (typeof numaModes)[number];

export interface ThreadOptions {
  /** Default: one per physical core. */
  readonly threads?: number | undefined;
  /** Threads of passes of more than one token row: prompts, and several answers at once. Default: `threads`. */
  readonly threadsBatch?: number | undefined;
  /** CPUs that the threads are bound to, in turn. */
  readonly cpuList?: readonly number[] | undefined;
  readonly numa?: NumaMode | undefined;
}

export interface ThreadLayout {
  readonly threads: number;
  readonly threadsBatch: number;
  /** Both: as many are started. */
  readonly most: number;
  /** Thread i is bound to CPU i of these, in turn; empty: not bound. */
  readonly cpuList: readonly number[];
  /**
   * Thread i is on node i modulo `nodes`, and what the threads of a node read is put into its memory. 0: memory is
   * where it happens to be.
   */
  readonly nodes: number;
}

/** @throws OPTION_INVALID */
export function threadLayout(options: ThreadOptions, read: ReadText = fromSystem): ThreadLayout {
  const { cpuList = [], numa } = options;
  for (const [name, value] of [
    ["threads", options.threads],
    ["threadsBatch", options.threadsBatch],
  ] as const) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 1))
      throw new HundredweightError("OPTION_INVALID", `${name} must be a whole number of at least 1, not ${value}`);
  }
  const layout = (threads: number, placed: readonly number[], nodes: number): ThreadLayout => {
    const threadsBatch = options.threadsBatch ?? threads;
    return { threads, threadsBatch, most: Math.max(threads, threadsBatch), cpuList: placed, nodes };
  };
  if (numa === undefined || numa === "numactl")
    return layout(options.threads ?? (cpuList.length || defaultThreads(read)), cpuList, 0);
  if (cpuList.length > 0)
    throw new HundredweightError("OPTION_INVALID", `numa ${numa} chooses CPUs itself: leave the list of CPUs away`);
  const all = memoryNodes(read);
  if (all.length === 0)
    throw new HundredweightError("OPTION_INVALID", `numa ${numa}: this system does not tell its memory nodes`);
  const here = currentCpu(read);
  const mine = all.find(({ cpus }) => here !== undefined && cpus.includes(here)) ?? all[0]!;
  const used = numa === "isolate" ? [mine] : all;
  const cores = Math.max(1, Math.min(...used.map((node) => node.cores)));
  const quota = Math.max(1, Math.floor(cpuQuota(read) ?? Infinity));
  // As many on each node: a node's share of the rows is its share of the threads.
  const even = Math.max(used.length, Math.floor(Math.min(cores * used.length, quota) / used.length) * used.length);
  const chosen = layout(options.threads ?? even, [], used.length);
  if (Math.min(chosen.threads, chosen.threadsBatch) < used.length)
    throw new HundredweightError("OPTION_INVALID", `numa ${numa}: ${used.length} nodes want as many threads at least`);
  const placed = Array.from({ length: chosen.most }, (_, i) => {
    const { cpus } = used[i % used.length]!;
    return cpus[Math.floor(i / used.length) % cpus.length]!;
  });
  return { ...chosen, cpuList: placed };
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
