/**
 * Measures what a queue costs: machines that only wait, in processes of their own, on a real Redis.
 *   node dist/bench/fleet.js machines [MACHINES] [SECONDS]   so many against one
 *   node dist/bench/fleet.js overhead [SECONDS]              bundles of about a minute against no queue at all
 */
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { submitTo, testBatch, textLine, WaitingEngine, workerOn } from "../test/support/fleet-batch.js";
import { missing, redisServer } from "../test/support/services.js";

/** Lines that each machine answers at a time. */
const lanes = 8;
const msPerToken = 20;

const [, , what = "machines", first, second] = process.argv;

if (what === "worker") {
  const worker = await workerOn(first!, () => new WaitingEngine(lanes, msPerToken));
  process.on("SIGTERM", worker.stop);
  await worker.ended;
  process.exit();
}

const lines = (tokens: number): string[] => {
  const list: string[] = [];
  let left = tokens;
  // Answers of very different lengths, as they are; a seed of our own.
  for (let i = 0; left > 0; i++) {
    const length = Math.min(left, 10 + ((i * 7919) % 91));
    list.push(textLine(`c${i}`, `${"prompt ".repeat(20)}${i}`, length));
    left -= length;
  }
  return list;
};

/** @returns seconds from the first line given to the last answer */
async function withQueue(url: string, machines: number, tokens: number): Promise<number> {
  const open = await testBatch(lines(tokens));
  const workers = Array.from({ length: machines }, () =>
    fork(fileURLToPath(import.meta.url), ["worker", url], { stdio: "ignore" }),
  );
  // Machines are there before: their start is no cost of the queue.
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const { queue, connection } = await submitTo(url, open);
  const began = performance.now();
  await queue.answerAll(open.batch);
  const seconds = (performance.now() - began) / 1000;
  connection.close();
  for (const worker of workers) worker.kill("SIGTERM");
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.on("exit", resolve))));
  return seconds;
}

const skipped = missing("redis-server");
if (skipped !== false) throw new Error(skipped);
const folder = mkdtempSync(join(tmpdir(), "hundredweight-fleet-bench-"));
const { port, service } = await redisServer(folder);
const url = `redis://127.0.0.1:${port}`;
const tokensPerSecond = (lanes * 1000) / msPerToken;
try {
  if (what === "machines") {
    const [machines, seconds] = [Number(first ?? 8), Number(second ?? 60)];
    const tokens = tokensPerSecond * seconds;
    const one = await withQueue(url, 1, tokens);
    const many = await withQueue(url, machines, tokens);
    console.log(
      `one machine ${one.toFixed(1)} s, ${machines} machines ${many.toFixed(1)} s: ${(one / many).toFixed(2)}x`,
    );
  } else {
    const seconds = Number(first ?? 180);
    const queued = await withQueue(url, 1, tokensPerSecond * seconds);
    console.log(
      `alone ${seconds} s of waiting, through the queue ${queued.toFixed(1)} s: ` +
        `${(100 * (queued / seconds - 1)).toFixed(1)} % more`,
    );
  }
} finally {
  await service.stop();
  rmSync(folder, { recursive: true, force: true });
}
