/**
 * `--profile [FILE]` of run and bench: a table of times per operation, and a trace for Perfetto or chrome://tracing.
 */
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import type { Model } from "../../library/model.js";
import type { ProfileKind } from "../../link/protocol.js";
import { defaultThreads } from "../../native/threads.js";
import type {
  PhaseProfile,
  ProfileEntry,
  ProfileReport,
  ProfileSchedule,
  ThreadEvent,
  TraceEvent,
} from "../../ops/profiler.js";
import { checkOutputPath, writeOutputSync } from "../../regular-file.js";
import { type Column, table } from "../terminal/table.js";
import { type Ceilings, measureCeilings } from "./ceilings.js";

export interface ProfileFlags {
  /** True: the table only. */
  profile?: string | true;
  profileSchedule?: ProfileSchedule;
}

export function addProfileOption(command: Command): Command {
  return command
    .option("--profile [file]", "time per operation; FILE.json gets a Perfetto trace", traceFile)
    .option(
      "--profile-schedule <list>",
      "passes that are told, as torch.profiler.schedule: wait=1,warmup=1,active=3,repeat=2; a trace for each cycle",
      schedule,
    );
}

/** Repetitions and passes of a schedule beyond this are a mistake. */
const mostSteps = 1_000_000;

function schedule(text: string): ProfileSchedule {
  const given: Record<string, number> = { wait: 0, warmup: 0, active: 0, repeat: 0 };
  for (const part of text.split(",")) {
    const [, name = "", value = ""] = /^\s*(\w+)=(\d+)\s*$/.exec(part) ?? [];
    if (!Object.hasOwn(given, name) || Number(value) > mostSteps)
      throw new HundredweightError(
        "OPTION_INVALID",
        `--profile-schedule: '${part.slice(0, 50)}' is not one of wait=, warmup=, active=, repeat= and a number`,
      );
    given[name] = Number(value);
  }
  const { wait, warmup, active, repeat } = given as unknown as ProfileSchedule;
  if (active === 0) throw new HundredweightError("OPTION_INVALID", "--profile-schedule: active= is at least 1");
  return { wait, warmup, active, repeat };
}

/** The value is optional, so `--profile MODEL` would take the model for the file, and write over it. */
function traceFile(text: string): string {
  if (text.endsWith(".json")) {
    // Before the model runs for it.
    checkOutputPath(text);
    return text;
  }
  throw new HundredweightError(
    "OPTION_INVALID",
    `--profile: '${text}' does not end in .json; write --profile=FILE.json, or --profile as the last argument`,
  );
}

/** @throws OPTION_INVALID for a schedule without a profile */
export function profileOptions({ profile, profileSchedule }: ProfileFlags): {
  readonly profile?: ProfileKind;
  readonly profileSchedule?: ProfileSchedule;
} {
  if (profile === undefined) {
    if (profileSchedule === undefined) return {};
    throw new HundredweightError(
      "OPTION_INVALID",
      "--profile-schedule says which passes --profile tells: give that too",
    );
  }
  return { profile: profile === true ? "times" : "trace", ...(profileSchedule && { profileSchedule }) };
}

/**
 * Takes what the model gathered and writes the trace file.
 * @throws FILE_IO when the file cannot be written
 */
export async function finishProfile(
  model: Model,
  { profile }: ProfileFlags,
  threads = defaultThreads(),
): Promise<ProfileDocument | undefined> {
  if (profile === undefined) return undefined;
  const report = await model.profile();
  if (profile !== true) writeTraces(profile, report);
  return profileDocument(report, await measureCeilings(threads));
}

export interface PhaseDocument extends PhaseProfile {
  /** Time in kernels, and the rest of the wall: row tables, reading logits, sampling, JavaScript, events. */
  readonly kernelMs: number;
  readonly outsideMs: number;
  /** Time in no timed call at all; part of `outsideMs`. */
  readonly untimedMs: number;
}

