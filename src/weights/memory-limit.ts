/** How much memory this process may really use: the machine, the cgroup it runs in (v1 or v2), its own limits. */
import { existsSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";

export interface MemoryLimit {
  /** What the machine has. */
  readonly totalBytes: number;
  /** What can be used without swapping, machine-wide. */
  readonly availableBytes: number;
  /** The cgroup on the way up that leaves least, and what is used of its limit; page cache can be dropped and is not. */
  readonly cgroup:
    | { readonly version: 1 | 2; readonly path: string; readonly limitBytes: number; readonly usedBytes: number }
    | undefined;
  /** The process's own limits, each Infinity when there is none. */
  readonly process: ProcessLimits;
  /** What is left for a model: the smallest of all, less a margin for everything else. */
  readonly budgetBytes: number;
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

/** Left to the system and to other programs. */
const marginShare = 1 / 16;
const marginLeast = 256 * 2 ** 20;

export function memoryLimit(root = "/"): MemoryLimit {
  const totalBytes = totalmem();
  const info = read(join(root, "proc/meminfo")) ?? "";
  const kib = /^MemAvailable:\s+(\d+) kB/m.exec(info)?.[1];
  const availableBytes = kib === undefined ? process.availableMemory() : Number(kib) * 1024;
  const cgroup = cgroupLimit(root);
  const own = processLimits(root);
  const free = Math.min(
    availableBytes,
    own.leftBytes,
    cgroup === undefined ? Infinity : Math.max(0, cgroup.limitBytes - cgroup.usedBytes),
  );
  const margin = Math.max(marginLeast, free * marginShare);
  return { totalBytes, availableBytes, cgroup, process: own, budgetBytes: Math.max(0, Math.floor(free - margin)) };
}

function processLimits(root: string): ProcessLimits {
  const limits = read(join(root, "proc/self/limits")) ?? "";
  const status = read(join(root, "proc/self/status")) ?? "";
  // The soft limit is the one that counts; "unlimited" is no number.
  const soft = (name: string) => Number(new RegExp(`^${name}\\s+(\\d+)\\s`, "m").exec(limits)?.[1] ?? Infinity);
  const used = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
  const addressSpaceBytes = soft("Max address space");
  const dataBytes = soft("Max data size");
  const left = Math.min(addressSpaceBytes - used("VmSize"), dataBytes - used("VmData"));
  return { addressSpaceBytes, dataBytes, lockedBytes: soft("Max locked memory"), leftBytes: Math.max(0, left) };
}

function cgroupLimit(root: string): MemoryLimit["cgroup"] {
  const lines = (read(join(root, "proc/self/cgroup")) ?? "").split("\n");
  const v1 = lines.map((line) => /^\d+:[^:]*\bmemory\b[^:]*:(.*)$/.exec(line)?.[1]).find((path) => path !== undefined);
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

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
