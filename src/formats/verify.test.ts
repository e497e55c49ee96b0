/** Scales that are not finite are found in every type, at every place, and nothing else is. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../containers/index.js";
import { randomBlocks } from "../synth/blocks.js";
import { makeTinyModel } from "../synth/tiny.js";
import { dequantizeRow } from "./dequantize.js";
import { type Dtype, dtypes } from "./dtypes.js";
import { verifyCheckpoint } from "./index.js";
import { blockFinder } from "./verify.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-verify-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const blocks = 41;

/** Whole blocks at a multiple of 4. */
function aligned(bytes: Uint8Array): Uint8Array {
  const room = new Uint8Array(new ArrayBuffer(Math.ceil(bytes.length / 4) * 4), 0, bytes.length);
  room.set(bytes);
  return room;
}

/** By the exact decoder: blocks with a value that is not finite. */
function decoded(dtype: Dtype, bytes: Uint8Array): number[] {
  const { blockBytes, blockValues } = dtype;
  const values = new Float32Array(blockValues);
  const found: number[] = [];
  for (let i = 0; (i + 1) * blockBytes <= bytes.length; i++) {
    dequantizeRow(dtype, bytes.subarray(i * blockBytes, (i + 1) * blockBytes), values);
    if (values.some((v) => !Number.isFinite(v))) found.push(i);
  }
  return found;
}

function found(dtype: Dtype, bytes: Uint8Array): number[] {
  const find = blockFinder(dtype)!;
  const list: number[] = [];
  for (let i = find(bytes, 0); i >= 0; i = find(bytes, i + 1)) list.push(i);
  return list;
}

for (const dtype of dtypes.filter((d) => d.acts !== undefined))
  test(`${dtype.name}: as the decoder finds them`, () => {
    const { blockBytes } = dtype;
    for (let seed = 1; seed < 30; seed++) {
      const bytes = aligned(randomBlocks(dtype, blocks * blockBytes, 0, 0.05, seed));
      assert.deepEqual(found(dtype, bytes), decoded(dtype, bytes), "finite blocks");
      // Every byte of some blocks in turn: those that belong to a scale make numbers infinite or NaN.
      for (const block of [0, 1, seed % blocks, blocks - 1])
        for (let at = 0; at < blockBytes; at++) {
          const damaged = aligned(bytes);
          damaged[block * blockBytes + at] = 0xff;
          if (at > 0 && blockBytes < 20) damaged[block * blockBytes + at - 1] = seed % 2 === 0 ? 0x7f : 0xff;
          const want = decoded(dtype, damaged);
          const got = found(dtype, damaged);
          // A scale that is no number makes all of its values such, but zeros times infinity are NaN: all are seen.
          assert.deepEqual(got, want, `block ${block}, byte ${at}`);
        }
      if (blockBytes > 60 && seed > 3) break;
    }
  });

test("a file: the bad block is named by tensor, expert, row, column and byte", async () => {
  const path = join(folder, "moe.gguf");
  await makeTinyModel(path, "qwen3moe", { dtype: "Q8_0" });
  const whole = await openCheckpoint(path);
  const clean = await verifyCheckpoint(whole);
  assert.deepEqual([clean.badBlocks, clean.bytes, clean.tensors], [0, whole.tensorBytes, whole.tensors.size]);
  const tensor = whole.tensors.get("blk.1.ffn_up_exps.weight")!;
  const [cols, rows] = tensor.shape as [number, number];
  const { offset } = tensor.planes.blocks![0]!;
  // Expert 2, row 5, the second block of 32 values.
  const block = (2 * rows + 5) * (cols / 32) + 1;
  const bytes = readFileSync(path);
  bytes.writeUInt16LE(0x7c00, offset + 34 * block);
  writeFileSync(path, bytes);
  let last = [0, 0];
  const report = await verifyCheckpoint(await openCheckpoint(path), {
    onProgress: (done, total) => {
      assert.ok(done >= last[0]!);
      last = [done, total];
    },
  });
  assert.deepEqual(last, [whole.tensorBytes, whole.tensorBytes]);
  assert.deepEqual(report.bad, [
    {
      tensor: "blk.1.ffn_up_exps.weight",
      dtype: "Q8_0",
      block,
      row: 5,
      column: 32,
      expert: 2,
      file: path,
      offset: offset + 34 * block,
    },
  ]);
});

test("a file that ends early says so; stopping stops", async () => {
  const path = join(folder, "short.gguf");
  await makeTinyModel(path, "llama", {});
  const checkpoint = await openCheckpoint(path);
  writeFileSync(path, readFileSync(path).subarray(0, -100));
  await assert.rejects(verifyCheckpoint(checkpoint), /ends 100 bytes early/);
  await assert.rejects(verifyCheckpoint(checkpoint, { signal: AbortSignal.abort() }), { code: "CANCELLED" });
});
