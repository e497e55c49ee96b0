/** Channels and groups of heads that do nothing go without a trace, and repair makes good a part of what others did. */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { calibrate } from "../src/compress/calibrate.js";
import { type Moments, openMoments, writeMoments } from "../src/compress/moments.js";
import { type GgufCheckpoint, openGguf } from "../src/formats/index.js";
import type { TinyMetadata } from "../src/models/flow/architecture.js";
import { describeModel } from "../src/models/index.js";
import { withoutChannels } from "../src/quality/prune/channels.js";
import type { ColumnOptions } from "../src/quality/prune/columns.js";
import { withoutKvGroups } from "../src/quality/prune/kv-groups.js";
import type { Pruned } from "../src/quality/prune/layers.js";
import { writePruned } from "../src/quality/prune/write.js";
import { compareModels } from "../src/quality/quality.js";
import { ScoredModel } from "../src/quality/scored-model.js";
import { skipAddon } from "./support/addon.js";
import { runCli } from "./support/cli.js";
import { randomTokens } from "./support/evaluate.js";
import { logitsOf } from "./support/logits-of.js";
import { openPeer } from "./support/peer.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-prune-columns-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const chunkTokens = 48;
const scoring = { chunkTokens, threads: 2 };
const chunks = Array.from({ length: 12 }, (_, i) => Int32Array.from(randomTokens(chunkTokens, randomModelVocab, i)));
const types = { attention: "F32", ffn: "F32", embedding: "F32", head: "F32" };
const sizes: TinyMetadata = { "attention.head_count": 8, "attention.head_count_kv": 4, "attention.key_length": 32 };

async function made(name: string, arch: string, variant: string, overrides: TinyMetadata = {}): Promise<string> {
  const path = join(folder, `${name}.gguf`);
  await writeRandomModel(path, { arch, variant, dims: 64, types, seed: 7, overrides });
  return path;
}

async function momentsOf(checkpoint: GgufCheckpoint, name: string): Promise<Moments> {
  const path = join(folder, `${name}.moments.gguf`);
  const found = await calibrate(describeModel(checkpoint), chunks, { chunkTokens, momentBytes: 2 ** 26 });
  await writeMoments(path, found.moments!, found);
  return openMoments(path);
}

/** The mean KL divergence of one model's choices from another's. */
async function klOf(one: string, other: string): Promise<number> {
  const opened = await ScoredModel.openAll([openGguf(one), openGguf(other)], scoring);
  const texts = [{ name: "text", chunks }];
  const { all } = await compareModels(opened[0]!, opened.slice(1), texts, { chunkTokens });
  for (const model of opened) model.close();
  return all.models[0]!.kl.mean;
}

/** Zeros some columns of the matrices of a name. */
function silence(path: string, part: string, from: number, count: number): void {
  const file = openSync(path, "r+");
  for (const { name, shape, planes } of openGguf(path).tensors.values()) {
    if (!name.endsWith(`${part}.weight`)) continue;
    for (let row = 0; row < shape[1]!; row++)
      writeSync(
        file,
        new Uint8Array(4 * count),
        0,
        4 * count,
        planes.blocks![0]!.offset + 4 * (row * shape[0]! + from),
      );
  }
  closeSync(file);
}

/** Kinds of cuts: how many stay, and a way to say so of the file. */
const cuts = {
  channels: {
    keep: 96,
    part: "ffn_down",
    silent: [16, 32],
    cut: withoutChannels,
    check(written: GgufCheckpoint): void {
      assert.equal(written.metadata.number("llama.feed_forward_length"), 96);
      assert.deepEqual(written.tensors.get("blk.0.ffn_down.weight")!.shape, [96, 64]);
      assert.deepEqual(written.tensors.get("blk.0.ffn_up.weight")!.shape, [64, 96]);
    },
  },
  "groups of heads": {
    keep: 3,
    part: "attn_output",
    // The second group: two heads of queries of 32.
    silent: [64, 64],
    cut: withoutKvGroups,
    check(written: GgufCheckpoint): void {
      const count = (key: string) => written.metadata.number(`llama.attention.${key}`);
      assert.deepEqual([count("head_count"), count("head_count_kv"), count("key_length")], [6, 3, 32]);
      const shapes = ["attn_q", "attn_k", "attn_v", "attn_output"].map(
        (part) => written.tensors.get(`blk.1.${part}.weight`)!.shape,
      );
      assert.deepEqual(shapes, [
        ...[
          [64, 192],
          [64, 96],
          [64, 96],
        ],
        [192, 64],
      ]);
    },
  },
} as const;

