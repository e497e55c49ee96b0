/**
 * A long prompt before and after a restart: prefill without a past, then with the one on the disk. Files of the past
 * are taken out of the page cache before. Prints seconds to the first token, their parts and their limit.
 *
 *   node dist/bench/past.js MODEL.gguf [--tokens 8000] [--weights 50%] [--folder FOLDER] [--keep] [--json FILE]
 *
 * --weights: the share of the file that stays in memory. --keep: a folder that holds the past already is not made anew,
 * so that the second half can be measured alone.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "../src/library/model.js";
import { knownMachine } from "../src/weights/probe.js";
import { readArguments, saveJson } from "./support/program.js";

const { values, path } = readArguments("past MODEL.gguf [--tokens 8000] [--weights 50%] [--folder FOLDER] [--keep]", {
  tokens: { type: "string", default: "8000" },
  weights: { type: "string", default: "50%" },
  folder: { type: "string" },
  keep: { type: "boolean", default: false },
  json: { type: "string" },
});
const tokens = Number(values.tokens);
const weightsMemoryBytes = Math.round((statSync(path).size * Number.parseFloat(values.weights)) / 100);
const folder = values.folder ?? mkdtempSync(join(tmpdir(), "hundredweight-past-"));

async function first(ids: Int32Array) {
  const began = performance.now();
  const model = await load(path, {
    contextTokens: tokens + 64,
    weightsMemoryBytes,
    io: "direct",
    pastStore: { folder, budgetBytes: 2 ** 36 },
  });
  const loadedMs = performance.now() - began;
  const made = model.generate(ids, { maxTokens: 4, temperature: 0, drafts: "off", ignoreEos: true });
  let firstMs = 0;
  for await (const piece of made) if (firstMs === 0 && piece.length >= 0) firstMs = performance.now() - began;
  const result = await made.result();
  const last = result.ledger.at(-1)!;
  const { pinnedBytes } = await model.memory();
  await model.close();
  return {
    firstSeconds: firstMs / 1000,
    loadSeconds: loadedMs / 1000,
    reused: result.reusedTokens,
    ids: [...result.tokens],
    passSeconds: (last.stallMs + last.computeMs) / 1000,
    pinnedBytes,
  };
}

const pastFiles = (): string[] =>
  readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((file) => statSync(file).isFile());

const ids = Int32Array.from({ length: tokens }, (_, i) => 100 + ((i * 7919) % 20000));
const cold = values.keep ? undefined : await first(ids);
for (const file of pastFiles()) spawnSync("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"]);
const pastBytes = pastFiles().reduce((sum, file) => sum + statSync(file).size, 0);
const warm = await first(ids);
const rate = knownMachine({ path }).profile.diskReadBytesPerSecond;
const limit = 1.2 * (warm.pinnedBytes / rate + pastBytes / rate + warm.passSeconds) + 0.5;
const report = {
  tokens,
  pastBytes,
  diskBytesPerSecond: rate,
  cold,
  warm,
  limitSeconds: limit,
  ...(cold && { sooner: (cold.firstSeconds - cold.loadSeconds) / (warm.firstSeconds - warm.loadSeconds) }),
  same: cold === undefined ? undefined : JSON.stringify(cold.ids) === JSON.stringify(warm.ids),
};
console.log(JSON.stringify(report, undefined, 2));
saveJson(values.json, report);
if (values.folder === undefined) rmSync(folder, { recursive: true, force: true });
