/** A fleet in which things go wrong: clear errors, nothing lost, nothing secret told, nothing left in the queue. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HundredweightError } from "../src/errors.js";
import { parseQueueUrl } from "../src/fleet/queue-url.js";
import { connectQueue } from "../src/fleet/redis.js";
import { runCli } from "./support/cli.js";
import {
  closeConnections,
  submitTo,
  testBatch,
  testMark,
  textLine,
  WaitingEngine,
  workerOn,
} from "./support/fleet-batch.js";
import { freePort, missing, redisServer } from "./support/services.js";

const skip = missing("redis-server");
const folder = mkdtempSync(join(tmpdir(), "hundredweight-fleet-faults-"));
const at = (name: string): string => join(folder, name);
let redis: Awaited<ReturnType<typeof redisServer>> | undefined;
let url = "";

before(async () => {
  if (skip !== false) return;
  redis = await redisServer(folder, "--requirepass", "open sesame");
  url = `redis://:open%20sesame@127.0.0.1:${redis.port}`;
});
after(async () => {
  closeConnections();
  await redis?.service.stop();
  rmSync(folder, { recursive: true, force: true });
});

const idOf = (line: string): string => (JSON.parse(line) as { custom_id: string }).custom_id;
const lines = (count: number): string[] => Array.from({ length: count }, (_, i) => textLine(`c${i}`, `prompt ${i}`));

/** Keys that grow with work: those of jobs. */
async function jobsLeft(): Promise<string[]> {
  const connection = await connectQueue(parseQueueUrl(url), { note: () => {} });
  const keys = await connection.redis.keys("hundredweight:*");
  connection.close();
  return keys.filter((key) => !/:(meta|id|marker|pc|stalled-check|machines|events|tried)$/.test(key));
}

test("an address is read, and what is wrong with one is told without it", () => {
  const { password, username, shown, tls, database } = parseQueueUrl("rediss://me:p%40ss@box:7000/3");
  assert.deepEqual([username, password, tls, database], ["me", "p@ss", true, 3]);
  assert.equal(shown, "rediss://me:***@box:7000/3");
  assert.equal(parseQueueUrl("redis://[::1]").host, "::1");
  for (const wrong of ["http://:secret@box", "secret", "redis://:secret@", "redis://:secret@b/x", "redis://:secret%@b"])
    assert.throws(
      () => parseQueueUrl(wrong),
      (error: HundredweightError) => error.code === "OPTION_INVALID" && !error.message.includes("secret"),
      wrong,
    );
});

test("a wrong password, no password, nobody there: one clear line without the password", { skip }, async () => {
  writeFileSync(at("in.jsonl"), `${textLine("a", "b")}\n`);
  const nobody = await freePort();
  const cases: [string, RegExp][] = [
    [`redis://:wrong@127.0.0.1:${redis!.port}`, /^error\[QUEUE_REFUSED\]: redis:\/\/:\*\*\*@[^\n]*WRONGPASS[^\n]*\n$/],
    [`redis://127.0.0.1:${redis!.port}`, /^error\[QUEUE_REFUSED\]: [^\n]*NOAUTH[^\n]*\n$/],
    [`redis://:wrong@127.0.0.1:${nobody}`, /^error\[NETWORK_FAILED\]: [^\n]*ECONNREFUSED[^\n]*\n$/],
  ];
  for (const [i, [address, why]] of cases.entries()) {
    const words = i === 1 ? ["work"] : ["batch", at("in.jsonl"), at("out.jsonl")];
    const end = await runCli([...words, "--queue", address], "", { HUNDREDWEIGHT_DEBUG: "1" });
    assert.equal(end.code, 1);
    const [line] = end.err.split(/(?<=\n)/);
    assert.match(line!, why);
    assert.ok(!end.err.includes("wrong@") && !end.out.includes("wrong"), end.err);
  }
});

test("a machine with another model, type of cache or context is refused, and says what differs", { skip }, async () => {
  const open = await testBatch(lines(3));
  const { queue, connection, notes } = await submitTo(url, open);
  const answered = queue.answerAll(open.batch);
  await sleep(500);
  const engine = (): WaitingEngine => new WaitingEngine(1, 1);
  for (const [more, why] of [
    [{ mark: { ...testMark, model: "other.gguf", files: "bad" } }, /another model: test \(f00\) .*other.gguf \(bad\)/],
    [{ mark: { ...testMark, kv: "q8_0" } }, /another type of the KV cache \(--kv\): f16 is asked for, here is q8_0/],
    [{ contextTokens: 65 }, /another context \(--ctx\): 64 is asked for, here is 65/],
  ] as const) {
    const error = (await (await workerOn(url, engine, more)).ended) as HundredweightError;
    assert.equal(error.code, "QUEUE_MISMATCH");
    assert.match(error.message, why);
  }
  const worker = await workerOn(url, engine);
  await answered;
  worker.stop();
  await worker.ended;
  assert.deepEqual(open.written.map(idOf).sort(), ["c0", "c1", "c2"]);
  assert.ok(notes.every((note) => !note.includes("sesame")));
  assert.deepEqual(await jobsLeft(), []);
  connection.close();
});

