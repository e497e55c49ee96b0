/** The memory a process holds, seen from outside. */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Bytes. */
export interface MemoryUse {
  readonly rss: number;
  /** The part that no file backs. */
  readonly anonymous: number;
  readonly heapUsed: number;
}

/** The processes it started that are still there; none where the system does not say. */
export function childrenOf(pid: number | undefined): number[] {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return [];
  return readdirSync(tasks).flatMap((task) => {
    const path = `${tasks}/${task}/children`;
    return existsSync(path) ? readFileSync(path, "utf8").split(" ").filter(Boolean).map(Number) : [];
  });
}

/** Bytes a process alone holds: the pages of the node program are shared with the engine's process. */
export function anonymousBytes(pid: number | undefined): number | undefined {
  const path = `/proc/${pid}/status`;
  const found = existsSync(path) ? /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(path, "utf8"))?.[1] : undefined;
  return found === undefined ? undefined : Number(found) * 1024;
}
