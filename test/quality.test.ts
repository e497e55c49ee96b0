/** Models compared with a reference: live, streamed, and by what was stored of it. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { openCheckpoint } from "../src/containers/index.js";
import { LiveRow } from "../src/quality/divergence.js";
import { compareModels, type QualityOptions } from "../src/quality/quality.js";
import { ReferenceReader, ReferenceWriter } from "../src/quality/reference-file.js";
import { ScoredModel, type ScoringOptions } from "../src/quality/scored-model.js";
import { skipAddon } from "./support/addon.js";
import { randomTokens } from "./support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-quality-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const chunkTokens = 48;
const ids = randomTokens(4 * chunkTokens, randomModelVocab, 3);
const chunks = Array.from({ length: 4 }, (_, i) => Int32Array.from(ids.slice(chunkTokens * i, chunkTokens * (i + 1))));
const domains = [
  { name: "one", chunks: chunks.slice(0, 3) },
  { name: "two", chunks: chunks.slice(3) },
];

async function model(name: string, type: string, seed: number, arch = "llama", variant = "dense"): Promise<string> {
  const path = join(folder, `${name}.gguf`);
  const types = { attention: type, ffn: type, embedding: "F32", head: "F32" };
  await writeRandomModel(path, { arch, variant, dims: 64, types, seed });
  return path;
}

async function compare(
  paths: readonly string[],
  scoring: Partial<ScoringOptions> = {},
  more: Partial<QualityOptions> = {},
) {
  const checkpoints = [];
  for (const path of paths) checkpoints.push(await openCheckpoint(path));
  const opened = await ScoredModel.openAll(checkpoints, { chunkTokens, threads: 2, ...scoring });
  try {
    const { together = 1 } = scoring;
    return await compareModels(opened[0]!, opened.slice(1), domains, { chunkTokens, together, ...more });
  } finally {
    for (const one of opened) one.close();
  }
}

describe("quality", { skip: skipAddon }, () => {
  test("a model is no way from itself, and others are as far however they are read", async () => {
    const paths = [await model("a", "F32", 1), await model("b", "Q8_0", 2), join(folder, "a.gguf")];
    const found = await compare(paths);
    const [other, itself] = found.all.models;
    assert.deepEqual({ ...itself!.kl }, { mean: 0, low: 0, high: 0, median: 0, p99: 0, largest: 0 });
    assert.equal(itself!.sameTop, 1);
    assert.equal(itself!.perplexity, found.all.reference.perplexity);
    assert.ok(other!.kl.mean > 0 && other!.kl.low <= other!.kl.mean && other!.kl.mean <= other!.kl.high);
    assert.deepEqual(
      found.domains.map(({ tokens, chunks: n }) => [tokens, n]),
      [
        [69, 3],
        [23, 1],
      ],
    );
    assert.deepEqual(await compare(paths, { together: 3 }), found);
    const streamed = { io: "buffered", weightsMemoryBytes: 2 ** 20, ringBytes: 2 ** 20 } as const;
    assert.deepEqual(await compare(paths, streamed), found);
    await assert.rejects(compare(paths, { memoryBytes: 300 * 2 ** 20 }), { code: "MEMORY_BUDGET" });
  });

  test("states that go on from chunk to chunk begin anew in each", async () => {
    const paths = [await model("m1", "F32", 1, "mamba2", "mamba"), await model("m2", "F32", 2, "mamba2", "mamba")];
    assert.deepEqual(await compare(paths, { together: 2 }), await compare(paths));
  });

  test("stored logits say the same when all are kept, and never more when few are", async () => {
    const paths = [await model("a", "F32", 1), await model("b", "Q8_0", 2)];
    const live = await compare(paths);
    for (const top of [randomModelVocab, 8]) {
      const file = join(folder, `top${top}`);
      const save = new ReferenceWriter(file, { vocab: randomModelVocab, chunkTokens, top });
      await compare(paths.slice(0, 1), {}, { save });
      save.end();
      const opened = await ScoredModel.openAll([await openCheckpoint(paths[1]!), await openCheckpoint(paths[0]!)], {
        chunkTokens,
        threads: 2,
      });
      const reader = new ReferenceReader(file);
      const { all } = await compareModels(reader, opened, domains, { chunkTokens });
      const difference = live.all.models[0]!.kl.mean - all.models[0]!.kl.mean;
      assert.ok(top === 8 ? difference > 1e-9 : Math.abs(difference) < 1e-12, `${top}: ${difference}`);
      assert.equal(all.models[1]!.kl.largest, 0);
      assert.equal(all.reference.perplexity, live.all.reference.perplexity);
      const others = [{ name: "other", chunks: [chunks[1]!] }];
      reader.close();
      const again = new ReferenceReader(file);
      await assert.rejects(compareModels(again, opened, others, { chunkTokens }), { code: "OPTION_INVALID" });
      again.close();
      for (const one of opened) one.close();
    }
  });

  test("damaged files of logits are refused", async () => {
    const file = join(folder, "top8");
    const whole = readFileSync(file);
    for (const length of [5, 20, 40]) {
      writeFileSync(join(folder, "cut"), whole.subarray(0, length));
      assert.throws(() => new ReferenceReader(join(folder, "cut")), { code: "FORMAT_INVALID" });
    }
    const odd = Buffer.from(whole.toString("latin1").replace('"top":8', '"top":0'), "latin1");
    writeFileSync(join(folder, "odd"), odd);
    assert.throws(() => new ReferenceReader(join(folder, "odd")), { code: "FORMAT_INVALID" });
    truncateSync(file, whole.length - 100);
    const reader = new ReferenceReader(file);
    const opened = await ScoredModel.openAll([await openCheckpoint(join(folder, "a.gguf"))], {
      chunkTokens,
      threads: 1,
    });
    await assert.rejects(compareModels(reader, opened, domains, { chunkTokens }), /no more chunks/);
    reader.close();
    for (const one of opened) one.close();
  });
});

test("a row's divergence is that of the definition", () => {
  const vocab = 1500;
  const rowOf = (seed: number) => Float32Array.from({ length: vocab }, (_, i) => 9 * Math.sin(i * seed) + (i % 7));
  const [a, b] = [rowOf(1.7), rowOf(2.3)];
  const logs = (row: Float32Array) => {
    const sum = Math.log(row.reduce((s, v) => s + Math.exp(v), 0));
    return Float64Array.from(row, (v) => v - sum);
  };
  const [la, lb] = [logs(a), logs(b)];
  const wanted = la.reduce((sum, v, i) => sum + Math.exp(v) * (v - lb[i]!), 0);
  const found = new LiveRow(vocab).take(a, 3).compare(b, 3);
  assert.ok(Math.abs(found.kl - wanted) < 1e-12 * wanted);
  assert.ok(Math.abs(found.nll + lb[3]!) < 1e-12);
});
