/** Batches over machines: a real queue, workers that are killed, and one machine's answers. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { finish, runCli, startCli } from "./support/cli.js";
import { missing, redisServer } from "./support/services.js";
import { wholeSweeps } from "./support/sweeps.js";
import { exited } from "./support/wait.js";

const skip = missing("redis-server");
const folder = mkdtempSync(join(tmpdir(), "hundredweight-fleet-"));
const at = (name: string): string => join(folder, name);
const started = new Set<ChildProcess>();
after(() => {
  for (const child of started) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const lines = 300;
const kills = wholeSweeps ? 20 : 6;
const input = at("in.jsonl");
writeFileSync(
  input,
  Array.from({ length: lines }, (_, i) => {
    if (i === 77) return "{ no JSON\n";
    const messages = [
      { role: "system", content: `You are of group ${i % 7}.` },
      { role: "user", content: `Say ${i}` },
    ];
    const how = [{ temperature: 0 }, { seed: i }, {}][i % 3];
    const body = i % 2 === 0 ? { messages } : { prompt: `Once upon a time there were ${i}` };
    const url = i % 2 === 0 ? "/v1/chat/completions" : "/v1/completions";
    const about = { custom_id: `c${i}`, method: "POST", url };
    return `${JSON.stringify({ ...about, body: { ...body, ...how, max_tokens: 20 + (i % 30) } })}\n`;
  }).join(""),
);

const usual = ["--threads", "1", "--no-probe"];

function start(...args: string[]): ChildProcess {
  const child = startCli(args);
  started.add(child);
  child.on("exit", () => started.delete(child));
  return child;
}

test("workers and Redis are killed, the command too: every line once, one machine's bytes", { skip }, async (t) => {
  const one = await runCli(["batch", input, at("one.jsonl"), ...usual, "--parallel", "8", "--reproducible"]);
  assert.equal(one.code, 1, one.err); // a line is no JSON
  const redis = await redisServer(folder, "--appendonly", "yes");
  const queue = `redis://127.0.0.1:${redis.port}`;
  const workers: ChildProcess[] = [];
  const startWorker = (i: number): void => {
    workers[i] = start("work", "--queue", queue, ...usual, "--parallel", "3", "--lease", "2");
  };
  const submit = ["batch", input, at("fleet.jsonl"), "--queue", queue, "--reproducible"];
  for (let i = 0; i < 3; i++) startWorker(i);
  let command = start(...submit);
  let ended = finish(command);
  const answered = (): number =>
    existsSync(at("fleet.jsonl")) ? readFileSync(at("fleet.jsonl"), "utf8").split("\n").length - 1 : 0;
  const until = async (enough: () => boolean): Promise<void> => {
    for (let tries = 0; tries < 2400 && !enough(); tries++) await sleep(25);
  };
  const counts: number[] = [];
  for (let kill = 0; kill < kills && answered() < lines; kill++) {
    // Over the whole of the work, at moments that nobody chose.
    await until(() => answered() > 1 + (kill * lines) / (kills + 2));
    await sleep(Math.random() * 500);
    const victim = Math.floor(Math.random() * 3);
    workers[victim]!.kill("SIGKILL");
    startWorker(victim);
    counts.push(answered());
    if (kill === Math.floor(kills / 3)) {
      await redis.service.stop("SIGKILL");
      await sleep(300);
      await redis.service.start();
    }
    if (kill === Math.floor(kills / 2)) {
      command.kill("SIGKILL");
      await ended;
      command = start(...submit);
      ended = finish(command);
    }
  }
  const end = await ended;
  t.diagnostic(`lines at each kill: ${counts.join(" ")}`);
  assert.equal(end.code, 1, end.err);
  assert.equal(readFileSync(at("fleet.jsonl"), "utf8"), readFileSync(at("one.jsonl"), "utf8"));
  // Workers are asked to end; they have nothing left. One that came while Redis was dead has ended by itself.
  for (const worker of workers) worker.kill("SIGTERM");
  await Promise.all(workers.map(exited));
  await redis.service.stop();
});
