/** The engine in a process of its own: the same answers, cancels in the middle of a pass, its death and its return. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { HundredweightError } from "../errors.js";
import { defaultSampling } from "../sampling/chain.js";
import { makeTinyModel } from "../synth/tiny.js";
import { EngineClient } from "./client.js";
import type { GenerateRequest } from "./protocol.js";
import { openSupervised, type SupervisedState } from "./supervisor.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-process-"));
const path = join(folder, "model.gguf");
before(() => makeTinyModel(path, "llama", { dims: 256, overrides: { context_length: 65_536 } }));
after(() => rmSync(folder, { recursive: true, force: true }));

const options = { contextTokens: 20_000, threads: 1 } as const;

const request = (change: Partial<GenerateRequest> = {}): GenerateRequest => ({
  kind: "generate",
  prompt: { kind: "text", text: "the cat" },
  sampling: { ...defaultSampling, seed: 1 },
  maxTokens: 20,
  stop: [],
  ignoreEos: true,
  ...change,
});
const endless = request({ maxTokens: -1 });

async function tokensOf(client: Pick<EngineClient, "submit">, q: GenerateRequest): Promise<number[]> {
  const ids: number[] = [];
  await client.submit(q, (event) => {
    if (event.kind === "token") ids.push(event.id);
  }).result;
  return ids;
}

/** Resolves at the first event of a kind. */
const once = (client: Pick<EngineClient, "submit">, q: GenerateRequest, kind: string) => {
  let seen: () => void = () => {};
  const begun = new Promise<void>((resolve) => {
    seen = resolve;
  });
  const job = client.submit(q, (event) => event.kind === kind && seen());
  job.result.catch(() => {});
  return { job, begun };
};

test("a process gives what a thread gives, hears a cancel within a pass, and ends when closed", async () => {
  const [own, thread] = await Promise.all([
    EngineClient.open(path, { ...options, place: "process" }),
    EngineClient.open(path, options),
  ]);
  assert.ok(own.pid !== undefined && own.pid !== process.pid);
  assert.deepEqual(await tokensOf(own, request()), await tokensOf(thread, request()));
  assert.deepEqual(own.info.path, path);
  const promptOf = (tokens: number, id: number) =>
    ({ kind: "tokens", tokens: new Int32Array(tokens).fill(id) }) as const;
  const began = performance.now();
  await tokensOf(own, request({ prompt: promptOf(1_900, 7), maxTokens: 1 }));
  const aTenthMs = performance.now() - began;
  const prompt = promptOf(19_000, 5);
  const { job, begun } = once(own, request({ prompt }), "pass");
  await begun;
  job.cancel();
  const asked = performance.now();
  await assert.rejects(job.result, { code: "CANCELLED" });
  // The engine itself is free again: it answers something else long before 19,000 rows are done.
  await tokensOf(own, request({ maxTokens: 1 }));
  const tookMs = performance.now() - asked;
  assert.ok(tookMs < 5 * aTenthMs, `${tookMs} ms, a tenth of the rows takes ${aTenthMs}`);
  const { job: running, begun: started } = once(own, endless, "token");
  await started;
  await own.close();
  await assert.rejects(running.result, (e: HundredweightError) => /CANCELLED|ENGINE_CLOSED/.test(e.code));
  assert.equal((await own.gone).code, "ENGINE_CLOSED");
  assert.throws(() => process.kill(own.pid!, 0), { code: "ESRCH" });
  await thread.close();
});

test("opening fails with the error of the model", async () => {
  await assert.rejects(EngineClient.open(join(folder, "none.gguf"), { place: "process" }), { code: "FILE_NOT_FOUND" });
  await assert.rejects(openSupervised(join(folder, "none.gguf")), { code: "FILE_NOT_FOUND" });
});

// An engine without jobs does not keep the process alive, nor does one that is being started again.
const awake = setInterval(() => {}, 1000);
after(() => clearInterval(awake));

test("kill -9: the running jobs fail with ENGINE_CRASHED, the engine comes back with the same answers", async () => {
  const states: SupervisedState[] = [];
  const reasons: string[] = [];
  let ready: () => void = () => {};
  const engine = await openSupervised(path, options, {
    timing: { firstWaitMs: 10, maxEnds: 2, soundMs: 1e9 },
    onState: (state) => states.push(state),
    onRestarting: (reason) => reasons.push(reason),
    onReady: () => ready(),
  });
  const expected = await tokensOf(engine, request());
  for (let i = 0; i < 2; i++) {
    const jobs = [once(engine, endless, "token"), once(engine, endless, "token")];
    await jobs[0]!.begun;
    const back = new Promise<void>((resolve) => {
      ready = resolve;
    });
    process.kill(engine.client!.pid!, "SIGKILL");
    for (const { job } of jobs)
      await assert.rejects(job.result, { code: "ENGINE_CRASHED", message: /SIGKILL.*memory/ });
    assert.equal(engine.client, undefined);
    await assert.rejects(engine.submit(request()).result, { code: "ENGINE_CRASHED" });
    await back;
    assert.deepEqual(await tokensOf(engine, request()), expected);
  }
  assert.equal(reasons.length, 2);
  assert.equal(engine.state.restarts, 2);
  assert.deepEqual([...new Set(states.map(({ phase }) => phase))], ["loading", "ready", "restarting"]);
  // A third end in a row is one too many.
  const failed = new Promise<void>((resolve) => {
    const wait = setInterval(() => {
      if (engine.state.phase !== "failed") return;
      clearInterval(wait);
      resolve();
    }, 5);
  });
  process.kill(engine.client!.pid!, "SIGKILL");
  await failed;
  await assert.rejects(engine.submit(request()).result, { code: "ENGINE_CRASHED" });
  await engine.close();
});
