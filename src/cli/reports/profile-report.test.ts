import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Command } from "commander";
import type { ProfileReport } from "../../ops/profiler.js";
import {
  addProfileOption,
  type ProfileFlags,
  profileDocument,
  profileOptions,
  profileTable,
  traceDocument,
  writeTraces,
} from "./profile-report.js";

const entry = { kernel: true, arithmetic: "int8", calls: 4, ms: 4, bytes: 40e6, operations: 80e6 } as const;
const report: ProfileReport = {
  phases: [
    {
      phase: "decode",
      passes: 2,
      rows: 2,
      wallMs: 10,
      entries: [
        { ...entry, name: "matmul ffn_down q4_k" },
        { ...entry, name: "sample", kernel: false, arithmetic: "none", ms: 1, bytes: 0, operations: 0 },
      ],
    },
  ],
  trace: [
    { name: "decode", startUs: 0, durationUs: 5000, rows: 1, bytes: 0, operations: 0, shape: "1 rows" },
    { name: "rope", startUs: 10, durationUs: 20, rows: 1, bytes: 2e6, operations: 0, shape: "[1, 64]" },
  ],
  threads: [],
  cycles: [0],
  droppedEvents: 3,
};

test("the table gives times a pass, rates, shares of the ceilings and what is outside", () => {
  const document = profileDocument(report, {
    threads: 2,
    memoryGBps: 20,
    int8Gops: 400,
    int8SixteenBitGops: undefined,
    int8DotGops: undefined,
    fmaGflops: 200,
  });
  assert.deepEqual(
    document.phases.map(({ kernelMs, outsideMs, untimedMs }) => [kernelMs, outsideMs, untimedMs]),
    [[4, 6, 5]],
  );
  const table = profileTable(document);
  assert.match(table, /^decode: 2 passes, 2 rows, 5\.000 ms a pass; outside kernels 3\.000 ms \(60\.0 %\)$/m);
  assert.match(table, /^ {2}matmul ffn_down q4_k +2 +2\.000 +40\.0 % +10\.0 GB\/s +50 %$/m);
  assert.match(table, /^ {2}\(outside all of these\) +2\.500 +50\.0 %$/m);
  assert.match(table, /memory reads 20\.0 GB\/s, int8 400\.0 GOP\/s, f32 200\.0 GFLOP\/s/);
  assert.match(table, /3 calls are not in it/);
  assert.match(profileTable(profileDocument(report, undefined)), /ceilings unknown/);
});

test("the trace has what the trace event format asks of complete events", () => {
  const { traceEvents } = JSON.parse(JSON.stringify(traceDocument(report.trace))) as {
    traceEvents: Record<string, unknown>[];
  };
  assert.equal(traceEvents[0]!.ph, "M");
  const complete = traceEvents.slice(1);
  assert.deepEqual(
    complete.map(({ name, cat, ph, ts, dur, pid, tid }) => [name, cat, ph, ts, dur, pid, tid]),
    [
      ["decode", "pass", "X", 0, 5000, 1, 1],
      ["rope", "op", "X", 10, 20, 1, 1],
    ],
  );
  assert.deepEqual(complete[1]!.args, { rows: 1, shape: "[1, 64]", bytes: 2e6, GBps: 100 });
});

test("each thread has a track of the calls it computed parts of, and a share of the passes", () => {
  const threads = [
    { thread: 1, startUs: 14, durationUs: 10 },
    { thread: 0, startUs: 11, durationUs: 18 },
    { thread: 0, startUs: 5, durationUs: 1 },
  ];
  const { traceEvents } = traceDocument(report.trace, threads) as { traceEvents: Record<string, unknown>[] };
  const tracks = traceEvents
    .filter(({ ph }) => ph === "M")
    .map(({ tid, args }) => [tid, (args as { name: string }).name]);
  assert.deepEqual(tracks, [
    [1, "engine"],
    [2, "thread 0, which calls"],
    [3, "thread 1"],
  ]);
  assert.deepEqual(
    traceEvents.filter(({ cat }) => cat === "thread").map(({ name, tid, ts, dur }) => [name, tid, ts, dur]),
    [
      ["rope", 3, 14, 10],
      ["rope", 2, 11, 18],
      ["between calls", 2, 5, 1],
    ],
  );
  const table = profileTable(
    profileDocument({ ...report, threads: [{ thread: 1, startUs: 0, durationUs: 2500 }] }, undefined),
  );
  assert.match(table, /threads computed, of the time of these passes: 0 0\.0 %, 1 25\.0 %/);
});

test("a schedule's cycles are a trace each; its words are checked", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hw-traces-"));
  try {
    const path = join(folder, "t.json");
    const eventsOf = (name: string): string[] =>
      (JSON.parse(readFileSync(join(folder, name), "utf8")) as { traceEvents: { name: string }[] }).traceEvents
        .slice(1)
        .map(({ name }) => name);
    writeTraces(path, report);
    assert.deepEqual(eventsOf("t.json"), ["decode", "rope"]);
    writeTraces(path, { ...report, cycles: [0, 1] });
    assert.deepEqual([eventsOf("t.1.json"), eventsOf("t.2.json")], [["decode"], ["rope"]]);
  } finally {
    rmSync(folder, { recursive: true });
  }
  const parsed = (...args: string[]): ProfileFlags =>
    addProfileOption(new Command().exitOverride()).parse(args, { from: "user" }).opts();
  const flags = parsed("--profile", "--profile-schedule", "wait=1,warmup=1, active=3,repeat=2");
  assert.deepEqual(profileOptions(flags), {
    profile: "times",
    profileSchedule: { wait: 1, warmup: 1, active: 3, repeat: 2 },
  });
  for (const wrong of ["wait=1", "active=0", "active=-1", "active=3,toString=1", "active=9999999", ""])
    assert.throws(() => parsed("--profile-schedule", wrong), { code: "OPTION_INVALID" }, wrong);
  assert.throws(() => profileOptions(parsed("--profile-schedule", "active=1")), { code: "OPTION_INVALID" });
});
