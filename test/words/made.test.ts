/** Tensors made of others: the bits are those of the same rows in tensors of their own. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { dtypeOf, openGguf, writeGguf } from "../../src/formats/index.js";
import { bindDescription, describeModel } from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { evaluate, randomTokens } from "../support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "../support/random-model.js";
import { findWords } from "./architectures.js";

const status = addonStatus();
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-made-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const describe = async (path: string) => describeModel(await openGguf(path), findWords);

/** The model with every tensor under the name by which it is used. */
async function writePlain(from: string, to: string): Promise<void> {
  const { tensors } = await describe(from);
  const file = readFileSync(from);
  await writeGguf(to, {
    metadata: (await openGguf(from)).metadata.entries(),
    tensors: tensors.map(({ name, info }) => {
      const extents = Object.values(info.planes).flat();
      const data = Buffer.concat(extents.map(({ offset, bytes }) => file.subarray(offset, offset + bytes)));
      return { name, dtype: dtypeOf(info.layout)!, shape: info.shape, data };
    }),
  });
}

async function logits(path: string, ops: Ops) {
  const options = { contextTokens: 64, maxRows: 32, sequences: 1, kvType: "f16", maxLogitRows: 32 } as const;
  const model = await bindDescription(await describe(path), ops, options);
  const rows = await evaluate(model, randomTokens(20, randomModelVocab, 3), 20);
  model.close();
  return rows;
}

for (const [arch, some] of [
  ["words-fused", "blk.1.attn_k.weight"],
  ["words-fused", "blk.1.attn_v.bias"],
  ["words-fused", "blk.2.ffn_up.weight"],
  ["words-apart", "blk.1.ffn_down_exps.weight"],
  ["words-gate-up", "blk.0.ffn_up_exps.weight"],
  ["words-absorbed", "blk.0.attn_v_b.weight"],
  ["words-assembled", "blk.1.ffn_up.weight"],
] as const)
  test(`${arch}: ${some} is rows of other tensors, with the same bits`, { skip }, async () => {
    const [path, plain] = [join(folder, `${arch}.gguf`), join(folder, `${arch}-plain.gguf`)];
    const types = { attention: "Q8_0", ffn: "Q4_0", expert: "Q5_0", embedding: "F16", head: "F16" };
    await writeRandomModel(path, { arch, variant: "tiny", dims: 64, types, seed: 9, find: findWords });
    const description = await describe(path);
    assert.deepEqual(description.unusedTensors, []);
    assert.ok(description.tensors.find(({ name }) => name === some)?.made !== undefined);
    await writePlain(path, plain);
    assert.ok((await describe(plain)).tensors.every(({ made }) => made === undefined));
    const native = () => createOps({ kind: "native", threads: 2 });
    assert.deepEqual(await logits(path, native()), await logits(plain, native()));
    assert.deepEqual(await logits(path, new ReferenceOps()), await logits(plain, new ReferenceOps()));
  });
