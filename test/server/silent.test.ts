/** An engine that hangs, as others see it over HTTP: not ready while it says nothing, ready when it speaks again. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { childrenOf } from "./soak-memory.js";
import { demoModel, needsThreads, postJson, serveForTests, until } from "./support.js";

it("/ready is 503 `silent` while an engine with work says nothing, /health stays 200", {
  skip: needsThreads || (process.platform !== "linux" && "SKIPPED: needs SIGSTOP and /proc"),
  timeout: 120_000,
}, async () => {
  const server = await serveForTests({ modelPath: demoModel });
  const pid = childrenOf(process.pid).find((child) =>
    readFileSync(`/proc/${child}/cmdline`, "latin1").includes("link/process"),
  );
  assert.ok(pid !== undefined, "the engine's process is found");
  const stopped = new AbortController();
  const answer = await postJson(
    `${server.url}/v1/completions`,
    { prompt: "In the beginning", max_tokens: 2000, ignore_eos: true, stream: true },
    { signal: stopped.signal },
  );
  assert.equal(answer.status, 200);
  let status = "";
  const asked = async (): Promise<number> => {
    const ready = await fetch(`${server.url}/ready`);
    ({ status } = (await ready.json()) as { status: string });
    return ready.status;
  };
  const ready = async (code: number): Promise<void> => {
    const end = performance.now() + 40_000;
    while ((await asked()) !== code) {
      assert.ok(performance.now() < end, `/ready is not ${code}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  await ready(200);
  process.kill(pid, "SIGSTOP");
  try {
    await ready(503);
    assert.equal(status, "silent");
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await ready(200);
  assert.equal(status, "ready");
  stopped.abort();
  await until(() => server.context.gate.count === 0, "the answer has ended");
});