export interface ProfileDocument {
  readonly ceilings: Ceilings | undefined;
  readonly phases: readonly PhaseDocument[];
  /** Share of the passes in which each thread computed; of a trace only. */
  readonly threadShares: readonly number[];
  readonly droppedEvents: number;
}

export function profileDocument(report: ProfileReport, ceilings: Ceilings | undefined): ProfileDocument {
  const sum = (entries: readonly ProfileEntry[]): number => entries.reduce((ms, entry) => ms + entry.ms, 0);
  const phases = report.phases.map((phase) => {
    const kernelMs = sum(phase.entries.filter((entry) => entry.kernel));
    return {
      ...phase,
      kernelMs,
      outsideMs: phase.wallMs - kernelMs,
      untimedMs: phase.wallMs - sum(phase.entries),
    };
  });
  const wallMs = phases.reduce((ms, phase) => ms + phase.wallMs, 0);
  const threadShares: number[] = [];
  for (const { thread, durationUs } of report.threads)
    threadShares[thread] = (threadShares[thread] ?? 0) + durationUs / 1000 / wallMs;
  const shares = Array.from(threadShares, (share) => share ?? 0);
  return { ceilings, phases, threadShares: shares, droppedEvents: report.droppedEvents };
}

/**
 * One file for each cycle of the schedule: `trace.json`, or `trace.1.json`, `trace.2.json` when there are several.
 * @throws FILE_NOT_REGULAR, FILE_IO
 */
export function writeTraces(path: string, { trace, threads, cycles }: ProfileReport): void {
  if (cycles.length < 2) writeTrace(path, trace, threads);
  else
    for (const [i, from] of cycles.entries()) {
      const events = trace.slice(from, cycles[i + 1]);
      const [begin, end] = [events[0]!.startUs, trace[cycles[i + 1] ?? trace.length]?.startUs ?? Infinity];
      const within = threads.filter(({ startUs }) => startUs >= begin && startUs < end);
      writeTrace(path.replace(/(\.json)?$/, `.${i + 1}.json`), events, within);
    }
}

function writeTrace(path: string, trace: readonly TraceEvent[], threads: readonly ThreadEvent[]): void {
  writeOutputSync(path, JSON.stringify(traceDocument(trace, threads)));
}

/**
 * Complete events (`ph` X): on the engine's track a pass encloses its calls; each thread has a track of its own, on
 * which stands what it computed of a call. Times are microseconds.
 * @source "Trace Event Format", the Chromium project
 */
export function traceDocument(trace: readonly TraceEvent[], threads: readonly ThreadEvent[] = []): object {
  const common = { pid: 1, tid: 1 };
  const events = trace.map(({ name, startUs, durationUs, rows, bytes, operations, shape }) => ({
    name,
    cat: name === "prefill" || name === "decode" ? "pass" : "op",
    ph: "X",
    ts: startUs,
    dur: durationUs,
    ...common,
    args: {
      rows,
      ...(shape !== "" && { shape }),
      ...(bytes > 0 && { bytes, GBps: rate(bytes, durationUs / 1000) }),
      ...(operations > 0 && { operations, GOPs: rate(operations, durationUs / 1000) }),
    },
  }));
  const calls = trace.filter(({ name }) => name !== "prefill" && name !== "decode");
  const parts = threads.map(({ thread, startUs, durationUs }) => ({
    name: callAt(calls, startUs)?.name ?? "between calls",
    cat: "thread",
    ph: "X",
    ts: startUs,
    dur: durationUs,
    pid: 1,
    tid: 2 + thread,
  }));
  const track = (tid: number, name: string): object => ({
    name: "thread_name",
    ph: "M",
    ts: 0,
    pid: 1,
    tid,
    args: { name },
  });
  const numbers = [...new Set(threads.map(({ thread }) => thread))].sort((a, b) => a - b);
  const tracks = numbers.map((thread) =>
    track(2 + thread, thread === 0 ? "thread 0, which calls" : `thread ${thread}`),
  );
  return { traceEvents: [track(1, "engine"), ...tracks, ...events, ...parts], displayTimeUnit: "ms" };
}

