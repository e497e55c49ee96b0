/**
 * Measures what a queue costs, on a real Redis.
 *   node dist/bench/fleet.js machines [MACHINES] [SECONDS]   machines that only wait against one, and where time went
 *   node dist/bench/fleet.js overhead [SECONDS]              bundles of about a minute against no queue at all
 *   node dist/bench/fleet.js shards [LINES]                  the bundled model: two machines, two shards, one machine
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missing, redisServer } from "../test/support/services.js";
import { compareShards } from "./fleet/shards.js";
import { tokensPerSecond, waitingWorker, withWaitingMachines } from "./fleet/waiting.js";

const [, , what = "machines", first, second] = process.argv;

if (what === "worker") {
  await waitingWorker(first!);
  process.exit();
}

const skipped = missing("redis-server");
if (skipped !== false) throw new Error(skipped);
const folder = mkdtempSync(join(tmpdir(), "hundredweight-fleet-bench-"));
const { port, service } = await redisServer(folder);
const url = `redis://127.0.0.1:${port}`;
try {
  if (what === "machines") {
    const [machines, seconds] = [Number(first ?? 8), Number(second ?? 160)];
    const one = await withWaitingMachines(url, 1, tokensPerSecond * seconds);
    const many = await withWaitingMachines(url, machines, tokensPerSecond * seconds);
    const ratio = (one.seconds / many.seconds).toFixed(2);
    console.log(`one machine ${one.seconds.toFixed(1)} s, ${machines} ${many.seconds.toFixed(1)} s: ${ratio}x`);
    console.log(`of the ${machines}: ${many.where}`);
  } else if (what === "shards") {
    await compareShards(url, folder, Number(first ?? 900));
  } else {
    const seconds = Number(first ?? 180);
    const queued = await withWaitingMachines(url, 1, tokensPerSecond * seconds);
    const more = (100 * (queued.seconds / seconds - 1)).toFixed(1);
    console.log(`alone ${seconds} s of waiting, through the queue ${queued.seconds.toFixed(1)} s: ${more} % more`);
  }
} finally {
  await service.stop();
  rmSync(folder, { recursive: true, force: true });
}
