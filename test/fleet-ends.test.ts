/** The end of a batch of a fleet: nobody is left with lines that others could answer. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Cut } from "../src/batch/cut.js";
import { Bundleer } from "../src/fleet/bundles.js";
import {
  closeConnections,
  submitTo,
  testBatch,
  testMark,
  textLine,
  WaitingEngine,
  workerOn,
} from "./support/fleet-batch.js";
import { missing, redisServer } from "./support/services.js";
import { until } from "./support/wait.js";

const skip = missing("redis-server");
const folder = mkdtempSync(join(tmpdir(), "hundredweight-fleet-ends-"));
let redis: Awaited<ReturnType<typeof redisServer>> | undefined;
let url = "";
before(async () => {
  if (skip !== false) return;
  redis = await redisServer(folder);
  url = `redis://127.0.0.1:${redis.port}`;
});
after(async () => {
  closeConnections();
  await redis?.service.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("bundles get smaller, and the last lines come one by one, the dearest first", () => {
  const cut = new Cut();
  const costs = Array.from({ length: 1000 }, (_, i) => 10 + ((i * 7919) % 91));
  for (const [i, cost] of costs.entries()) cut.add({ number: i + 1, start: 100 * i, end: 100 * i + 99 }, 0, cost);
  const answered = new Set([5, 999]);
  const bundleer = new Bundleer(cut, (line) => !answered.has(line));
  const sizes: number[] = [];
  const last: number[] = [];
  const seen: number[] = [];
  while (!bundleer.ended) {
    const { lines, late } = bundleer.next({ machines: 4, lanes: 16, costPerSecond: 50 });
    seen.push(...lines.map(({ number }) => number));
    sizes.push(lines.length);
    if (late) last.push(lines.reduce((sum, { cost }) => sum + cost, 0));
  }
  assert.equal(seen.length, 998);
  assert.equal(new Set(seen).size, 998);
  assert.ok(sizes[0]! > 40, `${sizes}`);
  // Four rounds of 16 lines.
  assert.ok(last.length >= 63 && last.length <= 64, `${last.length}`);
  assert.deepEqual(
    last,
    [...last].sort((a, b) => b - a),
  );
  assert.equal(bundleer.next({ machines: 4, lanes: 16, costPerSecond: 50 }).lines.length, 0);
});

test("a machine that is slow gives what it has not begun to one that has nothing", { skip }, async () => {
  const open = await testBatch(Array.from({ length: 24 }, (_, i) => textLine(`c${i}`, `prompt ${i}`)));
  const { queue, connection } = await submitTo(url, open);
  const engines = { slow: new WaitingEngine(1, 100), fast: new WaitingEngine(2, 1) };
  const slow = await workerOn(url, () => engines.slow);
  const answered = queue.answerAll(open.batch);
  // It has most of the lines by then.
  while (queue.bundles === 0) await sleep(20);
  await sleep(800);
  const began = performance.now();
  const fast = await workerOn(url, () => engines.fast);
  await answered;
  const seconds = (performance.now() - began) / 1000;
  // Alone it would take a second a line, 24 in all.
  assert.ok(seconds < 15, `${seconds} s`);
  assert.ok(engines.slow.tokens <= 60, `${engines.slow.tokens / 10} lines were answered by the slow one`);
  assert.equal(new Set(open.written.map((line) => (JSON.parse(line) as { custom_id: string }).custom_id)).size, 24);
  for (const worker of [slow, fast]) worker.stop();
  await Promise.all([slow.ended, fast.ended]);
  connection.close();
});

test("a machine whose queue is away ends at once, with answers in hand after its drain time", { skip }, async () => {
  const { port, service } = await redisServer(mkdtempSync(join(folder, "away-")));
  const url = `redis://127.0.0.1:${port}`;
  // No batch wants its model.
  const unasked = await workerOn(url, () => new WaitingEngine(1, 1), {
    mark: { ...testMark, model: "another" },
    drainMs: 60_000,
  });
  const leaving = new AbortController();
  const batch = await testBatch([textLine("a", "one")], leaving.signal);
  const { queue } = await submitTo(url, batch);
  const answered = queue.answerAll(batch.batch).catch(() => {});
  let begun = false;
  let answer = (): void => {};
  const asked = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const busy = new (class extends WaitingEngine {
    override async answer(...line: Parameters<WaitingEngine["answer"]>): ReturnType<WaitingEngine["answer"]> {
      begun = true;
      await asked;
      return super.answer(...line);
    }
  })(1, 1);
  const holding = await workerOn(url, () => busy, { drainMs: 2500 });
  await until(() => begun, "the line to begin");
  // The only line is another's.
  let opened = false;
  const spare = (): WaitingEngine => {
    opened = true;
    return new WaitingEngine(1, 1);
  };
  const empty = await workerOn(url, spare, { drainMs: 60_000 });
  await until(() => opened, "the model to be opened");
  await service.stop();
  answer();
  const since = performance.now();
  for (const worker of [unasked, empty, holding]) worker.stop();
  const nothing = { lines: 0, tokens: 0 };
  assert.deepEqual(await Promise.all([unasked.ended, empty.ended]), [nothing, nothing]);
  const atOnce = performance.now() - since;
  assert.ok(atOnce < 20_000, `${atOnce} ms`);
  assert.deepEqual(await holding.ended, { lines: 1, tokens: 10 });
  const drained = performance.now() - since;
  assert.ok(drained > 2400 && drained < 40_000, `${drained} ms`);
  // Who submitted the batch would ask the queue for ever.
  leaving.abort();
  void answered;
});
