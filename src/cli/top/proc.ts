/**
 * Reads what Linux says of processes and of the machine, under /proc: memory by kind, faults, bytes from disks,
 * threads. Every file may be missing, forbidden or of a process that has ended: what is not known is undefined.
 * @source proc(5)
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Counters since a process began, and its memory now. Times are in milliseconds. */
export interface ProcessFigures {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly cpuMs: number;
  readonly majorFaults: number;
  readonly threads: number;
  /** Threads that run or are ready to run at this moment. */
  readonly busyThreads: number;
  readonly rssBytes: number;
  /** Part of them: memory of its own. The next is pages of files. */
  readonly anonymousBytes: number | undefined;
  readonly fileBytes: number | undefined;
  readonly lockedBytes: number | undefined;
  /** Bytes it made the disks read; undefined where the system keeps that to itself. */
  readonly diskBytes: number | undefined;
}

export interface MachineFigures {
  readonly totalBytes: number;
  readonly availableBytes: number;
  /** The page cache. */
  readonly cachedBytes: number;
  /** Milliseconds of all processors together since the start: in use, and in all. */
  readonly busyMs: number;
  readonly allMs: number;
  readonly processors: number;
}

/** Linux counts in hundredths of a second, whatever its own clock does (USER_HZ). */
const tickMs = 10;
const pageBytes = 4096;

/** Fields of /proc/PID/stat. The name may hold spaces and brackets: what follows its last bracket counts. */
export function parseStat(text: string): Pick<
  ProcessFigures,
  "name" | "parent" | "cpuMs" | "majorFaults" | "threads" | "rssBytes"
> & {
  readonly state: string;
} {
  const from = text.indexOf("(");
  const to = text.lastIndexOf(")");
  // Field 3 of the manual page, the state, is the first of these.
  const fields = text.slice(to + 2).split(" ");
  const number = (field: number): number => Number(fields[field - 3] ?? Number.NaN);
  return {
    name: text.slice(from + 1, to),
    state: fields[0] ?? "",
    parent: number(4),
    majorFaults: number(12),
    cpuMs: tickMs * (number(14) + number(15)),
    threads: number(20),
    rssBytes: pageBytes * number(24),
  };
}

/** A field of `Name:   123 kB` lines, in bytes. */
export function parseKib(text: string, name: string): number | undefined {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1];
  return found === undefined ? undefined : 1024 * Number(found);
}

/** `read_bytes` of /proc/PID/io: what was fetched from storage, direct reads included. */
export function parseDiskBytes(text: string): number | undefined {
  const found = /^read_bytes: (\d+)$/m.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** The inode of the socket that listens on a port, of /proc/net/tcp or tcp6. */
export function parseListener(text: string, port: number): string | undefined {
  for (const line of text.split("\n").slice(1)) {
    const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
    // 0A is LISTEN.
    if (state === "0A" && Number.parseInt(local.split(":")[1] ?? "", 16) === port) return inode;
  }
  return undefined;
}

/** /proc/stat and /proc/meminfo. */
export function parseMachine(stat: string, memory: string): MachineFigures | undefined {
  const line = /^cpu +([\d ]+)$/m.exec(stat)?.[1];
  const totalBytes = parseKib(memory, "MemTotal");
  if (line === undefined || totalBytes === undefined) return undefined;
  // user nice system idle iowait irq softirq steal; guest time is part of user.
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0] = line
    .split(" ")
    .map(Number);
  const busy = user + nice + system + irq + soft + steal;
  return {
    totalBytes,
    availableBytes: parseKib(memory, "MemAvailable") ?? 0,
    cachedBytes: parseKib(memory, "Cached") ?? 0,
    busyMs: tickMs * busy,
    allMs: tickMs * (busy + idle + wait),
    processors: stat.match(/^cpu\d+ /gm)?.length ?? 1,
  };
}

const read = (...parts: string[]): string | undefined => {
  try {
    return readFileSync(join(...parts), "utf8");
  } catch {
    return undefined;
  }
};

function names(...parts: string[]): string[] {
  try {
    return readdirSync(join(...parts));
  } catch {
    return [];
  }
}

const ids = (...parts: string[]): number[] =>
  names(...parts)
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

/** The process of this machine that listens on a port; undefined where it is another's, or none. */
export function listenerOf(port: number, root = "/proc"): number | undefined {
  const inodes = ["tcp", "tcp6"].flatMap((table) => parseListener(read(root, "net", table) ?? "", port) ?? []);
  if (inodes.length === 0) return undefined;
  const wanted = new Set(inodes.map((inode) => `socket:[${inode}]`));
  return ids(root).find((pid) =>
    names(root, `${pid}`, "fd").some((fd) => {
      try {
        return wanted.has(readlinkSync(join(root, `${pid}`, "fd", fd)));
      } catch {
        return false;
      }
    }),
  );
}

/** A process and its descendants, parents first; empty where it has ended. */
export function processTree(pid: number, root = "/proc"): ProcessFigures[] {
  const all = new Map<number, ReturnType<typeof parseStat>>();
  for (const id of ids(root)) {
    const stat = read(root, `${id}`, "stat");
    if (stat !== undefined) all.set(id, parseStat(stat));
  }
  if (!all.has(pid)) return [];
  const family = [pid];
  for (const parent of family) for (const [id, stat] of all) if (stat.parent === parent) family.push(id);
  return family.flatMap((id) => {
    const stat = all.get(id);
    return stat === undefined ? [] : [figuresOf(id, stat, root)];
  });
}

function figuresOf(pid: number, { state: _, ...stat }: ReturnType<typeof parseStat>, root: string): ProcessFigures {
  const folder = join(root, `${pid}`);
  const status = read(folder, "status") ?? "";
  const busyThreads = ids(folder, "task").filter(
    (thread) => parseStat(read(folder, "task", `${thread}`, "stat") ?? "").state === "R",
  ).length;
  return {
    pid,
    ...stat,
    busyThreads,
    rssBytes: parseKib(status, "VmRSS") ?? stat.rssBytes,
    anonymousBytes: parseKib(status, "RssAnon"),
    fileBytes: parseKib(status, "RssFile"),
    lockedBytes: parseKib(status, "VmLck"),
    diskBytes: parseDiskBytes(read(folder, "io") ?? ""),
  };
}

/** Undefined where there is no /proc. */
export function machineFigures(root = "/proc"): MachineFigures | undefined {
  return parseMachine(read(root, "stat") ?? "", read(root, "meminfo") ?? "");
}
