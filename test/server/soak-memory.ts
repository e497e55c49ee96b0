/** What memory a process holds, seen from outside. */
import { existsSync, readFileSync } from "node:fs";

/** Bytes. */
export interface MemoryUse {
  readonly rss: number;
  /** Of that, what no file backs. */
  readonly anonymous: number;
  readonly heapUsed: number;
}

/** What a process alone holds: the pages of the node program are shared with the engine's process. */
export function anonymousBytes(pid: number | undefined): number | undefined {
  const path = `/proc/${pid}/status`;
  const found = existsSync(path) ? /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(path, "utf8"))?.[1] : undefined;
  return found === undefined ? undefined : Number(found) * 1024;
}
