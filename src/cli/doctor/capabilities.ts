/** The features that depend on the system: for `doctor --capabilities`, and the table of docs/portability.md. */
import { existsSync, readFileSync } from "node:fs";
import { type AddonStatus, addonStatus } from "../../native/addon.js";
import { type MemoryLimit, memoryLimit, sizeOf } from "../../weights/memory-limit.js";

/** Systems the table has a column for. */
export const systems = ["linux", "windows", "macos"] as const;
export type System = (typeof systems)[number];

export interface Feature {
  readonly name: string;
  /** The means of each system; null: it has no such thing. */
  readonly by: { readonly [system in System]: string | null };
  /** Whether it can be had on this machine; a text says how far, or why not. */
  readonly here?: (machine: Machine) => boolean | string;
}

export interface Machine {
  readonly system: System;
  readonly addon: AddonStatus;
  readonly memory: MemoryLimit;
}

export interface Capability {
  readonly name: string;
  readonly available: boolean;
  readonly by: string | null;
  readonly note?: string;
}

const native = ({ addon }: Machine): boolean => addon.state === "loaded";

export const features: readonly Feature[] = [
  {
    name: "fast products",
    by: {
      linux: "AVX2, AVX-VNNI, AVX-512; NEON with dot products",
      windows: "AVX2, AVX-VNNI, AVX-512; NEON with dot products",
      macos: "NEON with dot products (Apple silicon), AVX2",
    },
    here: ({ addon }) => (addon.isa === undefined ? `the addon is ${addon.state}` : `uses ${addon.isa}`),
  },
  {
    name: "reads past the page cache",
    by: {
      linux: "O_DIRECT, where the file system has it",
      windows: "FILE_FLAG_NO_BUFFERING, where sectors are at most 4 KiB",
      macos: "F_NOCACHE: what is read need not stay",
    },
    here: native,
  },
  {
    name: "many reads from one thread",
    by: {
      linux: "io_uring from kernel 5.6 on, where it is not forbidden",
      windows: "overlapped reads",
      macos: null,
    },
    here: native,
  },
  {
    name: "mapped files",
    by: { linux: "mmap", windows: "CreateFileMapping", macos: "mmap" },
    here: native,
  },
  {
    name: "mapped files read ahead",
    by: { linux: "the kernel's own", windows: "PrefetchVirtualMemory", macos: "F_RDADVISE" },
    here: native,
  },
  {
    name: "a mapped file that goes away is an error",
    by: {
      linux: "SIGBUS is handled",
      windows: "EXCEPTION_IN_PAGE_ERROR is handled; nobody can cut a mapped file short",
      macos: "SIGBUS is handled",
    },
    here: native,
  },
  {
    name: "huge pages",
    by: {
      linux: "transparent, advised; not where they are switched off",
      windows: "large pages, for users who may lock pages in memory (secpol.msc)",
      macos: null,
    },
    here: ({ system }) => (system === "linux" ? hugePages() : true),
  },
  {
    name: "locked memory",
    by: {
      linux: "mlock, as much as RLIMIT_MEMLOCK allows",
      windows: "VirtualLock, after the working set's quota was raised",
      macos: "mlock",
    },
    here: ({ memory }) =>
      memory.process.lockedBytes === Infinity ? true : `at most ${sizeOf(memory.process.lockedBytes)}`,
  },
  {
    name: "threads bound to CPUs",
    by: { linux: "pthread_setaffinity_np", windows: "SetThreadGroupAffinity, groups of 64 CPUs", macos: null },
    here: native,
  },
  {
    name: "fast and slow cores told apart",
    by: { linux: null, windows: "efficiency classes", macos: "hw.perflevel0.physicalcpu; class of service of threads" },
    here: ({ addon }) =>
      addon.cpu === undefined ? false : `${addon.cpu.fastestCores} of ${addon.cpu.physicalCores} cores are fast`,
  },
  {
    name: "limits of memory that count for the budget",
    by: {
      linux: "cgroups v1 and v2, RLIMIT_AS, RLIMIT_DATA",
      windows: "job objects, what may be committed (memory and page files)",
      macos: "the machine's memory; what is free or holds files",
    },
  },
  {
    name: "memory given back when it gets scarce",
    by: {
      linux: "when the cgroup's limit is lowered",
      windows: "when the job's limit is lowered",
      macos: "when the system calls its memory critical",
    },
    here: native,
  },
  {
    name: "hostile templates bounded by the system",
    by: { linux: "RLIMIT_DATA of their process", windows: "a job of their process", macos: null },
    here: native,
  },
  {
    name: "locks between processes",
    by: { linux: "flock", windows: "LockFileEx on a byte no file has", macos: "flock" },
    here: native,
  },
  {
    name: "asked to end from outside",
    by: {
      linux: "SIGTERM",
      windows: "Ctrl-C, Ctrl-Break, the console's end; a request to a process is not heard",
      macos: "SIGTERM",
    },
  },
  {
    name: "kind and file system of the disk",
    by: { linux: "/proc/self/mountinfo, /sys", windows: null, macos: null },
  },
];

const platforms: Partial<Record<NodeJS.Platform, System>> = { linux: "linux", win32: "windows", darwin: "macos" };

/** Other systems are taken for Linux without what only it has. */
export function capabilities(
  machine: Machine = {
    system: platforms[process.platform] ?? "linux",
    addon: addonStatus(),
    memory: memoryLimit(),
  },
): Capability[] {
  return features.map(({ name, by, here }) => {
    const made = by[machine.system];
    const found = made === null ? false : (here?.(machine) ?? true);
    if (typeof found === "boolean") return { name, available: found, by: made };
    return { name, available: !found.startsWith("the addon is"), by: made, note: found };
  });
}

/** Rows of a table: whether it is there, the feature, its means. */
export const capabilityRows = (all: readonly Capability[]): string[][] =>
  all.map(({ name, available, by, note }) => [
    available ? "yes" : "no",
    name,
    by === null ? "this system has none" : note === undefined ? by : `${by}; ${note}`,
  ]);

function hugePages(): boolean | string {
  const path = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (!existsSync(path)) return false;
  const chosen = /\[(\w+)\]/.exec(readFileSync(path, "utf8"))?.[1];
  return chosen === "never" ? false : `set to ${chosen}`;
}
