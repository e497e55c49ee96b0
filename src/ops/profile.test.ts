import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Engine } from "../engine/engine.js";
import type { JobRequest, JobResult } from "../engine/jobs.js";
import { openParts } from "../engine/open.js";
import type { EngineOptions } from "../engine/options.js";
import { addonStatus, loadAddon } from "../native/addon.js";
import { defaultSampling } from "../sampling/chain.js";
import { makeTinyModel } from "../synth/tiny.js";
import { activeCycle, type ProfileReport, Profiler } from "./profiler.js";

const folder = mkdtempSync(join(tmpdir(), "hw-profile-"));
after(() => rmSync(folder, { recursive: true }));

async function withModel(arch: string, options: EngineOptions, use: (engine: Engine) => Promise<void>): Promise<void> {
  const path = join(folder, `${arch}.gguf`);
  await makeTinyModel(path, arch);
  const engine = new Engine(await openParts(path, { contextTokens: 1024, chunkRows: 64, ...options }));
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

let jobs = 0;
async function ask<Q extends JobRequest>(engine: Engine, request: Q): Promise<Extract<JobResult, { kind: Q["kind"] }>> {
  return (await engine.submit(++jobs, request)) as Extract<JobResult, { kind: Q["kind"] }>;
}

const phase = (report: ProfileReport, name: string) => report.phases.find((p) => p.phase === name)!;
const total = (report: ProfileReport, name: string): number =>
  phase(report, name).entries.reduce((sum, entry) => sum + entry.ms, 0);

test("times of the operations add up to less than the wall, and the trace is the sums call by call", async () => {
  await withModel("qwen3moe", { profile: "trace", sequences: 3 }, async (engine) => {
    const prompt = { kind: "tokens", tokens: Int32Array.from({ length: 100 }, (_, i) => i) } as const;
    const sampling = { ...defaultSampling, seed: 1 };
    const began = performance.now();
    await ask(engine, { kind: "generate", prompt, sampling, maxTokens: 11, stop: [], ignoreEos: true });
    const elapsed = performance.now() - began;
    const { profile } = await ask(engine, { kind: "profile" });

    assert.equal(phase(profile, "prefill").rows, 100);
    assert.equal(phase(profile, "prefill").passes, 2); // 64 + 36
    assert.deepEqual([phase(profile, "decode").passes, phase(profile, "decode").rows], [10, 10]);
    for (const { phase: name, wallMs } of profile.phases) assert.ok(total(profile, name) <= wallMs, name);
    assert.ok(profile.phases.reduce((sum, p) => sum + p.wallMs, 0) <= elapsed);
    const names = phase(profile, "decode").entries.map((entry) => entry.name.split(" ")[0]);
    for (const name of ["matmul", "attention", "norm", "rope", "kv", "route", "experts", "embed", "sample"])
      assert.ok(names.includes(name), name);

    assert.equal(profile.droppedEvents, 0);
    const passes = profile.trace.filter((event) => event.name === "prefill" || event.name === "decode");
    assert.equal(passes.length, 12);
    const calls = profile.trace.filter((event) => !passes.includes(event));
    for (const { name, calls: count, ms } of profile.phases.flatMap((p) => p.entries)) {
      const both = profile.phases.flatMap((p) => p.entries).filter((entry) => entry.name === name);
      const traced = calls.filter((event) => event.name === name);
      assert.ok(count > 0 && ms >= 0);
      assert.equal(
        traced.length,
        both.reduce((sum, entry) => sum + entry.calls, 0),
        name,
      );
    }
    // Calls lie inside their pass, one after the other: 1e-3 us for the sums of doubles.
    for (const [i, pass] of passes.entries()) {
      const end = pass.startUs + pass.durationUs;
      const inside = calls.filter((e) => e.startUs >= pass.startUs && e.startUs < end);
      assert.ok(inside.length > 10, `pass ${i}`);
      for (const [j, e] of inside.entries()) {
        assert.ok(e.startUs + e.durationUs <= (inside[j + 1]?.startUs ?? end) + 1e-3, `${e.name} of pass ${i}`);
      }
    }
    const next = await ask(engine, { kind: "profile" });
    assert.deepEqual(next.profile, { phases: [], trace: [], threads: [], cycles: [], droppedEvents: 0 });
  });
});

const skip = loadAddon() === undefined ? `SKIPPED: ${addonStatus().reason}` : false;
test("a trace tells what each thread of the pool computed, inside the calls", { skip }, async () => {
  await withModel("llama", { profile: "trace", threads: 2 }, async (engine) => {
    // On a busy machine the other thread may come too late for a call, not for all of them.
    for (let tries = 0; ; tries++) {
      await ask(engine, { kind: "measure", prompt: 256, decode: 4 });
      const { profile } = await ask(engine, { kind: "profile" });
      const seen = new Set(profile.threads.map(({ thread }) => thread));
      assert.ok(profile.threads.length > 4 * 10 && seen.has(0), `${profile.threads.length} spans`);
      liesWithin(profile);
      if (seen.has(1)) break;
      assert.ok(tries < 50, "the other thread computes, too");
    }
  });
  const few = new Float64Array(5);
  assert.equal(loadAddon()!.takeThreadSpans(few), 0, "nothing is kept any more");
  assert.throws(() => loadAddon()!.takeThreadSpans(new Float64Array(3)), { code: "NATIVE_ARGUMENT" });
  assert.throws(() => loadAddon()!.keepThreadSpans(-1), { code: "NATIVE_ARGUMENT" });
});

/** Whether each span lies in a call, and the caller's all together in the passes. */
function liesWithin({ trace, threads, phases }: ProfileReport): void {
  const calls = trace.filter(({ name }) => name !== "prefill" && name !== "decode");
  // Both clocks are the system's monotonic one, read a moment apart.
  const slackUs = 200;
  for (const { thread, startUs, durationUs } of threads) {
    const call = calls.findLast((one) => one.startUs <= startUs + slackUs)!;
    assert.ok(durationUs >= 0 && startUs + durationUs <= call.startUs + call.durationUs + slackUs, `thread ${thread}`);
  }
  const wallMs = phases.reduce((sum, one) => sum + one.wallMs, 0);
  const callerUs = threads.reduce((sum, { thread, durationUs }) => sum + (thread > 0 ? 0 : durationUs), 0);
  assert.ok(callerUs > 0 && callerUs / 1000 <= wallMs, `${callerUs} us of ${wallMs} ms`);
}

test("bytes and operations are those of the model", async () => {
  await withModel("llama", { profile: "times", sequences: 2, kvType: "f16" }, async (engine) => {
    await ask(engine, { kind: "measure", prompt: 0, decode: 4, depth: 300, rows: 2 });
    const { profile } = await ask(engine, { kind: "profile" });
    const decode = phase(profile, "decode");
    assert.deepEqual([decode.passes, decode.rows], [4, 8]);
    const attention = decode.entries.find((entry) => entry.name === "attention")!;
    const matmuls = decode.entries.filter((entry) => entry.name.startsWith("matmul"));
    // Sequences at 300, 301, 302, 303 positions see one key more than that each.
    const keys = 2 * (301 + 302 + 303 + 304);
    const layers = attention.calls / 4;
    assert.equal(attention.bytes % (keys * layers), 0);
    assert.equal(attention.operations % (keys * layers * 4), 0);
    // Every weight is read once a pass and multiplied with both rows.
    for (const { name, bytes, operations } of matmuls) {
      const perValue = name.endsWith("f32") ? 4 : 2;
      if (/ (f32|f16|bf16)$/.test(name)) assert.equal(operations, 2 * 2 * (bytes / perValue), name);
      assert.ok(bytes > 0 && operations > 0, name);
    }
    assert.deepEqual(profile.trace, []);
  });
});

test("a model opened without has no profile, and more rows than sequences are refused", async () => {
  await withModel("llama", {}, async (engine) => {
    await assert.rejects(ask(engine, { kind: "profile" }), { code: "OPTION_INVALID" });
    await assert.rejects(ask(engine, { kind: "measure", prompt: 0, decode: 1, rows: 2 }), { code: "OPTION_INVALID" });
  });
});

test("time between jobs is nobody's; a full trace is counted", () => {
  let now = 0;
  const profiler = new Profiler(true, () => now);
  const work = { name: "x", kernel: true, arithmetic: "none", bytes: 1, operations: 2 } as const;
  profiler.pass("decode", 1);
  now = 5;
  profiler.add(work, 2);
  now = 7;
  profiler.pause();
  now = 100;
  profiler.pass("decode", 1);
  now = 101;
  for (let i = 0; i < 200_000; i++) profiler.add(work, 101);
  const { phases, trace, droppedEvents } = profiler.take();
  assert.deepEqual(phases, [
    {
      phase: "decode",
      passes: 2,
      rows: 2,
      wallMs: 8,
      entries: [
        { name: "x", kernel: true, arithmetic: "none", calls: 200_001, ms: 3, bytes: 200_001, operations: 400_002 },
      ],
    },
  ]);
  assert.equal(trace.length, 200_000);
  assert.equal(droppedEvents, 3);
});

test("a schedule of 1 wait, 1 warm-up, 3 active, twice: ten passes are two traces, of passes 2 to 4 and 7 to 9", () => {
  const schedule = { wait: 1, warmup: 1, active: 3, repeat: 2 };
  const told = (steps: number, each = schedule): (number | undefined)[] =>
    Array.from({ length: steps }, (_, step) => activeCycle(each, step));
  const none = undefined;
  assert.deepEqual(told(13), [none, none, 0, 0, 0, none, none, 1, 1, 1, none, none, none]);
  assert.equal(activeCycle({ ...schedule, repeat: 0 }, 5 * 1000 + 2), 1000);
  assert.deepEqual(told(4, { wait: 0, warmup: 0, active: 1, repeat: 3 }), [0, 1, 2, none]);

  let now = 0;
  const profiler = new Profiler(true, () => now, schedule);
  const work = { name: "x", kernel: true, arithmetic: "none", bytes: 1, operations: 2 } as const;
  for (let round = 0; round < 2; round++) {
    for (let step = 0; step < 10; step++) {
      profiler.pass("decode", step + 1);
      const began = now;
      now++;
      profiler.add(work, began);
    }
    const { phases, trace, cycles, droppedEvents } = profiler.take();
    const rows = (from: number, to?: number): number[] => trace.slice(from, to).map((event) => event.rows);
    assert.deepEqual(cycles, [0, 6]);
    assert.deepEqual(rows(0, 6), [3, 3, 4, 4, 5, 5]);
    assert.deepEqual(rows(6), [8, 8, 9, 9, 10, 10]);
    assert.deepEqual([phases[0]!.passes, phases[0]!.wallMs, phases[0]!.entries[0]!.calls], [6, 6, 6]);
    assert.equal(droppedEvents, 0);
  }
});
