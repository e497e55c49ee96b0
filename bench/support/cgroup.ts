/** A memory cgroup (v1 or v2) made for one child process, to hold it to a limit and to read what it was charged. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface MemoryGroup {
  /** Shell text that puts the shell into the group; prefix it to an exec. */
  readonly enter: string;
  /** Moves a process into the group; what it was charged for before stays where it was. */
  add(pid: number): void;
  /** v1 throws where it cannot be reached by dropping page cache. */
  setLimit(bytes: number): void;
  /** Bytes charged now, page cache included. */
  usedBytes(): number;
  /** Highest charge so far, page cache included. */
  peakBytes(): number;
  /** Times the limit was hit: v1 failcnt, v2 memory.events max. */
  hits(): number;
  /** Kills in the group. */
  kills(): number;
  close(): void;
}

/** Undefined where no memory cgroup can be made: not Linux, not root, no controller. */
export function memoryGroup(name: string, limitBytes: number): MemoryGroup | undefined {
  const read = (path: string): string => readFileSync(path, "utf8");
  const field = (path: string, key: string): number =>
    Number(new RegExp(`^${key} (\\d+)`, "m").exec(read(path))?.[1] ?? 0);
  const attempt = (root: string, version: 1 | 2): MemoryGroup | undefined => {
    const folder = join(root, `hundredweight-${process.pid}-${name}`);
    try {
      mkdirSync(folder);
      const limit = version === 1 ? "memory.limit_in_bytes" : "memory.max";
      writeFileSync(join(folder, limit), String(limitBytes));
      if (version === 2 && existsSync(join(folder, "memory.swap.max")))
        writeFileSync(join(folder, "memory.swap.max"), "0");
    } catch {
      try {
        rmdirSync(folder);
      } catch {}
      return undefined;
    }
    const v1 = version === 1;
    return {
      enter: `echo $$ > '${join(folder, "cgroup.procs")}' && `,
      add: (pid) => writeFileSync(join(folder, "cgroup.procs"), String(pid)),
      setLimit: (bytes) => writeFileSync(join(folder, v1 ? "memory.limit_in_bytes" : "memory.max"), String(bytes)),
      usedBytes: () => Number(read(join(folder, v1 ? "memory.usage_in_bytes" : "memory.current"))),
      peakBytes: () => Number(read(join(folder, v1 ? "memory.max_usage_in_bytes" : "memory.peak"))),
      hits: () => (v1 ? Number(read(join(folder, "memory.failcnt"))) : field(join(folder, "memory.events"), "max")),
      kills: () => field(join(folder, v1 ? "memory.oom_control" : "memory.events"), "oom_kill"),
      close: () => rmdirSync(folder),
    };
  };
  return attempt("/sys/fs/cgroup/memory", 1) ?? attempt("/sys/fs/cgroup", 2);
}