test("a line that ends every engine is given up after three; its neighbours are answered", { skip }, async () => {
  const open = await testBatch([...lines(12), textLine("poison", "poison")]);
  const { queue, connection } = await submitTo(url, open);
  const ended: string[] = [];
  const engine = (): WaitingEngine =>
    new WaitingEngine(8, 1, ({ body }) => {
      if (body.prompt !== "poison") return;
      ended.push("once");
      throw new HundredweightError("ENGINE_CRASHED", "the engine's process ended by SIGSEGV");
    });
  const worker = await workerOn(url, engine);
  await queue.answerAll(open.batch);
  worker.stop();
  await worker.ended;
  assert.equal(ended.length, 3);
  assert.equal(new Set(open.written.map(idOf)).size, 13);
  for (const line of open.written) {
    const { custom_id, error } = JSON.parse(line) as { custom_id: string; error: { code: string; message: string } };
    if (custom_id !== "poison") assert.equal(error, null, line);
    else assert.match(`${error.code}: ${error.message}`, /^given_up: given up after 3 failures, .*SIGSEGV/);
  }
  assert.deepEqual(await jobsLeft(), []);
  connection.close();
});

test("the more urgent batch first; a cancelled one leaves nothing and keeps what was answered", { skip }, async () => {
  const stopped = new AbortController();
  const [slow, urgent] = [await testBatch(lines(300), stopped.signal), await testBatch(lines(4))];
  const low = await submitTo(url, slow, { id: "low", priority: 9 });
  const submitted = await testBatch(lines(300));
  const given = low.queue.answerAll(slow.batch);
  const high = await submitTo(url, urgent, { priority: 1 });
  const first = high.queue.answerAll(urgent.batch);
  while (high.queue.bundles === 0 || low.queue.bundles === 0) await sleep(20);
  const worker = await workerOn(url, () => new WaitingEngine(2, 5));
  await first;
  assert.ok(slow.written.length < 200, `${slow.written.length} lines of the other batch were answered before`);
  // The command is interrupted, and takes the batch back.
  stopped.abort();
  await given;
  const cancelled = await submitTo(url, submitted, { id: "low", priority: 9, cancel: true });
  await cancelled.queue.answerAll(submitted.batch);
  assert.equal(new Set(submitted.written.map(idOf)).size, submitted.written.length);
  assert.ok(submitted.written.length < 200);
  worker.stop();
  await worker.ended;
  assert.deepEqual(await jobsLeft(), []);
  for (const { connection } of [high, cancelled]) connection.close();
});

test("memory of the queue is a window, however long the batch is", { skip }, async () => {
  const prompt = "x".repeat(20_000);
  const open = await testBatch(Array.from({ length: 1200 }, (_, i) => textLine(`c${i}`, `${i} ${prompt}`, 4)));
  const { queue, connection } = await submitTo(url, open, { windowBytes: 2 ** 20 });
  const used = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await connection.redis.info("memory"))![1]);
  const before = await used();
  const workers = await Promise.all([0, 1].map(() => workerOn(url, () => new WaitingEngine(8, 1))));
  let most = 0;
  const looking = setInterval(async () => {
    most = Math.max(most, (await used()) - before);
  }, 50);
  await queue.answerAll(open.batch);
  clearInterval(looking);
  for (const worker of workers) worker.stop();
  await Promise.all(workers.map(({ ended }) => ended));
  assert.equal(new Set(open.written.map(idOf)).size, 1200);
  // 24 MB are asked, and as much is answered.
  assert.ok(most < 14e6, `${most} bytes`);
  assert.ok((await used()) - before < 1e6);
  connection.close();
});

test("a full disk at the output ends the command, and the next one has every answer", { skip }, async () => {
  const open = await testBatch(lines(20));
  const full = { ...open };
  const { batch } = full;
  const failing = await submitTo(url, open, { id: "full" });
  let room = 5;
  const append = open.written.push.bind(open.written);
  open.written.push = (line: string): number => {
    if (room-- <= 0) throw new HundredweightError("FILE_IO", "out.jsonl cannot be written: ENOSPC, no space left");
    return append(line);
  };
  const worker = await workerOn(url, () => new WaitingEngine(4, 1));
  await assert.rejects(failing.queue.answerAll(batch), /FILE_IO|ENOSPC/);
  failing.connection.close();
  const again = await testBatch(lines(20));
  const next = await submitTo(url, again, { id: "full" });
  await next.queue.answerAll(again.batch);
  assert.equal(again.written.length, 20);
  worker.stop();
  await worker.ended;
  assert.deepEqual(await jobsLeft(), []);
  next.connection.close();
});

test("bullmq is loaded for a queue only", async () => {
  const batch = readFileSync(new URL("../src/cli/commands/batch.js", import.meta.url), "utf8");
  assert.ok(!/from "(bullmq|ioredis)"/.test(batch));
  const loaded = await runCli(["batch", "--help"], "", { NODE_DEBUG: "esm" });
  assert.equal(loaded.code, 0);
  assert.ok(!/bullmq|ioredis\/built/.test(loaded.err));
});
