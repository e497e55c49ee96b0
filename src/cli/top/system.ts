/** Rates of the processes of a server and of their machine, between two looks at /proc. */
import { listenerOf, type MachineFigures, machineFigures, type ProcessFigures, processTree } from "./proc.js";

export interface SystemFigures {
  readonly pids: readonly number[];
  readonly rssBytes: number;
  readonly anonymousBytes: number | undefined;
  readonly fileBytes: number | undefined;
  readonly lockedBytes: number | undefined;
  readonly threads: number;
  readonly busyThreads: number;
  /** Processors in use by them: 1.5 is one and a half. Undefined at the first look. */
  readonly processors: number | undefined;
  readonly diskBytesPerSecond: number | undefined;
  readonly majorFaultsPerSecond: number | undefined;
  readonly machine: (MachineFigures & { readonly busyShare: number | undefined }) | undefined;
}

interface Look {
  readonly at: number;
  readonly processes: readonly ProcessFigures[];
  readonly machine: MachineFigures | undefined;
}

/** The server of a port of this machine. */
export class SystemWatch {
  private readonly port: number;
  private readonly root: string;
  private pid: number | undefined;
  private before: Look | undefined;

  constructor(port: number, root = "/proc") {
    this.port = port;
    this.root = root;
  }

  /** Undefined where the server is not of this machine, of another user, or the system has no /proc. */
  look(at: number): SystemFigures | undefined {
    this.pid ??= listenerOf(this.port, this.root);
    if (this.pid === undefined) return undefined;
    const processes = processTree(this.pid, this.root);
    if (processes.length === 0) {
      this.pid = undefined; // started again, it has another
      return undefined;
    }
    const now: Look = { at, processes, machine: machineFigures(this.root) };
    const figures = figuresBetween(this.before, now);
    this.before = now;
    return figures;
  }
}

export function figuresBetween(before: Look | undefined, now: Look): SystemFigures {
  const seconds = before === undefined ? 0 : (now.at - before.at) / 1000;
  const earlier = new Map(before?.processes.map((process) => [process.pid, process]));
  /** Sums what all of them counted since, a second; a process that is new counted from its start. */
  const rate = (of: (process: ProcessFigures) => number | undefined): number | undefined => {
    if (seconds <= 0) return undefined;
    let sum = 0;
    for (const process of now.processes) {
      const value = of(process);
      const then = earlier.get(process.pid);
      if (value === undefined) return undefined;
      sum += Math.max(0, value - ((then && of(then)) ?? 0));
    }
    return sum / seconds;
  };
  const total = (of: (process: ProcessFigures) => number | undefined): number | undefined => {
    const values = now.processes.map(of);
    return values.includes(undefined) ? undefined : values.reduce<number>((sum, value) => sum + value!, 0);
  };
  const cpu = rate(({ cpuMs }) => cpuMs);
  return {
    pids: now.processes.map(({ pid }) => pid),
    rssBytes: total(({ rssBytes }) => rssBytes)!,
    anonymousBytes: total(({ anonymousBytes }) => anonymousBytes),
    fileBytes: total(({ fileBytes }) => fileBytes),
    lockedBytes: total(({ lockedBytes }) => lockedBytes),
    threads: total(({ threads }) => threads)!,
    busyThreads: total(({ busyThreads }) => busyThreads)!,
    processors: cpu === undefined ? undefined : cpu / 1000,
    diskBytesPerSecond: rate(({ diskBytes }) => diskBytes),
    majorFaultsPerSecond: rate(({ majorFaults }) => majorFaults),
    machine: now.machine && { ...now.machine, busyShare: shareBetween(before?.machine, now.machine) },
  };
}

function shareBetween(before: MachineFigures | undefined, now: MachineFigures): number | undefined {
  const all = before === undefined ? 0 : now.allMs - before.allMs;
  return all <= 0 ? undefined : Math.min(1, Math.max(0, (now.busyMs - before!.busyMs) / all));
}
