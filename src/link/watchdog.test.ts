/** An engine that hangs is noticed, and started again when it reads nothing either. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultSampling } from "../sampling/chain.js";
import { makeTinyModel } from "../synth/tiny.js";
import { DiskSigns } from "./disk-signs.js";
import { Heartbeat } from "./heartbeat.js";
import { Silence } from "./silence.js";
import { openSupervised } from "./supervisor.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-watchdog-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("a beat is told when its thread answers, when tiles are finished; waiting for the disk alone is reading", () => {
  const told: boolean[] = [];
  let tiles: number | undefined = 5;
  let reading = false;
  let pings = 0;
  const beat = new Heartbeat({
    ping: () => pings++,
    tiles: () => tiles,
    reading: () => reading,
    alive: (read) => told.push(read),
  });
  const beats = (n = 1): boolean[] => {
    for (let i = 0; i < n; i++) beat.beat();
    return told.splice(0);
  };
  assert.deepEqual(beats(), [false], "tiles were finished");
  assert.deepEqual(beats(3), [], "a pass that hangs");
  assert.equal(pings, 1, "asked once until it answers");
  tiles = 6;
  assert.deepEqual(beats(2), [false]);
  reading = true;
  assert.deepEqual(beats(2), [true, true]);
  reading = false;
  beat.pong();
  assert.deepEqual(beats(2), [false]);
  tiles = undefined;
  assert.deepEqual(beats(2), [false, false], "where nobody counts, nobody is called hung");
});

test("silence is counted while there is work, and not while this process slept", () => {
  const silence = new Silence(500);
  let now = performance.now();
  const step = (working: boolean, ms = 500): void => {
    now += ms;
    silence.step(working, now);
  };
  for (let i = 0; i < 20; i++) step(false);
  assert.equal(silence.silentMs, 0);
  for (let i = 0; i < 10; i++) step(true);
  assert.ok(silence.silentMs > 4500 && silence.silentMs < 5500);
  silence.heard(true);
  step(true);
  assert.ok(silence.silentMs > 5000 && silence.hungMs < 501, "waiting for the disk is silence, and no reason to kill");
  silence.heard();
  assert.equal(silence.silentMs, 0);
  step(true, 3_600_000);
  assert.ok(silence.hungMs < 1001, "an hour of sleep is one step");
});

test("a process waits for a disk when a thread sleeps uninterruptibly, or pages were read since", () => {
  const stat = (name: string, state: string, faults: number): string =>
    `7 (${name}) ${state} 1 7 7 0 -1 4194304 100 0 ${faults} 0 5 5 0 0 20 0 3 0 100\n`;
  const put = (task: number, text: string): void => {
    mkdirSync(join(folder, "proc/7/task", String(task)), { recursive: true });
    writeFileSync(join(folder, "proc/7/task", String(task), "stat"), text);
  };
  const signs = new DiskSigns(7, join(folder, "proc"));
  assert.equal(signs.look(), undefined, "where the system does not tell");
  put(7, stat("node", "S", 3));
  put(8, stat("a) D (b", "S", 40));
  assert.equal(signs.look(), false, "faults of long ago, and a name that looks like a state");
  assert.equal(signs.look(), false);
  put(8, stat("hundredweight", "D", 40));
  assert.equal(signs.look(), true);
  put(8, stat("hundredweight", "R", 41));
  assert.equal(signs.look(), true);
  assert.equal(signs.look(), false);
  if (process.platform === "linux") assert.notEqual(new DiskSigns(process.pid).look(), undefined, "the real one");
});

test("an engine's process that is stopped is told of, ended and started again", {
  skip: process.platform === "win32" && "SKIPPED: needs SIGSTOP",
  timeout: 120_000,
}, async () => {
  const path = join(folder, "model.gguf");
  await makeTinyModel(path, "llama", { dims: 256, overrides: { context_length: 4096 } });
  const said: string[] = [];
  let stalled: boolean | undefined = true;
  // An engine that is started again keeps nobody alive.
  const alive = setInterval(() => {}, 1000);
  let again: () => void = () => {};
  const back = new Promise<void>((resolve) => {
    again = resolve;
  });
  const engine = await openSupervised(
    path,
    { contextTokens: 4096, threads: 1 },
    {
      onSilent: (silent) => said.push(silent ? "silent" : "speaks"),
      onRestarting: (reason) => said.push(reason),
      onReady: () => said.includes("silent") && again(),
      timing: { firstWaitMs: 10, silentMs: 3000, hungMs: 6000 },
      signsOf: () => ({ look: () => stalled }),
    },
  );
  try {
    const job = {
      kind: "generate",
      prompt: { kind: "text", text: "the cat" },
      sampling: { ...defaultSampling, seed: 1 },
      maxTokens: 1_000_000,
      stop: [],
      ignoreEos: true,
    } as const;
    let began: () => void = () => {};
    const first = new Promise<void>((resolve) => {
      began = resolve;
    });
    const running = engine.submit(job, (event) => event.kind === "token" && began());
    running.result.catch(() => {});
    await first;
    process.kill(engine.client!.pid!, "SIGSTOP");
    // While its disk stalls, and while nothing is known of its mapped file, it is silent and lives.
    for (const sign of [true, undefined]) {
      stalled = sign;
      const ended = await Promise.race([running.result.catch((error: unknown) => error), sleep(7000)]);
      assert.equal(ended, undefined);
      assert.deepEqual(said, ["silent"]);
    }
    stalled = false;
    await assert.rejects(running.result, { code: "ENGINE_CRASHED", message: /said nothing for 6 s/ });
    await back;
    assert.equal(said[0], "silent");
    assert.match(said[1]!, /it was ended/);
    const { finishReason } = await engine.submit({ ...job, maxTokens: 3 }).result;
    assert.equal(finishReason, "length");
  } finally {
    clearInterval(alive);
    await engine.close();
  }
});
