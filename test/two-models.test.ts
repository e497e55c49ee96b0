/** A 1B and an 8B in one process under one budget, cut down to what a test can make: `bench/two-models.ts` holds. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parseSpec } from "../src/synth/presets.js";
import { layOutSynth, writeSynth } from "../src/synth/synth.js";
import { skipAddon } from "./support/addon.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-two-models-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const shapes = {
  small: "llama-1b,layers=4,dim=512,hidden=1536,heads=8,kv-heads=2,head-dim=64,vocab=3000",
  large: "llama-3-8b,layers=10,dim=1024,hidden=4096,heads=16,kv-heads=4,head-dim=64,vocab=4000",
} as const;

interface Report {
  readonly budget: number;
  readonly planned: number;
  readonly peakBytes: number;
  readonly threads: number;
  readonly models: readonly { readonly strategy: string; readonly plannedBytes: number }[];
  readonly faults: readonly string[];
}

test("two models under one budget: the peak charge is within it, they share one pool", {
  skip: skipAddon,
}, async () => {
  const paths: string[] = [];
  let weights = 0;
  for (const [name, spec] of Object.entries(shapes)) {
    const path = join(folder, `${name}.gguf`);
    weights += await writeSynth(path, layOutSynth(name, parseSpec(spec).shape));
    paths.push(path);
  }
  const run = (memory: string): Report => {
    const json = join(folder, "report.json");
    const args = [
      "dist/bench/two-models.js",
      ...paths,
      "--memory",
      memory,
      "-n",
      "6",
      "--threads",
      "2",
      "--json",
      json,
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    assert.equal(status, 0, `${stdout}${stderr}`);
    return JSON.parse(readFileSync(json, "utf8"));
  };
  const roomy = run("2GiB");
  assert.deepEqual(
    roomy.models.map(({ strategy }) => strategy),
    ["resident", "resident"],
  );
  // The second has what the first was not promised, which is less than its weights.
  const tight = run(`${Math.ceil((roomy.planned - weights / 3) / 2 ** 20)}MiB`);
  assert.notEqual(tight.models[1]!.strategy, "resident");
  for (const { budget, planned, peakBytes, threads, faults } of [roomy, tight]) {
    assert.deepEqual(faults, []);
    assert.ok(peakBytes > 0 && peakBytes <= planned && planned <= budget, `${peakBytes} of ${planned} of ${budget}`);
    assert.equal(threads, 2);
  }
});
