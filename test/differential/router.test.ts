/** A router whose row is damaged is named, by every implementation and wherever in the pass its rows stand. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openGguf } from "../../src/formats/gguf-open.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { evaluate, openModel, randomTokens } from "../support/evaluate.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-router-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const implementations: [string, () => Ops][] = [["reference", () => new ReferenceOps()]];
if (addonStatus().state === "loaded") {
  implementations.push(["native", () => createOps({ kind: "native", threads: 2 })]);
}

/** The model with one value of the router's row of expert 1 replaced. */
async function damaged(arch: string, value: number): Promise<string> {
  const path = join(folder, `${arch}-${value}.gguf`);
  await makeTinyModel(path, arch);
  const router = openGguf(path).tensors.get("blk.1.ffn_gate_inp.weight")!;
  const [{ offset } = { offset: 0 }] = Object.values(router.planes)[0]!;
  const bytes = readFileSync(path);
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(offset + 4 * router.shape[0]!, value, true);
  writeFileSync(path, bytes);
  return path;
}

for (const [name, make] of implementations)
  test(`${name}: a router's NaN or infinity is refused with the tensor's name`, async () => {
    for (const arch of ["gpt-oss", "qwen3moe"])
      for (const value of [Number.NaN, Infinity]) {
        const path = await damaged(arch, value);
        for (const count of [1, 40]) {
          const model = await openModel(path, make(), {});
          try {
            await assert.rejects(evaluate(model, randomTokens(count, 3)), {
              code: "MODEL_INVALID",
              message: /router 'blk\.1\.ffn_gate_inp\.weight' gave no finite number for expert 1:/,
            });
          } finally {
            model.close();
          }
        }
      }
  });
