/** Draws of a teacher's rows: unbiased, and a reference for `quality`. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { openGguf } from "../src/formats/index.js";
import { drawTokens } from "../src/quality/draws.js";
import { compareModels } from "../src/quality/quality.js";
import { ReferenceReader, ReferenceWriter } from "../src/quality/reference-file.js";
import { ScoredModel } from "../src/quality/scored-model.js";
import { teach } from "../src/quality/teach.js";
import { Rng } from "../src/sampling/rng.js";
import { skipAddon } from "./support/addon.js";
import { randomTokens } from "./support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-teach-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const chunkTokens = 32;
const draws = 12;
const chunks = Array.from({ length: 6 }, (_, i) => Int32Array.from(randomTokens(chunkTokens, randomModelVocab, i)));

const open = (paths: readonly string[]) => ScoredModel.openAll(paths.map(openGguf), { chunkTokens, threads: 2 });

async function write(model: ScoredModel, path: string, seed: number): Promise<number> {
  const writer = new ReferenceWriter(path, { vocab: model.vocab, chunkTokens, top: draws, seed });
  const rows = await teach(model, chunks, writer);
  writer.end();
  return rows;
}

test("the share of its draws is a token's probability within 3 sigma, the unlikely ones' too", () => {
  const logits = Float32Array.from({ length: 300 }, (_, i) => 4 * Math.sin(i * i) - (i % 7));
  const sum = Math.log(logits.reduce((total, logit) => total + Math.exp(logit), 0));
  const counts = new Float64Array(logits.length);
  const rng = new Rng(5);
  const rows = 20_000;
  for (let row = 0; row < rows; row++) for (const id of drawTokens(logits, sum, draws, rng)) counts[id]!++;
  let beyond = 0;
  let squares = 0;
  for (const [id, count] of counts.entries()) {
    const p = Math.exp(logits[id]! - sum);
    // Draws that know nothing of each other spread as far; one in each part spreads less.
    const sigma = Math.sqrt((p * (1 - p)) / (rows * draws));
    const off = (count / (rows * draws) - p) / sigma;
    squares += off * off;
    if (Math.abs(off) > 3) beyond++;
  }
  // Of 300 tokens one in 370 may be beyond 3 sigma by chance.
  assert.ok(beyond <= 2 && squares / counts.length < 1.2, `${beyond} beyond, ${squares / counts.length}`);
  const tail = counts.filter((_, id) => Math.exp(logits[id]! - sum) < 1e-3);
  assert.ok(tail.reduce((a, b) => a + b, 0) > 0, "the tail is drawn as well");
});

describe("teaching", { skip: skipAddon }, () => {
  const [teacher, student] = [join(folder, "teacher.gguf"), join(folder, "student.gguf")];

  test("quality reads the file: the same divergence within 3 sigma, nothing of the model itself", async () => {
    const spec = { arch: "llama", variant: "dense", dims: 64, seed: 5, overrides: { block_count: 1 } } as const;
    await writeRandomModel(teacher, { ...spec, types: {} });
    await writeRandomModel(student, { ...spec, types: { ffn: "F16" }, seed: 6 });
    const [whole, other] = await open([teacher, student]);
    const domains = [{ name: "text", chunks }];
    const exact = await compareModels(whole!, [other!], domains, { chunkTokens });
    const estimates: number[] = [];
    for (let seed = 0; seed < 12; seed++) {
      const path = join(folder, `${seed}.draws`);
      assert.equal(await write(whole!, path, seed), chunks.length * (chunkTokens - 1));
      const reader = new ReferenceReader(path);
      const found = await compareModels(reader, [other!, whole!], domains, { chunkTokens });
      reader.close();
      const [apart, same] = found.all.models;
      estimates.push(apart!.kl.mean);
      assert.equal(same!.kl.largest, 0);
      assert.equal(same!.sameTop, 1);
      assert.equal(apart!.sameTop, exact.all.models[0]!.sameTop);
      assert.equal(found.all.reference.perplexity, exact.all.reference.perplexity);
    }
    const mean = estimates.reduce((a, b) => a + b, 0) / estimates.length;
    const spread = Math.sqrt(estimates.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (estimates.length - 1));
    const off = Math.abs(mean - exact.all.models[0]!.kl.mean) / (spread / Math.sqrt(estimates.length));
    assert.ok(spread > 0 && off < 3, `${mean} and ${exact.all.models[0]!.kl.mean}: ${off} sigma`);
    const path = join(folder, "again.draws");
    await write(whole!, path, 3);
    assert.ok(readFileSync(path).equals(readFileSync(join(folder, "3.draws"))), "a seed is a file");
    assert.ok(!readFileSync(path).equals(readFileSync(join(folder, "4.draws"))));
    const header = JSON.stringify({ vocab: randomModelVocab, chunkTokens, top: draws, seed: 3 });
    const row = 24 + 8 * draws;
    const size = 15 + header.length + chunks.length * (4 * chunkTokens + (chunkTokens - 1) * row);
    assert.equal(statSync(path).size, size);
    for (const model of [whole!, other!]) model.close();
  });

  test("a damaged file is refused", async () => {
    const bytes = readFileSync(join(folder, "3.draws"));
    const damaged = (from: string, to: string): string => {
      const path = join(folder, "damaged.draws");
      writeFileSync(path, Buffer.from(bytes.toString("latin1").replace(from, to), "latin1"));
      return path;
    };
    assert.throws(() => new ReferenceReader(damaged('"seed":3', '"seed":x')), { code: "FORMAT_INVALID" });
    assert.throws(() => new ReferenceReader(damaged('"top":12', '"top":-1')), { code: "FORMAT_INVALID" });
    const [model] = await open([student]);
    // The likeliest token of the first row that is scored.
    const row = 24 + 8 * draws;
    const start = bytes.indexOf("}") + 1 + 4 * chunkTokens + Math.floor(chunkTokens / 2) * row;
    bytes.writeDoubleLE(0.5, start + 16);
    const reader = new ReferenceReader(damaged("", ""));
    await assert.rejects(compareModels(reader, [model!], [{ name: "text", chunks }], { chunkTokens }), {
      code: "FORMAT_INVALID",
      message: /likeliest/,
    });
    reader.close();
    model!.close();
  });
});
