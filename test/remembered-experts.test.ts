/** Experts that a run asks for are kept for the next one, which answers as if it knew nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parseSpec } from "../src/synth/presets.js";
import { layOutSynth, writeSynth } from "../src/synth/synth.js";
import { skipAddon } from "./support/addon.js";
import { runCli } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-remembered-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const [layers, experts, topK] = [3, 32, 4];
const sizes = "dim=256,heads=4,kv-heads=2,head-dim=64,vocab=2048,expert-hidden=256,context=2048";
const spec = `qwen3moe,layers=${layers},experts=${experts},top-k=${topK},${sizes}`;

test("experts that runs asked for are remembered, and answers stay what they are", { skip: skipAddon }, async () => {
  const model = join(folder, "experts.gguf");
  await writeSynth(model, layOutSynth("experts", parseSpec(spec).shape), { routerSkew: 1 });
  const env = { XDG_CACHE_HOME: folder, HUNDREDWEIGHT_PROBE: "on" };
  const own = [
    "--raw",
    "--temp",
    "0",
    "--draft",
    "off",
    "--ignore-eos",
    "-n",
    "20",
    "--no-probe",
    "--threads",
    "1",
    "--ctx",
    "256",
  ];
  const args = ["run", model, "Once upon a time", ...own, "--weights-memory", "6MiB"];
  const first = await runCli(args, "", env);
  assert.equal(first.code, 0, first.err);
  const kept = join(folder, "hundredweight", "experts");
  const read = () => {
    const [name] = readdirSync(kept);
    return JSON.parse(readFileSync(join(kept, name!), "utf8")) as { passes: number; asked: number[] };
  };
  const { passes, asked } = read();
  assert.ok(passes >= 19 && passes <= 21, `${passes} passes`);
  assert.equal(asked.length, layers * experts);
  // The first pass has the rows of the prompt.
  const rows = asked.reduce((sum, count) => sum + count, 0) / (layers * topK);
  assert.ok(rows >= passes && rows <= passes + 16, `${rows} rows`);
  const second = await runCli(args, "", env);
  assert.equal(second.out, first.out);
  assert.ok(read().passes > passes + 15);
});
