/**
 * How much memory this process may really use: the machine, the cgroup it runs in (v1 or v2), its own limits; on
 * Windows what may be committed and the job it belongs to.
 */
import { existsSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { HundredweightError } from "../errors.js";
import { type MemoryState, memoryState } from "../native/memory-state.js";

export interface MemoryLimit {
  /** Bytes the machine has. */
  readonly totalBytes: number;
  /** Bytes that can be used without swapping, machine-wide. */
  readonly availableBytes: number;
  /**
   * The cgroup on the way up that leaves least, and what is used of its limit; page cache can be dropped and is not.
   */
  readonly cgroup:
    | { readonly version: 1 | 2; readonly path: string; readonly limitBytes: number; readonly usedBytes: number }
    | undefined;
  /** Memory and page files together, which all programs may commit (Windows). */
  readonly commit: Limited | undefined;
  /** The limit of the job this process belongs to (Windows), and what this process uses of it. */
  readonly job: Limited | undefined;
  /** How scarce memory is, as macOS says it: 1 normal, 2 warning, 4 critical; undefined elsewhere. */
  readonly pressure: number | undefined;
  /** The process's own limits, each Infinity when there is none. */
  readonly process: ProcessLimits;
  /** The tightest ceiling there is, whatever is in use: machine, cgroups, the process's own limits. */
  readonly ceiling: Ceiling;
  /** Kept back for the system and other programs. */
  readonly marginBytes: number;
  /** Bytes left for a model, with what this process holds already: the smallest of all, less the margin. */
  readonly budgetBytes: number;
}

export interface Limited {
  readonly limitBytes: number;
  readonly usedBytes: number;
}

export interface Ceiling {
  readonly bytes: number;
  /** The name of the limit, for a sentence: "the machine's memory", "the memory limit of this cgroup (v2)". */
  readonly name: string;
  /** In use below it by others than this process; nothing a model could have. */
  readonly othersBytes: number;
}

export interface ProcessLimits {
  /** RLIMIT_AS: everything mapped, files included. */
  readonly addressSpaceBytes: number;
  /** RLIMIT_DATA: private writable memory. */
  readonly dataBytes: number;
  /** RLIMIT_MEMLOCK: weights beyond it are not locked and may be swapped out; it limits nothing else. */
  readonly lockedBytes: number;
  /** Below the tighter of the first two, beyond what this process has already. */
  readonly leftBytes: number;
}

/**
 * Left to the system and to other programs: a share of what is free, and at least this much, or less where the limit is
 * small.
 */
const marginShare = 1 / 16;
const marginLeast = 256 * 2 ** 20;
const marginLeastShare = 1 / 8;
/**
 * Memory of this process is counted in every plan's runtime, so it is not taken from the budget a second time; of a
 * process that has grown beyond that (another model) only this much.
 */
const ownMost = 96 * 2 ** 20;

/** Where Linux's files about the system are; other systems have none, whatever lies at these places. */
const linuxRoot = process.platform === "linux" ? "/" : undefined;

export function memoryLimit(root: string | undefined = linuxRoot, state: MemoryState = memoryState()): MemoryLimit {
  const totalBytes = state.totalBytes ?? totalmem();
  const info = read(at(root, "proc/meminfo")) ?? "";
  const kib = /^MemAvailable:\s+(\d+) kB/m.exec(info)?.[1];
  const availableBytes = kib === undefined ? (state.availableBytes ?? process.availableMemory()) : Number(kib) * 1024;
  const cgroup = cgroupLimit(root);
  const own = processLimits(root);
  const commit = limited(state.commitLimitBytes, state.commitLeftBytes);
  const job = limited(state.jobLimitBytes, state.jobLeftBytes);
  const held = Math.min(ownMost, state.ownBytes ?? ownBytes(root));
  const ceiling = lowest({ totalBytes, availableBytes, cgroup, commit, job, process: own }, held);
  const left = (limit: Limited | undefined): number =>
    limit === undefined ? Infinity : Math.max(0, limit.limitBytes - limit.usedBytes + Math.min(held, limit.usedBytes));
  const free = Math.min(availableBytes + held, own.leftBytes, left(cgroup), left(commit), left(job));
  const least = Math.min(marginLeast, ceiling.bytes * marginLeastShare);
  const marginBytes = Math.floor(Math.max(least, free * marginShare));
  const budgetBytes = Math.max(0, Math.floor(free - marginBytes));
  const { pressure } = state;
  return { totalBytes, availableBytes, cgroup, commit, job, pressure, process: own, ceiling, marginBytes, budgetBytes };
}

/** Why a budget cannot be kept here, whatever is free now: the system would end the process. Undefined: it can. */
export function overCeiling(budgetBytes: number, { ceiling, budgetBytes: free }: MemoryLimit): string | undefined {
  const { bytes, name, othersBytes } = ceiling;
  if (budgetBytes <= bytes) return undefined;
  const others = othersBytes < 2 ** 20 ? "" : ` (others use ${sizeOf(othersBytes)} of it)`;
  return (
    `--memory ${sizeOf(budgetBytes)} is more than ${name} of ${sizeOf(bytes)}${others}; going over that ` +
    `ends the process: give less (${sizeOf(free)} are free now), or raise the limit`
  );
}

/** @throws MEMORY_BUDGET above the machine's memory, the cgroup's limit or one of the process's own */
export function checkBudget(budgetBytes: number, limit: MemoryLimit = memoryLimit()): void {
  const fault = overCeiling(budgetBytes, limit);
  if (fault === undefined) return;
  const { bytes, othersBytes } = limit.ceiling;
  throw new HundredweightError("MEMORY_BUDGET", fault, { budgetBytes, limitBytes: bytes, usedBytes: othersBytes });
}

/** For sentences: whole MiB below 10 GiB, GiB with one digit above. */
export function sizeOf(bytes: number): string {
  return bytes < 10 * 2 ** 30 ? `${Math.floor(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

type Limits = Pick<MemoryLimit, "totalBytes" | "availableBytes" | "cgroup" | "commit" | "job" | "process">;

function lowest({ totalBytes, availableBytes, cgroup, commit, job, process: own }: Limits, held: number): Ceiling {
  const others = (used: number) => Math.max(0, used - held);
  const found: Ceiling[] = [
    { bytes: totalBytes, name: "this machine's memory", othersBytes: others(totalBytes - availableBytes) },
    { bytes: own.addressSpaceBytes, name: "this process's limit on address space (ulimit -v)", othersBytes: 0 },
    { bytes: own.dataBytes, name: "this process's limit on data (ulimit -d)", othersBytes: 0 },
  ];
  if (cgroup !== undefined)
    found.push({
      bytes: cgroup.limitBytes,
      name: `the memory limit of this cgroup (v${cgroup.version})`,
      othersBytes: others(cgroup.usedBytes),
    });
  if (commit !== undefined)
    found.push({
      bytes: commit.limitBytes,
      name: "what this system may commit (memory and page files)",
      othersBytes: others(commit.usedBytes),
    });
  if (job !== undefined)
    found.push({
      bytes: job.limitBytes,
      name: "the memory limit of this process's job",
      othersBytes: others(job.usedBytes),
    });
  return found.reduce((least, ceiling) => (ceiling.bytes < least.bytes ? ceiling : least));
}

function limited(limitBytes: number | undefined, leftBytes: number | undefined): Limited | undefined {
  if (limitBytes === undefined || leftBytes === undefined) return undefined;
  return { limitBytes, usedBytes: Math.max(0, limitBytes - leftBytes) };
}

/** Memory of this process that is no file's. */
function ownBytes(root: string | undefined): number {
  return 1024 * Number(/^RssAnon:\s+(\d+) kB/m.exec(read(at(root, "proc/self/status")) ?? "")?.[1] ?? 0);
}

function processLimits(root: string | undefined): ProcessLimits {
  const limits = read(at(root, "proc/self/limits")) ?? "";
  const status = read(at(root, "proc/self/status")) ?? "";
  // The soft limit is the one that counts; "unlimited" is no number.
  const soft = (name: string) => Number(new RegExp(`^${name}\\s+(\\d+)\\s`, "m").exec(limits)?.[1] ?? Infinity);
  const used = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
  const addressSpaceBytes = soft("Max address space");
  const dataBytes = soft("Max data size");
  const left = Math.min(addressSpaceBytes - used("VmSize"), dataBytes - used("VmData"));
  return { addressSpaceBytes, dataBytes, lockedBytes: soft("Max locked memory"), leftBytes: Math.max(0, left) };
}

function cgroupLimit(root: string | undefined): MemoryLimit["cgroup"] {
  const lines = (read(at(root, "proc/self/cgroup")) ?? "").split("\n");
  const v1 = lines.map((line) => /^\d+:[^:]*\bmemory\b[^:]*:(.*)$/.exec(line)?.[1]).find((path) => path !== undefined);
  if (root === undefined) return undefined;
  if (v1 !== undefined) {
    return tightest(1, join(root, "sys/fs/cgroup/memory"), v1, "memory.limit_in_bytes", "memory.usage_in_bytes");
  }
  const v2 = lines.map((line) => /^0::(.*)$/.exec(line)?.[1]).find((path) => path !== undefined);
  if (v2 !== undefined) return tightest(2, join(root, "sys/fs/cgroup"), v2, "memory.max", "memory.current");
  return undefined;
}

/** Limits apply at every level. Inside a container the path may name a folder that only the host sees. */
function tightest(
  version: 1 | 2,
  mount: string,
  path: string,
  limitFile: string,
  usedFile: string,
): MemoryLimit["cgroup"] {
  let found: MemoryLimit["cgroup"];
  const parts = path.split("/").filter((part) => part !== "" && part !== "..");
  for (let n = parts.length; n >= 0; n--) {
    const folder = join(mount, ...parts.slice(0, n));
    if (!existsSync(join(folder, limitFile))) continue;
    const limitBytes = Number((read(join(folder, limitFile)) ?? "").trim());
    const usedBytes = Number((read(join(folder, usedFile)) ?? "").trim());
    // v1 writes "no limit" as a number near 2^63, v2 as the word max.
    if (!Number.isFinite(limitBytes) || limitBytes <= 0 || limitBytes > 2 ** 60) continue;
    const held = Number.isFinite(usedBytes) ? Math.max(0, usedBytes - droppable(version, folder)) : 0;
    if (found === undefined || limitBytes - held < found.limitBytes - found.usedBytes) {
      found = { version, path: folder, limitBytes, usedBytes: held };
    }
  }
  return found;
}

/** Page cache charged to the group and those below it, without shared memory and what is locked. */
function droppable(version: 1 | 2, folder: string): number {
  const stat = read(join(folder, "memory.stat")) ?? "";
  const prefix = version === 1 ? "total_" : "";
  const value = (name: string) => Number(new RegExp(`^${prefix}${name} (\\d+)$`, "m").exec(stat)?.[1] ?? 0);
  return value("active_file") + value("inactive_file");
}

const at = (root: string | undefined, path: string): string | undefined =>
  root === undefined ? undefined : join(root, path);

function read(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
