/** Random folders of every kind: what is written opens, and the kinds give values of the deviation asked for. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../../containers/index.js";
import { decodeRow } from "../../formats/decode-row.js";
import { sliceExtents, slicesOf } from "../../formats/layouts.js";
import type { TensorInfo } from "../../formats/types.js";
import { describeModel } from "../../models/index.js";
import { createTokenizer } from "../../tokenizer/index.js";
import { parseSpec } from "../presets.js";
import { layOutSynth } from "../synth.js";
import { folderKinds } from "./kinds.js";
import { writeSynthFolder } from "./write.js";

const dense = "llama-1b,layers=1,vocab=512,dim=256,hidden=512,heads=4,kv-heads=2,head-dim=64";
const experts = "qwen3-30b-a3b,layers=1,vocab=512,dim=256,heads=4,kv-heads=2,head-dim=64,experts=8,expert-hidden=128";

describe("random folders", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-synth-folder-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function written(spec: string, kind: string, shardBytes?: number): Promise<string> {
    const path = join(folder, `${kind}-${spec.length}-${shardBytes ?? 0}`);
    const { name, shape } = parseSpec(spec);
    await writeSynthFolder(path, layOutSynth(name, shape), kind, shardBytes === undefined ? {} : { shardBytes });
    return path;
  }

  /** Row `row` of a matrix, by the plain decoder. */
  function rowOf({ layout, shape, planes }: TensorInfo, row: number): Float32Array {
    const [cols, rows] = shape as [number, number];
    const stored = sliceExtents({ layout, rows, cols, planes }, 0, 0, slicesOf(layout, rows, cols).count).map(
      ({ file, offset, bytes }) => readFileSync(file).subarray(offset, offset + bytes),
    );
    const out = new Float32Array(cols);
    decodeRow(layout, stored, rows, row, out);
    return out;
  }

  for (const kind of Object.keys(folderKinds))
    test(`${kind}: opens, and has the deviation that was asked for`, async () => {
      const checkpoint = await openCheckpoint(await written(dense, kind));
      const { unusedTensors } = describeModel(checkpoint);
      assert.deepEqual(unusedTensors, []);
      const up = checkpoint.tensors.get("blk.0.ffn_up.weight")!;
      const plain = ["bf16", "f16", "f32", "pytorch"].includes(kind);
      assert.equal(up.layout.id === -1, !plain, up.layout.name);
      let sum = 0;
      for (let row = 0; row < 8; row++) for (const value of rowOf(up, row)) sum += value ** 2;
      const deviation = Math.sqrt(sum / (8 * 256));
      const asked = 1 / Math.sqrt(256);
      // Scales differ by a quarter from group to group.
      assert.ok(deviation > asked * 0.75 && deviation < asked * 1.25, `${deviation} for ${asked}`);
      const text = "the cat <|end|>";
      const tokenizer = createTokenizer(checkpoint.metadata);
      assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    });

  test("experts are tensors of their own, in shards as in one file", async () => {
    const [whole, sharded] = [await written(experts, "gptq"), await written(experts, "gptq", 200_000)];
    assert.ok(readdirSync(sharded).filter((name) => name.endsWith(".safetensors")).length > 3);
    const [a, b] = [await openCheckpoint(whole), await openCheckpoint(sharded)];
    assert.deepEqual(describeModel(b).unusedTensors, []);
    const up = a.tensors.get("blk.0.ffn_up_exps.weight")!;
    assert.deepEqual(up.shape, [256, 128, 8]);
    assert.deepEqual(b.tensors.get("blk.0.ffn_up_exps.weight")!.shape, up.shape);
  });

  test("an architecture without folders, and a folder that is there, are refused", async () => {
    await assert.rejects(written("gemma-3-4b", "bf16"), { code: "OPTION_INVALID", message: /'gemma3' can be written/ });
    await assert.rejects(written(dense, "f32"), { code: "FILE_IO", message: /is there already/ });
    assert.ok(!readdirSync(folder).some((name) => name.endsWith(".partial")));
  });
});
