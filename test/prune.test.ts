/** Layers that do nothing are found, and the model without them says the same. */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { calibrate } from "../src/compress/calibrate.js";
import { openMoments, writeMoments } from "../src/compress/moments.js";
import { openGguf } from "../src/formats/index.js";
import { describeModel } from "../src/models/index.js";
import { withoutChannels } from "../src/quality/prune/channels.js";
import { blockInfluence } from "../src/quality/prune/influence.js";
import { leastInfluential, withoutLayers } from "../src/quality/prune/layers.js";
import { writePruned } from "../src/quality/prune/write.js";
import { compareModels } from "../src/quality/quality.js";
import { ScoredModel } from "../src/quality/scored-model.js";
import { skipAddon } from "./support/addon.js";
import { randomTokens } from "./support/evaluate.js";
import { logitsOf } from "./support/logits-of.js";
import { openPeer } from "./support/peer.js";
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

  test("layers of two kinds in turn are only cut where the turn stays", async () => {
    const path = join(folder, "turns.gguf");
    await writeRandomModel(path, { arch: "gemma2", variant: "dense", dims: 64, types, seed: 5 });
    const checkpoint = openGguf(path);
    assert.throws(() => withoutLayers(checkpoint, [0]), { code: "OPTION_INVALID", message: /pattern/ });
  });

  test("channels that do nothing go, and repair makes good a part of what others did", async () => {
    const path = join(folder, "channels.gguf");
    await writeRandomModel(path, { arch: "llama", variant: "dense", dims: 64, types, seed: 7 });
    const checkpoint = openGguf(path);
    const hidden = checkpoint.metadata.number("llama.feed_forward_length")!;
    const momentsFile = join(folder, "channels.moments.gguf");
    const many = Array.from({ length: 12 }, (_, i) => Int32Array.from(randomTokens(chunkTokens, randomModelVocab, i)));
    const found = await calibrate(describeModel(checkpoint), many, { chunkTokens, momentBytes: 2 ** 26 });
    await writeMoments(momentsFile, found.moments!, found);
    const moments = openMoments(momentsFile);
    const keep = hidden - 32;
    const kl = async (repair: boolean): Promise<number> => {
      const to = join(folder, `channels-${repair}.gguf`);
      await writePruned(to, await withoutChannels(checkpoint, moments, keep, { repair }));
      const written = openGguf(to);
      assert.equal(written.metadata.number("llama.feed_forward_length"), keep);
      assert.deepEqual(written.tensors.get("blk.0.ffn_down.weight")!.shape[0], keep);
      assert.deepEqual(written.tensors.get("blk.0.ffn_up.weight")!.shape[1], keep);
      const opened = await ScoredModel.openAll([checkpoint, written], scoring);
      const { all } = await compareModels(opened[0]!, opened.slice(1), [{ name: "text", chunks: many }], {
        chunkTokens,
      });
      for (const model of opened) model.close();
      return all.models[0]!.kl.mean;
    };
    const [repaired, cut] = [await kl(true), await kl(false)];
    assert.ok(repaired > 0 && repaired < cut, `${repaired} ${cut}`);
    // Columns without weight are the first to go: nothing changes.
    const silent = join(folder, "silent.gguf");
    await writeRandomModel(silent, { arch: "llama", variant: "dense", dims: 64, types, seed: 7 });
    const file = openSync(silent, "r+");
    const tensors = [...openGguf(silent).tensors.values()].filter(({ name }) => name.endsWith("ffn_down.weight"));
    for (const { shape, planes } of tensors)
      for (let row = 0; row < shape[1]!; row++)
        writeSync(file, new Uint8Array(4 * 32), 0, 4 * 32, planes.blocks![0]!.offset + 4 * (row * hidden + 16));
    closeSync(file);
    const to = join(folder, "silent-cut.gguf");
    await writePruned(to, await withoutChannels(openGguf(silent), moments, keep, { repair: false }));
    const opened = await ScoredModel.openAll([openGguf(silent), openGguf(to)], scoring);
    const { all } = await compareModels(opened[0]!, opened.slice(1), [{ name: "text", chunks }], { chunkTokens });
    for (const model of opened) model.close();
    assert.ok(all.models[0]!.kl.mean < 1e-9, `${all.models[0]!.kl.mean}`);
    await assert.rejects(withoutChannels(checkpoint, moments, hidden), { code: "OPTION_INVALID" });
  });

  test("llama.cpp reads a file with fewer channels", async (t) => {
    const peer = openPeer();
    if (peer === undefined) return t.diagnostic("llama.cpp is not installed: run scripts/fetch-peer.mjs");
    try {
      const path = join(folder, "channels-true.gguf");
      const ids = [...chunks[0]!.subarray(0, 24)];
      await peer.load({ path, threads: 2, contextTokens: 256, batch: 256, flashAttention: false });
      const theirs = await peer.logProbabilities(ids, join(folder, "peer.f32"));
      const ours = await logitsOf(path, ids);
      for (const [i, row] of ours.entries()) {
        const top = row.reduce((a, b) => Math.max(a, b));
        const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0)) + top;
        const kl = row.reduce((sum, x, j) => sum + Math.exp(x - total) * (x - total - theirs[i]![j]!), 0);
        assert.ok(kl < 1e-5, `row ${i}: ${kl}`);
      }
    } finally {
      peer.close();
    }
  });
});
