/** An engine that hangs is noticed, and started again when it reads nothing either. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { makeTinyModel } from "../models/tiny.js";
import { defaultSampling } from "../sampling/chain.js";
import { Heartbeat } from "./heartbeat.js";
import { Silence } from "./silence.js";
import { openSupervised } from "./supervisor.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-watchdog-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("a beat is told when its thread answers, when tiles are finished, and as reading when only the disk is waited for", () => {
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
  assert.ok(silence.silentMs > 5000 && silence.hungMs <= 500, "waiting for the disk is silence, and no reason to kill");
  silence.heard();
  assert.equal(silence.silentMs, 0);
  step(true, 3_600_000);
  assert.ok(silence.hungMs <= 1000, "an hour of sleep is one step");
});

test("an engine's process that is stopped is told of, ended and started again", {
  skip: process.platform === "win32" && "SKIPPED: needs SIGSTOP",
  timeout: 120_000,
}, async () => {
  const path = join(folder, "model.gguf");
  await makeTinyModel(path, "llama", { dims: 256, overrides: { context_length: 4096 } });
  const said: string[] = [];
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
