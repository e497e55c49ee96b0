/** The bundled model on two cores: two machines of a queue, two shards that know nothing of each other, one machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { packageRoot } from "../../src/package-root.js";

const usual = ["--threads", "1", "--no-probe", "--parallel", "8"];

/** A command on a core of its own. */
function pinned(core: number, ...args: string[]): ChildProcess {
  const command = [process.execPath, join(packageRoot(), "bin", "hundredweight.js"), ...args];
  return spawn("taskset", ["-c", String(core), ...command], {
    stdio: ["ignore", "ignore", "pipe"],
    // What one way has read is not to help the next one.
    env: { ...process.env, HUNDREDWEIGHT_PREFIX_STORE: "off" },
  });
}

function ended(child: ChildProcess): Promise<void> {
  let said = "";
  child.stderr!.on("data", (chunk) => {
    said += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}: ${said}`))));
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

function writeInput(path: string, lines: number): void {
  const text = Array.from({ length: lines }, (_, i) => {
    const body = { prompt: `Once upon a time there were ${i}`, temperature: 0, max_tokens: 20 + ((i * 7919) % 181) };
    return `${JSON.stringify({ custom_id: `c${i}`, method: "POST", url: "/v1/completions", body })}\n`;
  });
  writeFileSync(path, text.join(""));
}

/** Prints seconds of each way and the ratios. Workers are there before, as they are in a fleet; shards load a model. */
export async function compareShards(url: string, folder: string, lines: number): Promise<void> {
  const input = join(folder, "in.jsonl");
  writeInput(input, lines);
  const out = (name: string): string => join(folder, `${name}.jsonl`);
  const queued = async (machines: number): Promise<number> => {
    const workers = Array.from({ length: machines }, (_, core) => pinned(core, "work", "--queue", url, ...usual));
    const ends = Promise.allSettled(workers.map(ended));
    await sleep(3000);
    const seconds = await timed(() =>
      ended(pinned(machines - 1, "batch", input, out(`queue${machines}`), "--queue", url)),
    );
    for (const worker of workers) worker.kill("SIGTERM");
    await ends;
    return seconds;
  };
  const shard = (i: number): Promise<number> =>
    timed(() => ended(pinned(i, "batch", input, out(`part${i}`), "--shard", `${i}/2`, ...usual)));
  const one = await queued(1);
  const two = await queued(2);
  const shards = await Promise.all([shard(0), shard(1)]);
  const slower = Math.max(...shards);
  console.log(`one machine of a queue ${one.toFixed(1)} s, two ${two.toFixed(1)} s: ${(one / two).toFixed(2)}x`);
  console.log(
    `two shards ${shards.map((seconds) => seconds.toFixed(1)).join(" and ")} s: ` +
      `two machines have ${(slower / two).toFixed(2)}x their rate`,
  );
}
