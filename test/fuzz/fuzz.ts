/** The parent of the fuzzer: starts children on ranges of files, notices what they die of, and goes on behind it. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Limits for one file. */
export const limits = { seconds: 10, mebibytes: 512 } as const;
/** Far above what a child with the sanitizer's own memory needs: protects the machine. */
const killMebibytes = 2048;
const filesOfAChild = 2000;
/** Loading TypeScript and making the sound files, on a busy machine. */
const startSeconds = 120;

export interface FuzzOptions {
  readonly seed: number;
  readonly from: number;
  readonly count: number;
  /** The sanitized addon, and the library it needs loaded first. */
  readonly addon: string;
  readonly preload: string;
  /** Stop after this many faults. Default 10. */
  readonly maxFaults?: number;
  /** Arguments of node before SEED FROM TO, instead of the real child: for the test of this file. */
  readonly child?: readonly string[];
  readonly onProgress?: (done: number, summary: FuzzSummary) => void;
}

export interface Fault {
  readonly number: number;
  readonly what: string;
}

export interface FuzzSummary {
  files: number;
  /** Number of files by outcome: `ok` or an error code. */
  readonly outcomes: Map<string, number>;
  readonly faults: Fault[];
  slowest: { number: number; ms: number };
  largest: { number: number; kib: number };
}

export async function fuzz(options: FuzzOptions): Promise<FuzzSummary> {
  const summary: FuzzSummary = {
    files: 0,
    outcomes: new Map(),
    faults: [],
    slowest: { number: -1, ms: 0 },
    largest: { number: -1, kib: 0 },
  };
  const end = options.from + options.count;
  for (let next = options.from; next < end && summary.faults.length < most(options); ) {
    next = await runChild(options, next, Math.min(end, next + filesOfAChild), summary);
    options.onProgress?.(next - options.from, summary);
  }
  return summary;
}

const most = ({ maxFaults = 10 }: FuzzOptions): number => maxFaults;

/** @returns the first file that was not tried */
async function runChild(options: FuzzOptions, from: number, to: number, summary: FuzzSummary): Promise<number> {
  const sources = import.meta.url.endsWith(".ts");
  const script = fileURLToPath(new URL(sources ? "./child.ts" : "./child.js", import.meta.url));
  const loader = sources ? ["--import", "tsx"] : [];
  const program = options.child ?? ["--max-old-space-size=512", ...loader, script];
  const args = [...program, options.seed, from, to].map(String);
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      LD_PRELOAD: options.preload,
      HUNDREDWEIGHT_NATIVE: options.addon,
      HUNDREDWEIGHT_ISA: "",
      // A small quarantine: freed memory is watched for a while and does not pile up.
      ASAN_OPTIONS: "detect_leaks=0:quarantine_size_mb=16:allocator_may_return_null=1:max_allocation_size_mb=1024",
      UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
    },
  });
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors = (errors + chunk).slice(-20_000);
  });
  let running: number | undefined;
  let since = performance.now();
  let done = from;
  let killed: string | undefined;
  const fault = (number: number, what: string): void => {
    summary.faults.push({ number, what: `${what}\n${errors}` });
    errors = "";
  };

  createInterface({ input: child.stdout }).on("line", (line) => {
    since = performance.now();
    if (line.startsWith("> ")) {
      running = Number(line.slice(2));
      return;
    }
    const [number, outcome, ms, kib] = line.split(" ") as [string, string, string, string];
    running = undefined;
    done = Number(number) + 1;
    account(summary, Number(number), outcome, Number(ms), Number(kib), fault);
    if (summary.faults.length >= most(options)) child.kill("SIGKILL");
  });
  const watch = setInterval(() => {
    const resident = residentMebibytes(child.pid);
    if (resident > killMebibytes) killed = `killed at ${resident} MiB of memory`;
    if (running !== undefined && performance.now() - since > 1000 * limits.seconds)
      killed = `killed after ${limits.seconds} s`;
    if (performance.now() - since > 1000 * startSeconds) killed = "killed: it did not start";
    if (killed !== undefined) child.kill("SIGKILL");
  }, 100);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.on("close", (c, s) => resolve([c, s]));
  });
  clearInterval(watch);
  if (running === undefined && code === 0 && done === to) return to;
  if (summary.faults.length >= most(options)) return done;
  // Between two files the child is at fault itself: nothing would change by starting it again.
  if (running === undefined) throw new Error(`the child ended with ${code ?? signal} at file ${done}\n${errors}`);
  summary.files++;
  fault(running, killed ?? `the process ended with ${code ?? signal}`);
  return running + 1;
}

function account(
  summary: FuzzSummary,
  number: number,
  outcome: string,
  ms: number,
  kib: number,
  fault: (number: number, what: string) => void,
): void {
  summary.files++;
  summary.outcomes.set(outcome, (summary.outcomes.get(outcome) ?? 0) + 1);
  if (ms > summary.slowest.ms) summary.slowest = { number, ms };
  if (kib > summary.largest.kib) summary.largest = { number, kib };
  if (outcome === "FAULT") fault(number, "not an error of ours, or one that blames us");
  if (ms > 1000 * limits.seconds) fault(number, `took ${ms} ms`);
  if (kib > 1024 * limits.mebibytes) fault(number, `grew by ${kib} KiB`);
}

function residentMebibytes(pid: number | undefined): number {
  try {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, "latin1").split(" ")[1]);
    return Math.round((pages * 4096) / 2 ** 20);
  } catch {
    return 0; // gone, or not Linux
  }
}

export function describe(summary: FuzzSummary, seed: number): string {
  const outcomes = [...summary.outcomes].sort((a, b) => b[1] - a[1]).map(([code, count]) => `${code} ${count}`);
  const { slowest, largest } = summary;
  return [
    `${summary.files} files (seed ${seed}): ${outcomes.join(", ")}`,
    `slowest ${slowest.ms} ms (file ${slowest.number}), largest growth ${(largest.kib / 1024).toFixed(1)} ` +
      `MiB (file ${largest.number})`,
    ...summary.faults.map(
      ({ number, what }) =>
        `FAULT at file ${number}, rerun: node dist/test/fuzz/run.js --seed ${seed} --from ${number} --count 1\n${what}`,
    ),
  ].join("\n");
}
