/** Layers that do nothing are found, and the model without them says the same. */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { onlyExtent, openGguf } from "../src/formats/index.js";
import { blockInfluence } from "../src/quality/prune/influence.js";
import { leastInfluential, withoutLayers } from "../src/quality/prune/layers.js";
import { withTiedHead } from "../src/quality/prune/tied-head.js";
import { writePruned } from "../src/quality/prune/write.js";
import { compareModels } from "../src/quality/quality.js";
import { ScoredModel } from "../src/quality/scored-model.js";
import { skipAddon } from "./support/addon.js";
import { randomTokens } from "./support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-prune-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const chunkTokens = 48;
const chunks = [Int32Array.from(randomTokens(chunkTokens, randomModelVocab, 3))];
const scoring = { chunkTokens, threads: 2 };
const types = { attention: "F32", ffn: "F32", embedding: "F32", head: "F32" };

/** Zeros what a layer adds to the stream. */
function silence(path: string, layer: number): void {
  const file = openSync(path, "r+");
  for (const name of ["attn_output", "ffn_down"]) {
    const tensor = openGguf(path).tensors.get(`blk.${layer}.${name}.weight`)!;
    for (const { offset, bytes } of tensor.planes.blocks!) writeSync(file, new Uint8Array(bytes), 0, bytes, offset);
  }
  closeSync(file);
}

describe("pruning layers", { skip: skipAddon }, () => {
  test("a layer that does nothing goes, and no number changes", async () => {
    const path = join(folder, "three.gguf");
    await writeRandomModel(path, {
      ...{ arch: "llama", variant: "dense", dims: 64, types, seed: 5 },
      overrides: { block_count: 3 },
    });
    silence(path, 1);
    const checkpoint = openGguf(path);
    const influence = await blockInfluence(checkpoint, chunks, scoring);
    assert.equal(influence.length, 3);
    assert.ok(Math.abs(influence[1]!) < 1e-12 && influence[0]! > 1e-4 && influence[2]! > 1e-4, influence.join());
    assert.deepEqual(leastInfluential(influence, 1), [1]);
    const to = join(folder, "two.gguf");
    await writePruned(to, withoutLayers(checkpoint, [1]));
    const written = openGguf(to);
    assert.equal(written.metadata.number("llama.block_count"), 2);
    assert.equal([...written.tensors.keys()].filter((name) => name.startsWith("blk.2.")).length, 0);
    const opened = await ScoredModel.openAll([checkpoint, written], scoring);
    const { all } = await compareModels(opened[0]!, opened.slice(1), [{ name: "text", chunks }], { chunkTokens });
    for (const model of opened) model.close();
    assert.equal(all.models[0]!.kl.largest, 0);
    assert.throws(() => leastInfluential(influence, 3), { code: "OPTION_INVALID" });
  });

  test("a head that is the embedding is stored once, and no number changes", async () => {
    const path = join(folder, "own-head.gguf");
    await writeRandomModel(path, { arch: "llama", variant: "dense", dims: 64, types, seed: 5 });
    const before = openGguf(path);
    await assert.rejects(withTiedHead(before), { code: "OPTION_INVALID", message: /row 0 has other values/ });
    const [head, embedding] = ["output", "token_embd"].map((name) => before.tensors.get(`${name}.weight`)!);
    const [to, from] = [onlyExtent(head!), onlyExtent(embedding!)];
    const values = readFileSync(path).subarray(from.offset, from.offset + from.bytes);
    const file = openSync(path, "r+");
    writeSync(file, values, 0, values.length, to.offset);
    closeSync(file);
    const checkpoint = openGguf(path);
    const once = join(folder, "once.gguf");
    await writePruned(once, await withTiedHead(checkpoint));
    const written = openGguf(once);
    assert.equal(written.tensors.size, checkpoint.tensors.size - 1);
    assert.ok(statSync(once).size <= statSync(path).size - from.bytes);
    const opened = await ScoredModel.openAll([checkpoint, written], scoring);
    const { all } = await compareModels(opened[0]!, opened.slice(1), [{ name: "text", chunks }], { chunkTokens });
    for (const model of opened) model.close();
    assert.equal(all.models[0]!.kl.largest, 0);
    await assert.rejects(withTiedHead(written), { code: "OPTION_INVALID", message: /tied already/ });
    // One value of the last row.
    const last = openSync(path, "r+");
    writeSync(last, new Uint8Array([1]), 0, 1, to.offset + to.bytes - 1);
    closeSync(last);
    const row = head!.shape[1]! - 1;
    await assert.rejects(withTiedHead(openGguf(path)), { message: new RegExp(`row ${row} has other values`) });
  });

  test("layers of two kinds in turn are only cut where the turn stays", async () => {
    const path = join(folder, "turns.gguf");
    await writeRandomModel(path, { arch: "gemma2", variant: "dense", dims: 64, types, seed: 5 });
    const checkpoint = openGguf(path);
    assert.throws(() => withoutLayers(checkpoint, [0]), { code: "OPTION_INVALID", message: /pattern/ });
  });
});
