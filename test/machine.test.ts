/** Two models in one process: one pool of threads, one reader, one budget; each as it is alone. Bound threads. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { HundredweightError } from "../src/errors.js";
import { type LoadOptions, load, type Model } from "../src/library/model.js";
import { requireAddon } from "../src/native/addon.js";
import { allowedCpus } from "../src/native/topology.js";
import { createOps } from "../src/ops/index.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { skipAddon } from "./support/addon.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-machine-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const mebibyte = 2 ** 20;
const threads = 2;

/** Threads of this process by name; undefined where the system does not tell. */
function threadsNamed(name: string): number | undefined {
  try {
    return readdirSync("/proc/self/task").filter((id) => commOf(id) === name).length;
  } catch {
    return undefined;
  }
}

function commOf(id: string): string {
  try {
    return readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim();
  } catch {
    return ""; // it ended meanwhile
  }
}

async function text(model: Model, seed: number): Promise<string> {
  const prompt = Array.from({ length: 20 }, (_, i) => (i * 7 + seed) % 200);
  let text = "";
  for await (const piece of model.generate(prompt, { maxTokens: 12, ignoreEos: true, temperature: 1, seed }))
    text += piece;
  assert.ok(text.length > 12);
  return text;
}

async function code(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
    return "none";
  } catch (error) {
    assert.ok(error instanceof HundredweightError, String(error));
    return error.code;
  }
}

test("two models share threads, readers and a budget, and answer as they do alone", { skip: skipAddon }, async () => {
  const dense = join(folder, "dense.gguf");
  const experts = join(folder, "experts.gguf");
  await makeTinyModel(dense, "llama", { dtype: "Q4_K", dims: 256, overrides: { feed_forward_length: 2048 } });
  await makeTinyModel(experts, "qwen3moe", { dtype: "Q8_0", dims: 256 });
  const options: LoadOptions = { threads, contextTokens: 256, io: "direct", ringBytes: mebibyte };
  const ofDense = { ...options, weightsMemoryBytes: 2 * mebibyte };
  const ofExperts = { ...options, weightsMemoryBytes: 3 * mebibyte };
  const alone: string[] = [];
  for (const [path, own] of [
    [dense, ofDense],
    [experts, ofExperts],
  ] as const) {
    const model = await load(path, own);
    alone.push(await text(model, 5));
    await model.close();
  }
  const addon = requireAddon();
  assert.equal(addon.promisedBytes(), 0);
  const one = await load(dense, { ...ofDense, memoryBytes: 2 ** 30 });
  const promised = addon.promisedBytes();
  assert.equal(promised, one.info.residency.plannedBytes);
  const budget = promised + 2 ** 30;
  const shared = { memoryBytes: budget, memoryOf: "process" } as const;
  const two = await load(experts, { ...ofExperts, ...shared });
  assert.equal(two.info.residency.budgetBytes, 2 ** 30);
  assert.notEqual(one.info.residency.strategy, "resident");
  assert.notEqual(two.info.residency.strategy, "resident");

  for (let round = 0; round < 2; round++)
    assert.deepEqual(await Promise.all([text(one, 5), text(two, 5)]), alone, `round ${round}`);
  const workers = threadsNamed("hundredweight");
  if (workers !== undefined) assert.equal(workers, threads - 1);
  const [ofOne, ofTwo] = [(await one.memory()).machine!, (await two.memory()).machine!];
  assert.deepEqual([ofOne.threads, ofOne.models, ofTwo.models], [threads, 2, 2]);
  assert.deepEqual(ofOne, ofTwo);
  const planned = one.info.residency.plannedBytes! + two.info.residency.plannedBytes!;
  assert.equal(ofOne.promisedBytes, planned);
  assert.ok(planned <= budget && ofOne.chargedBytes > 0 && ofOne.peakBytes >= ofOne.chargedBytes);
  assert.ok(ofOne.peakBytes <= planned, `${ofOne.peakBytes} bytes at most, ${planned} promised`);

  // What is left of the budget is less than any model needs.
  const full = { ...ofDense, memoryBytes: planned + mebibyte, memoryOf: "process" } as const;
  assert.equal(await code(() => load(dense, full)), "MEMORY_BUDGET");
  assert.equal(await code(() => load(dense, { ...full, memoryBytes: planned })), "MEMORY_BUDGET");
  assert.deepEqual(await text(two, 5), alone[1]);
  await one.close();
  assert.equal((await two.memory()).machine!.models, 1);
  assert.deepEqual(await text(two, 5), alone[1]);
  await two.close();
  assert.equal(addon.promisedBytes(), 0);
  if (workers !== undefined) assert.equal(threadsNamed("hundredweight"), 0);
});

test("other threads are another machine; a promise is kept by whoever allocates", { skip: skipAddon }, () => {
  const open = [createOps({ threads: 2 }), createOps({ threads: 2 }), createOps({ threads: 1 })];
  assert.deepEqual(
    open.map((ops) => ops.machine!().models),
    [2, 2, 1],
  );
  const limited = createOps({ threads: 2, promise: { bytes: 4 * mebibyte, limitBytes: 5 * mebibyte } });
  const before = limited.machine!();
  assert.equal(before.models, 3);
  limited.tensor(256, 1024);
  assert.equal(limited.machine!().chargedBytes - before.chargedBytes, mebibyte);
  const refused = (error: unknown): boolean => error instanceof HundredweightError && error.code === "MEMORY_BUDGET";
  assert.throws(() => limited.tensor(1024, 1024), refused);
  assert.throws(() => createOps({ promise: { bytes: 2 * mebibyte, limitBytes: 5 * mebibyte } }), refused);
  createOps({ promise: { bytes: mebibyte, limitBytes: 5 * mebibyte } }).close();
  const { models } = open[0]!.machine!();
  assert.equal(models, 3); // whoever was refused has left
  for (const ops of [...open, limited]) ops.close();
  const after = createOps({ threads: 2 });
  assert.equal(after.machine!().models, 1);
  assert.equal(after.machine!().promisedBytes, 0);
  after.close();
});

test("compute threads run on the CPUs they were given, each on its own", { skip: skipAddon }, async (t) => {
  const allowed = allowedCpus() ?? [];
  if (allowed.length < 2) return t.skip("fewer than two CPUs, or a system that does not tell");
  const cpus = allowed.slice(-2);
  const path = join(folder, "bound.gguf");
  await makeTinyModel(path, "llama");
  const model = await load(path, { threads: 3, cpuList: cpus, contextTokens: 64 });
  for await (const _ of model.generate([1, 2, 3, 4], { maxTokens: 8, ignoreEos: true })) void _;
  // The thread that asks computes, too; it is bound while it does and free again afterwards.
  const lists = readdirSync("/proc/self/task")
    .filter((id) => commOf(id) === "hundredweight")
    .map((id) => /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`/proc/self/task/${id}/status`, "utf8"))?.[1]);
  for (const cpu of cpus) assert.ok(lists.includes(String(cpu)), `${lists}`);
  assert.deepEqual(allowedCpus(), allowed);
  await model.close();
});