for (const [what, { keep, part, silent, cut, check }] of Object.entries(cuts))
  describe(`pruning ${what}`, { skip: skipAddon }, () => {
    let whole: string;
    let moments: Moments;
    const pruned = (path: string, options: ColumnOptions): Promise<Pruned> =>
      cut(openGguf(path), moments, keep, options);
    const file = (name: string): string => join(folder, `${part}-${name}.gguf`);

    before(async () => {
      whole = await made(part, "llama", "dense", sizes);
      moments = await momentsOf(openGguf(whole), part);
    });

    test("what the columns that stay can say is made good", async () => {
      const kl = async (repair: boolean): Promise<number> => {
        const to = file(String(repair));
        await writePruned(to, await pruned(whole, { repair }));
        check(openGguf(to));
        return klOf(whole, to);
      };
      const [repaired, plain] = [await kl(true), await kl(false)];
      assert.ok(repaired > 0 && repaired < plain, `${repaired} ${plain}`);
    });

    test("those without weight are the first to go: nothing changes", async () => {
      const quiet = await made(`${part}-quiet`, "llama", "dense", sizes);
      silence(quiet, part, silent[0], silent[1]);
      await writePruned(file("quiet-cut"), await pruned(quiet, { repair: false }));
      const kl = await klOf(quiet, file("quiet-cut"));
      assert.ok(kl < 1e-9, `${kl}`);
    });

    test("llama.cpp reads the file", async (t) => {
      const peer = openPeer();
      if (peer === undefined) return t.diagnostic("llama.cpp is not installed: run scripts/fetch-peer.mjs");
      try {
        const path = file("true");
        const ids = [...chunks[3]!.subarray(0, 24)];
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

    test("another number, or moments of another model, is refused", async () => {
      const code = { code: "OPTION_INVALID" };
      for (const wrong of [0, 128, 4096]) await assert.rejects(cut(openGguf(whole), moments, wrong), code);
      const other = await made(`${part}-other`, "llama", "dense", { ...sizes, feed_forward_length: 160 });
      const rest = await momentsOf(
        openGguf(await made(`${part}-short`, "llama", "dense", { block_count: 1 })),
        "short",
      );
      await assert.rejects(cut(openGguf(other), rest, keep), code);
    });
  });

describe("pruning groups of heads", { skip: skipAddon }, () => {
  test("biases follow, and a state takes bytes for the heads that stay", async () => {
    const path = await made("biased", "llama", "tied-biased", sizes);
    const to = join(folder, "biased-cut.gguf");
    await writePruned(to, await withoutKvGroups(openGguf(path), await momentsOf(openGguf(path), "biased"), 1));
    const { tensors } = openGguf(to);
    assert.deepEqual(tensors.get("blk.0.attn_q.bias")!.shape, [64]);
    assert.deepEqual(tensors.get("blk.0.attn_k.bias")!.shape, [32]);
    assert.deepEqual(tensors.get("blk.0.attn_output.bias")!.shape, [64]);
    assert.ok((await logitsOf(to, [...chunks[0]!.subarray(0, 5)])).every((row) => row.every(Number.isFinite)));
  });

  test("sinks and norms of one head are followed, attention of another form is refused by name", async () => {
    const shape = async (arch: string, variant: string): Promise<GgufCheckpoint> =>
      openGguf(await made(`${arch}-${variant}`, arch, variant));
    const cut = async (checkpoint: GgufCheckpoint): Promise<Pruned> =>
      withoutKvGroups(checkpoint, await momentsOf(checkpoint, checkpoint.metadata.string("general.architecture")!), 1);
    const { tensors } = await cut(await shape("gpt-oss", "moe"));
    assert.deepEqual(tensors.find(({ name }) => name === "blk.0.attn_sinks.weight")!.tensor.shape, [2]);
    const normed = await cut(await shape("qwen3", "dense"));
    assert.deepEqual(normed.tensors.find(({ name }) => name === "blk.0.attn_k_norm.weight")!.tensor.shape, [32]);
    await assert.rejects(cut(await shape("olmo2", "dense")), { code: "OPTION_INVALID", message: /attn_q_norm/ });
    await assert.rejects(cut(await shape("phi3", "dense")), { code: "OPTION_INVALID", message: /attn_q.weight/ });
  });

  test("the command: a smaller file, and what it needs", async () => {
    const path = await made("command", "llama", "dense", sizes);
    const [, moments] = [openGguf(path), await momentsOf(openGguf(path), "command")];
    const to = join(folder, "command-cut.gguf");
    const told = await runCli(["prune", path, to, "--kv-groups", "2", "--moments", moments.path]);
    assert.match(told.out, /2 heads of keys and values in each layer/);
    assert.equal(openGguf(to).metadata.number("llama.attention.head_count_kv"), 2);
    const without = await runCli(["prune", path, `${to}2`, "--kv-groups", "2"]);
    assert.match(without.err, /OPTION_INVALID.*--kv-groups needs --moments/);
    const both = await runCli(["prune", path, `${to}2`, "--kv-groups", "2", "--ffn", "32"]);
    assert.match(both.err, /give one of/);
  });
});
