/**
 * Processes under memory limits of the system, and several on one file: what the planner promises, seen from outside.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type MemoryGroup, memoryGroup } from "../bench/support/cgroup.js";
import { addonStatus } from "../src/native/addon.js";
import { finish, runCli, startCli } from "./support/cli.js";

const mebibyte = 2 ** 20;
const native = addonStatus();
const skip = native.state === "loaded" ? false : `SKIPPED memory limits: ${native.reason}`;
const noGroup =
  skip ||
  (() => {
    const group = memoryGroup("try", 64 * mebibyte);
    group?.close();
    return group === undefined ? "SKIPPED memory limits: no memory cgroup can be made here (Linux, root)" : false;
  })();
if (noGroup) console.log(noGroup);

const folder = mkdtempSync(join(tmpdir(), "hundredweight-limits-"));
const model = join(folder, "model.gguf");
after(() => rmSync(folder, { recursive: true, force: true }));
before(async () => {
  if (skip) return;
  const { code, err } = await runCli(["synth", "llama-1b,layers=4,vocab=8192", model, "--quant", "Q8_0"]);
  assert.equal(code, 0, err);
});

const run = (...more: string[]) => [
  "run",
  model,
  "a",
  "--raw",
  "--ctx",
  "512",
  "--ignore-eos",
  "--temperature",
  "0",
  ...more,
];

/** The end of a process that was started inside the group. */
async function within(group: MemoryGroup, args: readonly string[], meanwhile?: (child: ChildProcess) => Promise<void>) {
  const child = startCli(args);
  try {
    group.add(child.pid as number);
    const ended = finish(child);
    await meanwhile?.(child);
    return await ended;
  } finally {
    child.kill("SIGKILL");
  }
}

const closeLater = async (group: MemoryGroup) => {
  // The group is empty a moment after its last process was waited for.
  for (let i = 0; ; i++)
    try {
      return group.close();
    } catch (error) {
      if (i === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
};

test("a limit and no --memory: what is planned fits it", { skip: noGroup }, async () => {
  const group = memoryGroup("alone", 700 * mebibyte)!;
  try {
    const { code, err, out } = await within(group, run("-n", "4", "--json"));
    assert.equal(code, 0, err);
    const { memory } = JSON.parse(out) as { memory: { budgetBytes: number } };
    assert.ok(memory.budgetBytes < 700 * mebibyte, `${memory.budgetBytes}`);
    assert.deepEqual([group.hits(), group.kills()], [0, 0]);
  } finally {
    await closeLater(group);
  }
});

test("a small limit: most of it is the model's; a larger --memory is refused by name; too small a limit " +
  "says what to do", {
  skip: noGroup,
}, async () => {
  const ended = async (limit: number, ...more: string[]) => {
    const group = memoryGroup("small", limit * mebibyte)!;
    try {
      const end = await within(group, run("-n", "4", "--no-probe", ...more));
      assert.equal(group.kills(), 0, end.err);
      return end;
    } finally {
      await closeLater(group);
    }
  };
  const fits = await ended(400, "--json");
  assert.equal(fits.code, 0, fits.err);
  const { memory } = JSON.parse(fits.out) as { memory: { budgetBytes: number } };
  assert.ok(memory.budgetBytes >= 300 * mebibyte && memory.budgetBytes < 400 * mebibyte, `${memory.budgetBytes}`);
  assert.equal((await ended(400, "--memory", "400MiB")).code, 0);
  const over = await ended(400, "--memory", "600MiB");
  assert.equal(over.code, 1);
  assert.match(
    over.err,
    /^error\[MEMORY_BUDGET\]: --memory 600 MiB is more than [^\n]*cgroup[^\n]* of 400 MiB[^\n]*\n$/,
  );
  const tight = await ended(220);
  assert.equal(tight.code, 1);
  assert.match(
    tight.err,
    /^error\[MEMORY_BUDGET\]: [^\n]* MiB, what is free below [^\n]*cgroup[^\n]* of 220 MiB \(others use \d+ MiB[^\n]*--memory \d+MiB[^\n]*\n$/,
  );
});

test("a limit that is lowered: the ring shrinks; further down requests end with an error", {
  skip: noGroup,
}, async () => {
  const group = memoryGroup("lowered", 2048 * mebibyte)!;
  const until = async (what: string, done: () => boolean) => {
    const deadline = performance.now() + 30_000;
    while (!done()) {
      assert.ok(performance.now() < deadline, what);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  try {
    const args = run("-n", "400", "--ring", "64MiB", "--weights-memory", "70MiB");
    const { code, signal, err } = await within(group, args, async (child) => {
      let text = "";
      child.stdout?.on("data", (chunk) => {
        text += chunk;
      });
      await until("tokens", () => text.length > 20);
      const full = group.usedBytes();
      group.setLimit(full + 40 * mebibyte);
      await until("a smaller ring", () => group.usedBytes() < full - 30 * mebibyte);
      const length = text.length;
      await until("tokens with the smaller ring", () => text.length > length + 10);
      group.setLimit(group.usedBytes() + 8 * mebibyte);
    });
    assert.deepEqual([code, signal], [1, null], err);
    assert.match(err, /^error\[MEMORY_BUDGET\]: the memory limit was lowered to \d+ MiB and \d+ MiB are in use/m);
    assert.equal(group.kills(), 0);
  } finally {
    await closeLater(group);
  }
});

test("two processes stream from one file", { skip }, async () => {
  const args = run("-n", "6", "--weights-memory", "24MiB", "--json");
  const ends = await Promise.all([runCli(args), runCli(args)]);
  const tokens = ends.map(({ code, out, err }) => {
    assert.equal(code, 0, err);
    const { tokens, ledger } = JSON.parse(out) as { tokens: number[]; ledger: { diskBytes: number }[] };
    assert.ok(ledger.every((pass) => pass.diskBytes > 100 * mebibyte));
    return tokens;
  });
  assert.equal(tokens[0]!.length, 6);
  assert.deepEqual(tokens[0], tokens[1]);
});
