/**
 * The price of experts that go: bytes of a file against its KL divergence from the whole model, with and without
 * the least squares fit of those that stay.
 *
 *   node dist/bench/prune-experts.js [MODEL TEXT OTHER-TEXT] [--keep 7,6,4] [--chunks 8]
 *     [--arch qwen3moe] [--json FILE]
 *
 * Without a MODEL it is a random one: a mixture whose experts are nothing like each other, on tokens drawn at random.
 * The divergence is that over chunks which the choice and the fit have not seen.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chunksOf } from "../src/cli/commands/calibrate.js";
import { TokenSource } from "../src/cli/commands/perplexity.js";
import { openGguf } from "../src/formats/index.js";
import { pruneExperts } from "../src/quality/prune/experts/prune.js";
import { compareModels } from "../src/quality/quality.js";
import { ScoredModel } from "../src/quality/scored-model.js";
import { makeTinyModel } from "../src/synth/tiny.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const { values, paths } = readArguments(
  "prune-experts [MODEL TEXT OTHER-TEXT] [--keep 7,6,4] [--chunks 8] [--arch qwen3moe]",
  {
    keep: { type: "string", default: "7,6,4" },
    chunks: { type: "string", default: "8" },
    arch: { type: "string", default: "qwen3moe" },
    json: { type: "string" },
  },
  0,
);
const chunkTokens = paths.length === 0 ? 256 : 512;
const folder = mkdtempSync(join(tmpdir(), "prune-experts-"));
const count = Number(values.chunks);

async function chunksFrom(model: string, text: string): Promise<Int32Array[]> {
  const source = new TokenSource(model, text);
  await source.open();
  const found: Int32Array[] = [];
  for (const chunk of chunksOf([source], chunkTokens)) if (found.push(chunk) === count) break;
  return found;
}

function randomChunks(vocab: number, first: number): Int32Array[] {
  let state = 1 + first;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocab);
  };
  return Array.from({ length: count }, () => Int32Array.from({ length: chunkTokens }, next));
}

try {
  const [model = join(folder, "tiny.gguf"), text, other] = paths;
  const made = paths.length === 0 ? await makeTinyModel(model, values.arch!, { seed: 3 }) : undefined;
  const seen = made === undefined ? await chunksFrom(model, text!) : randomChunks(made.vocab, 1);
  const unseen = made === undefined ? await chunksFrom(model, other!) : randomChunks(made.vocab, 2);
  const whole = openGguf(model);
  const divergence = async (path: string): Promise<number> => {
    const opened = await ScoredModel.openAll([whole, openGguf(path)], { chunkTokens });
    const domains = [{ name: "unseen", chunks: unseen }];
    const { all } = await compareModels(opened[0]!, opened.slice(1), domains, { chunkTokens });
    for (const one of opened) one.close();
    return all.models[0]!.kl.mean;
  };
  const rows: { file: string; bytes: number; kl: number }[] = [];
  const row = async (file: string, path: string): Promise<void> => {
    const found = { file, bytes: statSync(path).size, kl: await divergence(path) };
    rows.push(found);
    console.log(`${file.padEnd(28)} ${String(found.bytes).padStart(14)} bytes   KL ${found.kl.toFixed(5)}`);
    rmSync(path);
  };
  console.log(`${model}: ${statSync(model).size} bytes, ${count} chunks of ${chunkTokens} tokens each way`);
  let saliency: Awaited<ReturnType<typeof pruneExperts>>["saliency"] | undefined;
  for (const keep of commaList(values.keep).map(Number))
    for (const repair of [false, true]) {
      const path = join(folder, "pruned.gguf");
      const told = { keep, repair, chunkTokens, ...(saliency !== undefined && { saliency }) };
      ({ saliency } = await pruneExperts(whole, seen, path, told));
      await row(`${keep} experts, ${repair ? "fitted" : "as they are"}`, path);
    }
  saveJson(values.json, { model, rows });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
