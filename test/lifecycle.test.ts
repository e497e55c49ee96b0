/**
 * Ends of processes: however a program that uses the library stops, or is stopped, it ends soon, with a sane code, not
 * by a fault of ours, and leaves nothing behind. From dist only: an engine of TypeScript sources has no thread of its
 * own.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { addonStatus } from "../src/native/addon.js";
import { packageRoot } from "../src/package-root.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { finish } from "./support/cli.js";
import { firstOf } from "./support/wait.js";

const sources = import.meta.url.endsWith(".ts");
const folder = mkdtempSync(join(tmpdir(), "hundredweight-lifecycle-"));
const model = join(folder, "model.gguf");
const native = addonStatus();
const skip = sources
  ? "SKIPPED: needs engine threads, so the built files: npm run build && node scripts/test.mjs --no-build lifecycle"
  : native.state === "loaded"
    ? false
    : `SKIPPED: ${native.reason}; there is nothing native to end`;
if (skip) console.log(skip);
const posix = process.platform !== "win32";
/** Beyond this a process counts as hung; twenty engines take 70 s at a load of 20 on two cores. */
const hungMs = 120_000;

before(() => makeTinyModel(model, "llama", { dims: 256, overrides: { context_length: 65_536 } }));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
}

let started = 0;

/** Starts node in an empty folder that is also its place for temporary files; `ended` checks that it stays empty. */
function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const own = join(folder, `run${started++}`);
  mkdirSync(own);
  const child = spawn(process.execPath, args, {
    cwd: own,
    env: { ...process.env, TMPDIR: own, XDG_CACHE_HOME: join(folder, "cache") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), hungMs);
  const ended = finish(child).then((end) => {
    clearTimeout(timer);
    assert.notEqual(end.signal, "SIGKILL", `hung: ${args.join(" ")}`);
    assert.deepEqual(readdirSync(own), [], `left behind by ${args.join(" ")}`);
    return end;
  });
  return { child, ended };
}

function startScenario(name: string, residency: string) {
  const program = fileURLToPath(new URL("./support/lifecycle-child.js", import.meta.url));
  return start([program, name, model, residency]);
}

const cli = join(packageRoot(), "bin", "hundredweight.js");

/** Exit code and what stderr says. */
const scenarios: readonly [string, number, RegExp][] = [
  ["only imported", 0, /^$/],
  ["never closed", 0, /^$/],
  ["closed twice", 0, /^$/],
  ["generated, never closed", 0, /^$/],
  ["cancelled, never closed", 0, /^$/],
  ["closed while generating", 0, /^$/],
  ["exit while loading", 7, /^$/],
  ["exit while generating", 7, /^$/],
  ["exit while prefilling", 7, /^$/],
  ["uncaught exception while generating", 1, /Error: thrown on purpose/],
  ["unhandled rejection while generating", 1, /Error: thrown on purpose/],
];

describe("ends of processes", { skip, concurrency: 2 }, () => {
  // Half of them with the weights mapped, half streamed.
  for (const name of ["engines one after the other", "workers terminated while generating"])
    it(name, async () => {
      const end = await startScenario(name, "mapped").ended;
      assert.deepEqual([end.code, end.signal, end.err], [0, null, ""]);
    });

  for (const residency of ["mapped", "streamed"])
    for (const [name, code, errors] of scenarios)
      it(`${name}, weights ${residency}`, async () => {
        const end = await startScenario(name, residency).ended;
        assert.deepEqual([end.code, end.signal], [code, null], end.err);
        assert.match(end.err, errors);
      });

  for (const signal of ["SIGTERM", "SIGINT"] as const)
    it(`${signal} in the middle of a generation`, { skip: posix ? false : "no signals" }, async () => {
      for (const residency of ["mapped", "streamed"]) {
        const { child, ended } = startScenario("endless", residency);
        await firstOf(child, "data");
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
        child.kill(signal);
        const end = await ended;
        assert.deepEqual([end.code, end.signal], [null, signal], end.err);
      }
    });

  // What comes before the handler is node's own answer to the signal, what comes behind it ours.
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    it(`${signal} to \`run\` at random moments`, {
      skip: posix ? false : "no signals",
    }, async (t) => {
      const ours = `${signal === "SIGINT" ? 130 : 143} error[CANCELLED]: stopped by the caller`;
      const ends: Record<string, number> = {};
      for (let i = 0; i < 8; i++) {
        const args = ["run", model, "the cat", "--raw", "--ignore-eos", "-n", "-1", "--ctx", "60000", "--threads", "2"];
        const { child, ended } = start([cli, ...args]);
        if (i % 2 === 0) await firstOf(child, "data");
        await new Promise((resolve) => setTimeout(resolve, Math.random() * (i % 2 === 0 ? 50 : 500)));
        child.kill(signal);
        const end = await ended;
        const how = end.signal ?? `${end.code} ${end.err.trim()}`;
        ends[how] = (ends[how] ?? 0) + 1;
        assert.ok(how === signal || how === ours, how);
      }
      assert.ok((ends[ours] ?? 0) >= 4, JSON.stringify(ends));
      t.diagnostic(JSON.stringify(ends));
    });

  it("SIGINT to `synth` leaves no half file", {
    skip: posix ? false : "no signals",
  }, async () => {
    for (const ms of [150, 300, 600]) {
      const { child, ended } = start([cli, "synth", "llama-1b,layers=40", "model.gguf"]);
      await new Promise((resolve) => setTimeout(resolve, ms));
      child.kill("SIGINT");
      const end = await ended;
      assert.ok(end.signal === "SIGINT" || end.code === 130, `${end.code} ${end.signal} ${end.err}`);
    }
  });
});
