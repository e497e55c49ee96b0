/** llama-bench, llama.cpp's own benchmark (scripts/build-llama-bench.mjs), a process for each measurement. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { median } from "../../src/cli/reports/statistics.js";
import { packageRoot } from "../../src/package-root.js";

const run = promisify(execFile);

export interface Timing {
  readonly tokens: number;
  readonly ms: number;
}

export interface LlamaBenchRequest {
  readonly path: string;
  readonly threads: number;
  readonly mmap: boolean;
  /** Rows of a pass. */
  readonly batch: number;
  /** One of them is 0. */
  readonly prompt: number;
  readonly decode: number;
  /** Positions computed before, which do not count. */
  readonly depth: number;
  /** Vectors are wanted, no logits: the model is an encoder. */
  readonly embeddings?: boolean;
  /** The median of so many runs; default 1. */
  readonly repetitions?: number;
}

/** The part of llama-bench's output that is read here. */
interface Row {
  readonly build_commit: string;
  readonly backends: string;
  readonly n_prompt: number;
  readonly n_gen: number;
  readonly samples_ns: readonly number[];
}

/** @returns the program, or undefined where nobody has built it */
export function findLlamaBench(given: string | undefined): string | undefined {
  const name = process.platform === "win32" ? "llama-bench.exe" : "llama-bench";
  const program = given ?? join(packageRoot(), ".peer/llama.cpp/build/bin", name);
  if (existsSync(program)) return program;
  if (given !== undefined) throw new Error(`${given} is not there: node scripts/build-llama-bench.mjs`);
  return undefined;
}

/** One warm-up and the runs that count, flash attention on. */
export async function llamaBench(program: string, q: LlamaBenchRequest): Promise<Timing & { system: string }> {
  const size = ["-p", q.prompt, "-n", q.decode, "-d", q.depth, "-b", q.batch, "-ub", q.batch];
  const how = ["-t", q.threads, "-lm", q.mmap ? "mmap" : "none", "-fa", "on"];
  const what = ["-r", q.repetitions ?? 1, "-embd", q.embeddings ? 1 : 0, "-o", "json"];
  const { stdout } = await run(program, ["-m", q.path, ...size, ...how, ...what].map(String), { maxBuffer: 2 ** 24 });
  const row = (JSON.parse(stdout) as Row[]).find((r) => r.n_prompt === q.prompt && r.n_gen === q.decode);
  if (row === undefined) throw new Error(`llama-bench measured something else: ${stdout.slice(0, 300)}`);
  const ms = median(row.samples_ns) / 1e6;
  return { tokens: q.prompt + q.decode, ms, system: `${row.build_commit} ${row.backends}` };
}

/** The same of ours: a process, one warm-up and one run that counts. */
export async function ownBench(q: Omit<LlamaBenchRequest, "mmap">): Promise<Timing> {
  const size = [
    "-p",
    q.prompt,
    "-n",
    q.decode,
    "-d",
    q.depth,
    "-r",
    1,
    "--threads",
    q.threads,
    "--chunk",
    q.batch,
    "--json",
  ];
  const command = [join(packageRoot(), "bin/hundredweight.js"), "bench", q.path, ...size].map(String);
  const { stdout } = await run(process.execPath, command, { maxBuffer: 2 ** 24 });
  const { prefill, decode } = JSON.parse(stdout) as Record<"prefill" | "decode", { medianTps: number } | null>;
  const tokens = q.prompt + q.decode;
  return { tokens, ms: (1000 * tokens) / ((q.prompt > 0 ? prefill : decode) as { medianTps: number }).medianTps };
}