/** The last call that had begun. @param calls in the order of their start */
function callAt(calls: readonly TraceEvent[], us: number): TraceEvent | undefined {
  let [from, to] = [0, calls.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (calls[middle]!.startUs <= us) from = middle + 1;
    else to = middle;
  }
  return calls[from - 1];
}

/** Billions per second. */
function rate(amount: number, ms: number): number {
  return ms > 0 ? amount / (1e6 * ms) : 0;
}

export function profileTable({ ceilings, phases, threadShares, droppedEvents }: ProfileDocument): string {
  const lines: string[] = [];
  for (const phase of phases) {
    const per = (ms: number): string => (ms / phase.passes).toFixed(3);
    const share = (ms: number): string => `${((100 * ms) / phase.wallMs).toFixed(1)} %`;
    lines.push(
      `${phase.phase}: ${phase.passes} passes, ${phase.rows} rows, ${per(phase.wallMs)} ms a pass; ` +
        `outside kernels ${per(phase.outsideMs)} ms (${share(phase.outsideMs)})`,
    );
    const rows = phase.entries.map((entry) => [
      entry.name,
      `${Math.round(entry.calls / phase.passes)}`,
      per(entry.ms),
      share(entry.ms),
      ...rates(entry, phase, ceilings),
    ]);
    rows.push(["(outside all of these)", "", per(phase.untimedMs), share(phase.untimedMs), "", ""]);
    lines.push(table(columns, rows, { indent: 2 }));
  }
  if (threadShares.length > 0) {
    const shares = threadShares.map((share, thread) => `${thread} ${(100 * share).toFixed(1)} %`);
    lines.push(`threads computed, of the time of these passes: ${shares.join(", ")}`);
  }
  if (ceilings === undefined)
    lines.push("ceilings unknown: node scripts/build-native.mjs --tests builds what measures them");
  else {
    const known = (name: string, value: number | undefined, unit: string): string =>
      value === undefined ? "" : `${name} ${value.toFixed(1)} ${unit}`;
    const all = [
      known("memory reads", ceilings.memoryGBps, "GB/s"),
      known("int8", ceilings.int8Gops, "GOP/s"),
      known("int8 by 16-bit sums", ceilings.int8SixteenBitGops, "GOP/s"),
      known("int8 VNNI", ceilings.int8DotGops, "GOP/s"),
      known("f32", ceilings.fmaGflops, "GFLOP/s"),
    ];
    lines.push(`ceilings, ${ceilings.threads} threads: ${all.filter((text) => text !== "").join(", ")}`);
  }
  if (droppedEvents > 0) lines.push(`the trace is full: ${droppedEvents} calls are not in it`);
  return `${lines.join("\n")}\n`;
}

const columns = ["operation", "calls", "ms/pass", "share", "rate", "of ceiling"].map(
  (title, i): Column => ({ title, align: i === 0 ? "left" : "right" }),
);

/** Few rows are bound by bytes, many by arithmetic: the rate that matters, and its share of the ceiling. */
function rates(entry: ProfileEntry, phase: PhaseProfile, ceilings: Ceilings | undefined): [string, string] {
  const { ms, bytes, operations, arithmetic } = entry;
  const compute = arithmetic !== "none" && phase.rows / phase.passes >= 16;
  if (!compute && bytes === 0) return ["", ""];
  const value = rate(compute ? operations : bytes, ms);
  const text = `${value.toFixed(1)} ${compute ? (arithmetic === "float" ? "GFLOP/s" : "GOP/s") : "GB/s"}`;
  const ceiling = compute
    ? arithmetic === "float"
      ? ceilings?.fmaGflops
      : ceilings?.int8Gops
    : arithmetic === "none"
      ? undefined // activations stay in the cache
      : ceilings?.memoryGBps;
  return [text, ceiling === undefined ? "" : `${((100 * value) / ceiling).toFixed(0)} %`];
}
