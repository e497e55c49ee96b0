/**
 * Folders as folders of plain matrices: the same logits bit for bit, types as asked, what was quantized decoded,
 * adapters merged, what lies beside the weights copied, nothing of another model replaced.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { readSafetensors } from "../../src/containers/safetensors/header.js";
import { convertModel } from "../../src/convert/index.js";
import { logitsOf, openAdapted } from "../adapters/adapted.js";
import { readAdapterFixture, writePeft } from "../adapters/fixture.js";
import { readFixture } from "../huggingface/folder.js";
import { meanKl } from "../support/evaluate.js";
import { writeModelFolder } from "./fixture-folder.js";

describe("folders of plain matrices", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-safetensors-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const logits = async (path: string, ids: readonly number[], adapters: readonly string[] = []) => {
    const model = await openAdapted(path, adapters);
    const [rows] = await logitsOf(model, ids, [adapters.map(() => 1)]);
    model.close();
    return rows!;
  };

  for (const name of ["llama", "phi3", "gpt2", "gptneox", "mixtral", "mamba2"])
    test(`${name}: the same tensors and logits, in shards or not`, async () => {
      const base = readFixture(name);
      const source = writeModelFolder(join(folder, name), base, "F32", 2);
      const out = join(folder, `${name}-plain`, "model.safetensors");
      await convertModel(source, out);
      const [before, after] = [await logits(source, base.ids), await logits(join(folder, `${name}-plain`), base.ids)];
      assert.deepEqual(after, before);
      assert.equal(
        readFileSync(join(folder, `${name}-plain`, "tokenizer.json"), "utf8"),
        readFileSync(join(source, "tokenizer.json"), "utf8"),
      );
    });

  for (const name of ["llama", "phi3", "gpt2", "gptneox", "qwen3_moe", "granitemoe", "mixtral"])
    test(`${name}: an adapter merged is the adapter at run time`, async () => {
      const base = readFixture(name);
      const source = writeModelFolder(join(folder, `${name}-base`), base);
      const adapter = writePeft(join(folder, `${name}-a`), readAdapterFixture(name), "a");
      const to = join(folder, `${name}-merged`);
      await convertModel(source, join(to, "model.safetensors"), { merge: [{ path: adapter }] });
      const kl = meanKl(await logits(source, base.ids, [adapter]), await logits(to, base.ids));
      assert.ok(kl >= -1e-9 && kl < 1e-8, `KL ${kl}`);
    });

  test("types are those asked for, and config.json says so", async () => {
    const source = writeModelFolder(join(folder, "typed"), readFixture("qwen3"));
    const to = join(folder, "typed-bf16");
    await convertModel(source, join(to, "model.safetensors"), { type: "bf16" });
    const { tensors } = readSafetensors(join(to, "model.safetensors"));
    assert.deepEqual([...new Set(tensors.map(({ dtype }) => dtype))], ["BF16"]);
    const config = JSON.parse(readFileSync(join(to, "config.json"), "utf8"));
    assert.equal(config.dtype ?? config.torch_dtype, "bfloat16");
    await assert.rejects(convertModel(source, join(folder, "q", "model.safetensors"), { type: "q8_0" }), {
      code: "OPTION_INVALID",
    });
  });

  test("a folder that holds another model, and the model's own, are left alone", async () => {
    const source = writeModelFolder(join(folder, "own"), readFixture("qwen3"));
    await assert.rejects(convertModel(source, join(source, "other.safetensors")), { code: "OPTION_INVALID" });
    const other = join(folder, "other");
    mkdirSync(other);
    writeFileSync(join(other, "config.json"), "{}");
    await assert.rejects(convertModel(source, join(other, "model.safetensors")), { code: "OPTION_INVALID" });
    assert.equal(readFileSync(join(other, "config.json"), "utf8"), "{}");
  });
});
